"""What states hold: recorded for many clips, made into one map by several rules, and c compared with h."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatescope.models import GestureNetwork
from gatescope.recordings.record import record

RULES = {
    "sum": "largest sum",
    "mean": "mean of |h|",
    "max": "largest |h|",
    "gradient": "most for the class",
}
BATCH_SIZE = 16  # clips
EVEN = 1e-6  # a map that varies less, in parts of its size, varies by rounding

Features = Float[Tensor, "clips step features height width"]
State = Float[Tensor, "clips step channels rows columns"]
Maps = Float[np.ndarray, "clips step rows columns"]
Channels = Int[np.ndarray, "clips step"]


def record_states(network: GestureNetwork, features: Features, layer: str = "layer1") -> dict[str, Tensor]:
    """`h`, `c`, `f` and `o` of a layer for clips given as features, and `gradient`: that of the class score by h.

    The class is the one that the network takes each clip for, the score its logit. All have a time axis.
    """
    names = {name: f"{layer}.{name}" for name in "hcfo"}
    parts = []
    for part in features.split(BATCH_SIZE):
        with record(network, *names.values(), gradients=True) as rec:
            # What was made in inference mode takes no part in a graph; its copy does.
            best = network.score(part.clone()).amax(1).sum()
            gradient = rec.gradient(names["h"], best)
        parts.append({**{name: rec[point] for name, point in names.items()}, "gradient": gradient})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def one_map(state: State, rule: str, gradient: State | None = None) -> tuple[Maps, Channels | None]:
    """A map for each step by that one of RULES, and the channels chosen; None where the rule makes one of all.

    `sum` is how the authors drew Fig. 3 of Zhang et al. 2018: of each step the channel with the largest sum.
    `gradient` takes the channel whose values times the `gradient` of a class's score have the largest sum: to first
    order what the score would lose without it. Both give the channel as it is, with its sign; `mean` and `max` give
    sizes.

    Raises LookupError for another rule, ValueError where `gradient` is needed and missing.
    """
    if rule not in RULES:
        raise LookupError(f"no rule {rule!r}; there are {', '.join(RULES)}")
    if rule in ("mean", "max"):
        sizes = state.abs()
        return (sizes.mean(2) if rule == "mean" else sizes.amax(2)).numpy(), None
    if rule == "gradient" and gradient is None:
        raise ValueError("the rule `gradient` needs the gradient of a score with respect to the state")
    worth = state if rule == "sum" else state * gradient
    channels = worth.sum((3, 4)).argmax(2)
    at = channels[:, :, None, None, None].expand(-1, -1, 1, *state.shape[3:])
    return state.gather(2, at).squeeze(2).numpy(), channels.numpy()


def correlation(
    first: Float[np.ndarray, "clips *any rows columns"], second: Float[np.ndarray, "clips *any rows columns"]
) -> Float[np.ndarray, " clips"]:
    """How far two sets of maps show the same places, -1 to 1: Pearson's correlation over positions.

    The mean over all maps of a clip, but those where one of the two is even, up to rounding; NaN where all are.
    """
    apart, sizes = [], []
    for maps in (np.float64(first), np.float64(second)):
        apart.append(maps - maps.mean((-2, -1), keepdims=True))
        size, whole = (np.sqrt((each**2).sum((-2, -1))) for each in (apart[-1], maps))
        sizes.append(np.where(size > EVEN * whole, size, np.nan))
    found = (apart[0] * apart[1]).sum((-2, -1)) / (sizes[0] * sizes[1])
    found = found.reshape(len(found), -1)
    known = ~np.isnan(found)
    count = known.sum(1)
    return np.where(count > 0, np.where(known, found, 0).sum(1) / np.maximum(count, 1), np.nan)


def shown_of_cell(c: State, h: State) -> dict[str, Float[np.ndarray, " clips"]]:
    """What of a cell state its hidden state h = o tanh(c) shows, of each clip.

    `saturated` is the part of all values of c beyond 1, where tanh is nearly flat; `after tanh` and `after gate` are
    the mean sizes of tanh(c) and of h in parts of that of c; `same place` is the correlation of the maps of c and h.
    `counting` is, of the values of c beyond 1.5, the part within 0.1 of a whole number, where an even spread has 0.2: c
    counts steps where both gates are open and the candidate is at its ends. NaN where no value is as large.
    """
    near = (c.abs() > 1.5) & ((c - c.round()).abs() < 0.1)
    sizes = [values.abs().flatten(1).mean(1) for values in (c, c.tanh(), h)]
    return {
        "saturated": (c.abs() > 1).flatten(1).float().mean(1).numpy(),
        "after tanh": (sizes[1] / sizes[0]).numpy(),
        "after gate": (sizes[2] / sizes[0]).numpy(),
        "counting": (near.flatten(1).sum(1) / (c.abs() > 1.5).flatten(1).sum(1)).numpy(),
        "same place": correlation(c.numpy(), h.numpy()),
    }
