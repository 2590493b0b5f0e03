"""How often the notebooks' intervals cover the truth, on data drawn from variance components of kept results."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from coverage_simulation import Components, coverage, fitted

from gatescope.loaders import SyntheticGestures
from gatescope.measures.estimates import estimate
from gatescope.paths import CHECKPOINTS, NEURONS, POSES
from gatescope.trainings import neurons, poses
from gatescope.trainings.evaluation import Proportion, load_predictions
from gatescope.trainings.tasks import PREDICTIONS

BAR = 0.93, 0.97  # of intervals at 95 %
NUM_DRAWS = 4000  # data sets: a coverage of 95 % is measured to +-0.3 % (standard error)
SEEDS = 3, 5, 9


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of interval on data like those of one set of kept results."""

    name: str
    components: Components
    kind: str
    interval: Callable
    people: np.ndarray  # in each clip
    seeds: tuple[int, ...] = SEEDS


def of_mean(values: np.ndarray, people: np.ndarray) -> tuple:
    """The interval of a mean over seeds and clips."""
    return estimate(values)


def of_people(values: np.ndarray, people: np.ndarray) -> tuple:
    """The interval of a mean over seeds and people."""
    return estimate(values, people=people)


def of_change(values: np.ndarray, people: np.ndarray) -> tuple:
    """The interval of what a change does to the same networks."""
    return estimate(values[1].astype(float) - values[0])


def of_groups(values: np.ndarray, people: np.ndarray) -> tuple:
    """The interval of the difference between two groups of networks."""
    return estimate(values[1], values[0])


def of_groups_by_people(values: np.ndarray, people: np.ndarray) -> tuple:
    """The same over people."""
    return estimate(values[1], values[0], people=people)


def by_wilson(values: np.ndarray, people: np.ndarray) -> tuple:
    """Wilson's interval of one network's accuracy."""
    found = Proportion(int(values.sum()), values.size)
    return found.value, *found.interval


def cases() -> Iterator[Case]:
    """Every kind of interval, on data like gestures (clips differ most), families (seeds too) and poses (mm)."""
    gestures = SyntheticGestures("valid", 810)
    people = np.array([gestures.performer(index) for index in range(len(gestures))])
    right = {}
    for cell in ("a", "convlstm"):
        kept = [load_predictions(CHECKPOINTS / f"{cell}-{seed}" / PREDICTIONS) for seed in range(3)]
        right[cell] = np.stack([[one[name].ranks == 0 for one in kept] for name in ("clips", "reversed")])
    two_cells = np.stack([right["a"][0], right["convlstm"][0]])
    alone, each, own = np.arange(810), fitted(right["a"]), fitted(right["a"], people)
    yield Case(name="gestures, mean", components=each, kind="mean", interval=of_mean, people=alone)
    yield Case(name="gestures, mean over people", components=own, kind="mean", interval=of_people, people=people)
    yield Case(name="gestures, reversed minus forward", components=each, kind="same", interval=of_change, people=alone)
    for name, components, interval, who in (
        ("gestures, two cells", fitted(two_cells), of_groups, alone),
        ("gestures, two cells, over people", fitted(two_cells, people), of_groups_by_people, people),
    ):
        yield Case(name=name, components=components, kind="groups", interval=interval, people=who)
    yield Case(name="gestures, one network", components=each, kind="one", interval=of_mean, people=alone, seeds=(1,))
    few = np.arange(54)
    yield Case(name="gestures, one, 54 clips", components=each, kind="one", interval=of_mean, people=few, seeds=(1,))
    yield Case(name="gestures, Wilson", components=each, kind="one", interval=by_wilson, people=alone, seeds=(1,))
    variants = {name: _families(name) for name in ("default", "neurons_1", "udl", "both")}
    alone = np.arange(600)
    pairs = {name: fitted(np.stack([variants["default"], variants[name]])) for name in ("neurons_1", "udl", "both")}
    yield Case(name="families, mean", components=pairs["udl"], kind="mean", interval=of_mean, people=alone)
    for name, words in (("neurons_1", "1 neuron"), ("udl", "UDL"), ("both", "both operators")):
        words = f"families, {words} minus default"
        yield Case(name=words, components=pairs[name], kind="groups", interval=of_groups, people=alone)
    errors = np.stack([_poses(name) for name in ("no_3d_feedback", "rpsm")])
    alone = np.arange(300)
    yield Case(name="poses, mean", components=fitted(errors), kind="mean", interval=of_mean, people=alone)
    yield Case(name="poses, two variants", components=fitted(errors), kind="groups", interval=of_groups, people=alone)


def _families(variant: str) -> np.ndarray:
    kept = sorted((NEURONS / "families").glob(f"{variant}-[0-9]"))
    found = [neurons.NeuronResults.load(folder / neurons.RESULTS) for folder in kept]
    return np.stack([one.labels == one.predicted for one in found])


def _poses(variant: str) -> np.ndarray:
    kept = sorted((POSES / "ablations").glob(f"{variant}-[0-9]"))
    return np.stack([poses.PoseErrors.load(folder / poses.RESULTS).by_frame[:, -1].mean(-1) for folder in kept])


def main() -> None:
    """Print the coverage of every kind of interval, and whether all are within the bar."""
    outside = []
    print(f"{'intervals at 95 %, of ' + str(NUM_DRAWS):42} " + " ".join(f"{seeds:>5} seeds" for seeds in SEEDS))
    for case in cases():
        line = []
        for seeds in case.seeds:
            found = coverage(case.interval, case.components, case.kind, seeds, case.people, NUM_DRAWS)
            line.append(f"{found.covered:>11.1%}")
            if not BAR[0] <= found.covered <= BAR[1]:
                outside.append(f"{case.name}, {seeds} seeds: {found.covered:.1%}")
        print(f"{case.name:42} {' '.join(line)}", flush=True)
    print(f"outside {BAR[0]:.0%} to {BAR[1]:.0%}: {'; '.join(outside) or 'none'}")


if __name__ == "__main__":
    main()
