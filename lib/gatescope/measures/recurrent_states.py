"""Cell and hidden states of many clips: recorded, reduced to one map by several rules, and compared."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatescope.measures.localisation import correlation
from gatescope.models import GestureNetwork
from gatescope.recordings.record import record
from gatescope.recordings.scoring import BATCH_SIZE, Features

RULES = {"sum": "largest sum", "mean": "mean of |h|", "max": "largest |h|", "gradient": "most for the class"}

State = Float[Tensor, "clips step channels rows columns"]
Maps = Float[np.ndarray, "clips step rows columns"]
Channels = Int[np.ndarray, "clips step"]


def record_states(network: GestureNetwork, features: Features) -> dict[str, Tensor]:
    """Return `h`, `c`, `f` and `o` of layer 1 over time for clips given as features, and `gradient`.

    `gradient` is that of the predicted class's logit with respect to h.
    """
    parts = []
    for part in features.split(BATCH_SIZE):
        with record(network, "layer1.[hcfo]", gradients=True) as rec:
            # A tensor made in inference mode cannot be part of a graph; its copy can.
            best = network.score(part.clone()).amax(1).sum()
            gradient = rec.gradient("layer1.h", best)
        parts.append({name.removeprefix("layer1."): value for name, value in rec.items()} | {"gradient": gradient})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def one_map(state: State, rule: str, gradient: State | None = None) -> tuple[Maps, Channels | None]:
    """Return a map for each step by one of RULES, and the channel chosen at each; None where all channels are used.

    `sum`, as in Fig. 3 of Zhang et al. 2018: the channel with the largest sum at each step. `gradient`: the channel
    with the largest sum of its values times the `gradient` of a class's score, to first order what the score would lose
    without it. Both return the signed channel; `mean` and `max` return magnitudes.

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


def shown_of_cell(c: State, h: State) -> dict[str, Float[np.ndarray, " clips"]]:
    """Return for each clip how much of the cell state c its hidden state h = o tanh(c) shows.

    `saturated`: the share of values with |c| > 1, where tanh is nearly flat. `after tanh`, `after gate`: the mean
    magnitude of tanh(c) and of h relative to that of c. `same place`: the correlation of the maps of c and h.
    `counting`: the share within 0.1 of an integer among values with |c| > 1.5, 0.2 for an even spread. c counts steps
    where f and i are open and the candidate is at its ends. NaN without such values.
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
