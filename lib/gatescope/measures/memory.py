"""How long a recurrent layer remembers: by its forget gates, and by what two different pasts leave in one present."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models import GestureNetwork, RecurrentLayer
from gatescope.recordings.record import record

Clips = Float[Tensor, "clips channel time height width"]
BATCH_SIZE = 16  # clips

Features = Float[Tensor, "clips step features rows columns"]
Others = Float[Tensor, "other_clips other_step features other_rows other_columns"]  # checked, with a better message


def half_life(f: Float[Tensor, "clips step channels *space"]) -> Float[Tensor, " channels"]:
    """Steps in which a channel's forget gates halve what was in the cell state: ln 2 / -ln f.

    Of the geometric mean of f over clips, positions and steps, since gates multiply; the first step's gate counts not,
    as there is nothing yet to forget. An open gate (1) gives infinity. What returns by way of H is not in it.

    Raises ValueError for a recording of one step.
    """
    if f.shape[1] < 2:
        raise ValueError("a half-life needs two steps or more: the first step's gate has nothing to forget")
    rates = f[:, 1:].log().abs().movedim(2, 0).flatten(1).mean(1)
    return math.log(2) / rates


def freeze_after(features: Features, num_kept: int) -> Features:
    """The first `num_kept` steps, then the last of them again and again."""
    _check_kept(features, num_kept)
    last = features[:, num_kept - 1 : num_kept]
    return torch.cat([features[:, :num_kept], last.expand(-1, features.shape[1] - num_kept, -1, -1, -1)], 1)


def shuffle_after(features: Features, num_kept: int, rng: torch.Generator) -> Features:
    """The first `num_kept` steps, then the others in an order of each clip's own."""
    _check_kept(features, num_kept)
    rest = features.shape[1] - num_kept
    orders = torch.stack([num_kept + torch.randperm(rest, generator=rng) for _ in features])
    orders = torch.cat([torch.arange(num_kept).expand(len(features), -1), orders], 1)
    return features[torch.arange(len(features))[:, None], orders]


def _check_kept(features: Tensor, num_kept: int) -> None:
    if not 1 <= num_kept <= features.shape[1]:
        raise ValueError(f"num_kept must be from 1 to the {features.shape[1]} steps there are; got {num_kept}")


def stop_after(x: Clips, num_seen: int, clip_mean: float) -> Clips:
    """Clips as a network would get them from a viewer who stopped after `num_seen` frames: the last one stands still.

    `clip_mean` is the network's own: the part of the mean picture that was subtracted is put back, and the same part of
    the mean of the frames seen is subtracted. No later frame is left in it.

    Raises ValueError for no frame, more than there are, or a `clip_mean` of 1, which cannot be put back.
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
    """What two pasts leave of their difference in the last cell state, both given the same input since.

    At lag n the last n steps were the same; at lag 0 all is left, which is 1. Differences are Euclidean, over channels
    and positions; NaN where there is none to begin with.
    """

    measured: Float[Tensor, "clips lags"]
    by_gates: Float[Tensor, "clips lags"]  # as the forget gates alone would leave it: nothing returns by way of H


@torch.inference_mode()
def fading(layer: RecurrentLayer, features: Features, others: Others) -> Fading:
    """What is left of each clip's own past in the cell state after 0, 1, 2, ... steps of another clip.

    Compared with the state of the other clip from its first step on; the forget gates are those of that state's run.

    Raises ValueError where features and others have not the same shape.
    """
    _check_same(features, others)
    own, reference = _states(layer, features), _states(layer, others)
    f = reference["f"].reshape(*reference["f"].shape[:3], *(reference["f"].shape[3:] or (1, 1)))
    measured, by_gates = [], []
    for k in reversed(range(features.shape[1])):
        apart = own["c"][:, k] - reference["c"][:, k]
        last = own["c"][:, k]
        if k < features.shape[1] - 1:
            _, (_, last) = layer(others[:, k + 1 :], (own["h"][:, k], own["c"][:, k]), return_state=True)
        measured.append(_ratio(last - reference["c"][:, -1], apart))
        by_gates.append(_ratio(f[:, k + 1 :].prod(1) * apart, apart))
    return Fading(torch.stack(measured, 1), torch.stack(by_gates, 1))


def _states(layer: RecurrentLayer, features: Features) -> dict[str, Tensor]:
    with record(layer, "h", "c", "f") as rec:
        layer(features)
    return dict(rec)


@dataclass(frozen=True, eq=False)
class Reach:
    """How far one step of another clip moves what a network ends with, in parts of the way to that clip's.

    1 is as far as the other clip itself ends; NaN where both end alike. At lag n the step n steps before the last is
    the other's.
    """

    cell: Float[Tensor, "clips lags"]  # the first layer's cell state at the last step
    logits: Float[Tensor, "clips lags"]


@torch.inference_mode()
def reach(network: GestureNetwork, features: Features, others: Others) -> Reach:
    """How much the last cell state of the first layer, and the logits, owe to each step.

    Raises ValueError where features and others have not the same shape.
    """
    _check_same(features, others)
    ends = [_end(network, given) for given in (features, others)]
    moved = []
    for k in reversed(range(features.shape[1])):
        changed = features.clone()
        changed[:, k] = others[:, k]
        moved.append(_end(network, changed))
    parts = []
    for own, other, each in zip(*ends, zip(*moved, strict=True), strict=True):
        parts.append(torch.stack([_ratio(end - own, other - own) for end in each], 1))
    return Reach(*parts)


def _end(network: GestureNetwork, features: Features) -> tuple[Tensor, Tensor]:
    """The last cell state of the first layer, and the logits."""
    ends = []
    for part in features.split(BATCH_SIZE):
        with record(network, "layer1.c") as rec:
            logits = network.score(part)
        ends.append((rec["layer1.c"][:, -1], logits))
    return tuple(torch.cat(each) for each in zip(*ends, strict=True))


def _check_same(features: Tensor, others: Tensor) -> None:
    if features.shape != others.shape:
        raise ValueError(f"needed two clips alike; got {tuple(features.shape)} and {tuple(others.shape)}")


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """How large one is beside the other, for each clip; NaN where there is nothing to be beside."""
    size, whole_size = (each.flatten(1).norm(dim=1) for each in (part, whole))
    return torch.where(whole_size > 0, size / whole_size, torch.nan)
