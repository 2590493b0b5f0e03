"""explore: a scrubber with controls for clip, network, layer and intervention, which also takes a dropped video."""

import base64
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import ipywidgets as widgets

from gatescope.explorer.answers import KINDS, LAYERS, UNTRAINED, Answer, Exploration, Question, read_dropped
from gatescope.explorer.explanations import ATTRIBUTIONS
from gatescope.explorer.live_scrubber import LiveScrubber
from gatescope.explorer.request_thread import Report, RequestThread
from gatescope.explorer.upload import Upload
from gatescope.pictures.scrubber import film_strip, in_words

NOTHING = ("nothing", "")
RENDERED, PATH, OWN = KINDS
WAITING = {
    PATH: "Write the path of a video, a folder of frames or videos, or the root of Jester or IsoGD.",
    OWN: "Drop a video of your own below, or choose it with the button.",
}


def explore(checkpoints: Sequence[str] = ("*",), clips: str = "") -> "Explorer":
    """Return controls and a scrubber, shown as a cell's last line; without a kernel a film strip remains.

    `checkpoints` are folders of data/checkpoints (`a-?` stands for all that match) or .safetensors files; `clips` is a
    video, a folder of frames or videos, or the root of Jester or IsoGD; empty takes rendered gestures.

    Raises what opening them raises; later errors are said in the widget.
    """
    return Explorer(checkpoints, clips)


class Explorer:
    """Controls, a scrubber, and a thread that answers the controls."""

    def __init__(self, checkpoints: Sequence[str], clips: str):
        self.exploration = Exploration(checkpoints)
        names = self.exploration.names
        gestures, classes = self.exploration.gestures(names[0]), self.exploration.classes(names[0])
        kinds = list(zip(("rendered gestures", "a file or folder", "my own"), KINDS, strict=True))
        self.kind = _made("clips", "where the clip comes from", options=kinds, value=PATH if clips else RENDERED)
        self.gesture = _made("gesture", "one of the gestures that the network was trained on", options=gestures)
        self.path = _made("path", "path on the kernel's machine", widgets.Text, value=clips, continuous_update=False)
        self.number = _made("number", "number of the clip, from 0", widgets.BoundedIntText)
        self.checkpoint = _made("checkpoint", "the trained network to run on the clip", options=names)
        others = [(f"{name}{end}", f"{name}{end}") for end in ("", UNTRAINED) for name in names]
        self.beside = _made("beside it", "a second network to run on the same clip", options=[NOTHING, *others])
        layers = [(name.replace("layer", "layer "), name) for name in LAYERS]
        self.layer = _made("layer", "the layer whose states and gates are shown", options=layers)
        self.point = _made("replace", "the quantity of the layer to replace at every step", options=[NOTHING])
        self.replacement = _made("by", "values to put in its place; later states and scores follow", options=[NOTHING])
        self.method = _made("explain by", "the method that explains a class's score", options=list(ATTRIBUTIONS))
        self.label = _made("the score of", "the class to explain", options=_labels(classes))
        self.run = widgets.Button(description="Explain", tooltip="takes seconds; progress is shown below")
        self.picture = LiveScrubber(on_files=self._take, on_cancel=self._cancel)
        self.work = RequestThread(partial(self.picture.say, busy=True), self._fail)
        self._offering = False
        self._num_dropped = 0
        self._asked = self.question
        self._show(self.exploration.answer(self._asked, Report(lambda words: None, lambda: True)))
        rows = [
            [self.kind, self.gesture, self.path, self.number],
            [self.checkpoint, self.beside, self.layer],
            [self.point, self.replacement],
            [self.method, self.label, self.run],
        ]
        for control in chain(*rows[:3]):
            control.observe(self._ask, "value")
        self.run.on_click(self._explain)
        wrap = widgets.Layout(flex_flow="row wrap")
        self.box = widgets.VBox([*(widgets.HBox(row, layout=wrap) for row in rows), self.picture])
        self.box.add_class("gatescope-explorer")

    @property
    def question(self) -> Question:
        """The current values of the controls."""
        names = ("checkpoint", "beside", "kind", "path", "gesture", "layer", "point", "replacement")
        said = {name: getattr(self, name).value or "" for name in names}
        # Each dropped clip is a new question.
        number = self._num_dropped if self.kind.value == OWN else self.number.value
        return Question(**said, number=number)

    def _ask(self, change: dict[str, Any] | None = None) -> None:
        """Answer the current question, unless it was asked already."""
        if self._offering:
            return
        owner = change and change["owner"]
        if owner in (self.kind, self.path, self.gesture):
            self._offer(self.number, value=0)
        if owner is self.point:
            self._offer_replacements()
        question = self.question
        if question == self._asked:
            return
        self._asked = question
        self._lay_out()
        if (question.kind == PATH and not question.path.strip()) or (question.kind == OWN and not self._num_dropped):
            self.work.cancel()
            self.picture.say(WAITING[question.kind])
            return
        self.work.ask(partial(self._answer, question))

    def _answer(self, question: Question, report: Report) -> None:
        report(f"opening {question.checkpoint}")
        self._offer(self.gesture, self.exploration.gestures(question.checkpoint))
        self._offer(self.label, _labels(self.exploration.classes(question.checkpoint)))
        # A choice that is no longer offered falls back to another, which is a new question.
        self._ask()
        answer = self.exploration.answer(question, report)
        report("drawing")
        self._show(answer)

    def _show(self, answer: Answer) -> None:
        self.answer = answer
        self.picture.show(answer.groups, answer.packed)
        self.picture.say(answer.words)
        self._offer(self.point, [NOTHING, *((words, point) for point, (words, _) in answer.offered.items())])
        self._offer_replacements()
        self._offer(self.number, max=answer.num_clips - 1)
        self._lay_out()
        self._ask()

    def _offer_replacements(self) -> None:
        _, by = self.answer.offered.get(self.point.value, ("", []))
        self._offer(self.replacement, list(by) or [NOTHING])

    def _explain(self, _: widgets.Button) -> None:
        question, method, label = self.question, self.method.value, self.label.value

        def work(report: Report) -> None:
            self.exploration.explain(question, method, label, report)
            self._answer(question, report)

        self.work.ask(work)

    def _take(self, upload: Upload) -> None:
        """Read a reader's files, remove them, and answer for the clip in them."""

        def work(report: Report) -> None:
            report("reading your clip")
            clip = read_dropped(upload.files)
            report("opening your clip")
            self.exploration.own = clip
            self._num_dropped += 1
            self._offer(self.kind, value=OWN)
            self._asked = self.question
            self._answer(self._asked, report)

        self.work.ask(work).add_done_callback(lambda _: upload.remove())

    def _cancel(self) -> None:
        self.work.cancel()
        self._asked = None
        self.picture.say("Cancelled; the picture shows the previous request.")

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, ValueError | LookupError | OSError)
        words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        self.picture.say(f"That did not work: {words if known else f'{type(error).__name__}, {words}'}", wrong=True)

    def _offer(self, control: widgets.Widget, options: Sequence[Any] | None = None, **values: Any) -> None:
        """Set a control's options, keeping its choice where it still exists, or other of its properties."""
        self._offering = True
        try:
            if options is not None and list(control.options) != list(options):
                value = control.value
                control.options = options
                known = [each[1] if isinstance(each, tuple) else each for each in options]
                control.value = value if value in known else known[0]
            for name, value in values.items():
                setattr(control, name, value)
        finally:
            self._offering = False

    def _lay_out(self) -> None:
        """Show only the controls that apply."""
        kind = self.kind.value
        seen = {self.gesture: kind == RENDERED, self.path: kind == PATH, self.number: kind != OWN}
        for control, is_seen in {**seen, self.replacement: bool(self.point.value)}.items():
            control.layout.display = None if is_seen else "none"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        answer = self.answer
        still = film_strip(answer.groups, answer.packed.header, answer.clip)
        alt = in_words(answer.packed.header)
        data = self.box._repr_mimebundle_() | {"image/png": base64.b64encode(still).decode(), "text/plain": alt}
        return data, {"image/png": {"alt": alt}}


def _labels(classes: Sequence[str]) -> list[tuple[str, int | None]]:
    return [("the network's own answer", None), *((name, place) for place, name in enumerate(classes))]


def _made(words: str, help: str, kind: type[widgets.Widget] = widgets.Dropdown, **settings: Any) -> widgets.Widget:
    layout = widgets.Layout(width="auto", max_width="100%", margin="2px 12px 2px 0")
    return kind(description=words, tooltip=help, style={"description_width": "initial"}, layout=layout, **settings)
