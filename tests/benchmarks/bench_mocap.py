"""How long forward kinematics takes after reading, and how long a large BVH file takes to read, and in what memory."""

import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from gatescope.loaders import read_bvh
from gatescope.loaders.bvh import BvhJoint
from gatescope.loaders.mocap import forward_kinematics

ROUNDS = 5
FRAMES, JOINTS, BAR_S = 50_000, 31, 2.0
LARGE_FRAMES, LARGE_JOINTS = 100_000, 300
ROTATIONS = [("rotation", 2), ("rotation", 1), ("rotation", 0)]
POSITIONS = [("position", axis) for axis in range(3)]


def skeleton(num_joints: int) -> list[BvhJoint]:
    """A tree of joints with three rotations each, the root with positions too."""
    parents = [0, *(max(0, number - 1 - number % 5) for number in range(1, num_joints))]
    return [
        BvhJoint(f"j{number}", parent, (0.1, 1.0, 0.2), ROTATIONS if number else POSITIONS + ROTATIONS)
        for number, parent in enumerate(parents)
    ]


def forward_kinematics_s() -> list[float]:
    """The time of each round; the first, which meets fresh memory, is left out."""
    joints = skeleton(JOINTS)
    rows = np.random.default_rng(0).uniform(-180, 180, (FRAMES, 3 * JOINTS + 3))
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        forward_kinematics(joints, rows, np.empty((FRAMES, JOINTS, 3), np.float32))
        times.append(time.perf_counter() - start)
    return times[1:]


def write_large(path: Path) -> None:
    """A chain of many joints, its rows repeated from a thousand."""
    channels = "CHANNELS 3 Zrotation Yrotation Xrotation\n"
    opened = "".join(f"JOINT j{number} {{\nOFFSET 0 1 0\n{channels}" for number in range(1, LARGE_JOINTS))
    hierarchy = f"HIERARCHY\nROOT j0 {{\nOFFSET 0 0 0\n{channels}{opened}{'}' * LARGE_JOINTS}\n"
    values = np.random.default_rng(0).uniform(-180, 180, (1000, 3 * LARGE_JOINTS))
    rows = "".join(" ".join(f"{value:.4f}" for value in row) + "\n" for row in values)
    with path.open("w") as file:
        file.write(f"{hierarchy}MOTION\nFrames: {LARGE_FRAMES}\nFrame Time: 0.01\n")
        for _ in range(LARGE_FRAMES // 1000):
            file.write(rows)


def main() -> None:
    """Print a table of medians."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    times = forward_kinematics_s()
    print(
        f"forward kinematics, {FRAMES:,} frames x {JOINTS} joints: median {statistics.median(times):.2f} s, "
        f"{min(times):.2f}-{max(times):.2f} in {ROUNDS} rounds (under {BAR_S:.0f} wanted)"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.bvh"
        write_large(path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        mocap = read_bvh(path)
        seconds = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10  # from KiB, as Linux counts
        print(
            f"reading {LARGE_FRAMES:,} frames x {LARGE_JOINTS} joints, {path.stat().st_size >> 20} MiB of text: "
            f"{seconds:.1f} s with kinematics, {grown} MiB more memory, {mocap.joints.nbytes >> 20} MiB of it joints"
        )


if __name__ == "__main__":
    main()
