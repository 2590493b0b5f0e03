"""What is removed from a network is gone, stays gone in training, and nothing else is."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.recordings import record
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.removals import PARTS, Remainder, parts_of
from gatescope.trainings.train import fit
from slow_cells import SlowLayer

CELLS = ("convlstm", "a", "b", "c", "d")
CLIPS, STEPS = 3, 4


@pytest.fixture(scope="module")
def networks():
    """A network of each cell in float64, with weights so large that every part matters."""
    made = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for cell in CELLS:
            config = NetworkConfig.small(cell, num_classes=3, width=1 / 64, size=16, num_frames=2 * STEPS)
            made[cell] = network = GestureNetwork(config).double().eval()
            for layer in (network.layer1, network.layer2):
                for weight in layer.parameters():
                    torch.nn.init.normal_(weight, std=0.7)
    return made


@pytest.fixture(scope="module")
def features(networks):
    channels = networks["a"].layer1.in_channels
    return torch.randn(CLIPS, channels, STEPS, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module")
def undisturbed(networks, features):
    """What each layer of each network gives for each clip, by its equations as loops."""

    def of(network):
        x, layers = features.transpose(1, 2).numpy(), []
        for layer in (network.layer1, network.layer2):
            slow = SlowRemoval(layer.cell, layer.state_dict(), "nothing")
            layers.append([slow.clip(place, clip) for place, clip in enumerate(x)])
            x = np.stack([clip["h"] for clip in layers[-1]])
        return layers

    return {cell: of(network) for cell, network in networks.items()}


def of_gates(reduced, features):
    """The gates of both layers, and attention on X, by name."""
    # The attention of a gate is a hook point too, before the gate's own; that on X has no other.
    on_x = ["layer1*.attention"] * reduced.network.config.cells[0].startswith("b")
    with record(reduced.network, "layer?*.[ifo]", *on_x) as recording, torch.no_grad():
        reduced(features)
    return {name: values.numpy() for name, values in recording.items()}


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_removed_changes_no_bit(networks, features, cell):
    with torch.no_grad():
        scores = networks[cell].score(features.transpose(1, 2))
        assert torch.equal(Remainder(networks[cell], "nothing", features).eval()(features), scores)


def test_pooled_gates_have_no_space_to_remove(networks, features):
    assert parts_of(networks["a"]) == tuple(part for part in PARTS if part != "space")
    assert all(parts_of(networks[cell]) == PARTS for cell in CELLS if cell != "a")
    with pytest.raises(ValueError, match="no space to remove; it has nothing, time course"):
        Remainder(networks["a"], "space", features)
    with pytest.raises(LookupError, match="no part 'gates'; there are nothing, space"):
        Remainder(networks["b"], "gates", features)


@pytest.mark.parametrize(
    ("cell", "lacking"),
    [("a_gates_of_x", {"space", "H from gates"}), ("min_conv", {"H from gates", "H", "all but C"}), ("gru", set())],
)
def test_what_a_cell_lacks_cannot_be_removed_and_all_else_can(features, cell, lacking):
    config = NetworkConfig.small(cell, num_classes=3, width=1 / 64, size=16, num_frames=2 * STEPS)
    config = replace(config, cells=(cell, cell))
    network = GestureNetwork(config).double().eval()
    assert set(PARTS) - set(parts_of(network)) == lacking
    for part in parts_of(network):
        with torch.no_grad():
            changed = not torch.equal(
                Remainder(network, part, features)(features), network.score(features.transpose(1, 2))
            )
        assert changed == (part != "nothing")
    assert "memory" not in parts_of(GestureNetwork(replace(config, memory=False)))


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_removed_is_still_gone_after_training_and_the_network_is_as_it_was(networks, features, cell):
    untouched = copy.deepcopy(networks[cell].state_dict())
    data = TensorDataset(features.float(), torch.arange(CLIPS))
    for part in parts_of(networks[cell]):
        reduced = Remainder(networks[cell], part, features).float()
        list(fit(reduced, data, None, TrainConfig(epochs=3, batch_size=3, precision="32-true")))
        kernels = [
            name for name, _ in reduced.named_parameters() if "candidate.input_to_state" in name and "weight" in name
        ]
        assert len(kernels) >= 2
        start = networks[cell].state_dict()
        for name in kernels:
            before = start[name.removeprefix("network.").replace(".layer.", ".")]
            assert (reduced.get_parameter(name) - before).abs().max() > 1e-3
        gates = of_gates(reduced, features.float())
        if part == "space":
            flat = [values for values in gates.values() if values.ndim == 5]
            assert flat
            assert all(np.ptp(values, (3, 4)).max() < 1e-5 for values in flat)
        if part in ("time course", "space and time course", "all but C"):
            assert all(np.ptp(values, 1).max() < 1e-5 for values in gates.values())
        if part in ("space and time course", "all but C"):
            assert all(np.ptp(values, 0).max() < 1e-5 for values in gates.values())
        zero = {name for name, weight in reduced.named_parameters() if "state_to_state" in name and not weight.any()}
        recurrent = {name for name, _ in reduced.named_parameters() if "state_to_state" in name}
        of_candidate = {name for name in recurrent if ".candidate." in name}
        wanted = {"H from gates": recurrent - of_candidate, "H": recurrent, "all but C": recurrent}
        assert zero == wanted.get(part, set())
    after = networks[cell].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in untouched.items())
    assert all(weight.requires_grad for weight in networks[cell].parameters())


@pytest.mark.slow
def test_constants_are_trained(networks, features):
    reduced = Remainder(networks["d"], "space and time course", features).float()
    before = {name: w.clone() for name, w in reduced.named_parameters() if "logits" in name}
    assert len(before) == 6
    list(fit(reduced, TensorDataset(features.float(), torch.arange(CLIPS)), None, TrainConfig(epochs=2, batch_size=3)))
    assert all(not torch.equal(w, before[name]) for name, w in reduced.named_parameters() if name in before)


def test_without_memory_no_step_knows_another(networks, features):
    reduced = Remainder(networks["convlstm"], "memory", features)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        maps = reduced.network.layer2(reduced.network.layer1(features.transpose(1, 2)))
        other = reduced.network.layer2(reduced.network.layer1(features.transpose(1, 2)[:, order]))
    assert torch.allclose(other, maps[:, order])


class SlowRemoval(SlowLayer):
    """A cell without one part, as loops; `recorded` are all clips' gates in an undisturbed pass of the layer."""

    def __init__(self, cell, weights, part, recorded=None):
        super().__init__(cell, weights)
        self.part, self.recorded, self.place = part, recorded, None
        for name in self.w:
            forgotten = part in ("H", "all but C") or (part == "H from gates" and not name.startswith("candidate"))
            if "state_to_state" in name and forgotten:
                self.w[name] = np.zeros_like(self.w[name])

    def changed(self, name, value):
        if self.recorded is None:
            return value
        if self.part == "space" and value.ndim == 3:
            return np.stack([np.full(channel.shape, sum(channel.ravel()) / channel.size) for channel in value])
        if self.part == "time course":
            own = self.recorded[self.place][name]
            return sum(own) / len(own)
        if self.part in ("space and time course", "all but C"):
            if name == "attention":
                return np.full(value.shape, 1 / value[0].size)
            all_clips = np.stack([clip[name] for clip in self.recorded])  # clip, step, channel, and for maps positions
            means = [all_clips[:, :, channel].mean() for channel in range(len(value))]
            return np.stack([np.full(row.shape, mean) for row, mean in zip(value, means, strict=True)])
        return value

    def clip(self, place, x):
        self.place = place
        zero = np.zeros((self.w["candidate.input_to_state." + self._bias].size, *x.shape[2:]))
        if self.part == "memory":
            return {"h": np.concatenate([self.run(frame[None], zero, zero)["h"] for frame in x])}
        return self.run(x, zero, zero)

    @property
    def _bias(self):
        return "bias" if self.cell.candidate == "conv" else "pointwise.bias"


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("part", PARTS)
def test_the_layers_without_a_part_are_the_equations_without_it(networks, features, undisturbed, cell, part):
    network = networks[cell]
    if part not in parts_of(network):
        pytest.skip("it has no such part")
    reduced = Remainder(network, part, features).network
    with torch.no_grad():
        found = reduced.layer2(reduced.layer1(features.transpose(1, 2))).numpy()
    x = whole = features.transpose(1, 2).numpy()
    for layer, of_whole in zip((network.layer1, network.layer2), undisturbed[cell], strict=True):
        weights = layer.state_dict()
        recorded = None
        # Constants come from the whole network's clips; the course in time from the layer as it is fed here.
        if part == "all but C":
            forgetful = SlowRemoval(layer.cell, weights, "H")
            recorded = [forgetful.clip(place, clip) for place, clip in enumerate(whole)]
        elif part == "space and time course":
            recorded = of_whole
        elif part == "time course":
            plain = SlowRemoval(layer.cell, weights, "nothing")
            recorded = [plain.clip(place, clip) for place, clip in enumerate(x)]
        elif part == "space":
            recorded = []  # its means are of what is there
        slow = SlowRemoval(layer.cell, weights, part, recorded)
        x = np.stack([slow.clip(place, clip)["h"] for place, clip in enumerate(x)])
        whole = np.stack([clip["h"] for clip in of_whole])
    np.testing.assert_allclose(found, x, rtol=1e-6, atol=1e-9)
