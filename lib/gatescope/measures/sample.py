"""The clips a study looks at, as a network takes them, with what is known of each."""

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from gatescope.loaders import CachedClips, Clip, SyntheticGestures, to_batch
from gatescope.loaders.clip import as_seen, over_steps
from gatescope.loaders.datasets import recorded
from gatescope.loaders.flow import optical_flow
from gatescope.models import GestureNetwork
from gatescope.models.checkpoints import class_names
from gatescope.paths import CACHE, ROOT, named


@dataclass(frozen=True, eq=False)
class Sample:
    """Clips as a network takes them, with what is known of each beside them."""

    source: str  # in words, for titles and the manifest: no path outside the repository
    synthetic: bool
    x: Float32[Tensor, "clips 3 time size size"]
    clips: tuple[Clip, ...]  # as the network sees them, see `as_seen`
    labels: Int[np.ndarray, " clips"] | None  # None where a clip's class is none of the network's

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def title(self) -> str:
        """A word for titles: no picture of rendered clips hides what they are."""
        return "synthetic" if self.synthetic else "recorded"

    @cached_property
    def frames(self) -> UInt8[np.ndarray, "clips time size size 3"]:
        """As the network sees them, before means are subtracted."""
        return np.stack([clip.frames for clip in self.clips])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of each clip's class, or of its file."""
        return tuple(clip.name or Path(clip.source).stem for clip in self.clips)

    @cached_property
    def hand(self) -> Bool[np.ndarray, "clips time size size"] | None:
        """The pixels that show the hand; None where nobody knows."""
        hands = [clip.hand_mask for clip in self.clips]
        return None if any(hand is None for hand in hands) else np.stack(hands)

    @cached_property
    def flow(self) -> Float32[np.ndarray, "clips pairs size size 2"] | None:
        """Pixels per frame between each frame and the next, exact; None where it can be estimated only."""
        flows = [clip.flow for clip in self.clips]
        return None if any(flow is None for flow in flows) else np.stack(flows)

    @cached_property
    def speed(self) -> Float32[np.ndarray, "clips time size size"]:
        """How fast each pixel moves, px per frame: the truth where it is known, else OpenCV's estimate (DIS).

        Of a frame to the next; the last frame, which has no next, repeats the one before.
        """
        flow = np.stack([optical_flow(frames) for frames in self.frames]) if self.flow is None else self.flow
        speed = np.hypot(flow[..., 0], flow[..., 1])
        return np.concatenate([speed, speed[:, -1:]], axis=1)

    @cached_property
    def change(self) -> Float32[np.ndarray, "clips time size size"]:
        """By how many grey levels each pixel differs from the frame before, mean over colours.

        The first frame, before which there is none, has the values of the second.
        """
        change = np.abs(np.diff(self.frames.astype(np.float32), axis=1)).mean(-1)
        return np.concatenate([change[:, :1], change], axis=1)

    def hand_on(self, maps: tuple[int, int, int]) -> Float[np.ndarray, "clips step rows columns"]:
        """The part, 0 to 1, that the hand covers of each position of maps with these steps, rows and columns.

        Raises ValueError where the hand is not known, or does not divide evenly into steps.
        """
        if self.hand is None:
            raise ValueError(f"of {self.source} nobody knows where the hand is; leave out what needs its mask")
        return over_steps(self.hand.astype(np.float32), maps)


def open_sample(network: GestureNetwork, clips: str = "", num_clips: int = 54, cache: Path = CACHE) -> Sample:
    """Clips for `network`: of the set it was validated on if rendered, else from where `clips` says.

    `clips` is the root of Jester or IsoGD (validation split), a video, a folder of frames, or a folder of videos; empty
    takes rendered gestures, with masks of the hand. The first `num_clips` are taken, evenly over the classes if
    rendered.

    Raises:
        FileNotFoundError: if there is nothing at `clips`.
        ValueError: if rendered gestures are asked for that the network's card does not describe, or no clip is there.
    """
    found = list(islice(recorded(clips) if clips else CachedClips(rendered(network, num_clips), cache), num_clips))
    if not found:
        raise ValueError(f"there is no clip in {clips or 'the set of rendered gestures'}")
    first = found[0].source
    if clips:
        first = first.replace(str(ROOT / clips), named(Path(clips)))
    where = named(Path(clips)) if clips else first.replace(" clip 0,", ",")
    classes = class_names(network)
    labels = [classes.index(clip.name) if clip.name in classes else None for clip in found]
    return Sample(
        source=first if len(found) == 1 else f"{len(found)} clips of {where}",
        synthetic=not clips,
        x=torch.cat([to_batch(clip, **network.config.input) for clip in found]),
        clips=tuple(as_seen(clip, network.config.num_frames, network.config.size) for clip in found),
        labels=None if None in labels else np.array(labels),
    )


def rendered(network: GestureNetwork, num_clips: int) -> SyntheticGestures:
    """The first of the clips that the network was validated on, or without a card that tells, of all classes."""
    facts = dict((network.card or {}).get("data", {}).get("clips", {"size": network.config.size}))
    facts = {name: value for name, value in facts.items() if not name.startswith("num_")}
    return SyntheticGestures("valid", num_clips, **facts, modalities=("hand_mask", "flow"))
