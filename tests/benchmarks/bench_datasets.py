"""A made-up Jester of 20,000 clips, in folders and packed: memory, clips read a second, and how long a model waits."""

import gc
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, RandomSampler

from gatescope.loaders import JESTER_LABELS, ClipTensors, JesterClips, SyntheticGestures
from gatescope.loaders.packing import pack
from gatescope.models import GestureNetwork, NetworkConfig

NUM_CLIPS, FEW = 20_000, 2_000
NUM_FRAMES, HEIGHT, WIDTHS = 37, 100, (132, 176)  # px, as Jester's
NUM_READ = 600  # clips of a measurement
WORKERS = 2
BATCH = 16


def make_jester(root: Path, num_clips: int) -> None:
    """Write a set of Jester's layout and sizes; 27 clips are drawn, the others are hard links to their frames."""
    drawn = SyntheticGestures("train", len(JESTER_LABELS), 112, num_frames=16, modalities=())
    rng = np.random.default_rng(0)
    frames = root / "20bn-jester-v1"
    for number in range(1, num_clips + 1):
        folder = frames / str(number)
        folder.mkdir(parents=True)
        first = frames / str((number - 1) % len(drawn) + 1)
        pictures = drawn[number - 1].frames if folder == first else []
        for frame in range(NUM_FRAMES):
            path = folder / f"{frame + 1:05d}.jpg"
            if folder == first:
                picture = Image.fromarray(pictures[frame * 16 // NUM_FRAMES])
                picture = picture.resize((WIDTHS[number % 2], HEIGHT))
                noisy = np.asarray(picture) + rng.normal(0, 2, (HEIGHT, picture.width, 3))
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=75)
            else:
                os.link(first / path.name, path)
    lines = [f"{number};{JESTER_LABELS[(number - 1) % len(JESTER_LABELS)]}\n" for number in range(1, num_clips + 1)]
    (root / "jester-v1-train.csv").write_text("".join(lines), encoding="utf-8")
    few = "".join(lines[:FEW])
    (root / "jester-v1-validation.csv").write_text(few, encoding="utf-8")


def tensors_of(root: Path, split: str) -> ClipTensors:
    """The set's tensors of 16 x 56 x 56, as a small network takes them."""
    return ClipTensors(JesterClips(root, split), **NetworkConfig.small("a", num_classes=27).input, train=True)


def memory(root: Path, split: str) -> tuple[int, float, float]:
    """In a process of its own, on Linux: clips, seconds to open them, and the MiB that stay with 600 reads."""
    tensors_of(root, "valid")[0]  # what is imported and allocated once, for few clips and many
    gc.collect()
    before, start = _resident_mib(), time.perf_counter()
    tensors = tensors_of(root, split)
    opened_s = time.perf_counter() - start
    order = np.random.default_rng(0).permutation(len(tensors))[:NUM_READ]
    for index in order.tolist():
        tensors[index]
    gc.collect()
    return len(tensors), opened_s, _resident_mib() - before


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def batches(root: Path, workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of clips in random order."""
    tensors = tensors_of(root, "train")
    sampler = RandomSampler(tensors, num_samples=NUM_READ, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(tensors, BATCH, sampler=sampler, num_workers=workers, drop_last=True)
    return iter(loader)


def reading_rate(root: Path, workers: int) -> float:
    """Clips a second without a model; the first batch, for which workers start, is left out."""
    loaded = batches(root, workers)
    next(loaded)
    start = time.perf_counter()
    count = sum(len(x) for x, _ in loaded)
    return count / (time.perf_counter() - start)


def training_wait(root: Path) -> tuple[float, float]:
    """Clips a second that a small network learns from, and the share of the time that it waits for them."""
    torch.manual_seed(0)
    network = GestureNetwork(NetworkConfig.small("a", num_classes=len(JESTER_LABELS), stem_stride=3)).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    loaded, waited, count = batches(root, WORKERS), 0.0, 0
    next(loaded)
    begin = time.perf_counter()
    while True:
        start = time.perf_counter()
        batch = next(loaded, None)
        waited += time.perf_counter() - start
        if batch is None:
            break
        cross_entropy(network(batch[0]), batch[1]).backward()
        optimizer.step()
        optimizer.zero_grad()
        count += len(batch[0])
    total = time.perf_counter() - begin
    return count / total, waited / total


def main() -> None:
    """Print what was measured."""
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {WORKERS} workers")
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "plain", Path(folder) / "packed"
        start = time.perf_counter()
        make_jester(plain, NUM_CLIPS)
        print(f"{NUM_CLIPS:,} clips of {NUM_FRAMES} frames made in {time.perf_counter() - start:.0f} s")
        start = time.perf_counter()
        for _ in pack(plain, packed):
            pass
        size = sum(path.stat().st_size for path in packed.iterdir())
        print(f"packed, with {FEW:,} of them twice: {time.perf_counter() - start:.0f} s, {size / 1e9:.2f} GB")
        for name, root in {"folders": plain, "packed": packed}.items():
            for split in ("valid", "train"):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    num_clips, opened_s, mib = pool.submit(memory, root, split).result()
                print(f"{name}: {num_clips:,} clips opened in {opened_s:.2f} s; {mib:.0f} MiB for them and 600 reads")
            for workers in (0, WORKERS):
                print(f"{name}: {reading_rate(root, workers):.0f} clips/s read by {max(workers, 1)} process(es)")
            rate, share = training_wait(root)
            print(f"{name}: a small network learns from {rate:.0f} clips/s and waits {share:.1%} of the time")


if __name__ == "__main__":
    main()
