"""How long a recurrent layer remembers: by its forget gates, and by what two different pasts leave in one present."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models import RecurrentLayer
from gatescope.recordings.record import record

Clips = Float[Tensor, "clips channel time height width"]
Features = Float[Tensor, "clips step features rows columns"]


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
    """What is left at the last step of a difference between two cell states, both given the same input since.

    A lag counts the steps that were the same: at lag 0 all is left, which is 1. Differences are Euclidean, over
    channels and positions.
    """

    measured: Float[Tensor, "clips lags"]
    by_gates: Float[Tensor, "clips lags"]  # as the forget gates alone would leave it: nothing returns by way of H


@torch.inference_mode()
def other_past(layer: RecurrentLayer, features: Features, others: Features) -> Fading:
    """What each clip's own past leaves of itself in the state, when what follows is `others`.

    At lag n the clip's own steps end n steps before the last. Compared with `others` from the first step on.

    Raises ValueError where features and others have not the same shape.
    """
    own, other = _states(layer, features), _states(layer, others)
    return _fade(layer, own, other, others)


@torch.inference_mode()
def other_step(layer: RecurrentLayer, features: Features, others: Features) -> Fading:
    """What one step of another clip leaves in the state: at lag n the step n steps before the last is that of `others`.

    Compared with the clip as it is.
    """
    states = _states(layer, features)
    changed = []
    for k in range(features.shape[1]):
        before = None if k == 0 else (states["h"][:, k - 1], states["c"][:, k - 1])
        changed.append(layer(others[:, k : k + 1], before, return_state=True)[1])
    h, c = (torch.stack(each, 1) for each in zip(*changed, strict=True))
    return _fade(layer, {"h": h, "c": c}, states, features)


def _states(layer: RecurrentLayer, features: Features) -> dict[str, Tensor]:
    with record(layer, "h", "c", "f") as rec:
        layer(features)
    return dict(rec)


def _fade(layer: RecurrentLayer, start: dict[str, Tensor], reference: dict[str, Tensor], given: Features) -> Fading:
    """From the states of `start` at each step on, the steps of `given`, of which `reference` recorded the states."""
    num_steps = given.shape[1]
    f = reference["f"].reshape(*reference["f"].shape[:3], *(reference["f"].shape[3:] or (1, 1)))
    measured, by_gates = [], []
    for k in reversed(range(num_steps)):
        apart = start["c"][:, k] - reference["c"][:, k]
        last = start["c"][:, k]
        if k < num_steps - 1:
            _, (_, last) = layer(given[:, k + 1 :], (start["h"][:, k], start["c"][:, k]), return_state=True)
        size = _norm(apart)
        measured.append(_norm(last - reference["c"][:, -1]) / size)
        by_gates.append(_norm(f[:, k + 1 :].prod(1) * apart) / size)
    return Fading(torch.stack(measured, 1), torch.stack(by_gates, 1))


def _norm(maps: Tensor) -> Tensor:
    return maps.flatten(1).norm(dim=1)
