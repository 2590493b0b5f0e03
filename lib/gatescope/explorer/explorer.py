"""explore: a scrubber with controls for clip, network, layer and intervention, which also takes a dropped video."""

import base64
import html
from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
from IPython.display import display
from jaxtyping import Float

from gatescope.explorer.answers import Answer, Exploration, Question
from gatescope.explorer.controls import OWN, PATH, PRESETS, RENDERED, Controls, button
from gatescope.explorer.hands import FETCH
from gatescope.explorer.live_scrubber import LiveScrubber
from gatescope.explorer.live_window import LiveWindow
from gatescope.explorer.own_gestures import OwnGestures
from gatescope.explorer.reading import read_dropped, waited_for
from gatescope.explorer.request_thread import Report, RequestThread
from gatescope.explorer.searches import Like, alike, distance, finding
from gatescope.explorer.stills import beside_original, courses_of, thumbnail
from gatescope.explorer.upload import Upload
from gatescope.loaders.hands import has_networks
from gatescope.models.checkpoints import open_networks
from gatescope.pictures.scrubber import film_strip, in_words

WAITING = {
    PATH: "Write the path of a video, a folder of frames or videos, or the root of Jester or IsoGD.",
    OWN: "Drop a video of your own below, or choose it with the button.",
}
NUM_ALIKE = 8  # clips
# JupyterLab prefers a widget to a picture and says "model not found" where it has no kernel. So the film strip is an
# output of its own, before the widget's: of the two the one is hidden that does not apply.
CHILD = ".jp-OutputArea-child"
STYLE = f"""<style class="gatescope-outputs">
{CHILD}:has(> * .gatescope-outputs) + {CHILD}:has(+ {CHILD} .gatescope-explorer) {{ display: none; }}
{CHILD}:has(> * .gatescope-outputs) + {CHILD} + {CHILD}:not(:has(.gatescope-explorer)) {{ display: none; }}
.gatescope-explorer button {{ white-space: normal; line-height: 1.3; padding-block: 5px; }}
.gatescope-explorer select {{ padding-right: 26px; }}
.gatescope-explorer .gatescope-words {{ height: auto; white-space: normal; line-height: 1.3; overflow-wrap: anywhere; }}
</style>"""


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
        self.controls = Controls(names, self.exploration.gestures(names[0]), clips)
        self.picture = LiveScrubber(on_files=self._take, on_cancel=self._cancel, on_frame=self._look)
        self.original = widgets.HTML(layout=widgets.Layout(display="none"))
        self.found = widgets.Box(layout=widgets.Layout(flex_flow="row wrap", display="none"))
        self.work = RequestThread(partial(self.picture.say, busy=True), self._fail)
        self._num_dropped = 0
        self._live: tuple[str, LiveWindow | None] = ("", None)
        self._beside: object = None  # what is shown beside the controls
        self._asked = self.question
        self._show(self._asked, self.exploration.answer(self._asked, Report(lambda words: None, lambda: True)))
        self.controls.observe(self._ask)
        self.controls.run.on_click(self._explain)
        self.controls.find.on_click(self._find)
        self.controls.undo.on_click(lambda _: setattr(self.controls.point, "value", ""))
        for label, preset in self.controls.presets.items():
            preset.on_click(partial(self._show_finding, PRESETS[label]))
        wrap = widgets.Layout(flex_flow="row wrap")
        rows = [widgets.HBox(row, layout=wrap) for row in self.controls.rows]
        self.own = OwnGestures(lambda: self.controls.checkpoint.value, self._open)
        self.box = widgets.VBox([*rows, self.found, self.own.box, self.picture, self.original])
        self.box.add_class("gatescope-explorer")

    @property
    def question(self) -> Question:
        """The current values of the controls."""
        return self.controls.question(self._num_dropped)

    def _ask(self, change: dict[str, Any] | None = None) -> None:
        """Answer the current question, unless it was asked already."""
        controls = self.controls
        if controls.offering:
            return
        owner = change and change["owner"]
        if owner in (controls.kind, controls.path, controls.gesture):
            controls.offer(controls.number, value=0)
        if owner in (controls.kind, controls.path, controls.gesture, controls.number, controls.checkpoint):
            self._show_found([])
        if owner is controls.point:
            controls.offer_replacements(self.answer)
        question = self.question
        if question == self._asked:
            return
        self._asked = question
        controls.lay_out(self.answer)
        if (question.kind == PATH and not question.path.strip()) or (question.kind == OWN and not self._num_dropped):
            self.work.cancel()
            self.picture.say(WAITING[question.kind])
            return
        self.work.ask(partial(self._answer, question))

    def _answer(self, question: Question, report: Report, before: str = "") -> None:
        report(f"opening {question.checkpoint}")
        self.controls.offer(self.controls.gesture, self.exploration.gestures(question.checkpoint))
        # A choice that is no longer offered falls back to another, which is a new question.
        self._ask()
        answer = self.exploration.answer(question, report)
        report("drawing")
        self._show(question, answer, before)
        if question.kind == RENDERED:
            return
        # A hand takes seconds to find, so the states are shown before.
        if self.exploration.measure_hands(question, lambda words: report(f"{answer.words} {words}")):
            answer = self.exploration.answer(question, report)
            report("drawing")
            self._show(question, answer)
        far = distance(self.exploration, question, report)
        if report.is_wanted():
            words = answer.words, "" if has_networks() or answer.original.depth is not None else FETCH, far
            self.picture.say(" ".join(filter(None, words)))

    def _show(self, question: Question, answer: Answer, before: str = "") -> None:
        self.answer, self._pictured = answer, question
        self.picture.show(answer.groups, answer.packed)
        self.picture.say(f"{before} {answer.words}".strip())
        is_recorded = question.kind != RENDERED
        beside = (answer.original, answer.clip.frames.shape) if is_recorded else None
        if beside != self._beside:  # a mask changes nothing there
            self._beside = beside
            self.original.value = beside_original(answer.original, answer.clip) if is_recorded else ""
        self.original.layout.display = None if is_recorded else "none"
        self.controls.offer_from(answer, self.exploration.classes(question.checkpoint))
        self._ask()

    def _explain(self, _: widgets.Button) -> None:
        question, method, label = self.question, self.controls.method.value, self.controls.label.value

        def work(report: Report) -> None:
            self.exploration.explain(question, method, label, report)
            self._answer(question, report)

        self.work.ask(work)

    def _show_finding(self, replacement: str, _: widgets.Button) -> None:
        """Show the clip on which replacing all gates of both layers changes most."""
        cells = {name: self.exploration.network(name).config.cells for name in self.exploration.names}
        whole = [name for name, each in cells.items() if set(each) == {"convlstm"}]  # gates that are maps
        name = self.question.checkpoint
        asked = Question(checkpoint=name if name in whole or not whole else whole[0], replacement=replacement)

        def work(report: Report) -> None:
            found, words = finding(self.exploration, asked, report)
            report("showing the clip")
            self.controls.offer(self.controls.gesture, self.exploration.gestures(found.checkpoint))
            self.controls.set(found, "all gates of both layers")
            self._asked = self.question
            self._answer(self._asked, report, words)

        self.work.ask(work)

    def _find(self, _: widgets.Button) -> None:
        """Show thumbnails of the clips that are most like the shown one."""
        question, answer, controls = self.question, self.answer, self.controls
        name, step = controls.quantity.value, self.picture.step
        # The scrubber's; a map that is one for all channels has a single one.
        channel = min(self.picture.channel or 0, answer.courses[name][1].shape[1] - 1)
        first, last = sorted((controls.first.value - 1, controls.last.value - 1))
        pictured = step if step is not None and first <= step <= last else (first + last) // 2

        def work(report: Report) -> None:
            found = alike(self.exploration, question, answer, name, channel, (first, last), report)[:NUM_ALIKE]
            course = answer.courses[name][1][:, channel]
            self._show_found([self._link(each, course, (first, last), pictured) for each in found])
            title = f"{answer.courses[name][0]}, channel {channel}, steps {first + 1} to {last + 1}"
            words = "The clips whose course (blue) correlates most with that of the shown one (grey)"
            self.picture.say(f"{words}: {title}, mean over positions. Open one to see it.")

        self.work.ask(work)

    def _show_found(self, links: Sequence[widgets.Widget]) -> None:
        self.found.children = links
        self.found.layout.display = None if links else "none"

    def _link(
        self, like: Like, course: Float[np.ndarray, " step"], steps: tuple[int, int], pictured: int
    ) -> widgets.Widget:
        """Return a thumbnail with both courses, and a button that opens the clip."""
        name = f"{like.gesture}, number {like.number}"
        picture = widgets.Image(value=thumbnail(like.clip, pictured, len(course)), format="jpeg", width=96)
        lines = widgets.HTML(courses_of(like.course, course, steps, (name, "the shown clip")))
        link = button(f"Open, r = {like.correlation:.2f}", f"open {name}")

        def open_clip(_: widgets.Button) -> None:
            for control, value in (("kind", RENDERED), ("gesture", like.gesture), ("number", like.number)):
                self.controls.offer(getattr(self.controls, control), value=value)
            self._ask()

        link.on_click(open_clip)
        heading = widgets.HTML(f'<div style="line-height:1.25;min-height:3.75em">{html.escape(name)}</div>')
        layout = widgets.Layout(width="122px", margin="4px 10px 8px 0")
        return widgets.VBox([heading, picture, lines, link], layout=layout)

    def _take(self, upload: Upload) -> None:
        """Read a reader's files, remove them, and answer for the clip in them, or keep it as an example."""
        if upload.example_of is not None:
            try:
                self.own.add(upload.files[0], upload.example_of)
                self.picture.say(f"Kept as an example of {upload.example_of}.")
            finally:
                upload.remove()
            return

        def work(report: Report) -> None:
            report("reading your clip")
            clip = waited_for(partial(read_dropped, upload.files), report)
            upload.remove()
            report("opening your clip")
            self.exploration.own = clip
            self._num_dropped += 1
            self._show_found([])
            self.controls.offer(self.controls.kind, value=OWN)
            self._asked = self.question
            self._answer(self._asked, report)

        self.work.ask(work).add_done_callback(lambda _: upload.remove())

    def _open(self, name: str) -> None:
        """Offer a network that was trained just now, and choose it."""
        control = self.controls.checkpoint
        self.controls.offer(control, [*control.options, name], value=name)
        self._ask()

    def _look(self, picture: bytes, first: bool) -> dict[str, Any]:
        """Return what the chosen network makes of the camera's last frames."""
        name = self.controls.checkpoint.value
        if first or self._live[0] != name:
            self._live = name, LiveWindow(open_networks([name])[name])  # one of its own
        return self._live[1].look(picture)

    def _cancel(self) -> None:
        self.work.cancel()
        if self._asked == self._pictured:
            self.picture.say("Cancelled; the picture shows what you asked for, without the rest.")
        else:
            self._asked = None
            self.picture.say("Cancelled; the picture shows the previous request.")

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, ValueError | LookupError | OSError)
        words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        self.picture.say(f"That did not work: {words if known else f'{type(error).__name__}, {words}'}", wrong=True)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        answer = self.answer
        still = film_strip(answer.groups, answer.packed.header, answer.clip)
        alt = in_words(answer.packed.header)
        data = self.box._repr_mimebundle_() | {"image/png": base64.b64encode(still).decode(), "text/plain": alt}
        return data, {"image/png": {"alt": alt}}

    def _ipython_display_(self) -> None:
        data, metadata = self._repr_mimebundle_()
        view = {name: data.pop(name) for name in list(data) if "widget-view" in name}
        display({"text/html": STYLE, "text/plain": ""}, raw=True)
        display(data, metadata=metadata, raw=True)
        display(view | {"text/html": "", "text/plain": ""}, raw=True)
