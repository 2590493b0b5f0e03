"""Main effects of gate kinds on accuracy, from trainings of each of the 27 choices, any number of seeds for each."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64

from gatescope.measures.estimates import Estimate, People
from gatescope.models.cells import GATE_KINDS

ROWS = {"_".join(kinds): kinds for kinds in product(GATE_KINDS, repeat=3)}  # of STUDY_CELLS: the kinds of i, f and o

Right = Bool[np.ndarray, "_ clips"]  # rows are seeds


def kind_effects(right: Mapping[str, Right], people: People | None = None) -> dict[tuple[str, str], Estimate]:
    """Return the main effect of each (gate, kind): the mean over all choices that have it, less the mean over all.

    `right` holds for every choice, by its name in STUDY_CELLS, which clips each of its seeds gets right. Trainings and
    clips (with `people`, the person in each clip) are crossed random effects, as in `estimate`. The variance between
    trainings is pooled over all choices: that of the seeds of one choice or, if none has two, what the main effects
    leave unexplained. The latter counts interactions of gates as chance.

    Raises ValueError unless all choices are there: means over some of them would differ in the other gates as well.
    """
    if set(right) != set(ROWS):
        raise ValueError(f"main effects need all {len(ROWS)} rows; {len(set(ROWS) - set(right))} are missing")
    num_clips = next(iter(right.values())).shape[1]
    units = np.arange(num_clips) if people is None else np.unique(people, return_inverse=True)[1]
    num_units = units.max() + 1
    # Deviations from the choice's own mean, so that it does not matter how many clips a person has.
    tables = [
        np.stack([np.bincount(units, each) for each in right[name] - right[name].mean()]) / num_clips for name in ROWS
    ]
    rows = np.stack([table.mean(0) for table in tables])
    freedom = sum(len(table) - 1 for table in tables)
    if freedom:
        rest = np.concatenate([table - table.mean(0) for table in tables])
    else:
        accuracy = np.array([right[name].mean() for name in ROWS])
        rest = _unexplained(rows + accuracy[:, None] / num_units)
        freedom = len(ROWS) - 1 - 3 * (len(GATE_KINDS) - 1)
    of_trainings = (rest.sum(1) ** 2).sum() / freedom
    of_both = (
        num_units / (num_units - 1) * ((rest - rest.mean(1, keepdims=True)) ** 2).sum() / freedom
        if num_units > 1
        else 0.0
    )
    effects = {}
    for key, weights in _contrasts().items():
        share = sum(weight**2 / len(table) for weight, table in zip(weights, tables, strict=True))
        trainings, both = share * of_trainings, share * of_both
        between = num_units / (num_units - 1) * ((weights @ rows) ** 2).sum() if num_units > 1 else 0.0
        parts = [(trainings, trainings - both, freedom), (between, between - both, num_units - 1)]
        variance = both + sum(max(component, 0.0) for _, component, _ in parts)
        spread = sum(square**2 / number for square, component, number in parts if component > 0)
        spread += both**2 / (freedom * max(num_units - 1, 1))
        value = weights @ np.array([right[name].mean() for name in ROWS])
        effects[key] = Estimate(value, np.sqrt(variance), variance**2 / spread if spread > 0 else np.inf)
    return effects


def _contrasts() -> dict[tuple[str, str], Float64[np.ndarray, " rows"]]:
    """Return the weight of each of ROWS in each main effect."""
    return {
        (gate, kind): np.array([(kinds[place] == kind) * len(GATE_KINDS) - 1.0 for kinds in ROWS.values()]) / len(ROWS)
        for place, gate in enumerate("ifo")
        for kind in GATE_KINDS
    }


def _unexplained(rows: Float64[np.ndarray, "rows units"]) -> Float64[np.ndarray, "rows units"]:
    """Return what a sum of main effects leaves of each row, unit by unit."""
    effects = {key: weights @ rows for key, weights in _contrasts().items()}
    explained = [sum(effects[key] for key in zip("ifo", kinds, strict=True)) for kinds in ROWS.values()]
    return rows - rows.mean(0) - np.stack(explained)
