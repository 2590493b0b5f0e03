import io

import numpy as np
import pytest
import torch
from PIL import Image

from gatescope.explorer.live_window import LiveWindow
from gatescope.loaders import Clip, ClipError, to_batch
from gatescope.models import GestureNetwork, NetworkConfig


@pytest.fixture(scope="module", params=["convlstm", "a", "b", "c"])
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GestureNetwork(NetworkConfig.small(request.param, num_classes=5, width=1 / 32, size=32)).eval()


def picture(number, side=64, kind="JPEG"):
    frame = np.full((side, side, 3), 40, np.uint8)
    frame[10:30, 2 * number : 2 * number + 20] = 220
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, kind)
    return buffer.getvalue()


def test_the_scores_are_those_of_the_last_frames(network):
    window, pictures = LiveWindow(network), [picture(number) for number in range(20)]
    seen = [window.look(each) for each in pictures]
    assert [each["frames"] for each in seen] == [*range(1, 17), 16, 16, 16, 16]
    frames = np.stack([np.asarray(Image.open(io.BytesIO(each))) for each in pictures[-16:]])
    x = to_batch(Clip(frames=frames, fps=12.0, source="camera"), **network.config.input)
    with torch.no_grad():
        scores = network.scores_over_time(x)[0].softmax(-1).numpy()
    best = np.argsort(-scores[-1])[:3]
    assert [name for name, _ in seen[-1]["classes"]] == [f"class {number}" for number in best]
    for number, (_, course) in zip(best, seen[-1]["classes"], strict=True):
        np.testing.assert_allclose(course, scores[:, number], atol=1e-5)
    # A state in any cell, and a gate where one is a map.
    maps = seen[-1]["maps"]
    assert len(maps) == (1 if network.config.cells[0] == "a" else 2) and "hidden state" in maps[0]["title"]
    assert all(np.asarray(each["levels"]).ndim == 2 and 0 <= np.max(each["levels"]) <= 255 for each in maps)


def test_a_camera_that_changes_its_size_begins_a_new_window(network):
    window = LiveWindow(network)
    assert [window.look(picture(0, side))["frames"] for side in (64, 64, 48, 48)] == [1, 2, 1, 2]


@pytest.mark.parametrize("content", [b"", b"no picture", picture(0)[:300], picture(0, kind="PNG")])
def test_what_is_no_jpeg_picture_is_refused_and_the_window_stays(network, content):
    window = LiveWindow(network)
    window.look(picture(0))
    with pytest.raises(ClipError, match="does not decode"):
        window.look(content)
    assert window.look(picture(1))["frames"] == 2
