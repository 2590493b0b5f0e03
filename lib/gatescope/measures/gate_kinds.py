"""Main effects of gate kinds on accuracy, from one training of each of the 27 choices."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64

from gatescope.models.cells import GATE_KINDS

ROWS = {"_".join(kinds): kinds for kinds in product(GATE_KINDS, repeat=3)}  # of STUDY_CELLS: the kinds of i, f and o


def main_effects(right: Mapping[str, Bool[np.ndarray, " clip"]]) -> dict[tuple[str, str], Float64[np.ndarray, " clip"]]:
    """Return the main effect of each (gate, kind): the mean over all rows that have it, less the mean over all rows.

    `right` holds for every row, by its name in STUDY_CELLS, which clips it gets right. Raises ValueError unless all
    rows are there: means over some of them would differ in the other gates as well.
    """
    if set(right) != set(ROWS):
        raise ValueError(f"main effects need all {len(ROWS)} rows; {len(set(ROWS) - set(right))} are missing")
    every = np.mean(list(right.values()), axis=0)
    return {
        (gate, kind): np.mean([right[name] for name, kinds in ROWS.items() if kinds[place] == kind], axis=0) - every
        for place, gate in enumerate("ifo")
        for kind in GATE_KINDS
    }


def half_width(right: Mapping[str, Bool[np.ndarray, " clip"]]) -> float:
    """Return the half width of a main effect's 95 % interval, from the variance that main effects leave unexplained.

    Each row was trained once: the residual holds the chance of training and all interactions. Student's t with 20
    degrees of freedom, for the contrast of 9 rows with all 27.
    """
    from scipy.stats import t  # slow to import

    effects = {key: values.mean() for key, values in main_effects(right).items()}
    accuracy = {name: values.mean() for name, values in right.items()}
    rest = [
        accuracy[name] - np.mean(list(accuracy.values())) - sum(effects[key] for key in zip("ifo", kinds, strict=True))
        for name, kinds in ROWS.items()
    ]
    freedom = len(rest) - 1 - 3 * (len(GATE_KINDS) - 1)
    of_rows = np.square(rest).sum() / freedom
    same = len(rest) / len(GATE_KINDS)
    return float(t.ppf(0.975, freedom) * np.sqrt(of_rows * (1 / same - 1 / len(rest))))
