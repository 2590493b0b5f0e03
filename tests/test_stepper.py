"""The stepper's terms and contributions against explicit loops, and what it writes."""

import json
import math
import re
import zlib
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatescope.loaders import Clip
from gatescope.models import CELLS, RecurrentLayer
from gatescope.pictures import Stepper


def made(cell, steps=3, size=(5, 4)):
    torch.manual_seed(0)
    layer = RecurrentLayer(cell, 3, 4)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    x = torch.randn((1, steps, 3, *size), generator=torch.Generator().manual_seed(1))
    frames = np.random.default_rng(0).integers(0, 255, (2 * steps, 20, 16, 3), dtype=np.uint8)
    return layer, x, Clip(frames=frames, fps=12.0, source="a drawing")


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def kernel(weights):
    if not hasattr(weights, "pointwise"):
        return weights.weight.double()
    one, each = weights.pointwise.weight.double(), weights.depthwise.weight.double()
    return torch.stack([torch.stack([one[k, n, 0, 0] * each[n, 0] for n in range(len(each))]) for k in range(len(one))])


@pytest.mark.parametrize("cell", ["convlstm", "a"])
def test_contributions_are_the_convolution_written_out(cell):
    layer, x, clip = made(cell)
    stepper = Stepper(layer, x, clip, channel=2)
    h = stepper.all_channels["h_before"]
    parts = {"g": layer.candidate} | ({} if cell == "a" else dict(layer.gates))
    assert set(stepper.taps) == {f"{of}_{name}" for of in "xh" for name in parts}
    for name, part in parts.items():
        for of, given, weights in (("x", x[0].numpy(), part.input_to_state), ("h", h, part.state_to_state)):
            own = kernel(weights)[2].detach().numpy()
            for t, row, column in ((0, 0, 0), (1, 2, 3), (2, 4, 1)):
                for dy in range(3):
                    for dx in range(3):
                        y, at = row + dy - 1, column + dx - 1
                        inside = 0 <= y < 5 and 0 <= at < 4
                        expected = sum(own[n, dy, dx] * given[t, n, y, at] for n in range(len(own))) if inside else 0
                        found = stepper.taps[f"{of}_{name}"][t, 3 * dy + dx, row, column]
                        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("cell", ["convlstm", "a"])
def test_every_equation_holds_at_every_place(cell):
    layer, x, clip = made(cell)
    stepper = Stepper(layer, x, clip)
    q = stepper.terms
    biases, taps = stepper.biases, stepper.taps
    for t in range(3):
        for row in range(5):
            for column in range(4):

                def at(name, t=t, row=row, column=column):
                    own = q[name][t]
                    return own[0, 0] if own.size == 1 else own[row, column]

                for name in "ifog":
                    total = at(f"x_{name}") + at(f"h_{name}")
                    expected = math.tanh(total) if name == "g" else sigmoid(total)
                    assert at(name) == pytest.approx(expected, abs=1e-5)
                    if f"x_{name}" in taps:
                        sums = {of: taps[f"{of}_{name}"][t, :, row, column].sum() for of in "xh"}
                        assert at(f"x_{name}") == pytest.approx(sums["x"] + biases[name], abs=1e-5)
                        assert at(f"h_{name}") == pytest.approx(sums["h"], abs=1e-5)
                assert at("c") == pytest.approx(at("f") * at("c_before") + at("i") * at("g"), abs=1e-5)
                assert at("c") == pytest.approx(at("kept") + at("written"), abs=1e-5)
                assert at("h") == pytest.approx(at("o") * math.tanh(at("c")), abs=1e-5)
                before = q["c"][t - 1, row, column] if t else 0
                assert at("c_before") == before
    assert (q["i"].shape[1:] == (1, 1)) == (cell == "a")


def test_what_is_packed_is_what_was_computed():
    layer, x, clip = made("convlstm")
    stepper = Stepper(layer, x, clip, step=1, title="<b>")
    page = stepper.html()
    header = json.loads(re.search(r'application/json">(.*?)</script>', page, re.DOTALL)[1])
    packed = re.search(r'data-what="css">.*?</script><script type="text/plain">(.*?)</script>', page, re.DOTALL)[1]
    data = np.cumsum(np.frombuffer(zlib.decompress(b64decode(packed)), np.uint8), dtype=np.uint8).tobytes()
    assert header["first"] == 1 and header["framesPerStep"] == 2 and "<b>" not in page.partition("<script")[0]
    for kind, values in (("terms", stepper.terms), ("taps", stepper.taps)):
        for name, expected in values.items():
            spec = header[kind][name]
            levels = np.frombuffer(data, "<i2", expected.size, spec["offset"]).reshape(expected.shape)
            np.testing.assert_allclose(levels / 32767 * spec["reach"], expected, atol=spec["reach"] / 65_000)
    start, length = header["frames"][0]
    assert data[start : start + length][:2] == b"\xff\xd8"  # JPEG
    bundle, extra = stepper._repr_mimebundle_()
    assert bundle["image/png"] and extra["image/png"]["alt"] == stepper.alt


def test_it_opens_where_most_of_the_hand_is_seen_or_in_the_middle():
    layer, x, clip = made("convlstm")
    assert Stepper(layer, x, clip).first == 1
    hand = np.zeros(clip.frames.shape[:3], bool)
    hand[-1, :2] = hand[0] = True  # the first is not the last frame of its step
    assert Stepper(layer, x, replace(clip, hand_mask=hand)).first == 2


def test_parts_of_a_sum_share_limits_that_end_where_gates_are_full():
    layer, x, clip = made("convlstm")
    for name, factor in (("small", 1), ("large", 500)):
        header = Stepper(layer, factor * x, clip).packed().header["terms"]
        scales = {part: header[part]["scale"] for part in header}
        assert scales["x_i"] == scales["h_i"] and scales["i"] == [0, 1] and scales["tanh"] == scales["h"]
        assert (scales["x_i"] == [-6, 6]) == (name == "large")


def test_other_cells_and_wrong_clips_are_refused():
    layer, x, clip = made("convlstm")
    with pytest.raises(ValueError, match="2 clips of 3 steps"):
        Stepper(layer, x.expand(2, -1, -1, -1, -1), clip)
    with pytest.raises(ValueError, match="whose 6 frames divide"):
        Stepper(layer, torch.randn(1, 4, 3, 5, 4), clip)
    for other in set(CELLS) - {"convlstm", "a"}:
        with pytest.raises(ValueError, match=r"shows ConvLSTM or \(a\)"):
            Stepper(RecurrentLayer(other, 3, 4), x, clip)
    with pytest.raises(ValueError, match="conventions of the paper"):
        Stepper(RecurrentLayer("a", 3, 4, conventions="authors"), x, clip)


def test_one_step_and_one_row():
    layer, x, clip = made("a", steps=1, size=(1, 6))
    stepper = Stepper(layer, x, clip)
    assert stepper.terms["c"].shape == (1, 1, 6) and not stepper.terms["c_before"].any()
    assert stepper.html()
