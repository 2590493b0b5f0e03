"""Memory of recurrent layers: half-lives of forget gates, and the effect of earlier steps on the last state."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models import GestureNetwork, RecurrentLayer
from gatescope.recordings.record import record
from gatescope.recordings.scoring import BATCH_SIZE, Clips, Features

# Dimensions of their own, as `_check_same` has a better message than the shape checker.
Others = Float[Tensor, "other_clips other_step features other_rows other_columns"]


def half_life(f: Float[Tensor, "clips step channels *space"]) -> Float[Tensor, " channels"]:
    """Return the number of steps in which the forget gates of each channel halve its cell state: ln 2 / -ln f.

    f is the geometric mean over the steps of one clip at one position, but for the first step, which has nothing to
    forget. What comes back is the median over clips and positions, so that places that keep and places that forget are
    not mixed into one rate. A place whose gate is open (1) at all steps has an infinite half-life; one whose gate is
    shut (0) at any step has a half-life of 0. What returns through H is not included.

    Raises ValueError for a recording of one step.
    """
    if f.shape[1] < 2:
        raise ValueError("a half-life needs two steps or more, as the first step's gate has nothing to forget; got one")
    rates = f[:, 1:].log().abs().mean(1)
    lives = (math.log(2) / rates).movedim(1, 0).flatten(1).sort(1).values
    # Not `median`, which takes the lower of two middle values, nor `quantile`, which subtracts infinities.
    return lives[:, [(lives.shape[1] - 1) // 2, lives.shape[1] // 2]].mean(1)


def freeze_after(features: Features, num_kept: int) -> Features:
    """Return the first `num_kept` steps, followed by repetitions of the last of them."""
    _check_kept(features, num_kept)
    return features[:, torch.arange(features.shape[1]).clamp(max=num_kept - 1)]


def shuffle_after(features: Features, num_kept: int, rng: torch.Generator) -> Features:
    """Return the first `num_kept` steps, followed by the others in a random order for each clip."""
    _check_kept(features, num_kept)
    rest = features.shape[1] - num_kept
    orders = torch.stack([num_kept + torch.randperm(rest, generator=rng) for _ in features])
    orders = torch.cat([torch.arange(num_kept).expand(len(features), -1), orders], 1)
    return features[torch.arange(len(features))[:, None], orders]


def _check_kept(features: Tensor, num_kept: int) -> None:
    if not 1 <= num_kept <= features.shape[1]:
        raise ValueError(f"num_kept must be from 1 to the {features.shape[1]} steps there are; got {num_kept}")


def stop_after(x: Clips, num_seen: int, clip_mean: float) -> Clips:
    """Return clips that stand still after `num_seen` frames, as a network would be given them.

    `clip_mean` is the network's: that part of the clip's mean frame is added back, and the same part of the mean of the
    frames seen is subtracted, so that no later frame has an effect.

    Raises ValueError for no frame, more than there are, or a `clip_mean` of 1, which cannot be added back.
    """
    if not 1 <= num_seen <= x.shape[2]:
        raise ValueError(f"num_seen must be from 1 to the {x.shape[2]} frames there are; got {num_seen}")
    if not 0 <= clip_mean < 1:
        raise ValueError(f"clip_mean must be from 0 to below 1, or the frames cannot be told from x; got {clip_mean}")
    frames = x + clip_mean / (1 - clip_mean) * x.mean(2, keepdim=True)
    seen = frames[:, :, :num_seen]
    seen = seen - clip_mean * seen.mean(2, keepdim=True)
    return torch.cat([seen, seen[:, :, -1:].expand(-1, -1, x.shape[2] - num_seen, -1, -1)], 2)


@dataclass(frozen=True, eq=False)
class Fading:
    """Remaining difference of two pasts in the last cell state, relative to the difference when their inputs joined.

    At lag n the last n inputs were the same; at lag 0 it is 1. Euclidean over channels and positions; NaN where the
    pasts do not differ.
    """

    measured: Float[Tensor, "clips lags"]
    by_gates: Float[Tensor, "clips lags"]  # if the forget gates alone acted: nothing returns through H


@torch.inference_mode()
def fading(layer: RecurrentLayer, features: Features, others: Others) -> Fading:
    """Return how much of each clip's past remains in the cell state after 0, 1, 2, ... steps of another clip.

    It is compared with the run of the other clip from its first step on, which also gives the forget gates.

    Raises ValueError where features and others have not the same shape.
    """
    _check_same(features, others)
    with record(layer, "h", "c") as own:
        layer(features)
    with record(layer, "f", "c") as reference:
        layer(others)
    f = reference["f"] if reference["f"].ndim == 5 else reference["f"][..., None, None]
    measured, by_gates = [], []
    for k in reversed(range(features.shape[1])):
        apart = own["c"][:, k] - reference["c"][:, k]
        last = own["c"][:, k]
        if k < features.shape[1] - 1:
            _, (_, last) = layer(others[:, k + 1 :], (own["h"][:, k], own["c"][:, k]), return_state=True)
        measured.append(_ratio(last - reference["c"][:, -1], apart))
        by_gates.append(_ratio(f[:, k + 1 :].prod(1) * apart, apart))
    return Fading(torch.stack(measured, 1), torch.stack(by_gates, 1))


@dataclass(frozen=True, eq=False)
class Reach:
    """Effect of replacing one step by another clip's, relative to the effect of replacing all of them.

    At lag n the step n steps before the last is replaced. NaN where both clips end alike.
    """

    cell: Float[Tensor, "clips lags"]  # the first layer's cell state at the last step
    logits: Float[Tensor, "clips lags"]


@torch.inference_mode()
def reach(network: GestureNetwork, features: Features, others: Others) -> Reach:
    """Return the effect of each step on the last cell state of the first layer and on the logits.

    Raises ValueError where features and others have not the same shape.
    """
    _check_same(features, others)
    own, other = _end(network, features), _end(network, others)
    moved = []
    for k in reversed(range(features.shape[1])):
        changed = features.clone()
        changed[:, k] = others[:, k]
        ends = zip(_end(network, changed), own, other, strict=True)
        moved.append([_ratio(end - start, goal - start) for end, start, goal in ends])
    return Reach(*(torch.stack(each, 1) for each in zip(*moved, strict=True)))


def _end(network: GestureNetwork, features: Features) -> tuple[Tensor, Tensor]:
    """Return the last cell state of the first layer, and the logits."""
    ends = []
    for part in features.split(BATCH_SIZE):
        with record(network, "layer1.c") as rec:
            logits = network.score(part)
        ends.append((rec["layer1.c"][:, -1], logits))
    return tuple(torch.cat(each) for each in zip(*ends, strict=True))


def _check_same(features: Tensor, others: Tensor) -> None:
    if features.shape != others.shape:
        raise ValueError(f"needed features of equal shape; got {tuple(features.shape)} and {tuple(others.shape)}")


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return the norm of `part` relative to that of `whole` for each clip; NaN where `whole` is zero."""
    size, whole_size = (each.flatten(1).norm(dim=1) for each in (part, whole))
    return torch.where(whole_size > 0, size / whole_size, torch.nan)
