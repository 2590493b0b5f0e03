"""Who serves whom: how evenly clips spread over neurons, what the choice tells of the class, what gates look at.

`chosen` holds the neuron that served each clip and `labels` each clip's class or family, both from 0.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

Numbers = Int[np.ndarray, " clips"]


def routing_table(
    chosen: Numbers, labels: Numbers, num_neurons: int, num_classes: int
) -> Int[np.ndarray, "classes neurons"]:
    """How many clips of each class each neuron served.

    Raises ValueError if there is no clip, a number lies outside its range, or the two are not of the same clips.
    """
    _check("chosen", chosen, num_neurons)
    _check("labels", labels, num_classes)
    if len(chosen) != len(labels):
        raise ValueError(f"needed a neuron and a label for each clip; got {len(chosen)} and {len(labels)}")
    table = np.zeros((num_classes, num_neurons), np.int64)
    np.add.at(table, (labels, chosen), 1)
    return table


def effective_neurons(chosen: Numbers, num_neurons: int) -> float:
    """How many neurons that serve equally often would leave as much open: from 1, one serves all, to `num_neurons`.

    The exponential of the entropy of the neurons' shares. Raises ValueError as `routing_table` does.
    """
    _check("chosen", chosen, num_neurons)
    return float(np.exp(_entropy(np.bincount(chosen))))


def mutual_information(chosen: Numbers, labels: Numbers) -> float:
    """What the neuron tells of the class: 1 if either tells the other, 0 if nothing, or if one is always the same.

    Normalised: the mutual information over the mean of both entropies. By chance it lies a little above 0, the more
    so the fewer the clips. Raises ValueError if there is no clip, a number is negative, or lengths differ.
    """
    table = routing_table(chosen, labels, int(chosen.max(initial=0)) + 1, int(labels.max(initial=0)) + 1)
    of_neurons, of_classes = _entropy(table.sum(0)), _entropy(table.sum(1))
    if of_neurons == 0 or of_classes == 0:
        return 0.0
    shared = of_neurons + of_classes - _entropy(table)
    return float(max(shared, 0) / ((of_neurons + of_classes) / 2))  # rounding may leave less than 0


def class_mean_accuracy(predicted: Numbers, labels: Numbers) -> float:
    """The part, 0 to 1, of a class's clips that are predicted right, mean over the classes that have clips.

    Raises ValueError if there is no clip or a label is negative.
    """
    _check("labels", labels, int(labels.max(initial=0)) + 1)
    num_clips = np.bincount(labels)
    num_right = np.bincount(labels[predicted == labels], minlength=len(num_clips))
    return float((num_right[num_clips > 0] / num_clips[num_clips > 0]).mean())


def temporal_fraction(gates: Float[np.ndarray, "*any neurons channels"]) -> Float[np.ndarray, "*any neurons"]:
    """The part, 0 to 1, of each neuron's channels that are temporal in evaluation: those whose gate logit is above 0.

    NaN where a logit is.
    """
    return np.where(np.isnan(gates), np.nan, gates > 0).mean(-1)


def temporal_share(
    chosen: Numbers, temporal_clip: Bool[np.ndarray, " clips"], num_neurons: int
) -> Float[np.ndarray, " neurons"]:
    """The part, 0 to 1, of the clips each neuron served that are of temporal families; NaN where it served none.

    Raises ValueError as `routing_table` does.
    """
    still, temporal = routing_table(chosen, temporal_clip.astype(int), num_neurons, 2)
    served = still + temporal
    return np.divide(temporal, served, out=np.full(num_neurons, np.nan), where=served > 0)


def _check(name: str, numbers: Numbers, limit: int) -> None:
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= limit:
        found = f"{numbers.min()} to {numbers.max()}" if len(numbers) else "none"
        raise ValueError(f"{name} must be numbers from 0 to {limit - 1}, one for each of one clip or more; got {found}")


def _entropy(counts: Int[np.ndarray, "..."]) -> float:
    """The entropy in nats of a distribution in proportion to counts."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
