import numpy as np
import pytest

from gatescope.measures.gate_kinds import ROWS, half_width, main_effects
from gatescope.models import STUDY_CELLS


def additive(level, effects):
    """Rows whose accuracy over 1000 clips is a sum: what each gate's kind adds."""
    return {
        name: np.arange(1000) < round(1000 * (level + sum(effects[key] for key in zip("ifo", kinds, strict=True))))
        for name, kinds in ROWS.items()
    }


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


def test_main_effects_of_a_sum_are_its_parts_and_leave_nothing():
    right = additive(0.5, EFFECTS)
    assert {key: values.mean() for key, values in main_effects(right).items()} == pytest.approx(EFFECTS)
    assert half_width(right) == pytest.approx(0, abs=1e-9)


def test_the_rest_of_the_rows_makes_the_interval_wide():
    """Against statsmodels' way of writing it: least squares with an indicator for each kind."""
    rng = np.random.default_rng(3)
    right = {name: rng.random(50) < 0.6 for name in ROWS}
    accuracy = np.array([values.mean() for values in right.values()])
    design = np.array(
        [[1, *(kinds[place] == kind for place in range(3) for kind in ("conv", "pooled"))] for kinds in ROWS.values()],
        float,
    )
    _, (squares,), _, _ = np.linalg.lstsq(design, accuracy, rcond=None)
    assert half_width(right) == pytest.approx(2.0859634 * np.sqrt(squares / 20 * (1 / 9 - 1 / 27)))


def test_main_effects_of_some_rows_are_none():
    right = additive(0.5, EFFECTS)
    right.pop("conv_conv_conv")
    with pytest.raises(ValueError, match="need all 27 rows; 1 are missing"):
        main_effects(right)


def test_the_rows_are_those_of_the_study():
    assert {name: tuple(STUDY_CELLS[name].gates.values()) for name in ROWS} == ROWS
