"""Specialisation of neurons: clips per neuron, information of the choice about the class, temporal gates.

`chosen` holds the neuron that served each clip, `labels` each clip's class or family, both from 0. Measures raise
ValueError where there is no clip, a number is out of range, or lengths differ.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import entr

Numbers = Int[np.ndarray, " clips"]


def routing_table(
    chosen: Numbers, labels: Numbers, num_neurons: int, num_classes: int
) -> Int[np.ndarray, "classes neurons"]:
    """Return the number of clips of each class that each neuron served."""
    _check("chosen", chosen, num_neurons)
    _check("labels", labels, num_classes)
    if len(chosen) != len(labels):
        raise ValueError(f"needed a neuron and a label for each clip; got {len(chosen)} and {len(labels)}")
    table = np.zeros((num_classes, num_neurons), np.int64)
    np.add.at(table, (labels, chosen), 1)
    return table


def effective_neurons(chosen: Numbers, num_neurons: int) -> float:
    """Return the effective number of neurons, from 1 (one serves all) to `num_neurons` (all serve equally often).

    It is the exponential of the entropy of the neurons' shares.
    """
    _check("chosen", chosen, num_neurons)
    return float(np.exp(_entropy(np.bincount(chosen))))


def mutual_information(chosen: Numbers, labels: Numbers) -> float:
    """Return the normalised mutual information of neuron and class: 1 if each determines the other, 0 if none does.

    Mutual information over the mean of both entropies; 0 where either is constant. It is biased upwards for few clips.
    """
    table = routing_table(chosen, labels, int(chosen.max(initial=0)) + 1, int(labels.max(initial=0)) + 1)
    of_neurons, of_classes = _entropy(table.sum(0)), _entropy(table.sum(1))
    if of_neurons == 0 or of_classes == 0:
        return 0.0
    shared = of_neurons + of_classes - _entropy(table)
    return float(max(shared, 0) / ((of_neurons + of_classes) / 2))  # rounding may leave less than 0


def class_mean_accuracy(predicted: Numbers, labels: Numbers) -> float:
    """Return the mean over classes with clips of the part of a class's clips that are predicted right, 0 to 1."""
    _check("labels", labels, int(labels.max(initial=0)) + 1)
    return float(np.mean([(predicted[labels == each] == each).mean() for each in np.unique(labels)]))


def temporal_fraction(gates: Float[np.ndarray, "*any neurons channels"]) -> Float[np.ndarray, "*any neurons"]:
    """Return the part of each neuron's channels that are temporal in eval mode (gate logit above 0); NaN for NaN."""
    return np.where(np.isnan(gates), np.nan, gates > 0).mean(-1)


def temporal_share(
    chosen: Numbers, temporal_clip: Bool[np.ndarray, " clips"], num_neurons: int
) -> Float[np.ndarray, " neurons"]:
    """Return the part of each neuron's clips that are of temporal families; NaN where it served none."""
    still, temporal = routing_table(chosen, temporal_clip.astype(int), num_neurons, 2)
    served = still + temporal
    return np.divide(temporal, served, out=np.full(num_neurons, np.nan), where=served > 0)


def _check(name: str, numbers: Numbers, limit: int) -> None:
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= limit:
        found = f"{numbers.min()} to {numbers.max()}" if len(numbers) else "none"
        raise ValueError(f"{name} must be numbers from 0 to {limit - 1}, one for each of one clip or more; got {found}")


def _entropy(counts: Int[np.ndarray, "..."]) -> float:
    """Return the entropy of a distribution proportional to counts, nats."""
    return float(entr(counts / counts.sum()).sum())
