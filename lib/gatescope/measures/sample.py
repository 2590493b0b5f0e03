"""Sample: clips in the form that a network takes, with what is known of each."""

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from gatescope.loaders import CachedClips, Clip, SyntheticGestures, to_batch, with_hands
from gatescope.loaders.clip import as_seen, over_steps
from gatescope.loaders.datasets import recorded
from gatescope.loaders.flow import optical_flow
from gatescope.loaders.hands import has_networks
from gatescope.measures.estimates import EXACT, Factor
from gatescope.measures.mask_factors import EVEN, mask_factor
from gatescope.models import GestureNetwork
from gatescope.models.checkpoints import class_names
from gatescope.paths import CACHE, HANDS, ROOT, named

RENDERED = "rendered gestures"  # the source that such a card names, or it names none


@dataclass(frozen=True, eq=False)
class Sample:
    """Clips in the form that a network takes, with what is known of each."""

    source: str  # for titles and the manifest; contains no path outside the repository
    synthetic: bool
    x: Float32[Tensor, "clips 3 time size size"]
    clips: tuple[Clip, ...]  # as the network sees them, see `as_seen`
    labels: Int[np.ndarray, " clips"] | None  # None where a clip's class is not among the network's
    people: Int[np.ndarray, " clips"] | None = None  # number of the person in each clip, None where not known

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def title(self) -> str:
        """Word for titles of figures, so that rendered clips are always labelled as such."""
        return "synthetic" if self.synthetic else "recorded"

    @cached_property
    def frames(self) -> UInt8[np.ndarray, "clips time size size 3"]:
        """Frames as the network sees them, before means are subtracted."""
        return np.stack([clip.frames for clip in self.clips])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each clip's class, or of its file."""
        return tuple(clip.name or Path(clip.source).stem for clip in self.clips)

    @cached_property
    def hand(self) -> Bool[np.ndarray, "clips time size size"] | None:
        """Pixels that show the hand; None where they are not known, or no clip shows any."""
        hands = [clip.hand_mask for clip in self.clips]
        return None if any(hand is None for hand in hands) or not np.any(hands) else np.stack(hands)

    @property
    def measured(self) -> bool:
        """Whether the hand was measured in some clip, and is not the exact one of a renderer."""
        return self.hand is not None and any(clip.hand_source == "measured" for clip in self.clips)

    @property
    def the_hand(self) -> str:
        """Words for titles, so that measured hands are always labelled as such."""
        return "the measured hand" if self.measured else "the hand"

    @property
    def hand_note(self) -> str:
        """What a reader has to know of the hand: how it was measured, or why it is not known; nothing of an exact one.

        Raises FileNotFoundError if a hand was measured and the errors of measured hands are missing.
        """
        if self.hand is None:
            why = "the two networks that measure it are not here: `gatescope hands fetch` obtains them"
            why = "no hand was found" if has_networks() else why
            return f"Left out: measures that need the place of the hand. It is not known in {self.source}; {why}."
        if not self.measured:
            return ""
        seen, factor = self.hand.any((2, 3)), self.factor("enrichment")
        return (
            f"**Measured hand.** Hands were found by two networks, in {seen.any(1).sum()} of {len(self)} clips and "
            f"{seen.mean():.0%} of their frames. The masks are not exact. On rendered people, what E/A has above 1 is "
            f"{factor.value:.2f} ± {factor.error:.2f} times as much on the true hand, for means of as many clips (one "
            "standard error). Values of E/A, the pointing game and explained variance are multiplied in this way, each "
            "by its own factor, and their intervals include its error; other measures are left as they are. That "
            "recorded people may be harder than rendered ones is not included. [19](19_measured_hands.ipynb) measures "
            "these errors."
        )

    def factor(self, measure: str) -> Factor:
        """Return what a mean of `measure` over the clips with a hand is to be multiplied by: see `mask_factor`.

        It changes nothing on exact hands, nor a measure of which no factor is known.
        """
        if not self.measured or measure not in EVEN:
            return EXACT
        return mask_factor(measure, int(self.hand.any((1, 2, 3)).sum()))

    @cached_property
    def speed(self) -> Float32[np.ndarray, "clips time size size"]:
        """Speed of each pixel from a frame to the next, px per frame: exact where known, else OpenCV's estimate (DIS).

        The last frame, which has no next, repeats the one before.
        """
        flow = np.stack([optical_flow(clip.frames) if clip.flow is None else clip.flow for clip in self.clips])
        speed = np.hypot(flow[..., 0], flow[..., 1])
        return np.concatenate([speed, speed[:, -1:]], axis=1)

    @cached_property
    def change(self) -> Float32[np.ndarray, "clips time size size"]:
        """Difference of each pixel from the frame before, grey levels, mean over colours.

        The first frame repeats the values of the second.
        """
        change = np.abs(np.diff(self.frames.astype(np.float32), axis=1)).mean(-1)
        return np.concatenate([change[:, :1], change], axis=1)

    def hand_on(self, maps: tuple[int, int, int]) -> Float[np.ndarray, "clips step rows columns"]:
        """Return the part, 0 to 1, of each position that the hand covers, for maps of (steps, rows, columns).

        Raises ValueError where the hand is not known, or frames do not divide evenly into steps.
        """
        if self.hand is None:
            raise ValueError(f"{self.source} has no mask of the hand; leave out measures that need one")
        return over_steps(self.hand.astype(np.float32), maps)


def open_sample(
    network: GestureNetwork, clips: str = "", num_clips: int = 54, cache: Path = CACHE, hands: Path = HANDS
) -> Sample:
    """Return at most `num_clips` clips for `network`.

    `clips` is the root of Jester or IsoGD (validation split), a video, a folder of frames, or a folder of videos. Empty
    takes the rendered gestures that the network was validated on, evenly over the classes, with masks of the hand. In
    recordings the hand is measured if the two networks for it are in the folder `hands`: a twentieth of a second a
    frame, once.

    Raises FileNotFoundError if there is nothing at `clips`, ValueError if there is no clip.
    """
    made = None if clips else rendered(network, num_clips)
    found = list(islice(recorded(clips) if made is None else CachedClips(made, cache), num_clips))
    if made is None and has_networks(hands):
        found = [with_hands(clip, hands, cache / "hands") for clip in found]
    if not found:
        raise ValueError(f"there is no clip in {clips or 'the set of rendered gestures'}")
    first = found[0].source.replace(str(ROOT / clips), named(Path(clips))) if clips else found[0].source
    where = named(Path(clips)) if clips else first.replace(" clip 0,", ",")
    classes = class_names(network)
    labels = [classes.index(clip.name) if clip.name in classes else None for clip in found]
    return Sample(
        source=first if len(found) == 1 else f"{len(found)} clips of {where}",
        synthetic=not clips,
        x=torch.cat([to_batch(clip, **network.config.input) for clip in found]),
        clips=tuple(as_seen(clip, network.config.num_frames, network.config.size) for clip in found),
        labels=None if None in labels else np.array(labels),
        people=None if made is None else np.array([made.performer(index) for index in range(len(found))]),
    )


def is_rendered_only(network: GestureNetwork) -> bool:
    """Return whether a network's card says that it was trained on rendered gestures."""
    data = (network.card or {}).get("data")
    return isinstance(data, dict) and "clips" in data and data.get("source", RENDERED) == RENDERED


def rendered(
    network: GestureNetwork, num_clips: int, split: str = "valid", modalities: tuple[str, ...] = ("hand_mask", "flow")
) -> SyntheticGestures:
    """Return rendered clips like those the network learnt from; of all classes if its card describes none.

    Raises ValueError for a card that describes what cannot be rendered.
    """
    facts = network.card["data"]["clips"] if is_rendered_only(network) else {"size": network.config.size}
    try:
        facts = {name: value for name, value in facts.items() if name not in ("num_train", "num_valid")}
        return SyntheticGestures(split, num_clips, **facts, modalities=modalities)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the network's card describes no clips that can be rendered: {error}") from None
