"""What the study looks at: trained networks, their untrained twins, and clips with what is known of them."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from gatescope.loaders import (
    CachedClips,
    Clip,
    IsoGDClips,
    JesterClips,
    SyntheticGestures,
    VideoClips,
    sample_frames,
    to_batch,
)
from gatescope.loaders.clip import crop_and_resize
from gatescope.loaders.flow import optical_flow
from gatescope.loaders.reading import IMAGE_SUFFIXES
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.paths import CACHE, CHECKPOINTS, ROOT, named
from gatescope.recordings import intervene

TITLES = {"convlstm": "ConvLSTM", "a": "(a)", "b": "(b)", "c": "(c)", "d": "(d)"}
COLOURS = dict(zip(TITLES, ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"), strict=True))
BATCH_SIZE = 16  # clips
WEIGHTS = "network.safetensors"  # in the folder of a checkpoint

Features = Float32[Tensor, "clips step features rows columns"]
Change = Callable[[Tensor], Tensor] | Tensor


def checkpoint(name: str) -> Path:
    """The weights that a notebook's parameter names: a folder in data/checkpoints, or a .safetensors file anywhere.

    Raises FileNotFoundError for neither; a relative path begins at the top of the repository.
    """
    for path in (CHECKPOINTS / name / WEIGHTS, ROOT / name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{name} is neither a .safetensors file nor one of data/checkpoints, which holds {', '.join(_kept()) or 'none'}"
    )


def checkpoint_names(patterns: Sequence[str]) -> list[str]:
    """The folders of data/checkpoints that fit each pattern; what fits none stands for itself."""
    return [name for pattern in patterns for name in fnmatch.filter(_kept(), pattern) or [pattern]]


def open_networks(names: Sequence[str]) -> dict[str, GestureNetwork]:
    """The networks of these checkpoints, by name; `a-?` stands for every folder of data/checkpoints that fits it.

    Raises:
        FileNotFoundError: if one is missing, or no folder fits.
        ValueError: if there is none, or they do not take the same input and tell the same classes.
    """
    networks = {name: GestureNetwork.load(checkpoint(name)) for name in checkpoint_names(names)}
    if not networks:
        raise ValueError("name at least one checkpoint")
    first, *others = networks
    for other in others:
        for what in ("input", "num_classes"):
            mine, its = (getattr(networks[name].config, what) for name in (first, other))
            if mine != its:
                raise ValueError(f"{first} and {other} do not compare: their {what} are {mine} and {its}")
    return networks


def by_cell(networks: Mapping[str, GestureNetwork]) -> dict[str, list[GestureNetwork]]:
    """The networks in groups of one cell in the first layer, the one under study.

    A row of one's own stands alone, under its checkpoint's name.
    """
    groups: dict[str, list[GestureNetwork]] = {}
    for name, network in networks.items():
        cell = network.config.cells[0]
        groups.setdefault(cell if isinstance(cell, str) else name, []).append(network)
    return groups


def untrained(config: NetworkConfig, seed: int = 0) -> GestureNetwork:
    """A network of that config as training finds it, in its evaluation mode: the control of every claim."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GestureNetwork(config).eval()


def _kept() -> list[str]:
    """The folders of data/checkpoints with weights."""
    return sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{WEIGHTS}"))


def class_names(network: GestureNetwork) -> list[str]:
    """The names of a network's classes as its card has them; without a card none."""
    return (network.card or {}).get("data", {}).get("names", [])


@torch.inference_mode()
def encode_all(network: GestureNetwork, x: Float32[Tensor, "clips channel time height width"]) -> Features:
    """What Res3D makes of many clips, a few at a time."""
    return torch.cat([network.encode(part) for part in x.split(BATCH_SIZE)])


@torch.inference_mode()
def score_all(
    network: GestureNetwork, features: Features, changes: Mapping[str, Change] | None = None
) -> Float32[np.ndarray, "clips classes"]:
    """The logits of many clips from their features, under the interventions `changes`, which are as in `intervene`.

    A tensor among them has the clips' axis first and is cut as the clips are.
    """
    changes = changes or {}
    logits = []
    for start in range(0, len(features), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        own = {name: change[part] if isinstance(change, Tensor) else change for name, change in changes.items()}
        with intervene(network, own):
            logits.append(network.score(features[part]))
    return torch.cat(logits).numpy()


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


def over_steps(
    pictures: Float[np.ndarray, "clips time height width"], maps: tuple[int, int, int]
) -> Float[np.ndarray, "clips step rows columns"]:
    """Means of pictures over the frames and the area that each position of a step's map stands for.

    Raises ValueError where frames do not divide evenly into steps.
    """
    steps, rows, columns = maps
    num_frames = pictures.shape[1]
    if num_frames % steps:
        raise ValueError(f"{num_frames} frames do not divide into {steps} steps")
    grouped = torch.from_numpy(pictures).unflatten(1, (steps, num_frames // steps)).mean(2)
    return torch.nn.functional.adaptive_avg_pool2d(grouped, (rows, columns)).numpy()


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
        clips=tuple(as_seen(clip, network.config) for clip in found),
        labels=None if None in labels else np.array(labels),
    )


def as_seen(clip: Clip, config: NetworkConfig) -> Clip:
    """The frames of a clip that a network of that config is given, cropped and resized as they are for it.

    The hand's mask goes with them. Depth, joints and flow do only where nothing has to be chosen or resized: they are
    of the clip's own frames and pixels.
    """
    chosen = sample_frames(len(clip.frames), config.num_frames)
    if chosen == list(range(len(clip.frames))) and clip.frames.shape[1:3] == (config.size, config.size):
        return clip
    hand = None
    if clip.hand_mask is not None:
        grey = np.repeat(clip.hand_mask[chosen, ..., None].astype(np.uint8) * 255, 3, axis=-1)
        hand = crop_and_resize(grey, config.size)[..., 0] > 127
    return Clip(
        frames=crop_and_resize(clip.frames[chosen], config.size),
        fps=clip.fps * min(config.num_frames / len(clip.frames), 1),  # in the same time; a short clip's end repeats
        source=clip.source,
        label=clip.label,
        name=clip.name,
        hand_mask=hand,
    )


def rendered(network: GestureNetwork, num_clips: int) -> SyntheticGestures:
    """The first of the clips that the network was validated on, or without a card that tells, of all classes."""
    facts = dict((network.card or {}).get("data", {}).get("clips", {"size": network.config.size}))
    facts = {name: value for name, value in facts.items() if not name.startswith("num_")}
    return SyntheticGestures("valid", num_clips, **facts, modalities=("hand_mask", "flow"))


def recorded(clips: str | Path) -> VideoClips | JesterClips | IsoGDClips:
    """The clips at a path: the root of Jester or IsoGD, a video, a folder of frames, or a folder of either.

    A relative path begins at the top of the repository. What cannot be used of several is left out.

    Raises FileNotFoundError if there is nothing at that path.
    """
    path = ROOT / Path(clips).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name a video, a folder of frames or videos, or a data set")
    if path.is_file():
        return VideoClips([path])
    if lists := sorted(path.glob("jester-v1-*.csv")):
        has_valid = (path / "jester-v1-validation.csv") in lists
        return JesterClips(path, "valid" if has_valid else "train", strict=False)
    if list(path.glob("valid_*list.txt")):
        return IsoGDClips(path, "valid", strict=False)
    inside = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    frames = any(child.suffix.lower() in IMAGE_SUFFIXES for child in inside)
    return VideoClips([path] if frames else inside, strict=False)
