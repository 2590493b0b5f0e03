"""Convert the poses and cameras of Human3.6M once into `poses.npz`, plain arrays that `Human36M` reads.

    python data/human36m/convert.py path/to/human36m

Needs NumPy alone. WARNING: NumPy unpickles the two files of VideoPose3D, and a pickle can run any code. Convert only
files that you made yourself with its `prepare_data_h36m.py`, or whose maker you trust as much as a program's.
"""

import re
import sys
from pathlib import Path

import numpy as np

# The 17 joints that are evaluated, among the 32 recorded.
KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
NUM_CAMERAS, NUM_SUBJECTS = 4, 11
MOST_APART = 1 / 200  # between given and projected 2D poses, in focal lengths: lenses are known to 1 / 1000


def convert(root: Path) -> Path:
    """Write `poses.npz` below `root` and return its path.

    For each subject it holds `S1/cameras` (4, 4, 3): rows 0 to 2 of each camera rotate from world to camera axes, row 3
    is its position (mm, in the world); for each performance `S1/Eating/world` (time, 17, 3), mm, and `S1/Eating/pixels`
    (4, time, 17, 2), px.

    Raises:
        ValueError: if `metadata.xml` describes no cameras, or 3D poses, 2D poses and cameras do not fit each other.
    """
    outside, inside = read_cameras(root / "metadata.xml")
    with np.load(root / "data_3d_h36m.npz", allow_pickle=True) as file:
        in_world = file["positions_3d"].item()
    with np.load(root / "data_2d_h36m_gt.npz", allow_pickle=True) as file:
        in_pixels = file["positions_2d"].item()
    arrays = {}
    for subject, actions in in_world.items():
        own = outside[:, int(subject.removeprefix("S")) - 1]
        cameras = np.array([[*rotation(camera[:3]), camera[3:]] for camera in own])
        arrays[f"{subject}/cameras"] = cameras
        for action, joints in actions.items():
            views = in_pixels.get(subject, {}).get(action, ())
            found, wanted = [np.shape(view) for view in views], NUM_CAMERAS * [(len(joints), len(KEPT), 2)]
            if not len(joints) or joints.shape[1:] != (32, 3) or found != wanted:
                raise ValueError(
                    f"{subject} {action}: needed 3D poses (time, 32, 3) and 2D poses of 4 cameras (time, 17, 2), "
                    f"with a frame or more; got {joints.shape} and {found}; make both files from one copy"
                )
            world = joints[:, KEPT].astype(np.float32) * np.float32(1000)  # from m
            pixels = np.stack(views).astype(np.float32)
            for camera, lens, view in zip(cameras, inside, pixels, strict=True):
                apart = np.linalg.norm(project(world[0], camera, lens) - view[0], axis=-1).max()
                if not apart <= MOST_APART * lens[:2].max():
                    raise ValueError(
                        f"{subject} {action}: 2D poses are {apart:.1f} px from where metadata.xml projects the 3D "
                        "ones; take all three files from one copy of the data set"
                    )
            arrays[f"{subject}/{action}/world"], arrays[f"{subject}/{action}/pixels"] = world, pixels
    np.savez(root / "poses.npz", **arrays)
    return root / "poses.npz"


def read_cameras(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read (4, 11, 6): each camera's three angles, rad, and position, mm, per subject; and (4, 9): its optics.

    The optics are two focal lengths and the centre, px, then three radial and two tangential distortions.
    """
    found = re.search(r"<w0>\s*\[([^\]<]*)\]\s*</w0>", path.read_text())
    numbers = np.array(found[1].split() if found else [], float)
    split = NUM_CAMERAS * NUM_SUBJECTS * 6
    if numbers.size != split + NUM_CAMERAS * 9:
        raise ValueError(f"{path} has no element w0 of 300 numbers; take it from Human3.6M's own code")
    return numbers[:split].reshape(NUM_CAMERAS, NUM_SUBJECTS, 6), numbers[split:].reshape(NUM_CAMERAS, 9)


def rotation(angles: np.ndarray) -> np.ndarray:
    """Return the product of the rotations about x, y and z by these angles (rad)."""
    product = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first] = np.sin(angle)
        turn[first, second] = -turn[second, first]
        product = product @ turn
    return product


def project(world: np.ndarray, camera: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """Return the pixels (joints, 2) of joints in the world, without the lens's tangential distortion (about 1 px)."""
    seen = (world - camera[3]) @ camera[:3].T
    places = seen[:, :2] / seen[:, 2:]
    squared = (places**2).sum(axis=-1, keepdims=True)
    return places * (1 + lens[4] * squared + lens[5] * squared**2 + lens[6] * squared**3) * lens[:2] + lens[2:4]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(f"wrote {convert(Path(sys.argv[1]))}")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
