"""Convert the pickled poses of VideoPose3D once into `poses.npz`, plain arrays that `Human36M` reads.

    python data/human36m/convert.py path/to/human36m

Needs NumPy alone. WARNING: NumPy unpickles the two files, and a pickle can run any code. Convert only files that you
made yourself with VideoPose3D's `prepare_data_h36m.py`, or whose maker you trust as much as a program.
"""

import sys
from pathlib import Path

import numpy as np

# The 17 joints that are evaluated, among the 32 recorded.
KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)


def convert(root: Path) -> Path:
    """Write `poses.npz` below `root`: for each performance `S1/Eating/world` (mm) and `S1/Eating/pixels`.

    `world` is (time, 17, 3) float32 in the world's axes, `pixels` (4, time, 17, 2) float32, one row per camera.
    """
    with np.load(root / "data_3d_h36m.npz", allow_pickle=True) as file:
        in_world = file["positions_3d"].item()
    with np.load(root / "data_2d_h36m_gt.npz", allow_pickle=True) as file:
        in_pixels = file["positions_2d"].item()
    arrays = {}
    for subject, actions in in_world.items():
        for action, joints in actions.items():
            name = f"{subject}/{action}"
            arrays[f"{name}/world"] = joints[:, KEPT].astype(np.float32) * np.float32(1000)  # from m
            arrays[f"{name}/pixels"] = np.stack(in_pixels[subject][action]).astype(np.float32)
    np.savez(root / "poses.npz", **arrays)
    return root / "poses.npz"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"wrote {convert(Path(sys.argv[1]))}")
