"""outlook: what a training on recorded clips would take on this machine, told from one step, and how it is started."""

import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gatescope.formats.facts import read_toml
from gatescope.loaders import IsoGDClips, JesterClips, sample_frames, to_batch
from gatescope.loaders.datasets import RecordedClips
from gatescope.loaders.lists import Entry
from gatescope.loaders.packed import CARD
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.paths import CHECKPOINTS, TRAININGS, named
from gatescope.trainings.recipes import TrainConfig, choose_precision
from gatescope.trainings.runs import FINE_TUNING, HELD_OUT

MANY = 10_000  # folders of frames from which on packing is worth it
LONG_S = 2 * 24 * 3600
_SETS = {JesterClips: "jester", IsoGDClips: "isogd"}


def outlook(
    root: Path, parts: Sequence[RecordedClips], some: Sequence[tuple[RecordedClips, Entry]], bytes_per_clip: float
) -> list[str]:
    """Return lines on time, memory and disk of a training, and the command that starts it.

    `parts` are the training clips and those for validation, or all clips, of which every fifth is then held out;
    `some` of them are read as in training, for the time that it takes. The training is the one described for the set,
    with cell (a); of one's own clips, fine-tuning.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    num_clips = sum(map(len, parts))
    num_valid = len(parts[1]) if len(parts) > 1 else num_clips // HELD_OUT
    config, training, command = _described(root, parts[0])
    network = GestureNetwork(config).to(device)
    start = time.perf_counter()
    for clips, entry in some:
        clip = clips.read(entry, lambda count, times_s: sample_frames(count, config.num_frames, times_s=times_s))
        x = to_batch(clip, **config.input)
    reading_s, x = (time.perf_counter() - start) / len(some), x.to(device)
    try:
        step_s, look_s, peak = measure(network, x, training.batch_size, choose_precision(training.precision, device))
    except torch.OutOfMemoryError:
        too_large = f"a batch of {training.batch_size} does not fit into this {device.type}'s memory"
        return [f"{too_large}; write a smaller batch_size in the description", f"next: {command}"]
    epoch_s = max((num_clips - num_valid) * step_s + num_valid * look_s, num_clips * reading_s)
    lines = [
        f"a training of {training.epochs} epochs on this machine ({device.type}), as the command below starts it:",
        f"  time: about {_duration(training.epochs * epoch_s)}; the network learns from {1 / step_s:,.1f} clips/s",
        f"  memory: about {_size(peak)} for batches of {training.batch_size}",
        f"  disk: the clips take about {_size(num_clips * bytes_per_clip)}, the training leaves up to "
        f"{_size(6 * sum(weight.nbytes for weight in network.parameters()))}",
    ]
    if reading_s > step_s:
        num_workers = math.ceil(reading_s / step_s)
        command += f" --workers {num_workers}"
        lines.append(f"  the network would wait for clips: {num_workers} processes read them (--workers)")
    if device.type == "cpu" and training.epochs * epoch_s > LONG_S:
        lines.append(
            "  that is long: take a GPU, or a smaller network; for that, copy the description and write width = 0.125 "
            "and size = 56 below [network]"
        )
    if num_clips >= MANY and type(parts[0]) in _SETS and not (root / CARD).exists():
        packed = shlex.quote(f"{root}-packed")
        lines.append(
            f"  so many small files can starve a GPU; as a few large ones they do not: {_program()} pack "
            f"{shlex.quote(str(root))} --out {packed}, then name {packed} below"
        )
    return [*lines, f"next: {command}"]


def _described(root: Path, clips: RecordedClips) -> tuple[NetworkConfig, TrainConfig, str]:
    """Return network, settings and command of the training that is described for the set."""
    where = shlex.quote(str(root))
    if (name := _SETS.get(type(clips))) is None:
        start = CHECKPOINTS / "a-0" / "network.safetensors"
        config = GestureNetwork.load(start).with_classes(len(set(entry.label for entry in clips.entries))).config
        return config, FINE_TUNING, f"{_program()} fine-tune {named(start)} {where} --out build/runs/mine"
    path = TRAININGS / f"{name}.toml"
    described = read_toml(path)
    network = {key: tuple(value) if isinstance(value, list) else value for key, value in described["network"].items()}
    config = NetworkConfig.small("a", num_classes=len(clips.labels), **network)
    command = f"{_program()} train {named(path)} --root {where} --cell a --out build/runs/{name}/a-0"
    return config, TrainConfig(**described["training"]), command


def _program() -> str:
    """The command line's name, with its folder where a shell does not know it."""
    beside = Path(sys.executable).with_name("gatescope")
    return "gatescope" if shutil.which("gatescope") or not beside.exists() else shlex.quote(os.path.relpath(beside))


def measure(
    network: nn.Module, x: Float[Tensor, "1 3 time height width"], batch_size: int, precision: str
) -> tuple[float, float, int]:
    """Return the seconds that a clip takes to learn from and to be looked at, and the bytes of a training's peak.

    On a GPU of a whole batch, with its allocator's peak; on a processor of one clip, whose tensors kept for the
    gradient are counted: with weights, gradients and the optimiser's states that is nearly all.
    """
    on_gpu = x.device.type == "cuda"
    x = x.expand(batch_size if on_gpu else 1, -1, -1, -1, -1)
    labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    weights = {weight.untyped_storage().data_ptr(): weight.nbytes for weight in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network.train()
    for _ in range(3 if on_gpu else 1):  # the first on a GPU only warms up
        kept.clear()
        start = time.perf_counter()
        with (
            torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"),
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        ):
            loss = cross_entropy(network(x).float(), labels)
            if on_gpu:
                torch.cuda.synchronize()
            looked_s = time.perf_counter() - start
            loss.backward()
        if on_gpu:
            torch.cuda.synchronize()
        step_s = time.perf_counter() - start
    network.zero_grad()
    # Two states of an optimiser; without an allocator's peak, weights and gradients too.
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() + 2 * sum(weights.values())
    else:
        activations = sum(size for place, size in kept.items() if place not in weights)
        peak = activations * batch_size // len(x) + 4 * sum(weights.values())
    return step_s / len(x), looked_s / len(x), peak


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"


def _size(num_bytes: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"
