"""From a state's many channels to the one map of a picture, by several rules."""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

RULES = {
    "sum": "largest sum",
    "mean": "mean of |h|",
    "max": "maximum of |h|",
    "gradient": "most for the class",
}

State = Float[Tensor, "clips step channels rows columns"]
Maps = Float[np.ndarray, "clips step rows columns"]
Channels = Int[np.ndarray, "clips step"]


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
    first: Float[np.ndarray, "*any rows columns"], second: Float[np.ndarray, "*any rows columns"]
) -> Float[np.ndarray, "*any"]:
    """Pearson's correlation of two maps over their positions, -1 to 1; NaN where one is the same everywhere."""
    varies = (np.ptp(first, (-2, -1)) > 0) & (np.ptp(second, (-2, -1)) > 0)
    first, second = (np.float64(maps) - np.float64(maps).mean((-2, -1), keepdims=True) for maps in (first, second))
    sizes = np.sqrt((first**2).sum((-2, -1)) * (second**2).sum((-2, -1)))
    return np.divide((first * second).sum((-2, -1)), sizes, out=np.full(sizes.shape, np.nan), where=varies)
