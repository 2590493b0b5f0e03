import pytest
import torch


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
