"""LiveScrubber: the scrubber as a widget with a kernel behind it: any channel, new pictures, a reader's files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from gatescope.explorer.comparison import channel_of
from gatescope.explorer.messages import NOT_KNOWN, is_known
from gatescope.explorer.own_gestures import class_name
from gatescope.explorer.upload import MAX_BYTES, Upload, printable
from gatescope.loaders import ClipError
from gatescope.pictures.elements import HERE, looks, script
from gatescope.pictures.packing import Group, Packed

IDLE = {"words": "", "busy": False, "wrong": False}
TAKEN, REFUSED = b"1", b""  # replies for which the page waits


def _module() -> str:
    here = Path(__file__).parent
    texts = {"CSS": looks("scrubber"), "CAMERA_CSS": (here / "camera.css").read_text("utf-8")}
    known = {**texts, "MAX_BYTES": MAX_BYTES}
    constants = [f"const {name} = {json.dumps(value)};" for name, value in known.items()]
    own_files = HERE / "traits.js", here / "live.js", here / "camera.js", here / "explorer.js"
    return "\n".join([script("scrubber"), *constants, *(path.read_text("utf-8") for path in own_files)])


class LiveScrubber(anywidget.AnyWidget):
    """Widget that shows the latest picture. Only channels in view are sent, so that a saved notebook stays small.

    `step`, `channel` and `pins` say what a reader looks at, and can be set and observed. The page answers a step
    beyond the last with the last, and a channel that no group has with the one it shows. Pins are places (x, y) as
    parts of a picture's width and height from its upper left corner, at most six. Before the first view all are None.

    Raises TraitError for a value of another kind, or a pin beyond the picture.
    """

    _esm = _module()
    picture = traitlets.Dict().tag(sync=True)  # number, header and data of the latest Packed
    says = traitlets.Dict(IDLE).tag(sync=True)  # progress or an error, in words
    step = traitlets.Int(None, allow_none=True, min=0).tag(sync=True)  # shown, from 0
    channel = traitlets.Int(None, allow_none=True, min=0).tag(sync=True)  # of the first group that has several
    pins = traitlets.List(default_value=None, allow_none=True, maxlen=6).tag(sync=True)  # (x, y), each from 0 to 1

    def __init__(
        self,
        *,
        on_files: Callable[[Upload], None],
        on_cancel: Callable[[], None],
        on_frame: Callable[[bytes, bool], dict[str, Any]],
    ):
        """`on_files` gets the files that a reader drops, and removes them; `on_cancel` hears the Cancel button.

        `on_frame` answers a live frame, a JPEG picture, and is told whether it is the first.
        """
        super().__init__()
        self._on_files, self._on_cancel, self._on_frame = on_files, on_cancel, on_frame
        self._shown: tuple[int, Sequence[Group], Packed | None] = (0, [], None)
        self._upload: tuple[Any, Upload] | None = None  # with the number of the drop
        self.on_msg(self._hear)

    @traitlets.validate("pins")
    def _inside(self, proposal: dict[str, Any]) -> list[list[float]] | None:
        pins = proposal["value"]
        if pins is None:
            return None
        for pin in pins:
            numbers = isinstance(pin, list | tuple) and all(isinstance(part, int | float) for part in pin)
            if not numbers or len(pin) != 2 or not all(0 <= part <= 1 for part in pin):
                raise traitlets.TraitError(f"a pin is (x, y), parts of a picture from 0 to 1; got {pin!r}")
        return [[float(part) for part in pin] for pin in pins]

    def show(self, groups: Sequence[Group], packed: Packed) -> None:
        """Show this in the place of the current picture."""
        number = self._shown[0] + 1
        self._shown = (number, groups, packed)
        self.picture = {"number": number, "header": packed.header, "data": packed.data}

    def say(self, words: str, *, busy: bool = False, wrong: bool = False) -> None:
        """Say what is in progress or went wrong, below the controls and to screen readers."""
        self.says = {"words": words, "busy": busy, "wrong": wrong}

    def _hear(self, _: Any, message: Any, buffers: list[memoryview]) -> None:
        if not is_known(message, buffers):
            self._drop()
            self.say(NOT_KNOWN, wrong=True)
            if isinstance(message, dict) and "id" in message:  # the page waits for a reply
                self.send({"id": message["id"]}, [b""])
            return
        try:
            reply = self._answer(message, buffers)
        except (ValueError, OSError) as error:  # a ClipError is a ValueError
            self._drop()
            self.say(str(error), wrong=True)
            reply = REFUSED
        if reply is not None and "id" in message:
            self.send({"id": message["id"]}, [reply])

    def _answer(self, message: dict[str, Any], buffers: list[memoryview]) -> bytes | None:
        match message["what"]:
            case "channel":
                return self._channel(message["number"], message["group"], message["channel"])
            case "files":
                self._drop()
                self._upload = message["drop"], Upload(message["files"], message.get("class"))
                return self._receive()
            case "piece":
                if self._upload is None or self._upload[0] != message["drop"]:
                    return REFUSED
                self._upload[1].take(message["place"], buffers[0])
                return self._receive()
            case "class":
                class_name(message["class"])
                return TAKEN
            case "lost":
                name = printable(message["name"])
                raise ClipError(f"the browser cannot read {name}: if it is a folder, drop the files inside it")
            case "here":
                return TAKEN
            case "frame":
                return json.dumps(self._on_frame(bytes(buffers[0]), message["first"]), allow_nan=False).encode()
            case "cancel":
                self._drop()
                self._on_cancel()
        return None

    def _channel(self, number: int, place: int, channel: int) -> bytes | None:
        """Return a channel of every map of a group; None for a picture, group or channel that is not shown."""
        newest, groups, packed = self._shown
        if number != newest or place >= len(groups) or channel >= groups[place].num_channels:
            return None
        names = [panel["name"] for panel in packed.header["groups"][place]["panels"]]
        return channel_of(groups[place], names, channel)

    def _receive(self) -> bytes:
        """Hand the files on once all pieces have arrived."""
        _, upload = self._upload
        if upload.missing:
            self.say(f"{1 - upload.missing / upload.size:.0%} of your files received", busy=True)
        else:
            self._upload = None
            self._on_files(upload)
        return TAKEN

    def _drop(self) -> None:
        if self._upload is not None:
            self._upload[1].remove()
            self._upload = None
