import numpy as np
import pytest
import torch

from gatescope.explorer.comparison import answers_of, channel_of, compare, pack_compared, score_chart
from gatescope.pictures.packing import LEVELS
from gatescope.recordings import Watched

STEPS, CHANNELS = 4, 6


def watched(seed, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    maps = {
        f"layer{layer}.{point}": scale * torch.randn(1, STEPS, CHANNELS, 5, 7, generator=draw)
        for layer in (1, 2)
        for point in "hc"
    }
    maps["layer1.f"] = scale * torch.rand(1, STEPS, CHANNELS, generator=draw)
    meanings = {name: name.rpartition(".")[2] for name in maps}
    return Watched(maps, torch.randn(STEPS, 3, generator=draw), {}, meanings)


@pytest.fixture
def both():
    return watched(0), watched(1, scale=3.0)


@pytest.fixture
def groups(both):
    return compare("net", *both)


def shown(packed, plane, shape):
    """The values that a page reads from a plane."""
    levels = np.frombuffer(packed.data, np.uint8, np.prod(shape), plane["offset"]).reshape(shape)
    return plane["low"] + (plane["high"] - plane["low"]) * levels / LEVELS


def test_each_layer_has_before_after_and_their_difference(groups, both):
    titles = [f"net layer {layer}, {when}" for layer in (1, 2) for when in ("before", "after", "after − before")]
    assert [group.title for group in groups] == titles
    before, after, change = groups[3:]
    np.testing.assert_allclose(change.maps["layer2.h"], after.maps["layer2.h"] - before.maps["layer2.h"])
    np.testing.assert_allclose(before.maps["layer2.h"], both[0].recording["layer2.h"][0])
    assert before.orders == after.orders == change.orders
    strips = [group.strips["layer1.f"] for group in groups[:3]]
    np.testing.assert_allclose(strips[2], strips[1] - strips[0])


def test_a_colour_means_one_value_before_and_after(groups):
    packed = pack_compared(groups, None, num_channels=2)
    before, after, change = ({panel["name"]: panel for panel in spec["panels"]} for spec in packed.header["groups"][:3])
    kept = packed.header["groups"][0]["channels"]
    for place, channel in enumerate(kept):
        one, other = (panels["layer1.h"]["planes"][place] for panels in (before, after))
        assert (one["low"], one["high"]) == (other["low"], other["high"])
        for group, plane in zip(groups[:2], (one, other), strict=True):
            maps = group.maps["layer1.h"][:, channel]
            error = (plane["high"] - plane["low"]) / LEVELS / 2 + 1e-6
            np.testing.assert_allclose(shown(packed, plane, maps.shape), maps, atol=error)
    for (name, one), (_, other) in zip(before["layer1.h"]["reduced"], after["layer1.h"]["reduced"], strict=True):
        assert (one["low"], one["high"]) == (other["low"], other["high"]), name
    assert change["layer1.h"]["title"] == "Δ hidden state h"
    # A difference has limits of its own.
    assert change["layer1.h"]["planes"][0]["high"] == pytest.approx(groups[2].maps["layer1.h"][:, kept[0]].max())
    strips = [spec["strips"][0] for spec in packed.header["groups"][:3]]
    assert strips[0]["high"] == strips[1]["high"] and strips[2]["signed"]


def test_a_difference_that_is_nowhere_negative_is_signed_still(both):
    one, other = both
    more = Watched({name: value + 1 for name, value in one.recording.items()}, one.logits, {}, one.meanings)
    packed = pack_compared(compare("", one, more), None, num_channels=2)
    assert all(panel["signed"] for panel in packed.header["groups"][2]["panels"])


def test_a_channel_that_is_sent_later_has_the_limits_of_both(groups):
    before, after, change = groups[:3]
    size = STEPS * 5 * 7
    for channel in range(CHANNELS):
        replies = [channel_of(group, ["layer1.h"], channel) for group in (before, after, change)]
        limits = [np.frombuffer(reply, "<f4", 2).tolist() for reply in replies]
        assert limits[0] == limits[1] != limits[2]
        low, high = limits[0]
        levels = np.frombuffer(replies[0], np.uint8, size, 8).reshape(STEPS, 5, 7)
        values = low + (high - low) * levels / LEVELS
        np.testing.assert_allclose(values, before.maps["layer1.h"][:, channel], atol=(high - low) / LEVELS)


def test_the_scores_of_both_stand_in_one_chart_in_pairs(both):
    numbers = answers_of(*both)
    chart, names = score_chart(*both, ["left", "right", "up"], numbers, "net")
    shown = [["left", "right", "up"][number] for number in numbers] + ["all others"] * (len(numbers) < 3)
    wanted = [name for name in shown for _ in range(2)]
    assert [name.partition(",")[0] for name in names] == wanted
    assert [name.partition(", ")[2] for name in names] == ["before", "after"] * len(shown)
    np.testing.assert_allclose(chart.scores[:, ::2].sum(1), 1, atol=1e-6)
    packed = pack_compared([chart, *compare("net", *both)], None, num_channels=2, classes=names)
    scores = packed.header["groups"][0]["scores"]
    assert scores["names"] == names
    values = np.frombuffer(packed.data, "<f4", STEPS * len(names), scores["offset"]).reshape(STEPS, -1)
    for place, number in enumerate(numbers):
        for column, each in enumerate(both):
            wanted = each.logits.softmax(1)[:, number]
            np.testing.assert_allclose(values[:, 2 * place + column], wanted, atol=1e-6)
    assert [spec["scores"] for spec in packed.header["groups"][1:]] == [None] * 6
