import pytest
import torch

from gatescope.explorer.precomputed import MAX_DATA, Interventions
from gatescope.loaders import to_batch
from gatescope.measures.sample import rendered
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.recordings import intervene

NAMES = ["Swiping Left", "Swiping Right", "Rolling Hand Forward"]
FACTS = {"size": 32, "difficulty": 0.0, "classes": [0, 1, 12]}
GATES = [f"layer{layer}.{gate}" for layer in (1, 2) for gate in "ifo"]


def made(cell):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GestureNetwork(NetworkConfig.small(cell, num_classes=3, width=1 / 32, size=32)).eval()
    network.card = {"data": {"names": NAMES, "clips": FACTS}}
    return network, rendered(network, 3).clip(1)


@pytest.fixture(scope="module")
def shown():
    return Interventions(*made("convlstm"), title="a clip, synthetic")


def test_every_intervention_has_a_scrubber_before_after_and_the_change_of_the_score(shown):
    assert [label.partition(" (")[0] for label in shown.scrubbers] == ["space mean", "shifted", "time mean"]
    network, clip = made("convlstm")
    x = to_batch(clip, **network.config.input)

    def flat(gate):
        return gate.mean((2, 3), keepdim=True).expand_as(gate)

    with torch.no_grad():
        before = network(x).softmax(1)[0]
        with intervene(network, dict.fromkeys(GATES, flat)):
            after = network(x).softmax(1)[0]
    number = int(before.argmax())
    assert next(iter(shown.scrubbers)) == f"space mean ({NAMES[number]} {before[number]:.2f} → {after[number]:.2f})"
    for scrubber in shown.scrubbers.values():
        titles = [group.title for group in scrubber.groups]
        assert titles == ["scores before and after", *(f"layer 1, {w}" for w in ("before", "after", "after − before"))]


def test_an_output_is_small_and_has_a_picture_with_words(shown):
    data, metadata = shown._repr_mimebundle_()
    assert sum(map(len, data.values())) < 2 * MAX_DATA
    assert data["image/png"].startswith("iVBOR")
    assert "a clip, synthetic: space mean" in metadata["image/png"]["alt"] and "shifted" in metadata["image/png"]["alt"]
    assert data["text/html"] == shown.html()


def test_a_replacement_that_a_gate_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(LookupError, match="has no replacement space mean; it can be replaced by time mean"):
        Interventions(*made("a"))
