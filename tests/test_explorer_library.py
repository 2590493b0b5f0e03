import numpy as np
import pytest
import torch

from gatescope.explorer.library import Library
from gatescope.loaders import SyntheticGestures, to_batch
from gatescope.measures.distance import NEAREST
from gatescope.measures.sample import is_rendered_only, rendered
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.recordings import intervene, record

NAMES = ["Swiping Left", "Swiping Right", "Rolling Hand Forward"]
FACTS = {"size": 32, "difficulty": 0.0, "classes": [0, 1, 12]}
GATES = [f"layer{layer}.{gate}" for layer in (1, 2) for gate in "ifo"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    config = NetworkConfig.small("convlstm", num_classes=3, width=1 / 32, size=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GestureNetwork(config).eval()
    network.card = {"data": {"names": NAMES, "clips": FACTS}}
    said = []
    library = Library(network, tmp_path_factory.mktemp("cache"), said.append)
    assert "6 of 6 clips are rendered" in said
    return library


def test_a_finding_is_the_clip_that_loses_most_and_counts_those_that_stay_right(library):
    found = library.finding(GATES, "space mean", print)

    def flat(gate):
        return gate.mean((2, 3), keepdim=True).expand_as(gate)

    with torch.no_grad():
        before = library.network(library.sample.x).softmax(1).numpy()
        with intervene(library.network, dict.fromkeys(GATES, flat)):
            after = library.network(library.sample.x).softmax(1).numpy()
    labels = library.sample.labels
    right = before.argmax(1) == labels
    lost = before[range(6), labels] - after[range(6), labels]
    assert (found.before, found.of) == (right.sum(), 6)
    assert found.after == (after.argmax(1) == labels).sum()
    assert right[found.index] and lost[found.index] == pytest.approx(lost[right].max(), abs=1e-6)
    with pytest.raises(LookupError, match="layer1.i has no replacement uniform"):
        library.finding(GATES, "uniform", print)


def test_clips_are_ordered_by_the_correlation_of_a_channels_course(library):
    clip = 2
    with torch.no_grad(), record(library.network, "layer2.h") as recording:
        library.network(library.sample.x)
    courses = recording["layer2.h"].mean((3, 4)).numpy()
    channel = int(courses.var(1).min(0).argmax())
    found = dict(library.alike("layer2.h", channel, courses[clip, :, channel], (2, 6)))
    assert next(iter(found)) == clip and found[clip] == pytest.approx(1)
    for place, r in found.items():
        wanted = np.corrcoef(courses[place, 2:7, channel], courses[clip, 2:7, channel])[0, 1]
        assert r == pytest.approx(wanted, abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    with pytest.raises(ValueError, match="at least 3 steps; got 2"):
        library.alike("layer2.h", 0, courses[0, :, 0], (2, 3))
    with pytest.raises(ValueError, match="channel 0 does not change from step 1 to 5"):
        library.alike("layer2.h", 0, np.ones(8, np.float32), (0, 4))


def test_a_distance_is_that_to_the_nearest_training_clips_beside_the_validation_clips(library):
    training = SyntheticGestures("train", 9, **FACTS, modalities=())
    with torch.no_grad():
        x = torch.cat([to_batch(training.clip(index), **library.network.config.input) for index in range(9)])
        means = library.network.encode(x).mean((1, 3, 4)).numpy()
    scale = means.std(0, ddof=1)
    found = library.distance(library.features[4:5], print)
    own = library.features[4].mean((0, 2, 3)).numpy()
    away = np.sort(np.linalg.norm((means - own) / scale, axis=1))
    assert found.own == pytest.approx(away[:NEAREST].mean(), rel=1e-3)
    assert found.own == pytest.approx(found.valid[4], rel=1e-5) and len(found.valid) == 6
    assert found.percentile == pytest.approx((found.valid < found.own).mean())
    assert library.distance(library.features[4:5] + 100, print).percentile == 1
    assert library.num_training == 9


def test_a_network_without_rendered_clips_on_its_card_is_not_said_to_know_only_those(library):
    assert is_rendered_only(library.network)
    other = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 32, size=32))
    for card in (None, {}, {"data": None}, {"data": {"source": "jester", "clips": {"set": "jester"}}}):
        other.card = card
        assert not is_rendered_only(other)
        assert len(rendered(other, 1).names) == 27


def test_work_that_nobody_wants_ends_at_a_report(library, tmp_path):
    def stop(words):
        raise InterruptedError(words)

    with pytest.raises(InterruptedError, match="rendering 6 clips"):
        Library(library.network, tmp_path, stop)
    assert not list(tmp_path.iterdir())
