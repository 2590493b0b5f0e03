"""The 27 choices of gates, each trained once: what the kinds of each gate do on average."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import t

from gatescope.models.cells import GATE_KINDS

ROWS = {"_".join(kinds): kinds for kinds in product(GATE_KINDS, repeat=3)}  # of STUDY_CELLS: the kinds of i, f and o


def main_effects(right: Mapping[str, Bool[np.ndarray, " clip"]]) -> dict[tuple[str, str], Float64[np.ndarray, " clip"]]:
    """What each kind of each gate does, for each (gate, kind): the mean over all rows that have it, less that over all.

    `right` says of every row, by its name as in STUDY_CELLS, which clips it gets right. Raises ValueError unless every
    choice of kinds is there: of some alone, the means would differ in the other gates as well.
    """
    if set(right) != set(ROWS):
        raise ValueError(f"main effects need all {len(ROWS)} rows; {len(set(ROWS) - set(right))} are missing")
    every = np.mean(list(right.values()), axis=0)
    return {
        (gate, kind): np.mean([right[name] for name, kinds in ROWS.items() if kinds[place] == kind], axis=0) - every
        for place, gate in enumerate("ifo")
        for kind in GATE_KINDS
    }


def half_width(right: Mapping[str, Bool[np.ndarray, " clip"]], level: float = 0.95) -> float:
    """How far to either side a main effect's interval reaches, by what the main effects leave unexplained of the rows.

    Each row was trained once, by itself: that rest holds chance in training, and whatever gates do only together.
    Student's t for the contrast of 9 rows with all 27, 20 degrees of freedom.
    """
    effects = {key: values.mean() for key, values in main_effects(right).items()}
    accuracy = {name: values.mean() for name, values in right.items()}
    rest = [
        accuracy[name] - np.mean(list(accuracy.values())) - sum(effects[key] for key in zip("ifo", kinds, strict=True))
        for name, kinds in ROWS.items()
    ]
    freedom = len(rest) - 1 - 3 * (len(GATE_KINDS) - 1)
    of_rows = np.square(rest).sum() / freedom
    same = len(rest) / len(GATE_KINDS)
    return float(t.ppf((1 + level) / 2, freedom) * np.sqrt(of_rows * (1 / same - 1 / len(rest))))
