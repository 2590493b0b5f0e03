"""Time hands in recordings of 640 x 480 on one core: all of `with_hands`, its parts, and what the explorer waits for.

    python tests/benchmarks/bench_hands.py [CLIP ...]

The bar is 20 frames a second with one hand in sight, and a clip of three seconds within five. Time is the process's own
(CPU), so that a busy machine changes little; each is the median of several. Without a CLIP a rendered person is
enlarged.
"""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pairs import machine

from gatescope.explorer.hands import hands_of, seen_with
from gatescope.loaders import Clip, SyntheticGestures, read_clip, with_hands
from gatescope.loaders.hands import has_networks, measuring, tracking

FRAMES_A_SECOND, SECONDS, WITHIN_S = 20, 3, 5
TIMES = 5
SEEN = 16, 112  # frames and px of a trained network's clips


def rendered() -> Clip:
    """Return a rendered person of three seconds, 640 x 480."""
    clip = SyntheticGestures("test", 1, 240, num_frames=45, modalities=())[0]
    frames = [cv2.resize(frame, (640, 640))[80:560] for frame in clip.frames]
    return Clip(frames=np.repeat(frames, 2, axis=0), fps=30.0, source="a rendered person")


class Spent:
    """The seconds that some functions take, each by the name of a part."""

    def __init__(self):
        self.seconds = {"networks": 0.0, "masks": 0.0}
        tracking.open_network = self.opened(tracking.open_network)
        measuring.hand_mask = self.watched("masks", measuring.hand_mask)

    def watched(self, part: str, function: Callable) -> Callable:
        """Return the function, whose time counts for a part."""

        @wraps(function)
        def timed(*given: Any) -> Any:
            begin = time.process_time()
            found = function(*given)
            self.seconds[part] += time.process_time() - begin
            return found

        return timed

    def opened(self, open_network: Callable) -> Callable:
        """Return what opens networks whose time counts."""
        return lambda *given: self.watched("networks", open_network(*given))


def measure(clip: Clip, spent: Spent) -> str:
    """Return a line on one clip."""
    took, parts, explored = [], [], []
    for _ in range(TIMES):
        spent.seconds = dict.fromkeys(spent.seconds, 0.0)
        with tempfile.TemporaryDirectory() as cache:
            begin = time.process_time()
            hands = with_hands(clip, cache=Path(cache)).hands
            took.append(time.process_time() - begin)
        parts.append({name: seconds / took[-1] for name, seconds in spent.seconds.items()})
        begin = time.process_time()
        seen_with(clip, hands_of(clip, report=lambda words: None), *SEEN)
        explored.append(time.process_time() - begin)
    rate, seen = len(clip.frames) / statistics.median(took), hands.found.sum() / len(clip.frames)
    shares = ", ".join(f"{statistics.median(each[name] for each in parts):.0%} {name}" for name in spent.seconds)
    per_clip = [seconds * 30 * SECONDS / len(clip.frames) for seconds in (*took, *explored)]
    whole, short = statistics.median(per_clip[:TIMES]), statistics.median(per_clip[TIMES:])
    return (
        f"{rate:5.1f} frames/s (bar {FRAMES_A_SECOND}) with {seen:.2f} hands a frame: {shares}; {SECONDS} s of video "
        f"take {whole:.1f} s, in the explorer {short:.1f} s (bar {WITHIN_S})"
    )


def main() -> None:
    """Print a line for each clip."""
    if not has_networks():
        print("left out: the hand networks are not in data/hands; `gatescope hands fetch` obtains them")
        return
    print(machine())
    cv2.setNumThreads(1)
    spent = Spent()
    for clip in [read_clip(path) for path in sys.argv[1:]] or [rendered()]:
        clip = replace(clip, frames=clip.frames[: 30 * SECONDS], times_s=None)
        size = f"{len(clip.frames)} frames of {clip.frames.shape[2]} x {clip.frames.shape[1]}"
        print(f"  {Path(clip.source).stem}, {size}: {measure(clip, spent)}", flush=True)
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
