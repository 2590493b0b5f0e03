"""LiveWindow: the last frames of a camera in a network: the scores so far, a state and a gate at the newest step."""

import io
from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from gatescope.loaders import Clip, ClipError, to_batch
from gatescope.models import GestureNetwork
from gatescope.models.checkpoints import class_names
from gatescope.pictures.packing import quantise
from gatescope.pictures.quantities import describe
from gatescope.recordings import record

WINDOW_S = 3.0  # which a network's frames span, as in the clips that it was trained on
SHOWN = 3  # classes
MAX_PIXELS = 1 << 22  # of a picture; the page sends 128 x 128
_BOMBS = Image.DecompressionBombError, Image.DecompressionBombWarning
GATES = ("attention", "f", "i", "o")  # the first that is a map is shown


class LiveWindow:
    """A network, which no other thread may record meanwhile, and the frames that it gets."""

    def __init__(self, network: GestureNetwork):
        self.network = network
        self.frames: deque[UInt8[np.ndarray, "side side 3"]] = deque(maxlen=network.config.num_frames)
        self.rate = network.config.num_frames / WINDOW_S  # frames/s

    def look(self, picture: bytes) -> dict[str, Any]:
        """Take the next frame, a JPEG picture, and return in JSON's types what the network makes of the window.

        Raises ClipError for what is no picture, or of another size than the one before it.
        """
        begun = perf_counter()
        try:
            with Image.open(io.BytesIO(picture), formats=["JPEG"]) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise ClipError(f"a live picture of {opened.width} x {opened.height} px is too large: watch again")
                frame = np.asarray(opened.convert("RGB"))
        except (OSError, *_BOMBS) as error:
            raise ClipError(f"the camera's picture does not decode ({error}): watch again") from None
        if self.frames and self.frames[0].shape != frame.shape:
            self.frames.clear()
        self.frames.append(frame)
        clip = Clip(frames=np.stack(self.frames), fps=self.rate, source="camera")
        with torch.inference_mode(), record(self.network, "layer1.*") as recording:
            logits = self.network.scores_over_time(to_batch(clip, **self.network.config.input))[0]
        scores = logits.softmax(-1)
        names = class_names(self.network)
        best = [int(number) for number in scores[-1].argsort(descending=True)[:SHOWN]]
        return {
            "frames": len(self.frames),
            "of": self.frames.maxlen,
            "rate": self.rate,
            "classes": [
                [names[number] if number < len(names) else f"class {number}", scores[:, number].tolist()]
                for number in best
            ],
            "maps": [_map(name, recording[name]) for name in _shown(recording)],
            "pass_ms": 1000 * (perf_counter() - begun),
        }


def _shown(recording: Mapping[str, Tensor]) -> list[str]:
    """Return the hidden state, and the first of GATES that is a map."""
    gates = [f"layer1.{gate}" for gate in GATES]
    return ["layer1.h", *[name for name in gates if name in recording and recording[name].ndim == 5][:1]]


def _map(name: str, values: Float[Tensor, "1 step channel rows columns"]) -> dict[str, Any]:
    """Return the newest step in 8 bits: of a signed state the mean of its magnitude over channels, else the mean."""
    mean = values[0, -1].abs().mean(0) if name.endswith(".h") else values[0, -1].mean(0)
    levels, low, high = quantise(mean.numpy())
    title = describe(name, values.shape[2]).title
    words = f"|{title}|" if name.endswith(".h") else title
    return {"title": f"{words}, mean of {values.shape[2]}, {low:.2f} to {high:.2f}", "levels": levels.tolist()}
