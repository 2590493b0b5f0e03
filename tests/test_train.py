"""Training as a generator: what a row says, what decides how it ends, and how it fails."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from small_training import noisy_clips, tiny_network, weights_of


@pytest.fixture
def train():
    from gatescope import train

    return train


@pytest.fixture
def fit(train):
    def fit(network=None, clips=None, valid=None, *, num_workers=0, **settings):
        """All rows, and the network."""
        network = network or tiny_network()
        config = train.TrainConfig(**{"epochs": 3, "batch_size": 8, **settings})
        clips = noisy_clips() if clips is None else clips
        return list(train.fit(network, clips, valid, config, num_workers=num_workers)), network

    return fit


@pytest.mark.slow
def test_a_network_learns_what_can_be_learnt(fit, train):
    clips = noisy_clips(60)
    for recipe, rate in (("sgd", 0.1), ("adamw", 0.02)):
        rows, network = fit(clips=clips, valid=noisy_clips(30, seed=1), epochs=15, recipe=recipe, rate=rate)
        assert rows[-1].valid_accuracy > 0.9
        assert rows[-1].loss < rows[0].loss
        assert train.evaluate(network, noisy_clips(30, seed=1)).accuracy().value > 0.9


def test_a_row_says_where_the_training_stands(fit, train):
    valid = noisy_clips(10, seed=1)
    rows, network = fit(valid=valid)
    config = train.TrainConfig(epochs=3, batch_size=8)
    assert [(row.epoch, row.step) for row in rows] == [(1, 3), (2, 6), (3, 9)]
    assert [row.rate for row in rows] == [config.rate_at(step - 1, 9) for step in (3, 6, 9)]
    assert all(row.seconds > 0 for row in rows)
    found = train.evaluate(network, valid)
    assert rows[-1].valid_accuracy == pytest.approx(found.accuracy().value, abs=0.11)
    assert rows[-1].valid_loss == pytest.approx(found.loss, rel=0.02)
    assert json.loads(json.dumps(asdict(rows[-1]))) == asdict(rows[-1])


def test_loss_and_accuracy_are_those_of_the_clips_that_were_met(fit, train):
    """By a network that all but stands still, on clips of which every batch is whole."""
    clips, network = noisy_clips(32), nn.Sequential(nn.Flatten(), nn.Linear(432, 3))
    rows, network = fit(network, clips, epochs=1, rate=1e-12, precision="32-true")
    found = train.evaluate(network, clips)
    assert rows[0].loss == pytest.approx(found.loss, rel=1e-5)
    assert rows[0].accuracy == found.accuracy().value


def test_without_validation_clips_a_row_has_no_validation(fit):
    rows, _ = fit(epochs=1)
    assert rows[0].valid_loss is None
    assert rows[0].valid_accuracy is None


def test_the_network_stands_in_evaluation_mode_at_every_row(train):
    network = tiny_network()
    for _ in train.fit(network, noisy_clips(), None, train.TrainConfig(epochs=2)):
        assert not network.training


def test_weights_depend_on_the_seed_and_not_on_the_callers_random_numbers(fit):
    torch.manual_seed(1)
    _, first = fit()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    _, second = fit(valid=noisy_clips())
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_of(first) == weights_of(second)
    _, third = fit(seed=1)
    assert weights_of(first) != weights_of(third)


def test_what_a_network_draws_is_other_in_every_epoch_and_for_every_seed(fit):
    class Drawing(nn.Linear):
        def forward(self, x):
            if self.training:
                drawn.append(torch.rand(()).item())
            return super().forward(x.flatten(1))

    drawn = []
    for seed in (0, 1, 0):
        fit(Drawing(432, 3), seed=seed)
    first, other, again = drawn[:9], drawn[9:18], drawn[18:]
    assert len(set(first + other)) == 18
    assert again == first


@pytest.mark.slow
def test_weights_do_not_depend_on_the_number_of_workers(fit):
    _, alone = fit(epochs=2)
    _, helped = fit(epochs=2, num_workers=2)
    assert weights_of(alone) == weights_of(helped)


class Watched(Dataset):
    """Clips that note in which order they are asked for, and for which epoch."""

    def __init__(self, clips):
        self.clips, self.asked, self.epoch = clips, {}, None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        self.asked.setdefault(self.epoch, []).append(index)
        return self.clips[index]


def test_every_epoch_has_an_order_of_its_own_and_leaves_the_incomplete_batch_out(fit):
    clips = Watched(noisy_clips(30))
    fit(clips=clips, batch_size=8, epochs=6)
    del clips.asked[None]  # the look at the first clip's shape
    assert list(clips.asked) == [0, 1, 2, 3, 4, 5]
    orders = [tuple(order) for order in clips.asked.values()]
    assert all(len(order) == len(set(order)) == 24 for order in orders)
    assert len(set(orders)) == 6
    assert set().union(*orders) == set(range(30))


@pytest.mark.parametrize(("num_clips", "batch_size", "steps"), [(1, 1, 1), (1, 8, 1), (5, 8, 1), (9, 8, 1), (9, 1, 9)])
def test_few_clips_and_single_ones_make_batches_too(fit, num_clips, batch_size, steps):
    rows, _ = fit(clips=noisy_clips(num_clips), valid=noisy_clips(1), epochs=1, batch_size=batch_size)
    assert rows[0].step == steps


def test_one_class_can_be_trained_on(fit):
    rows, _ = fit(network=tiny_network(num_classes=1), clips=noisy_clips(8, num_classes=1), epochs=1)
    assert rows[0].accuracy == 1


@pytest.mark.parametrize(("clips", "valid"), [(0, 3), (3, 0)])
def test_an_empty_set_is_refused(fit, clips, valid):
    with pytest.raises(ValueError, match="no clip"):
        fit(clips=noisy_clips(clips), valid=noisy_clips(valid))


def test_a_label_the_network_has_no_class_for_is_refused(fit):
    with pytest.raises(ValueError, match="label 2 is none of the network's 2 classes"):
        fit(network=tiny_network(num_classes=2))
    clips = noisy_clips()
    clips.tensors[1][3] = -100  # what cross_entropy passes over
    with pytest.raises(ValueError, match="label -100 is none of the network's 3 classes"):
        fit(clips=clips)


def test_gradients_are_cut_to_the_length_that_is_asked_for(fit, train):
    def length_of_the_only_step(**settings):
        _, network = fit(epochs=1, batch_size=30, recipe="sgd", rate=0.1, weight_decay=0.0, **settings)
        before = tiny_network().parameters()
        return torch.cat([(new - old).flatten() for new, old in zip(network.parameters(), before, strict=True)]).norm()

    whole = length_of_the_only_step().item()
    assert whole > 0.1 * 0.02
    assert length_of_the_only_step(max_norm=0.02).item() == pytest.approx(0.1 * 0.02, rel=1e-3)
    assert length_of_the_only_step(max_norm=1e6).item() == pytest.approx(whole, rel=1e-6)


def test_a_training_sees_its_clips_through_the_control(fit):
    """Clips whose label stands in their last frame alone: seen in reverse it is in the first, where a network looks."""

    class FirstFrame(nn.Linear):
        def forward(self, x):
            return super().forward(x[:, :, 0].flatten(1))

    labels = torch.arange(30) % 3
    clips = torch.zeros(30, 3, 4, 6, 6)
    clips[:, :, -1] = nn.functional.one_hot(labels)[:, :, None, None].float()
    clips = TensorDataset(clips, labels)
    rows = {name: fit(FirstFrame(108, 3), clips, clips, transform=name)[0] for name in (None, "reversed")}
    assert rows[None][-1].valid_accuracy == pytest.approx(1 / 3)
    assert rows["reversed"][-1].valid_accuracy > 0.9


def test_frames_are_shuffled_anew_in_every_epoch(fit):
    class Noting(nn.Linear):
        def forward(self, x):
            if self.training:
                orders.append(tuple(x[0, 0, :, 0, 0].tolist()))
            return super().forward(x.flatten(1))

    orders = []
    clip = torch.arange(8.0)[None, None, :, None, None].expand(1, 3, 8, 2, 2)
    fit(Noting(96, 3), TensorDataset(clip, torch.zeros(1, dtype=torch.int64)), epochs=4, transform="shuffled")
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(8)) for order in orders)


class Bursting(nn.Module):
    """Passes on, but for one batch."""

    def __init__(self, value, after):
        super().__init__()
        self.value, self.left = value, after

    def forward(self, x):
        self.left -= 1
        return x * self.value if self.left < 0 else x


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stops_the_training_and_names_the_first_layer(fit, value):
    network = nn.Sequential()
    network.body = nn.Sequential(nn.Flatten(), nn.Linear(432, 4), Bursting(value, after=4), nn.ReLU())
    network.head = nn.Linear(4, 3)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 5: the output of body.2 is not finite"):
        fit(network, epochs=5)


def test_infinity_that_a_layer_hides_from_the_loss_is_found_by_its_gradient(fit):
    class Hiding(nn.Module):
        def __init__(self):
            super().__init__()
            self.exp = nn.Linear(432, 4)

        def forward(self, x):
            # exp overflows, 1 / inf is 0: the logits are finite, their gradient is not.
            return (1 / (1 + (self.exp(x.flatten(1)) + 1e4).exp()))[:, :3] + self.exp.bias[:3]

    with pytest.raises(FloatingPointError, match="gradient of exp.weight is not finite"):
        fit(Hiding())
    network = Hiding()
    network.before = nn.Linear(2, 2).requires_grad_(False)  # weights that are held have no gradient to look at
    network.exp.bias.requires_grad_(False)
    with pytest.raises(FloatingPointError, match="gradient of exp.weight is not finite"):
        fit(network)


def test_clips_that_are_not_finite_are_told_from_layers(fit):
    clips = noisy_clips()
    clips.tensors[0][:, 0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="the clips hold values"):
        fit(clips=clips)


def test_statistics_that_are_not_finite_fail_before_they_are_kept(train, tmp_path):
    """They spoil only what is evaluated: the training itself would go on."""
    network = tiny_network()
    network.norm.running_mean.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="output of norm is not finite"):
        list(train.fit(network, noisy_clips(), noisy_clips(), train.TrainConfig(epochs=2), tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_nothing_is_printed(fit, capfd):
    for precision in ("32-true", "bf16-mixed"):
        fit(valid=noisy_clips(), epochs=1, precision=precision)
    assert capfd.readouterr() == ("", "")


def test_mixed_precision_keeps_weights_in_float32_and_stays_near(fit):
    rows, network = fit(precision="32-true", epochs=1)
    mixed_rows, mixed = fit(precision="bf16-mixed", epochs=1)
    assert {weight.dtype for weight in mixed.parameters()} == {torch.float32}
    assert mixed_rows[0].loss == pytest.approx(rows[0].loss, rel=0.02)
    assert mixed_rows[0].loss != rows[0].loss
    assert [row.precision for row in rows + mixed_rows] == ["32-true", "bf16-mixed"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_too_and_goes_on_from_a_cpus_state(train, tmp_path, monkeypatch):
    config, clips = train.TrainConfig(epochs=4, batch_size=8, precision="32-true"), noisy_clips()
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        rows = train.fit(tiny_network(), clips, clips, config, tmp_path)
        assert [next(rows).device, next(rows).device] == ["cpu", "cpu"]
        rows.close()
    network = tiny_network()
    rows = list(train.fit(network, clips, clips, config, tmp_path))
    assert [row.device for row in rows] == ["cpu", "cpu", "cuda", "cuda"]
    whole = list(train.fit(tiny_network(), clips, clips, config))
    assert rows[-1].loss == pytest.approx(whole[-1].loss, rel=1e-2)
    assert train.evaluate(network, clips).accuracy().total == 30
