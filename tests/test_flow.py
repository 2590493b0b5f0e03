"""Flow points from a frame to the next, and its cache never believes a damaged entry."""

import multiprocessing

import cv2
import numpy as np
import pytest

from gatescope.loaders.clip import Clip
from gatescope.loaders.flow import optical_flow, with_flow


def moving_clip(step=(2, 1), num_frames=4, size=64):
    """A smooth texture that moves by `step` px a frame, x then y."""
    noise = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 3, borderType=cv2.BORDER_REFLECT)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    frames = [np.roll(texture, (t * step[1], t * step[0]), axis=(0, 1)) for t in range(num_frames)]
    return Clip(frames=np.stack(frames), fps=12.0, source="texture", label=3)


@pytest.mark.parametrize("step", [(2, 1), (-3, 0), (0, -2)])
def test_flow_of_a_moving_texture_is_its_motion(step):
    flow = optical_flow(moving_clip(step).frames)
    assert flow.shape == (3, 64, 64, 2) and flow.dtype == np.float32
    inner = flow[:, 12:-12, 12:-12]
    assert np.abs(np.median(inner, axis=(1, 2)) - step).max() < 0.1


def test_next_frame_sampled_along_the_flow_is_the_frame():
    clip = moving_clip((3, -2))
    flow = optical_flow(clip.frames)
    rows, columns = np.mgrid[0:64, 0:64].astype(np.float32)
    for t in range(3):
        x, y = columns + flow[t, ..., 0], rows + flow[t, ..., 1]
        found = cv2.remap(clip.frames[t + 1], x, y, cv2.INTER_LINEAR)
        difference = np.abs(found.astype(int) - clip.frames[t])[12:-12, 12:-12]
        still = np.abs(clip.frames[t + 1].astype(int) - clip.frames[t])[12:-12, 12:-12]
        assert difference.mean() < 0.2 * still.mean()


def test_one_frame_has_no_flow_and_tiny_frames_are_refused():
    assert optical_flow(moving_clip(num_frames=1).frames).shape == (0, 64, 64, 2)
    with pytest.raises(ValueError, match="16 px or more a side"):
        optical_flow(np.zeros((2, 12, 100, 3), np.uint8))


def test_cache_gives_what_was_computed_and_keeps_all_else_of_the_clip(tmp_path, monkeypatch):
    clip = moving_clip()
    first = with_flow(clip, tmp_path)
    assert np.array_equal(first.flow, optical_flow(clip.frames))
    monkeypatch.setattr("gatescope.loaders.flow.optical_flow", None)  # a call would fail
    again = with_flow(clip, tmp_path)
    assert np.array_equal(again.flow, first.flow) and again.flow.flags.writeable
    assert (again.label, again.source, again.fps) == (3, "texture", 12.0)
    assert with_flow(again, tmp_path / "never") is again


def test_cache_tells_clips_versions_and_shapes_apart(tmp_path, monkeypatch):
    clip = moving_clip()
    with_flow(clip, tmp_path)
    with_flow(moving_clip((1, 1)), tmp_path)
    with_flow(Clip(frames=clip.frames.reshape(4, 32, 128, 3), fps=12.0, source="texture"), tmp_path)
    monkeypatch.setattr("gatescope.loaders.flow.ALGORITHM", "another")
    with_flow(clip, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_damaged_cache_entries_are_computed_again_and_replaced(tmp_path):
    clip = moving_clip()
    expected = with_flow(clip, tmp_path).flow
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", whole[:10], whole[:-1], whole + b"\0"]
    for position in rng.integers(0, 8 * len(whole), 20):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        entry.write_bytes(content)
        assert np.array_equal(with_flow(clip, tmp_path).flow, expected)
        assert entry.read_bytes() == whole


def test_flow_is_the_same_in_a_forked_process():
    """OpenCV's threads do not survive a fork; a worker that inherits them must neither hang nor differ."""
    clip = moving_clip()
    expected = optical_flow(clip.frames)
    queue = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(
        target=lambda: queue.put(np.array_equal(optical_flow(clip.frames), expected))
    )
    child.start()
    child.join(timeout=20)
    assert child.exitcode == 0 and queue.get()


def test_a_folder_that_cannot_be_written_costs_a_warning_not_the_flow(tmp_path):
    clip = moving_clip((1, 0))
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="nothing more is kept in .*name another folder"):
        kept = with_flow(clip, tmp_path / "file")
    np.testing.assert_array_equal(kept.flow, optical_flow(clip.frames))
