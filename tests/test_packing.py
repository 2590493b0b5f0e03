import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def packing():
    from gatescope.pictures import packing

    return packing


def clip_of(num_frames, size=12, hand=True):
    from gatescope.loaders import Clip

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (num_frames, size, size + 3, 3), dtype=np.uint8)
    hand_mask = rng.random((num_frames, size, size + 3)) > 0.5 if hand else None
    return Clip(frames=frames, fps=12.0, source="noise", hand_mask=hand_mask)


def group_of(packing, steps=4, channels=6, **others):
    rng = np.random.default_rng(1)
    maps = {"layer1.h": rng.normal(size=(steps, channels, 5, 7)), "layer1.f": rng.random((steps, channels, 5, 7))}
    return packing.Group("layer 1", maps=maps, **others)


def planes_of(packed, panel, plane):
    shape = (packed.header["steps"], panel["rows"], panel["columns"])
    levels = np.frombuffer(packed.data, np.uint8, np.prod(shape), plane["offset"]).reshape(shape)
    return plane["low"] + levels * (plane["high"] - plane["low"]) / 255


def test_every_kept_value_comes_back_within_half_a_level(packing):
    group = group_of(packing)
    packed = packing.pack([group], clip_of(8), num_channels=4)
    (spec,) = packed.header["groups"]
    assert len(spec["channels"]) == 4
    for panel in spec["panels"]:
        for channel, plane in zip(spec["channels"], panel["planes"], strict=True):
            wanted = group.maps[panel["name"]][:, channel]
            step = (plane["high"] - plane["low"]) / 255
            assert (plane["low"], plane["high"]) == (wanted.min(), wanted.max())
            np.testing.assert_allclose(planes_of(packed, panel, plane), wanted, rtol=0, atol=step / 2 + 1e-12)


def test_mean_and_maximum_are_of_all_channels_not_only_of_those_kept(packing):
    group = group_of(packing, channels=9)
    packed = packing.pack([group], clip_of(4), num_channels=2)
    panel = next(each for each in packed.header["groups"][0]["panels"] if each["name"] == "layer1.h")
    for (name, plane), wanted in zip(
        panel["reduced"], (group.maps["layer1.h"].mean(1), group.maps["layer1.h"].max(1)), strict=True
    ):
        assert name in ("mean", "max")
        np.testing.assert_allclose(planes_of(packed, panel, plane), wanted, atol=np.ptp(wanted) / 500)


def test_deflated_text_holds_the_same_bytes(packing):
    packed = packing.pack([group_of(packing)], clip_of(4), num_channels=3)
    differences = np.frombuffer(zlib.decompress(base64.b64decode(packed.deflated())), np.uint8)
    assert np.cumsum(differences, dtype=np.uint8).tobytes() == packed.data


def test_the_header_is_json_without_a_number_that_json_lacks(packing):
    group = group_of(packing)
    group.maps["layer1.h"][1, 2, 3, 4] = np.nan
    group.maps["layer1.f"][0, 0, 0, 0] = np.inf
    packed = packing.pack([group], clip_of(4), num_channels=6)
    assert json.loads(json.dumps(packed.header, allow_nan=False)) == packed.header


def test_frames_and_hand_are_those_a_step_ends_with(packing):
    clip = clip_of(8)
    clip.frames[:] = (30 * np.arange(8, dtype=np.uint8))[:, None, None, None]
    packed = packing.pack([group_of(packing)], clip, num_channels=1)
    header = packed.header
    assert header["framesPerStep"] == 2
    for (offset, length), frame in zip(header["frames"], clip.frames[1::2], strict=True):
        with Image.open(io.BytesIO(packed.data[offset : offset + length])) as picture:
            assert picture.size == (15, 12)
            assert np.abs(np.asarray(picture).astype(int) - frame).max() < 5  # another frame is off by 30
    hand = clip.hand_mask[1::2]
    bits = np.frombuffer(packed.data, np.uint8, -(-hand.size // 8), header["hand"])
    assert (np.unpackbits(bits, count=hand.size, bitorder="little").astype(bool) == hand.ravel()).all()


def test_colours_are_matplotlibs(packing):
    import matplotlib

    packed = packing.pack([group_of(packing)], clip_of(4), num_channels=1)
    for name, offset in packed.header["colours"]:
        wanted = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
        assert (np.frombuffer(packed.data, np.uint8, 768, offset).reshape(256, 3) == wanted).all()


def test_orders_rank_channels_and_the_first_of_each_are_kept(packing):
    orders = {"sum": np.array([0.0, 3, 1, 2, 0, 0]), "variance": np.array([5.0, 0, 0, 0, 9, 0])}
    packed = packing.pack([group_of(packing, orders=orders)], clip_of(4), num_channels=4)
    (spec,) = packed.header["groups"]
    named = dict(spec["orders"])
    assert named["sum"][:3] == [1, 3, 2] and named["variance"][:2] == [4, 0]
    assert named["index"] == list(range(6))
    assert spec["channels"] == [0, 1, 3, 4]


def test_a_pooled_gate_keeps_every_channel(packing):
    values = np.random.default_rng(2).random((4, 40))
    group = packing.Group("layer 1", strips={"layer1.i": values})
    packed = packing.pack([group], clip_of(4), num_channels=3)
    (strip,) = packed.header["groups"][0]["strips"]
    levels = np.frombuffer(packed.data, np.uint8, 160, strip["offset"]).reshape(40, 4)
    back = strip["low"] + levels.T * (strip["high"] - strip["low"]) / 255
    np.testing.assert_allclose(back, values, atol=1 / 500)


def test_scores_are_those_of_the_likeliest_classes_with_names_where_there_are(packing):
    scores = np.array([[0.1, 0.7, 0.2, 0, 0, 0, 0], [0.1, 0.1, 0.2, 0, 0, 0, 0.6]])
    packed = packing.pack([group_of(packing, steps=2, scores=scores)], clip_of(2), num_channels=1, classes=["a", "b"])
    found = packed.header["groups"][0]["scores"]
    assert found["names"][:3] == ["b", "class 6", "class 2"]
    values = np.frombuffer(packed.data, "<f4", 2 * len(found["names"]), found["offset"]).reshape(2, -1)
    np.testing.assert_allclose(values[:, :3], scores[:, [1, 6, 2]], rtol=1e-6)


def test_variants_have_the_same_curves_or_none(packing):
    scores = np.eye(7)[[0, 1]], np.eye(7)[[6, 6]]
    groups = [group_of(packing, steps=2, scores=each) for each in scores]
    packed = packing.pack(groups, clip_of(2), num_channels=1)
    first, second = (group["scores"] for group in packed.header["groups"])
    assert first["names"] == second["names"] and {"class 0", "class 1", "class 6"} < set(first["names"])
    values = np.frombuffer(packed.data, "<f4", 2 * len(second["names"]), second["offset"]).reshape(2, -1)
    np.testing.assert_array_equal(values[:, second["names"].index("class 6")], 1)
    groups[1].scores = groups[1].scores[:, :5]
    with pytest.raises(ValueError, match="different numbers of classes"):
        packing.pack(groups, clip_of(2), num_channels=1)


def test_words_of_a_group_come_before_those_of_a_hook_point(packing):
    group = group_of(packing, steps=2)
    name = next(iter(group.maps))
    group.about[name] = packing.Quantity("what it is", "logits", "what it says")
    panels = packing.pack([group], clip_of(2), num_channels=1).header["groups"][0]["panels"]
    panel = next(panel for panel in panels if panel["name"] == name)
    assert (panel["title"], panel["unit"], panel["help"]) == ("what it is", "logits", "what it says")


def test_input_attention_and_gate_attention_do_not_share_a_name(packing):
    rng = np.random.default_rng(3)
    one = packing.Group("b", maps={"layer1.attention": rng.random((2, 1, 4, 4)), "layer1.h": rng.random((2, 3, 4, 4))})
    many = packing.Group("c", maps={"layer1.attention": rng.random((2, 3, 4, 4))})
    packed = packing.pack([one, many], clip_of(2), num_channels=2)
    first, second = (group["panels"][0]["title"] for group in packed.header["groups"])
    assert first != second


def test_a_constant_map_and_one_without_a_finite_value_are_packed(packing):
    levels, low, high = packing.quantise(np.full((2, 3), 0.25))
    assert (levels == 0).all() and low == high == 0.25
    levels, low, high = packing.quantise(np.full((2, 3), np.nan))
    assert (levels == 0).all() and low == high == 0


def test_channel_bytes_are_limits_and_planes_of_every_map_in_turn(packing):
    rng = np.random.default_rng(4)
    maps = [rng.normal(size=(3, 8, 4, 5)), rng.random((3, 1, 2, 2))]
    found = packing.channel_bytes(maps, 6)
    low, high = np.frombuffer(found, "<f4", 2)
    levels = np.frombuffer(found, np.uint8, 60, 8).reshape(3, 4, 5)
    np.testing.assert_allclose(low + levels * (high - low) / 255, maps[0][:, 6], atol=(high - low) / 500)
    assert len(found) == 8 + 60 + 8 + 12


@pytest.mark.parametrize("steps", [3, 5, 16])
def test_frames_that_do_not_divide_into_steps_are_refused(packing, steps):
    with pytest.raises(ValueError, match="8 frames do not divide"):
        packing.pack([group_of(packing, steps=steps)], clip_of(8), num_channels=1)


def test_nothing_to_show_and_recordings_of_different_lengths_are_refused(packing):
    with pytest.raises(ValueError, match="got none"):
        packing.pack([packing.Group("empty")], clip_of(4), num_channels=1)
    with pytest.raises(ValueError, match=r"got \[2, 4\]"):
        packing.pack([group_of(packing, steps=2), group_of(packing, steps=4)], clip_of(4), num_channels=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (np.float16, (-65000, 65000)),
        (np.float16, (1000, 1001)),
        (np.float32, (-3e38, 3e38)),
        (np.float32, (0, 3e38)),
        (np.float64, (-1.7e308, 1.7e308)),
    ],
)
def test_values_near_the_ends_of_their_type_are_packed_in_order(packing, kind, values):
    low, high = values
    maps = np.full((3, 4, 2, 5), low, kind)
    maps[1], maps[2] = high / 2 + low / 2, high
    maps[1, 2, 0, 0] = np.nan
    group = packing.Group("extreme", maps={"layer1.h": maps}, strips={"layer1.i": maps[:, :, 0, 1]})
    packed = packing.pack([group], clip_of(3, hand=False), num_channels=4)
    json.dumps(packed.header, allow_nan=False)
    (spec,) = packed.header["groups"]
    (panel,) = spec["panels"]
    for plane in [*panel["planes"], *(plane for _, plane in panel["reduced"])]:
        levels = np.frombuffer(packed.data, np.uint8, 30, plane["offset"]).reshape(3, 2, 5)
        assert levels[:, 1, 1].tolist() == [0, 128, 255]
        assert plane["low"] == pytest.approx(max(low, -1e200), rel=1e-3)
        assert plane["high"] == pytest.approx(min(high, 1e200), rel=1e-3)
    assert np.isfinite(np.frombuffer(packing.channel_bytes([maps], 1), "<f4", 2)).all()


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (4, 0, 2, 2), (4, 3, 0, 2)])
def test_recordings_without_a_step_a_channel_or_a_place_are_refused_with_words(packing, shape):
    for clip in (None, clip_of(4)):
        with pytest.raises(ValueError, match=r"layer1\.h is empty: \("):
            packing.pack([packing.Group("empty", maps={"layer1.h": np.zeros(shape)})], clip, num_channels=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_without_a_finite_value_is_packed_without_a_warning(packing, value):
    maps = np.full((2, 3, 4, 4), value, np.float32)
    packed = packing.pack([packing.Group("odd", maps={"layer1.i": maps})], None, num_channels=2)
    json.dumps(packed.header, allow_nan=False)
