from itertools import chain, combinations, product

import numpy as np
import pytest

from gatescope.measures.gate_variance import (
    AXES,
    PARTS,
    explained_by,
    on_and_off,
    part_of,
    summarise,
    variance_parts,
    variance_terms,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def slow_terms(values):
    """The same by the book: effects from the smallest set up, taken away from the table one after another."""
    rest = values.astype(np.float64)
    terms = {}
    for axes in chain.from_iterable(combinations(range(4), count) for count in range(5)):
        others = tuple(axis for axis in range(4) if axis not in axes)
        effect = rest.mean(others, keepdims=True)
        rest = rest - effect
        if axes:
            terms[tuple(AXES[axis] for axis in axes)] = float((effect**2).mean())
    assert np.abs(rest).max() < 1e-12
    return terms


@pytest.mark.parametrize("shape", [(3, 5, 4, 7), (1, 5, 4, 7), (2, 1, 3, 1), (1, 1, 1, 1)])
def test_the_variance_is_the_sum_of_fifteen_terms(rng, shape):
    values = rng.normal(size=shape) * rng.uniform(0.1, 3, size=shape[2])[:, None]
    found, slow = variance_terms(values), slow_terms(values)
    assert set(found) == set(slow)
    assert len(found) == 15
    assert found == pytest.approx(slow, abs=1e-12)
    assert sum(found.values()) == pytest.approx(values.var(), abs=1e-12)


def test_each_axis_of_its_own_is_a_main_effect():
    levels = [np.arange(n, dtype=np.float64) * scale for n, scale in ((2, 1), (3, 2), (4, 3), (5, 4))]
    values = np.add.outer(np.add.outer(np.add.outer(*levels[:2]), levels[2]), levels[3])
    found = variance_terms(values)
    for axis, level in zip(AXES, levels, strict=True):
        assert found.pop((axis,)) == pytest.approx(level.var())
    assert all(abs(term) < 1e-12 for term in found.values())


def test_maps_in_rows_and_columns_are_positions_and_a_pooled_gate_has_one(rng):
    gate = rng.random((2, 3, 4, 5, 6)).astype(np.float32)
    assert variance_terms(gate) == variance_terms(gate.reshape(2, 3, 4, 30))
    pooled = variance_terms(gate[..., 0, 0])
    assert all(abs(term) < 1e-12 for axes, term in pooled.items() if "space" in axes)


def test_parts_are_shares_and_each_is_what_it_is_called(rng):
    shape = {"channel": (1, 1, 4, 1), "time": (1, 3, 4, 1), "clip": (2, 3, 4, 1), "shared map": (1, 3, 4, 5)}
    for part, size in {**shape, "clip's map": (2, 3, 4, 5)}.items():
        made = rng.normal(size=size)
        for axis in range(4):  # nothing but the largest interaction is left
            if size[axis] > 1:
                made = made - made.mean(axis, keepdims=True)
        found = variance_parts(variance_terms(np.broadcast_to(made, (2, 3, 4, 5))))
        assert found == pytest.approx({name: float(name == part) for name in PARTS}, abs=1e-12)
    assert sum(variance_parts(variance_terms(rng.random((2, 3, 4, 5)))).values()) == pytest.approx(1)


def test_a_constant_gate_has_no_parts():
    assert all(np.isnan(share) for share in variance_parts(variance_terms(np.full((2, 3, 4, 5), 0.5))).values())


def test_every_term_belongs_to_one_part():
    assert {part_of(axes) for axes in variance_terms(np.zeros((1, 1, 1, 1)))} == set(PARTS)


def test_what_a_mask_explains_is_the_squared_correlation_weighted_by_variance(rng):
    gate, mask = rng.random((2, 3, 4, 5, 6)), rng.random((2, 3, 5, 6))
    mask[0, 1] = 0  # the hand is out of view
    for clip in range(2):
        explained = total = 0
        for step, channel in product(range(3), range(4)):
            if mask[clip, step].any():
                variance = gate[clip, step, channel].var()
                correlation = np.corrcoef(gate[clip, step, channel].ravel(), mask[clip, step].ravel())[0, 1]
                explained, total = explained + correlation**2 * variance, total + variance
        assert explained_by(gate, mask)[clip] == pytest.approx(explained / total)


def test_a_gate_that_is_the_mask_is_explained_wholly_and_one_without_space_or_mask_not_at_all(rng):
    mask = rng.random((3, 2, 4, 5))
    mask[2] = 0.25
    slopes = np.array([2.0, -0.5])[:, None, None]
    gate = 0.3 + slopes * mask[:, :, None]
    gate[1] = 0.5
    assert explained_by(gate, mask) == pytest.approx([1, np.nan, np.nan], nan_ok=True)


def test_on_and_off_are_means_weighted_by_the_share(rng):
    gate, mask = rng.random((1, 3, 2, 4, 5)), rng.random((1, 3, 4, 5))
    mask[0, 1], mask[0, 2] = 0, 1
    on, off = on_and_off(gate, mask)
    assert on[0, 0, 1] == pytest.approx(np.average(gate[0, 0, 1], weights=mask[0, 0]))
    assert off[0, 0, 1] == pytest.approx(np.average(gate[0, 0, 1], weights=1 - mask[0, 0]))
    assert np.isnan(on[0, 1]).all()
    assert off[0, 1] == pytest.approx(gate[0, 1].mean((-2, -1)))
    assert np.isnan(off[0, 2]).all()


def test_a_summary_keeps_what_figures_need(rng):
    gate, hand = rng.random((2, 3, 4, 5, 6)).astype(np.float32), rng.random((2, 3, 5, 6))
    gate[:, :, 1] = gate[:, :, 1, :1, :1]  # one channel is the same at every position
    gate[:, :, 2] = 0.5
    found = summarise(gate, hand)
    assert found.counts.sum() == gate.size
    assert found.counts[20] >= gate[:, :, 2].size  # 0.5 is the lower edge of the 21st of 40 bins
    assert found.channels[3, :3] == pytest.approx([gate[:, :, 3].mean(), *np.quantile(gate[:, :, 3], (0.05, 0.95))])
    assert found.channels[:, 3] == pytest.approx([found.channels[0, 3], 0, 0, found.channels[3, 3]], abs=1e-9)
    assert 0.8 < found.channels[0, 3] <= 1
    assert sum(found.terms.values()) == pytest.approx(found.deviation**2)
    assert found.explained_by_other == pytest.approx(explained_by(gate, hand[::-1]))
    assert found.on.shape == found.off.shape == (2, 3)
    pooled, alone = summarise(gate[..., 0, 0], hand), summarise(gate[:1], hand[:1])
    assert pooled.explained is None and pooled.on is None and (pooled.channels[:, 3] == 0).all()
    assert alone.explained is not None and alone.explained_by_other is None
    assert summarise(gate).explained is None
