"""Fair timing: two calls in turn, and the quartiles of the ratio of each pair."""

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

NUM_PAIRS = 15


@dataclass(frozen=True)
class Pairs:
    """The times of ours and of the other, in seconds, pair by pair."""

    ours_s: np.ndarray
    other_s: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """Lower quartile, median, upper quartile of how many times as long the other takes."""
        return np.quantile(self.other_s / self.ours_s, (0.25, 0.5, 0.75))

    def __str__(self) -> str:
        low, median, high = self.ratios
        ours_ms, other_ms = 1e3 * np.median(self.ours_s), 1e3 * np.median(self.other_s)
        return f"{ours_ms:8.1f} {other_ms:8.1f} {median:6.2f} {low:6.2f}-{high:.2f}"


HEADER = f"{'ms':>8} {'other ms':>8} {'ratio':>6} {'quartiles':>11}"


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, where it can be asked to.

    Left to itself it gives large blocks back and gets them again page by page, which takes either side up to a third
    of its time, or none, by the chance of what else lies in memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if mallopt is not None:
        m_trim_threshold, m_mmap_max = -1, -4
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, 2**31 - 1)


def measure_pairs(ours: Callable[[], object], other: Callable[[], object], num_pairs: int = NUM_PAIRS) -> Pairs:
    """The times of both, in turn, after one run of each that does not count; which one goes first alternates.

    On one thread it is processor time, which is wall time on an idle machine and is not disturbed by who else waits
    for the processor; on more threads it is wall time.
    """
    clock = _clock()
    ours()
    other()
    times: dict[Callable, list[float]] = {ours: [], other: []}
    gc.collect()
    gc.disable()
    try:
        for number in range(num_pairs):
            for call in (ours, other) if number % 2 else (other, ours):
                start = clock()
                call()
                times[call].append(clock() - start)
    finally:
        gc.enable()
    return Pairs(np.array(times[ours]), np.array(times[other]))


def say(what: str, pairs: Pairs, bar: float) -> None:
    """A line that says whether the median ratio reaches the bar."""
    median = pairs.ratios[1]
    print(f"  {'reached' if median >= bar else 'MISSED '}  {what}: {median:.2f}, at least {bar:.2f} wanted")


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, over the largest magnitude expected."""
    return float((found.double() - expected).abs().max() / expected.abs().max())


def check(what: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Stop where a path computes something else than its float64 twin: then its speed is of no interest."""
    error = relative_error(found, expected)
    if not error <= tolerance:
        raise SystemExit(f"{what} is off by {error:.1e}, where {tolerance:.0e} is allowed; nothing was timed")


def convolution_peak(dtype: torch.dtype) -> float:
    """FLOP/s of a large dense convolution, the best of several runs: what the machine has to give."""
    clock = _clock()
    x, weight = torch.randn(8, 256, 28, 28), torch.randn(256, 256, 3, 3)
    x, weight = (tensor.to(dtype).contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    durations = []
    with torch.no_grad():
        for _ in range(10):
            start = clock()
            F.conv2d(x, weight, padding=1)
            durations.append(clock() - start)
    return 2 * x.numel() * 256 * 9 / min(durations)


def machine() -> str:
    """The processor and what runs on it, in a line."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, torch {torch.__version__}"


def _clock() -> Callable[[], float]:
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter
