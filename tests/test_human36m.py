"""Human3.6M: a small copy of its layout, cameras against a slow twin, crops that follow, poses converted once."""

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clip_files import write_video
from gatescope.loaders import ClipError, Human36M
from gatescope.loaders.human36m import CAMERAS, crop_side
from gatescope.loaders.video import read_video_frames

CONVERT = Path(__file__).resolve().parent.parent / "data" / "human36m" / "convert.py"
NUM_FRAMES, SIDE = 44, 160  # of each video: frames, and px
SUBJECTS = {"S9": ("Photo", "Walking 1"), "S11": ("Eating",)}
# Where our 17 joints stand among the 32 recorded, by the data set's own description of its skeleton.
PLACES = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]


def slow_camera(numbers, subject, camera):
    """Rotation and place of one camera, by the matrices of its three angles."""
    start = 6 * (11 * camera + subject - 1)
    a, b, c = numbers[start : start + 3]
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return np.array(about_x) @ about_y @ about_z, np.array(numbers[start + 3 : start + 6])


def some_numbers():
    """The 300 numbers of w0: cameras 5 m from the middle, 1.5 m up, which look at it; z is up in this world."""
    outside, inside = [], []
    for camera in range(4):
        for subject in range(11):
            yaw = 0.7 + camera * np.pi / 2 + 0.01 * subject
            place = np.array([5000 * np.cos(yaw), 5000 * np.sin(yaw), 1500])
            ahead = np.array([0, 0, 900]) - place
            ahead /= np.linalg.norm(ahead)
            right = np.cross(ahead, [0, 0, 1])
            right /= np.linalg.norm(right)
            rows = np.array([right, np.cross(ahead, right), ahead])  # of the rotation: camera axes in the world
            angles = (np.arctan2(-rows[1, 2], rows[2, 2]), np.arcsin(rows[0, 2]), np.arctan2(-rows[0, 1], rows[0, 0]))
            outside += [*angles, *place]
        inside += [180.0, 181.0, SIDE / 2, SIDE / 2 + 1, -0.2, 0.25, -0.003, -0.001, -0.0015]
    return outside + inside


def some_world(seed):
    """(time, 32, 3) m: a cloud of joints about 0.9 m above the ground that wanders, every joint in its own way."""
    rng = np.random.default_rng(seed)
    time = np.arange(NUM_FRAMES)[:, None, None] / NUM_FRAMES
    joints = rng.normal(0, (0.2, 0.2, 0.4), (32, 3)) + [0, 0, 0.9]
    joints[0] = (0, 0, 0.9)
    return (joints + time * rng.normal(0, 0.4, 3) + 0.1 * np.sin(6 * time + np.arange(32)[:, None])).astype(np.float32)


@pytest.fixture(scope="module")
def numbers():
    return some_numbers()


@pytest.fixture(scope="module")
def root(tmp_path_factory, numbers):
    """A small copy of the data set: two subjects, three performances; frame t is grey 20 + 4 t, the pelvis 255."""
    root = tmp_path_factory.mktemp("human36m")
    in_world, in_pixels = {}, {}
    for subject, actions in SUBJECTS.items():
        (root / subject / "Videos").mkdir(parents=True)
        in_world[subject], in_pixels[subject] = {}, {}
        for action in actions:
            in_world[subject][action] = world = some_world(len(action))
            in_pixels[subject][action] = views = []
            for camera, name in enumerate(CAMERAS):
                rotation, place = slow_camera(numbers, int(subject[1:]), camera)
                seen = (1000 * world[:, PLACES].astype(float) - place) @ rotation.T
                x, y = seen[..., 0] / seen[..., 2], seen[..., 1] / seen[..., 2]
                f_x, f_y, c_x, c_y, k_1, k_2, k_3, p_1, p_2 = numbers[264 + 9 * camera : 273 + 9 * camera]
                squared = x**2 + y**2
                bent = 1 + k_1 * squared + k_2 * squared**2 + k_3 * squared**3 + p_1 * x + p_2 * y
                x, y = x * bent + p_1 * squared, y * bent + p_2 * squared
                views.append(np.stack([f_x * x + c_x, f_y * y + c_y], axis=-1).astype(np.float32))
                frames = np.full((NUM_FRAMES + 2, SIDE, SIDE, 3), 20, np.uint8)
                frames += 4 * np.arange(NUM_FRAMES + 2, dtype=np.uint8)[:, None, None, None]
                for frame, (x, y) in zip(frames, views[-1][:, 0].astype(int), strict=False):
                    frame[y - 3 : y + 4, x - 3 : x + 4] = 255
                video = f"{action.replace('Photo', 'TakingPhoto')}.{name}.mp4"
                codec = "libx264" if camera else "mpeg4"  # with and without frames stored out of order
                write_video(root / subject / "Videos" / video, frames, codec, fps=50)
    sources = tmp_path_factory.mktemp("sources")
    np.savez_compressed(sources / "data_3d_h36m.npz", positions_3d=in_world)
    np.savez_compressed(sources / "data_2d_h36m_gt.npz", positions_2d=in_pixels, metadata={"num_joints": 17})
    (sources / "metadata.xml").write_text(f"<a>\n<w0>[{' '.join(map(repr, map(float, numbers)))}]</w0>\n</a>\n")
    assert converted(sources).stdout == f"wrote {sources / 'poses.npz'}\n"
    os.link(sources / "poses.npz", root / "poses.npz")
    return root


@pytest.fixture
def sources(root, tmp_path):
    """The files that are converted, in a folder of the test's own."""
    return Path(shutil.copytree(root.parent / "sources0", tmp_path / "sources"))


def converted(sources):
    """The script run on a folder, in an interpreter of its own without the library."""
    return subprocess.run([sys.executable, "-I", CONVERT, sources], capture_output=True, text=True)


@pytest.fixture
def copy(root, tmp_path):
    """The same files in a folder of the test's own, the videos by links."""
    shutil.copytree(root, tmp_path / "copy", copy_function=os.link)
    return tmp_path / "copy"


def rewritten(path, changes):
    """The npz at `path` with some arrays exchanged, or left out where they are None; the linked file stays."""
    with np.load(path) as file:
        content = dict(file) | changes
    path.unlink()
    np.savez(path, **{name: array for name, array in content.items() if array is not None})


@pytest.mark.slow
def test_clips_lie_one_behind_the_other(root):
    clips = Human36M(root, "test", size=32, num_frames=3, every=5)
    assert len(clips) == 3 * 4 * 3  # performances, cameras, clips that start at 0, 15 and 30 of 44 frames
    assert len(Human36M(root, "test", size=32, num_frames=5, every=25)) == 0
    assert len(Human36M(root, "test", size=32, num_frames=1, every=44)) == 12
    for index, start in ((0, 0), (1, 15), (2, 30), (-1, 30)):
        clip = clips[index]
        assert clip.fps == 10 and clip.frames.shape == (3, 32, 32, 3)
        assert clip.source.endswith(f"mp4, frames {start} to {start + 10}")
        # The corner shows the video's grey, which counts the frames, or the black beyond its border.
        corner = clip.frames[:, 2, 2].mean(axis=1)
        wanted = 20 + 4 * (start + 5 * np.arange(3))
        assert ((abs(corner - wanted) < 3) | (corner == 0)).all()
    assert [clips[index].name for index in (0, 12, -1)] == ["Photo", "Walking 1", "Eating"]


def test_joints_stand_where_the_camera_sees_them(root, numbers):
    clips = Human36M(root, "test", size=64, num_frames=4, every=10)
    for index, (subject, action, camera) in {1: (9, "Photo", 1), 7: (9, "Walking 1", 3), 8: (11, "Eating", 0)}.items():
        clip = clips[index]
        rotation, place = slow_camera(numbers, subject, camera)
        world = 1000 * some_world(len(action))[::10][:4, PLACES].astype(float)
        for t in range(4):
            for joint in range(17):
                wanted = [sum(rotation[i] * (world[t, joint] - place)) for i in range(3)]
                np.testing.assert_allclose(clip.joints_3d[t, joint], wanted, atol=0.02)
        assert clip.joints_3d[..., 2].min() > 3000  # before the camera


def test_the_crop_follows_the_pelvis_and_holds_every_joint(root):
    for clip in Human36M(root, "test", size=64, num_frames=4, every=10):
        assert ((clip.joints_2d > 0) & (clip.joints_2d < 64)).all()
        np.testing.assert_allclose(clip.joints_2d[:, 0], 32, atol=1)
        for frame, (x, y) in zip(clip.frames, clip.joints_2d[:, 0].astype(int), strict=True):
            assert frame[y, x].min() > 220  # the white square of the pelvis
        # One scale for the whole clip: pixels and millimetres are in proportion, but for perspective.
        wide = np.linalg.norm(clip.joints_2d - clip.joints_2d[:, :1], axis=-1)[:, 1:].mean(axis=1)
        broad = np.linalg.norm((clip.joints_3d - clip.joints_3d[:, :1])[..., :2], axis=-1)[:, 1:].mean(axis=1)
        depth = clip.joints_3d[:, 0, 2]
        assert np.ptp(wide / broad * depth) < 0.1 * np.mean(wide / broad * depth)


def test_the_crop_s_side():
    pixels = np.zeros((2, 17, 2), np.float32)
    assert crop_side(pixels) == 2
    pixels[1, 5] = (-10, 40)
    assert crop_side(pixels) == 92  # 2 x 40, a margin of 15 %


def test_the_cameras_of_the_description(root, numbers):
    with np.load(root / "poses.npz") as file:
        for subject in (9, 11):
            for number, camera in enumerate(file[f"S{subject}/cameras"]):
                rotation, place = slow_camera(numbers, subject, number)
                np.testing.assert_allclose(camera[:3], rotation, atol=1e-12)
                np.testing.assert_array_equal(camera[3], place)


def test_missing_poses_are_named_with_their_readme(copy):
    (copy / "poses.npz").unlink()
    with pytest.raises(FileNotFoundError, match="poses.npz: is missing; see data/human36m/README.md"):
        Human36M(copy, "test")


def test_a_missing_video_is_named_or_left_out(copy):
    video = copy / "S9" / "Videos" / f"Walking 1.{CAMERAS[2]}.mp4"
    video.unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"Walking 1.{CAMERAS[2]}.mp4: the video is missing; see data/human36m"
    ):
        Human36M(copy, "test")
    clips = Human36M(copy, "test", num_frames=1, every=44, strict=False)
    assert len(clips) == 11 and clips.skipped[0][0] == str(video)


def test_the_split_s_subjects_must_be_there(root):
    with pytest.raises(ClipError, match="holds no poses of S1; see data/human36m/README.md"):
        Human36M(root, "train")
    with pytest.raises(ValueError, match="split must be one of train, test"):
        Human36M(root, "valid")
    with pytest.raises(ValueError, match="every must be a whole number, 1 or more"):
        Human36M(root, "test", every=0)
    with pytest.raises(ValueError, match="size must be a whole number from 1 to 4,096"):
        Human36M(root, "test", size=1_000_000)


@pytest.mark.parametrize("content", ["", "<w0>[1 2 3]</w0>"])
def test_a_damaged_description_is_not_converted(sources, content):
    (sources / "metadata.xml").write_text(content)
    done = converted(sources)
    assert done.returncode == 1 and "has no element w0 of 300 numbers" in done.stderr


def test_files_that_do_not_fit_each_other_are_not_converted(sources, numbers):
    (sources / "poses.npz").unlink()
    turned = np.roll(numbers[:264], 66).tolist() + numbers[264:]  # every camera where the one before it stood
    (sources / "metadata.xml").write_text(f"<w0>[{' '.join(map(str, turned))}]</w0>")
    done = converted(sources)
    assert done.returncode == 1 and "px from where metadata.xml projects the 3D ones" in done.stderr
    assert not (sources / "poses.npz").exists()


def test_poses_of_other_lengths_are_not_converted(sources):
    (sources / "poses.npz").unlink()
    with np.load(sources / "data_2d_h36m_gt.npz", allow_pickle=True) as file:
        poses = {name: file[name] for name in file.files}
    views = poses["positions_2d"].item()["S11"]["Eating"]
    views[1] = views[1][:-1]
    np.savez(sources / "data_2d_h36m_gt.npz", **poses)
    done = converted(sources)
    assert done.returncode == 1 and "S11 Eating: needed 3D poses (time, 32, 3) and 2D poses of 4 cameras" in done.stderr
    (sources / "metadata.xml").unlink()
    assert "metadata.xml" in converted(sources).stderr.splitlines()[-1]
    assert not (sources / "poses.npz").exists()


EATING = "S11/Eating/world"
WRONG_POSES = {
    "half of it": (EATING, lambda old: old[:, :8], r"\(44, 17, 3\), .* got .*\(44, 8, 3\)"),
    "NaN": (EATING, lambda old: old * np.float32(np.nan), "no number of at most 100000"),
    "too large": (EATING, lambda old: np.full(old.shape, 1e30, np.float32), "no number of at most 100000"),
    "integers": (EATING, lambda old: old.astype(int), "world, .* must be float64, float32, float32"),
    "none": (EATING, lambda old: None, r"S11/Eating/world, .* got .*\(0,\).*convert it again"),
    "fewer": (EATING, lambda old: old[:-1], r"\(4, 43, 17, 2\)\]; got .*\(4, 44, 17, 2\)\]"),
    "two views": ("S11/Eating/pixels", lambda old: old[:2], r"\(4, 44, 17, 2\)\]; got .*\(2, 44, 17, 2\)\]"),
    "pixels of NaN": ("S11/Eating/pixels", lambda old: old * np.float32(np.nan), "pixels holds a .* at most 4096"),
    "a number": (EATING, lambda old: np.float32(1), r"got .*\(1,\)"),
    "a path": ("S11/%2e%2e/world", lambda old: np.zeros((1, 17, 3), np.float32), "is no name of an action"),
    "no rotations": ("S11/cameras", lambda old: 1.1 * old, "S11/cameras holds no rotations"),
    "a mirror": ("S11/cameras", lambda old: old * [-1, 1, 1], "S11/cameras holds no rotations"),
    "no cameras": ("S11/cameras", lambda old: None, r"S11/cameras, .* got \[\(0,\)"),
    "objects": (EATING, lambda old: old.astype(object), "cannot be read .*convert it again"),
}


@pytest.mark.parametrize("wrong", WRONG_POSES)
def test_wrong_poses_are_refused(copy, wrong):
    name, change, said = WRONG_POSES[wrong]
    with np.load(copy / "poses.npz") as file:
        old = file.get(name)
    rewritten(copy / "poses.npz", {name: change(old)})
    with pytest.raises(ClipError, match=said):
        Human36M(copy, "test")


class Malice:
    """What runs a command when it is unpickled in the usual way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_among_the_poses_runs_nothing(copy):
    made, path = copy / "made", copy / "poses.npz"
    rewritten(path, {EATING: np.array([Malice(str(made))], dtype=object)})
    with pytest.raises(ClipError, match="cannot be read"):
        Human36M(copy, "test")
    assert not made.exists()
    np.load(path, allow_pickle=True)[EATING]
    assert made.exists()  # so it does, opened in the usual way


@pytest.mark.slow
def test_damaged_poses_end_in_typed_errors(copy, shapes_unchecked):
    """Cut off and changed anywhere, in the npz file and in the array inside it, where no checksum holds."""
    path, rng = copy / "poses.npz", np.random.default_rng(0)
    whole = path.read_bytes()
    path.unlink()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    array = inside[f"{EATING}.npy"]
    damaged = [whole[:stop] for stop in rng.integers(0, len(whole), 20)]
    for _ in range(60):
        content = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(len(content) - 1500, len(content), 3)  # where the list of members is
        content[places] = rng.integers(0, 256, 3)
        damaged.append(content.tobytes())
    arrays = [array[:stop] for stop in rng.integers(0, len(array), 20)]
    for _ in range(100):
        content = np.frombuffer(array, np.uint8).copy()
        content[rng.integers(0, 128, 3)] = rng.integers(0, 256, 3)
        arrays.append(content.tobytes())
    arrays += [array.replace(b"(44, 17, 3)", b"(%d, 17, 3)" % 10**many, 1) for many in (7, 12, 18, 30)]
    for content in arrays:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in inside:
                archive.writestr(name, content if name == f"{EATING}.npy" else inside[name])
        damaged.append(file.getvalue())
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            Human36M(copy, "test")
        except ClipError:
            refused += 1
    assert refused > 120


def test_a_file_that_is_no_npz_or_too_large(copy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("gatescope.loaders.human36m._MOST_BYTES", 1000)
        with pytest.raises(ClipError, match="says that it holds .* at most 1,000 are read"):
            Human36M(copy, "test")
    (copy / "poses.npz").unlink()
    (copy / "poses.npz").write_bytes(b"rubbish")
    with pytest.raises(ClipError, match=r"poses.npz: cannot be read .* convert it again, see data/human36m"):
        Human36M(copy, "test")


def some_video(path, codec, num_frames=40, fps=50):
    frames = np.full((num_frames, 32, 32, 3), 20, np.uint8)
    frames += 5 * np.arange(num_frames, dtype=np.uint8)[:, None, None, None]  # further apart than codecs err
    return write_video(path, frames, codec, fps=fps)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("numbers", [[0], [39], [12, 13, 14], [3, 29, 38]])
def test_frames_of_a_video_by_their_numbers(tmp_path, codec, numbers):
    frames = read_video_frames(some_video(tmp_path / "video.mp4", codec), numbers, 50)
    levels = frames.reshape(len(numbers), -1).mean(axis=1)
    np.testing.assert_allclose(levels, 20 + 5 * np.array(numbers), atol=2.4)


def test_a_video_too_short_or_of_another_rate_is_refused(tmp_path):
    path = some_video(tmp_path / "video.mp4", "libx264")
    with pytest.raises(ClipError, match="cut off: it has no frame 40"):
        read_video_frames(path, [38, 40], 50)
    with pytest.raises(ClipError, match="shows 50 frames a second where 25 were expected"):
        read_video_frames(path, [0], 25)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ClipError, match="does not decode"):
        read_video_frames(path, [0], 50)
