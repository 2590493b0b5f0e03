"""What a network gets right, held against counts by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from gatescope.models import GestureNetwork, NetworkConfig
from small_training import noisy_clips, tiny_network


@pytest.fixture
def evaluation():
    from gatescope.trainings import evaluation

    return evaluation


class Told(nn.Module):
    """Gives as logits what the clip's first pixels say."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = nn.Parameter(torch.tensor(float(num_classes)))

    def forward(self, x):
        return x[:, 0, 0, 0, : int(self.num_classes)]


def told_clips(logits, labels):
    clips = torch.zeros(len(logits), 3, 2, 2, len(logits[0]))
    clips[:, 0, 0, 0] = torch.tensor(logits)
    return TensorDataset(clips, torch.tensor(labels))


LOGITS = [[3.0, 2, 1, 0], [0, 1, 2, 3], [1, 3, 2, 0], [0, 0, 0, 0], [9, 0, 0, 1]]
LABELS = [0, 2, 0, 1, 3]


def test_the_counts_are_those_made_by_hand(evaluation):
    found = evaluation.evaluate(Told(4), told_clips(LOGITS, LABELS), batch_size=2)
    assert found.ranks.tolist() == [0, 1, 2, 1, 1]
    assert [found.accuracy(k).count for k in (1, 2, 3, 4)] == [1, 4, 5, 5]
    expected = np.zeros((4, 4), int)
    for label, taken_for in zip(LABELS, [0, 3, 1, 0, 0], strict=True):
        expected[label, taken_for] += 1
    assert (found.confusion() == expected).all()
    assert found.confusion().trace() == found.accuracy().count
    by_hand = sum(
        math.log(sum(map(math.exp, row))) - row[label] for row, label in zip(LOGITS, LABELS, strict=True)
    ) / len(LABELS)
    assert found.loss == pytest.approx(by_hand)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_every_clip_counts_whatever_the_batches(evaluation, batch_size):
    clips, network = noisy_clips(7), tiny_network()
    found = evaluation.evaluate(network, clips, batch_size=batch_size, transform="shuffled")
    whole = evaluation.evaluate(network, clips, batch_size=7, transform="shuffled")
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    np.testing.assert_allclose(found.logits, whole.logits, rtol=1e-5, atol=1e-6)


def test_top_five_of_fewer_classes_is_all(evaluation):
    found = evaluation.evaluate(tiny_network(), noisy_clips(6))
    assert found.accuracy(k=5).value == 1


def test_one_class_is_always_right(evaluation):
    found = evaluation.evaluate(tiny_network(num_classes=1), noisy_clips(5, num_classes=1))
    assert found.accuracy().value == 1
    assert found.confusion().tolist() == [[5]]
    assert found.loss == 0


def test_a_proportion_of_nothing_is_no_number(evaluation):
    empty = evaluation.Proportion(0, 0)
    assert math.isnan(empty.value)
    assert empty.interval == (0, 1)


def test_an_empty_set_is_refused(evaluation):
    with pytest.raises(ValueError, match="no clip"):
        evaluation.evaluate(tiny_network(), noisy_clips(0))


def test_a_label_the_network_has_no_class_for_is_refused(evaluation):
    with pytest.raises(ValueError, match="0 to 1.*got 2"):
        evaluation.evaluate(tiny_network(num_classes=2), noisy_clips(3))
    clips = noisy_clips(3)
    clips.tensors[1][1] = -1
    with pytest.raises(ValueError, match="0 to 2.*got -1"):
        evaluation.evaluate(tiny_network(), clips)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (1, 10), (10, 10), (480, 600)])
def test_the_interval_is_wilsons(evaluation, count, total):
    z, p = 1.959963984540054, count / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
    low, high = evaluation.Proportion(count, total).interval
    assert low == pytest.approx(max(centre - half, 0), abs=1e-12)
    assert high == pytest.approx(min(centre + half, 1), abs=1e-12)


def test_the_network_is_left_as_it_was_and_uses_its_running_statistics(evaluation):
    network, clips = tiny_network(), noisy_clips(4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = evaluation.evaluate(network, clips, batch_size=1)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    network.eval()
    np.testing.assert_allclose(found.logits, network(clips.tensors[0]).detach().numpy(), rtol=1e-5, atol=1e-6)
    evaluation.evaluate(network, clips)
    assert not network.training


def test_logits_that_are_not_finite_name_the_layer(evaluation):
    network = tiny_network()
    network.norm.running_var.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="output of norm is not finite"):
        evaluation.evaluate(network, noisy_clips(4))
    assert not any(layer._forward_hooks for layer in network.modules())
    network = GestureNetwork(NetworkConfig.small("c", num_classes=3, width=1 / 32))
    network.layer2.candidate.state_to_state.depthwise.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="output of layer2.candidate.state_to_state.depthwise is not finite"):
        evaluation.evaluate(network, noisy_clips(4))
    clips = noisy_clips(4)
    clips.tensors[0][2, 0, 0, 0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match="data set"):
        evaluation.evaluate(tiny_network(), clips)


def test_predictions_come_back_from_disk_as_they_were(evaluation, tmp_path):
    network, clips = tiny_network(), noisy_clips(5)
    written = {name or "clips": evaluation.evaluate(network, clips, transform=name) for name in (None, "reversed")}
    path = tmp_path / "a-0.predictions.npz"
    evaluation.save_predictions(path, written)
    first = path.read_bytes()
    read = evaluation.load_predictions(path)
    assert list(read) == ["clips", "reversed"]
    for name, found in read.items():
        assert (found.logits == written[name].logits).all()
        assert (found.labels == written[name].labels).all()
    evaluation.save_predictions(path, read)
    assert path.read_bytes() == first


def test_frames_are_shuffled_each_clip_by_itself_and_whole(evaluation):
    x = torch.arange(6.0)[None, None, :, None, None].expand(4, 3, 6, 2, 2) + torch.arange(2)
    shuffled = evaluation.shuffle_frames(x, torch.Generator().manual_seed(1))
    orders = shuffled[:, 0, :, 0, 0]
    assert {tuple(order.sort().values.tolist()) for order in orders} == {(0, 1, 2, 3, 4, 5)}
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(shuffled, orders[:, None, :, None, None] + torch.arange(2).expand(4, 3, 6, 2, 2))


def test_one_frame_stands_for_all_and_reversed_ends_where_it_began(evaluation):
    x = torch.rand(2, 3, 5, 2, 2)
    rng = torch.Generator()
    single = evaluation.repeat_middle_frame(x, rng)
    assert all(torch.equal(single[:, :, t], x[:, :, 2]) for t in range(5))
    turned = evaluation.reverse_frames(x, rng)
    assert all(torch.equal(turned[:, :, t], x[:, :, 4 - t]) for t in range(5))


def test_an_unknown_control_lists_those_there_are(evaluation):
    with pytest.raises(LookupError, match="shuffled, single, reversed"):
        evaluation.evaluate(tiny_network(), noisy_clips(1), transform="mirrored")
