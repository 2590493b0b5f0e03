"""Measures of who serves whom, against loops over clips and by hand."""

import math

import numpy as np
import pytest

from gatescope.measures.specialisation import (
    class_mean_accuracy,
    effective_neurons,
    mutual_information,
    routing_table,
    temporal_fraction,
    temporal_share,
)


@pytest.fixture(params=range(4))
def drawn(request):
    """Neurons of five, of which the last serves nobody, classes of seven with gaps, and predictions."""
    rng = np.random.default_rng(request.param)
    labels = rng.choice([0, 1, 2, 4, 6], 60)
    chosen = np.where(rng.random(60) < 0.6, labels % 4, rng.integers(4, size=60))
    return chosen, labels, np.where(rng.random(60) < 0.5, labels, rng.integers(7, size=60))


def slow_entropy(items):
    total = 0.0
    for item in set(items):
        share = sum(other == item for other in items) / len(items)
        total -= share * math.log(share)
    return total


def slow_information(chosen, labels):
    """From its definition: the sum of p log(p / pq) over pairs of a neuron and a class."""
    num_clips, total = len(chosen), 0.0
    for neuron in set(chosen):
        for label in set(labels):
            both = sum(n == neuron and c == label for n, c in zip(chosen, labels, strict=True)) / num_clips
            apart = chosen.count(neuron) * labels.count(label) / num_clips**2
            if both:
                total += both * math.log(both / apart)
    return total / ((slow_entropy(chosen) + slow_entropy(labels)) / 2)


def test_routing_table_counts_every_clip(drawn):
    chosen, labels, _ = drawn
    slow = [[0] * 5 for _ in range(7)]
    for neuron, label in zip(chosen, labels, strict=True):
        slow[label][neuron] += 1
    assert routing_table(chosen, labels, 5, 7).tolist() == slow


def test_effective_neurons_and_information_follow_their_definitions(drawn):
    chosen, labels, _ = drawn
    assert effective_neurons(chosen, 5) == pytest.approx(math.exp(slow_entropy(chosen.tolist())), rel=1e-12)
    slow = slow_information(chosen.tolist(), labels.tolist())
    assert 0.1 < slow < 0.9
    assert mutual_information(chosen, labels) == pytest.approx(slow, rel=1e-12)
    assert mutual_information(labels, chosen) == pytest.approx(slow, rel=1e-12)


def test_class_mean_accuracy_is_the_mean_over_classes_with_clips(drawn):
    _, labels, predicted = drawn
    parts = []
    for label in range(7):
        own = [p for p, c in zip(predicted, labels, strict=True) if c == label]
        if own:
            parts.append(sum(p == label for p in own) / len(own))
    assert class_mean_accuracy(predicted, labels) == pytest.approx(sum(parts) / len(parts), rel=1e-12)


def test_temporal_share_is_that_of_each_neurons_own_clips(drawn):
    chosen, labels, _ = drawn
    shares = temporal_share(chosen, labels >= 4, 5)
    for neuron in range(4):
        own = [label >= 4 for n, label in zip(chosen, labels, strict=True) if n == neuron]
        assert shares[neuron] == pytest.approx(sum(own) / len(own), rel=1e-12)
    assert math.isnan(shares[4])


def test_one_neuron_for_each_class_knows_all_of_it():
    labels = np.arange(4).repeat([1, 5, 2, 3])
    assert mutual_information((labels + 1) % 4, labels) == pytest.approx(1, abs=1e-12)
    assert effective_neurons(np.arange(4).repeat(6), 4) == pytest.approx(4, rel=1e-12)


def test_two_neurons_for_four_classes_know_half_of_them_in_bits():
    """One bit of two, over the mean of one and two."""
    assert mutual_information(np.array([0, 0, 1, 1]), np.arange(4)) == pytest.approx(1 / 1.5, rel=1e-12)


def test_one_neuron_for_all_knows_nothing():
    chosen, labels = np.full(12, 2), np.arange(12) % 3
    assert mutual_information(chosen, labels) == 0
    assert mutual_information(labels, chosen) == 0
    assert effective_neurons(chosen, 4) == 1
    assert temporal_share(chosen, labels == 0, 4)[2] == pytest.approx(1 / 3)


def test_a_neuron_that_does_not_look_knows_nothing():
    chosen, labels = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(5)))
    assert mutual_information(chosen, labels) == pytest.approx(0, abs=1e-12)
    assert mutual_information(chosen, labels) >= 0


def test_one_clip():
    one = np.array([1])
    assert routing_table(one, one, 2, 2).tolist() == [[0, 0], [0, 1]]
    assert effective_neurons(one, 2) == 1
    assert mutual_information(one, one) == 0
    assert class_mean_accuracy(one, one) == 1
    assert class_mean_accuracy(np.array([0]), one) == 0


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    labels = np.array([0] * 9 + [1])
    assert class_mean_accuracy(np.zeros(10, int), labels) == 0.5


def test_temporal_channels_are_those_above_zero():
    gates = np.random.default_rng(0).normal(size=(3, 2, 4, 9)).astype(np.float32)
    fractions = temporal_fraction(gates)
    assert fractions.shape == (3, 2, 4)
    for place in np.ndindex(3, 2, 4):
        assert fractions[place] == pytest.approx(sum(gate > 0 for gate in gates[place]) / 9, rel=1e-12)
    edges = np.array([[0.0, 1e-9, -1e-9, 5.0], [np.inf, np.inf, -np.inf, 0.0], [1.0, np.nan, 1.0, 1.0]])
    np.testing.assert_array_equal(temporal_fraction(edges), [0.5, 0.5, np.nan])


NONE, OUTSIDE, NEGATIVE = np.zeros(0, int), np.array([0, 3]), np.array([0, -1])
FINE = np.array([0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: routing_table(NONE, NONE, 3, 3), "one clip or more; got none"),
        (lambda: effective_neurons(NONE, 3), "one clip or more; got none"),
        (lambda: mutual_information(NONE, NONE), "one clip or more; got none"),
        (lambda: class_mean_accuracy(NONE, NONE), "one clip or more; got none"),
        (lambda: temporal_share(NONE, NONE.astype(bool), 3), "one clip or more; got none"),
        (lambda: routing_table(OUTSIDE, FINE, 3, 3), "chosen must be numbers from 0 to 2.*got 0 to 3"),
        (lambda: routing_table(FINE, OUTSIDE, 3, 3), "labels must be numbers from 0 to 2.*got 0 to 3"),
        (lambda: routing_table(NEGATIVE, FINE, 3, 3), "got -1 to 0"),
        (lambda: effective_neurons(OUTSIDE, 3), "chosen must"),
        (lambda: temporal_share(OUTSIDE, FINE > 0, 3), "chosen must"),
        (lambda: mutual_information(FINE, NEGATIVE), "labels must"),
        (lambda: class_mean_accuracy(FINE, NEGATIVE), "labels must"),
    ],
)
def test_no_clip_or_a_number_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.usefixtures("shapes_unchecked")
def test_neurons_and_labels_of_other_clips_are_refused():
    with pytest.raises(ValueError, match="a neuron and a label for each clip; got 1 and 2"):
        routing_table(np.array([0]), np.array([0, 1]), 2, 2)
