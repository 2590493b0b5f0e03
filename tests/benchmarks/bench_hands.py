"""Time hands in a recording of 640 x 480 on one core: all of `with_hands`, and its two networks alone.

    python tests/benchmarks/bench_hands.py [CLIP] [--light WHEEL]

The bar is 20 frames a second with one hand in sight, and a clip of three seconds within five. Time is the process's own
(CPU), so that a busy machine changes little. Without CLIP a rendered person is enlarged. `--light` also takes the
smaller landmark network from the wheel that `gatescope hands fetch` takes, which the library does not use.
"""

import argparse
import resource
import tempfile
import time
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gatescope.loaders import Clip, SyntheticGestures, read_clip, with_hands
from gatescope.loaders.hands import has_networks, networks, tracking
from gatescope.paths import HANDS

FRAMES_A_SECOND, SECONDS, WITHIN_S = 20, 3, 5
LIGHT = "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite"


def rendered() -> Clip:
    """Return a rendered person of three seconds, 640 x 480."""
    clip = SyntheticGestures("test", 1, 240, num_frames=45, modalities=())[0]
    frames = [cv2.resize(frame, (640, 640))[80:560] for frame in clip.frames]
    return Clip(frames=np.repeat(frames, 2, axis=0), fps=30.0, source=clip.source)


def timed(clip: Clip, folder: Path) -> None:
    """Print the frames a second of `with_hands` and the share of its networks."""
    spent = {"networks": 0.0}

    class Watched:
        def __init__(self, network: Any):
            self.network, self.setInput = network, network.setInput

        def forward(self, names: list[str]) -> Any:
            begin = time.process_time()
            outputs = self.network.forward(names)
            spent["networks"] += time.process_time() - begin
            return outputs

    opened = tracking.open_network
    tracking.open_network = lambda *given: Watched(opened(*given))
    try:
        with tempfile.TemporaryDirectory() as cache:
            begin = time.process_time()
            hands = with_hands(clip, folder, Path(cache)).hands
            took = time.process_time() - begin
    finally:
        tracking.open_network = opened
    rate, seen = len(clip.frames) / took, hands.found.sum() / len(clip.frames)
    print(f"{rate:5.1f} frames/s (bar {FRAMES_A_SECOND}), {spent['networks'] / took:.0%} in the networks;", end=" ")
    print(f"{seen:.2f} hands a frame; {SECONDS} s of video take {30 * SECONDS / rate:.1f} s (bar {WITHIN_S});", end=" ")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB", flush=True)


def main() -> None:
    """Print a line for each pair of networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--light", type=Path, metavar="WHEEL")
    asked = parser.parse_args()
    if not has_networks():
        print("left out: the hand networks are not in data/hands; `gatescope hands fetch` obtains them")
        return
    cv2.setNumThreads(1)
    clip = read_clip(asked.clip) if asked.clip else rendered()
    clip = replace(clip, frames=clip.frames[: 30 * SECONDS], times_s=None)
    print(f"{len(clip.frames)} frames of {clip.frames.shape[2]} x {clip.frames.shape[1]}")
    print("full ", end=" ")
    timed(clip, HANDS)
    if asked.light:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(asked.light) as wheel:
            content = wheel.read(LIGHT)
            light = networks.NetworkFile(LIGHT, len(content), sha256(content).hexdigest())
            (Path(folder) / light.name).write_bytes(content)
            (Path(folder) / networks.PALMS.name).write_bytes((HANDS / networks.PALMS.name).read_bytes())
            tracking.LANDMARKS = light
            print("light", end=" ")
            timed(clip, Path(folder))


if __name__ == "__main__":
    main()
