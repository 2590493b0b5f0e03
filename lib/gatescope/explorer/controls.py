"""Controls: every choice that the explorer offers, in rows, and the question that they ask."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import ipywidgets as widgets

from gatescope.explorer.answers import BOTH, KINDS, LAYERS, UNTRAINED, Answer, Question
from gatescope.explorer.explanations import ATTRIBUTIONS

NOTHING = ("nothing", "")
RENDERED, PATH, OWN = KINDS
PRESETS = {
    "Average all gates of both layers over space": "space mean",
    "Shift them by as much instead (control)": "shifted",
    "Average them over time": "time mean",
}


class Controls:
    """Widgets by what they choose; `ask` is called when a choice changes the question."""

    def __init__(self, names: Sequence[str], gestures: Sequence[str], clips: str):
        kinds = list(zip(("rendered gestures", "a file or folder", "my own"), KINDS, strict=True))
        self.kind = made("clips", "where the clip comes from", options=kinds, value=PATH if clips else RENDERED)
        self.gesture = made("gesture", "one of the gestures that the network was trained on", options=gestures)
        self.path = made("path", "path on the kernel's machine", widgets.Text, value=clips, continuous_update=False)
        self.number = made("number", "number of the clip, from 0", widgets.BoundedIntText)
        unit = {"value": 1.0, "min": 0.001, "max": 1000, "step": 0.125}
        words = "millimetres for each unit of a 16-bit depth frame: 1 for Kinect, 0.125 for Intel's SR305"
        self.depth_unit_mm = made("depth unit (mm)", words, widgets.BoundedFloatText, **unit)
        self.checkpoint = made("checkpoint", "the trained network to run on the clip", options=names)
        others = [(f"{name}{end}", f"{name}{end}") for end in ("", UNTRAINED) for name in names]
        self.beside = made("beside it", "a second network to run on the same clip", options=[NOTHING, *others])
        layers = [("both layers" if name == BOTH else name.replace("layer", "layer "), name) for name in LAYERS]
        self.layer = made("layer", "the layers whose states and gates are shown", options=layers)
        self.point = made("replace", "the quantity of the layer to replace at every step", options=[NOTHING])
        self.replacement = made("by", "values to put in its place; later states and scores follow", options=[NOTHING])
        self.method = made("explain by", "the method that explains a class's score", options=list(ATTRIBUTIONS))
        self.label = made("the score of", "the class to explain", options=[("", None)])
        self.label.layout.width = "min(100%, 30em)"
        self.run = button("Explain", "takes seconds; progress is shown below")
        self.quantity = made(
            "course of", "the quantity whose mean over positions is compared between clips", options=[NOTHING]
        )
        self.first = made("from step", "the first that is compared, from 1", widgets.BoundedIntText, min=1, value=1)
        self.last = made("to step", "the last that is compared", widgets.BoundedIntText, min=1, value=1)
        self.find = button(
            "All clips like this",
            "validation clips whose course of the scrubber's channel correlates most with this one's",
        )
        self.presets = {
            label: button(label, "all clips are scored, and the one that loses most shown") for label in PRESETS
        }
        self.undo = button("Undisturbed", "replace nothing")
        self.asking = [
            [self.kind, self.gesture, self.path, self.number, self.depth_unit_mm],
            [self.checkpoint, self.beside, self.layer],
            [self.point, self.replacement],
        ]
        self.rows = [
            [widgets.Label("What was found:"), *self.presets.values(), self.undo],
            *self.asking,
            [self.method, self.label, self.run],
            [self.quantity, self.first, self.last, self.find],
        ]
        self.offering = False  # while choices are set that ask nothing

    def observe(self, ask: Any) -> None:
        """Call `ask` with each change of a choice that is part of the question."""
        for control in chain(*self.asking):
            control.observe(ask, "value")

    def question(self, num_dropped: int) -> Question:
        """Return the question that is asked now; each dropped clip is a new one."""
        names = ("checkpoint", "beside", "kind", "path", "gesture", "layer", "point", "replacement")
        said = {name: getattr(self, name).value or "" for name in names}
        number = num_dropped if self.kind.value == OWN else self.number.value
        return Question(**said, number=number, depth_unit_mm=self.depth_unit_mm.value)

    def set(self, question: Question, title: str) -> None:
        """Choose what a question about a rendered clip asks for; `title` is that of the replaced quantity."""
        self.offer(self.point, [NOTHING, (title, question.point)])
        self.offer(self.replacement, [question.replacement])
        for name in ("kind", "checkpoint", "beside", "gesture", "number", "layer", "point"):
            self.offer(getattr(self, name), value=getattr(question, name))

    def offer(self, control: widgets.Widget, options: Sequence[Any] | None = None, **values: Any) -> None:
        """Set a control's options, keeping its choice where it still exists, or other of its properties."""
        self.offering = True
        try:
            if options is not None and list(control.options) != list(options):
                value = control.value
                control.options = options
                known = [each[1] if isinstance(each, tuple) else each for each in options]
                control.value = value if value in known else known[0]
            for name, value in values.items():
                setattr(control, name, value)
        finally:
            self.offering = False

    def offer_from(self, answer: Answer, classes: Sequence[str]) -> None:
        """Offer what can be asked after an answer."""
        self.offer(self.point, [NOTHING, *((words, point) for point, (words, _) in answer.offered.items())])
        self.offer_replacements(answer)
        self.offer(self.number, max=answer.num_clips - 1)
        said = f"{' and '.join(dict.fromkeys(answer.predicted))}, the answer"
        self.offer(self.label, [(said, None), *((name, place) for place, name in enumerate(classes))])
        fresh = self.quantity.value not in answer.courses
        self.offer(self.quantity, [(title, name) for name, (title, _) in answer.courses.items()])
        if fresh:
            # The hidden state is what later layers and the scores see.
            hidden = [name for name in answer.courses if name.endswith(".h")]
            self.offer(self.quantity, value=(hidden or [self.quantity.value])[0])
        num_steps = len(answer.courses[self.quantity.value][1])
        if self.last.max != num_steps:
            self.offer(self.first, max=num_steps, value=1)
            self.offer(self.last, max=num_steps, value=num_steps)
        self.lay_out(answer)

    def offer_replacements(self, answer: Answer) -> None:
        """Offer what the chosen quantity can be replaced by."""
        _, by = answer.offered.get(self.point.value, ("", []))
        self.offer(self.replacement, list(by) or [NOTHING])

    def lay_out(self, answer: Answer) -> None:
        """Show only the controls that apply."""
        kind = self.kind.value
        seen = {self.gesture: kind == RENDERED, self.path: kind == PATH, self.number: kind != OWN}
        seen[self.depth_unit_mm] = kind != RENDERED and answer.original.depth is not None
        for control, is_seen in {**seen, self.replacement: bool(self.point.value)}.items():
            control.layout.display = None if is_seen else "none"


def made(words: str, help: str, kind: type[widgets.Widget] = widgets.Dropdown, **settings: Any) -> widgets.Widget:
    """Return a control with a description before it and a help on hovering."""
    layout = widgets.Layout(width="auto", max_width="100%", margin="2px 12px 2px 0")
    return kind(description=words, tooltip=help, style={"description_width": "initial"}, layout=layout, **settings)


def button(words: str, help: str) -> widgets.Button:
    """Return a button as wide as its words."""
    return widgets.Button(
        description=words, tooltip=help, layout=widgets.Layout(width="auto", height="auto", max_width="100%")
    )
