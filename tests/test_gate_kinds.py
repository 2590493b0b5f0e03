import numpy as np
import pytest

from gatescope.measures.gate_kinds import ROWS, kind_effects
from gatescope.models import STUDY_CELLS

EFFECTS = {
    ("i", "conv"): 0.1,
    ("i", "pooled"): -0.04,
    ("i", "attention"): -0.06,
    ("f", "conv"): 0.0,
    ("f", "pooled"): 0.0,
    ("f", "attention"): 0.0,
    ("o", "conv"): 0.02,
    ("o", "pooled"): -0.03,
    ("o", "attention"): 0.01,
}


def additive(level, effects):
    """Rows whose accuracy over 1000 clips is a sum: what each gate's kind adds; one seed each."""
    return {
        name: np.arange(1000)[None]
        < round(1000 * (level + sum(effects[key] for key in zip("ifo", kinds, strict=True))))
        for name, kinds in ROWS.items()
    }


def drawn(rng, num_seeds, num_clips, *, of_seeds=0.05, of_clips=0.2, of_gates=0.1, people=None):
    """Rows with the same accuracy in truth: each training, each clip and each clip under each kind of i differ."""
    units = np.arange(num_clips) if people is None else people
    clips = rng.normal(0, of_clips, units.max() + 1)[units]
    by_kind = {kind: rng.normal(0, of_gates, units.max() + 1)[units] for kind in ("conv", "pooled", "attention")}
    return {
        name: rng.random((num_seeds, num_clips))
        < 0.7 + clips + by_kind[kinds[0]] + rng.normal(0, of_seeds, (num_seeds, 1))
        for name, kinds in ROWS.items()
    }


def slow_effect(right, gate, kind, people):
    """The main effect, its standard error and degrees of freedom in plain loops; two seeds or more in a row."""
    place, num_clips = "ifo".index(gate), len(people)
    weights = {name: (3 if kinds[place] == kind else 0) / 27 - 1 / 27 for name, kinds in ROWS.items()}
    value = sum(weights[name] * right[name].mean() for name in ROWS)
    units = sorted(set(people.tolist()))
    number, share = len(units), sum(weights[name] ** 2 / len(right[name]) for name in ROWS)
    freedom = sum(len(found) - 1 for found in right.values())
    trainings = both = 0.0
    of_units = dict.fromkeys(units, 0.0)
    for name, found in right.items():
        parts = {}
        for seed in range(len(found)):
            for unit in units:
                own = [found[seed, clip] - found.mean() for clip in range(num_clips) if people[clip] == unit]
                parts[seed, unit] = sum(own) / num_clips
                of_units[unit] += weights[name] * parts[seed, unit] / len(found)
        for seed in range(len(found)):
            away = {unit: parts[seed, unit] - np.mean([parts[s, unit] for s in range(len(found))]) for unit in units}
            trainings += sum(away.values()) ** 2 / freedom
            middle = sum(away.values()) / number
            both += sum((each - middle) ** 2 for each in away.values()) * number / (number - 1) / freedom
    clips = number / (number - 1) * sum(each**2 for each in of_units.values())
    trainings, both = share * trainings, share * both
    variance, spread = both, both**2 / freedom / (number - 1)
    for square, its_freedom in ((trainings, freedom), (clips, number - 1)):
        if square > both:
            variance, spread = variance + square - both, spread + square**2 / its_freedom
    return value, variance**0.5, variance**2 / spread


def test_main_effects_of_a_sum_are_its_parts():
    found = kind_effects(additive(0.5, EFFECTS))
    assert {key: each.value for key, each in found.items()} == pytest.approx(EFFECTS)


def test_seeds_and_people_make_the_interval_as_in_loops():
    rng = np.random.default_rng(2)
    people = rng.integers(0, 7, 30)
    right = drawn(rng, 2, 30, people=people)
    right["conv_conv_conv"] = np.concatenate([right["conv_conv_conv"], rng.random((2, 30)) < 0.5])
    found = kind_effects(right, people)
    for key in (("i", "conv"), ("o", "attention")):
        value, error, freedom = slow_effect(right, *key, people)
        assert (found[key].value, found[key].error) == pytest.approx((value, error))
        assert found[key].freedom == pytest.approx(freedom)


def test_with_one_seed_what_main_effects_leave_is_the_chance_of_training():
    """Against statsmodels' way of writing it: least squares with an indicator for each kind. Clips that all networks
    get right alike add nothing."""
    rng = np.random.default_rng(3)
    right = {name: np.full((1, 50), rng.random() < 0.6) for name in ROWS}
    accuracy = np.array([values.mean() for values in right.values()])
    design = np.array(
        [[1, *(kinds[place] == kind for place in range(3) for kind in ("conv", "pooled"))] for kinds in ROWS.values()],
        float,
    )
    _, (squares,), _, _ = np.linalg.lstsq(design, accuracy, rcond=None)
    found = kind_effects(right)["f", "pooled"]
    assert found.error == pytest.approx(np.sqrt(squares / 20 * (1 / 9 - 1 / 27)))
    assert found.freedom == pytest.approx(20)


@pytest.mark.slow
@pytest.mark.parametrize(("num_seeds", "num_people"), [(1, None), (3, None), (3, 12)])
def test_intervals_cover_what_is_true(num_seeds, num_people):
    rng, missed, draws = np.random.default_rng(0), [], 400
    for _ in range(draws):
        people = None if num_people is None else rng.integers(0, num_people, 120)
        for gate, kind in (("i", "conv"), ("f", "conv")):
            found = kind_effects(drawn(rng, num_seeds, 120, people=people), people)[gate, kind]
            missed.append(not found.low <= 0 <= found.high)
    assert 0.93 <= 1 - np.mean(missed) <= 0.975


def test_main_effects_of_some_rows_are_none():
    right = additive(0.5, EFFECTS)
    right.pop("conv_conv_conv")
    with pytest.raises(ValueError, match="need all 27 rows; 1 are missing"):
        kind_effects(right)


def test_the_rows_are_those_of_the_study():
    assert {name: tuple(STUDY_CELLS[name].gates.values()) for name in ROWS} == ROWS
