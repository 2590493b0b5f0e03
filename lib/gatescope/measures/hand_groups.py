"""Errors of measured hands by what a frame shows: the hand's size and speed, the skin's tone, clutter, the gesture."""

import numpy as np
from jaxtyping import Bool, Float

from gatescope.measures.estimates import Estimate, estimate, simultaneous
from gatescope.measures.hand_errors import HandErrors
from rendered_people.labels import CONFUSABLE

Chosen = Bool[np.ndarray, " rows"]
OfRows = Float[np.ndarray, " rows"]

# The lowest typology angle of each class of skin, degrees (Chardon et al. 1991; Del Bino and Bernerd 2013).
TONES = {"very light": 55, "light": 41, "intermediate": 28, "tan": 10, "brown": -30, "dark": -90}
COMPARED = {"very light to intermediate": (28, 91), "tan and brown": (-30, 28), "dark": (-90, -30)}  # enough people
FEWEST = 3  # people that a group needs for an interval
SIDES_PX, SPEEDS_PX = (0, 20, 40, 50, 60, 100), (0, 3, 6, 12, 24, 250)


def frame_groups(rows: HandErrors) -> dict[str, dict[str, Chosen]]:
    """Return the rows with a hand in view by kind and name of a group, empty groups left out.

    Of gestures the families of look-alikes are told apart, and the rest, which has none.
    """
    visible = rows.side > 0

    def between(values: np.ndarray, edges: tuple[int, ...], unit: str) -> dict[str, Chosen]:
        return {
            f"{low} to {high} {unit}": visible & (values >= low) & (values < high)
            for low, high in zip(edges[:-1], edges[1:], strict=True)
        }

    tops = dict(zip(TONES, (91, *TONES.values()), strict=False))
    families = {name: np.isin(rows.label, labels) for name, labels in CONFUSABLE.items()}
    groups = {
        "all": {"all": visible},
        "side of the hand": between(rows.side, SIDES_PX, "px"),
        "speed": between(rows.speed, SPEEDS_PX, "px/frame"),
        "skin": {name: visible & (rows.tone >= low) & (rows.tone < tops[name]) for name, low in TONES.items()},
        "difficulty": {f"{level:g}": visible & (rows.difficulty == level) for level in np.unique(rows.difficulty)},
        "gesture": {name: visible & each for name, each in families.items()}
        | {"others": visible & ~np.any(list(families.values()), axis=0)},
    }
    return {kind: {name: each for name, each in own.items() if each.any()} for kind, own in groups.items()}


def row_measures(rows: HandErrors) -> dict[str, OfRows]:
    """Return what is measured of each row: whether the hand is found, and where it is the masks' overlap and joints."""
    where = {"overlap": rows.overlap, "joints, px": rows.joints}
    return {"found": np.float64(rows.found)} | {
        name: np.where(rows.found, np.float64(values), np.nan) for name, values in where.items()
    }


def of_people(values: OfRows, chosen: Chosen, rows: HandErrors) -> dict[int, float]:
    """Return the mean of what is known of the chosen rows of each person, by the person's number."""
    chosen = chosen & np.isfinite(values)
    return {
        person: float(values[chosen & (rows.person == person)].mean()) for person in set(rows.person[chosen].tolist())
    }


def of_groups(rows: HandErrors) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Return [measure][kind][group]: the mean over frames, with an interval of 95 % that takes people as drawn.

    Groups of fewer than FEWEST people are left out.
    """
    measures, groups = row_measures(rows), frame_groups(rows)
    return {
        measure: {
            kind: {
                name: estimate(values[None, chosen], people=rows.person[chosen].astype(int))
                for name, chosen in own.items()
                if len(of_people(values, chosen, rows)) >= FEWEST
            }
            for kind, own in groups.items()
        }
        for measure, values in measures.items()
    }


def tones_compared(rows: HandErrors) -> dict[tuple[str, str], Estimate]:
    """Return [skin, measure]: the people of a part of COMPARED minus all others; all intervals hold together at 95 %.

    A person counts once, whatever number of frames there is of it (Welch's test). Parts of fewer than FEWEST people are
    left out.
    """
    visible, pairs = rows.side > 0, {}
    for measure, values in row_measures(rows).items():
        for skin, (low, top) in COMPARED.items():
            inside = (rows.tone >= low) & (rows.tone < top)
            own, others = (
                np.array(list(of_people(values, visible & each, rows).values())) for each in (inside, ~inside)
            )
            if min(len(own), len(others)) >= FEWEST:
                pairs[skin, measure] = own, others
    return {key: _welch(*sides, simultaneous(len(pairs))) for key, sides in pairs.items()}


def _welch(first: np.ndarray, second: np.ndarray, level: float) -> Estimate:
    parts = np.array([side.var(ddof=1) / len(side) for side in (first, second)])
    spread = (parts**2 / (len(first) - 1, len(second) - 1)).sum()
    freedom = parts.sum() ** 2 / spread if spread > 0 else np.inf
    return Estimate(first.mean() - second.mean(), np.sqrt(parts.sum()), freedom, level)
