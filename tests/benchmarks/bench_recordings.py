"""Time a pass with everything recorded, with and without reading it; and with three operations of a model unknown."""

from collections.abc import Callable
from functools import partial

import torch
from pairs import HEADER, keep_freed_memory, machine, measure_pairs
from torch import nn

from gatescope.models import GestureNetwork, NetworkConfig, RecurrentLayer
from gatescope.recordings import record

SCALES = {"paper": (1, 256, 28, 1.10), "small": (16, 32, 14, 1.20)}  # clips, channels, size, the most it may cost
NUM_STEPS = 8
NAMED = {"paper": 1.10, "small": 1.50}  # the most that three named operations of another's ConvLSTM may cost
OPERATIONS = ("sigmoid.0", "sigmoid.1", "add.0")


class Fused(nn.Module):
    """A ConvLSTM in plain PyTorch, with one convolution for all gates."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels, self.conv = channels, nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the next states."""
        i, f, o, g = self.conv(torch.cat([x, h], 1)).split(self.channels, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Unknown(nn.Module):
    """That cell over time."""

    def __init__(self, channels: int):
        super().__init__()
        self.cell = Fused(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last hidden state."""
        h = c = torch.zeros_like(x[:, 0])
        for step in x.unbind(1):
            h, c = self.cell(step, h, c)
        return h


def named(module: nn.Module, x: torch.Tensor, calls: str) -> Callable[[], object]:
    """Return a call of a forward pass with three operations recorded; `calls` is as `find_gates` says it, or empty."""

    def run() -> object:
        with record(module, *(f"cell:{operation}{calls}" for operation in OPERATIONS)) as recording:
            module(x)
        return recording

    return run


def recorded(module: nn.Module, x: torch.Tensor, read: bool) -> Callable[[], object]:
    """Return a call of a forward pass with everything recorded, and with `read` stacked over time."""

    def run() -> object:
        with record(module) as recording:
            module(x)
        return [recording[name] for name in recording] if read else recording

    return run


def check_recording(module: nn.Module, x: torch.Tensor) -> None:
    """Stop if recording changes a bit of the output."""
    plain = module(x)
    with record(module):
        if not torch.equal(module(x), plain):
            raise SystemExit("a recorded pass gives another output; nothing was timed")


@torch.no_grad()
def main() -> None:
    """Print the table, and whether a recorded pass costs no more than it may."""
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(machine())
    print(f"{'a pass, and the same recorded, 1 thread':48} {HEADER}")
    verdicts = []
    subjects: list[tuple[str, nn.Module, torch.Tensor, float | None]] = []
    for scale, (clips, channels, size, most) in SCALES.items():
        x = torch.randn(clips, NUM_STEPS, channels, size, size)
        subjects += [
            (f"{cell}, {scale}", RecurrentLayer(cell, channels, channels), x, most) for cell in ("a", "convlstm")
        ]
    network = GestureNetwork(NetworkConfig.small("a", num_classes=12)).eval()
    subjects.append(("small network", network, torch.randn(16, 3, 16, 56, 56), None))
    for name, module, x, most in subjects:
        check_recording(module, x)
        for read in (False, True):
            pairs = measure_pairs(partial(module, x), recorded(module, x, read))
            what = f"{name}, recorded{' and read' if read else ''}"
            print(f"{what:48} {pairs}", flush=True)
            if most is not None:
                cost = pairs.ratios[1]
                verdict = "reached" if cost <= most else "MISSED "
                verdicts.append(f"  {verdict}  {what}: {cost - 1:+.0%}, at most {most - 1:+.0%} wanted")
    for scale, (clips, channels, size, _) in SCALES.items():
        module, x = Unknown(channels).eval(), torch.randn(clips, NUM_STEPS, channels, size, size)
        for how, calls in (("by name", ""), ("as found", "#:")):
            pairs = measure_pairs(partial(module, x), named(module, x, calls))
            what = f"another's ConvLSTM, {scale}, 3 operations {how}"
            print(f"{what:48} {pairs}", flush=True)
            cost, most = pairs.ratios[1], NAMED[scale]
            verdict = "reached" if cost <= most else "MISSED "
            verdicts.append(f"  {verdict}  {what}: {cost - 1:+.0%}, at most {most - 1:+.0%} wanted")
    print("", *verdicts, sep="\n")


if __name__ == "__main__":
    main()
