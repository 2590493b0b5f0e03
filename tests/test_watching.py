import copy

import pytest
import torch
from torch import nn


@pytest.fixture
def network():
    from gatescope.models import GestureNetwork, NetworkConfig

    torch.manual_seed(0)
    return GestureNetwork(NetworkConfig.small("b", num_classes=5, size=32, num_frames=8)).eval()


def test_what_is_watched_is_what_was_recorded_with_scores_and_gradients(network):
    from gatescope.recordings import record, watch

    x = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():  # as in a notebook's cell that does not think of gradients
        seen = watch(network, x, "layer1.h", "layer1.attention")
    with record(network, "layer1.h", "layer1.attention", gradients=True) as rec:
        logits = network(x)
        gradient = rec.gradient("layer1.h", logits.max())
    assert set(seen.recording) == set(rec)
    assert all(torch.equal(seen.recording[name], rec[name]) for name in rec)
    torch.testing.assert_close(seen.logits[-1], logits[0].detach())
    assert set(seen.gradients) == {"layer1.h"}
    torch.testing.assert_close(seen.gradients["layer1.h"], gradient)
    assert gradient.abs().max() > 0


def test_watching_keeps_nothing_of_the_graph_and_no_hook(network):
    from gatescope.recordings import hook_points, watch

    seen = watch(network, torch.randn(1, 3, 8, 32, 32), "layer2.*")
    assert not any(value.requires_grad for value in (*seen.recording.values(), seen.logits))
    assert not any(point.readers or point.replacements or point.graphs for point in hook_points(network).values())


def test_an_unknown_pattern_lists_what_there_is(network):
    from gatescope.recordings import watch

    with pytest.raises(LookupError, match="layer1.attention"):
        watch(network, torch.randn(1, 3, 8, 32, 32), "layer3.*")


class Unsteady(nn.Module):
    """A model in training that writes to its input and its buffers, and draws."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.cell, self.head = (
            nn.BatchNorm1d(3),
            nn.Dropout(0.5),
            nn.Linear(7, 16),
            nn.Linear(4, 2),
        )
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        x.add_(torch.randn(x.shape))
        self.seen.add_(1)
        h = c = x.new_zeros(len(x), 4)
        for step in x.unbind(1):
            i, f, o, g = self.cell(torch.cat([self.drop(self.norm(step)), h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h)


def test_a_model_that_is_looked_at_stays_as_it_is():
    from gatescope.recordings import find_gates, watch

    model, x = Unsteady(), torch.randn(1, 3, 3)
    before, given, drawn = copy.deepcopy(model.state_dict()), x.clone(), torch.get_rng_state()
    gates = find_gates(model, x)
    watched = watch(model, x, gates)
    assert watched.recording["layer1.f"].shape == (1, 3, 4) and "layer1.h" in watched.gradients
    assert all(module.training for module in model.modules())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert x.equal(given) and torch.get_rng_state().equal(drawn)


def test_arguments_may_be_a_packed_sequence_and_a_pass_may_be_a_vmap():
    from gatescope.recordings import find_gates

    steps = nn.utils.rnn.pack_sequence([torch.randn(3, 3), torch.randn(2, 3)])
    assert "unrolled" in find_gates(nn.LSTM(3, 4), steps).unplaced[0]

    class Mapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Unsteady()

        def forward(self, x):
            return torch.vmap(lambda each: self.model(each[None])[0], randomness="different")(x)

    assert "layer1.f" in find_gates(Mapped(), torch.randn(2, 3, 3))
