"""How many clips a second are rendered, by one process on each core, and how much faster the cache gives them back."""

import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from gatescope.loaders import CachedClips, SyntheticGestures

PROCESSES = 2
ROUNDS, CLIPS_PER_ROUND = 5, 54
SETTINGS = {
    "16 x 56 x 56, colour + mask": (56, ("hand_mask",), 40),
    "16 x 112 x 112, every modality": (112, ("hand_mask", "depth", "flow"), 12),
}


def render(size: int, modalities: tuple[str, ...], indices: range) -> None:
    """Render some clips and throw them away."""
    clips = SyntheticGestures("train", 10_000, size, modalities=modalities)
    for index in indices:
        clips[index]


def clips_per_second(pool: ProcessPoolExecutor, size: int, modalities: tuple[str, ...]) -> list[float]:
    """The rate of each round, all processes at work; the first, in which they warm up, is left out."""
    rates = []
    for number in range(ROUNDS + 1):
        first = number * CLIPS_PER_ROUND
        start = time.perf_counter()
        parts = [range(first + k, first + CLIPS_PER_ROUND, PROCESSES) for k in range(PROCESSES)]
        list(pool.map(render, [size] * PROCESSES, [modalities] * PROCESSES, parts))
        rates.append(CLIPS_PER_ROUND / (time.perf_counter() - start))
    return rates[1:]


def cached_clips_per_second() -> float:
    """How fast filled clips of 16 x 56 x 56 are read back, colour and mask."""
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedClips(SyntheticGestures("train", 108, 56, modalities=("hand_mask",)), Path(folder))
        list(cached.fill())
        start = time.perf_counter()
        for index in range(len(cached)):
            cached[index].frames.sum()
        return len(cached) / (time.perf_counter() - start)


def main() -> None:
    """Print a table of medians."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {PROCESSES} processes")
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for name, (size, modalities, bar) in SETTINGS.items():
            rates = clips_per_second(pool, size, modalities)
            print(
                f"{name}: median {statistics.median(rates):.1f} clips/s, "
                f"{min(rates):.1f}-{max(rates):.1f} in {ROUNDS} rounds (at least {bar} wanted)"
            )
    print(f"read back from the cache: {cached_clips_per_second():.0f} clips/s, one process")


if __name__ == "__main__":
    main()
