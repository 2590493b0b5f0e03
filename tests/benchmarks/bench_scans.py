"""Time cells that are linear in their state: all steps at once against the loop, and a scan against a chain."""

from collections.abc import Callable
from itertools import product

import torch
from pairs import HEADER, check, keep_freed_memory, machine, measure_pairs

from gatescope.models import RecurrentLayer, scans
from gatescope.recordings import intervene

CELLS = ("a_of_x", "min_conv", "min_separable")
SIZES = {"one clip": (1, 32, 8), "a batch": (16, 32, 8), "paper": (1, 256, 28)}  # clips, channels, height and width
STEPS = (8, 32)


def runner(call: Callable[..., torch.Tensor], *inputs: torch.Tensor, training: bool) -> Callable[[], torch.Tensor]:
    """Return a call that also takes the gradients of the inputs in training."""
    inputs = tuple(value.clone().requires_grad_(training) for value in inputs)

    def run() -> torch.Tensor:
        with torch.set_grad_enabled(training):
            found = call(*inputs)
        if training:
            found.backward(torch.ones_like(found))
            for value in inputs:
                value.grad = None
        return found.detach()

    return run


def step_by_step(layer: RecurrentLayer) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the layer's loop, which it takes where something may replace C."""

    def run(x: torch.Tensor) -> torch.Tensor:
        with intervene(layer, {"c": lambda c: c}):
            return layer(x)

    return run


def main() -> None:
    """Print both tables; a ratio above 1 is how many times as long the other takes."""
    keep_freed_memory()
    torch.set_num_threads(1)
    print(machine())
    print(f"{'the layer against its loop':58} {HEADER}")
    for (size, (batch, channels, side)), num_steps, cell, training in product(SIZES.items(), STEPS, CELLS, (0, 1)):
        if (size, num_steps) == ("paper", 32):
            continue
        torch.manual_seed(0)
        layer, x = RecurrentLayer(cell, channels, channels), torch.randn(batch, num_steps, channels, side, side)
        ours, loop = (runner(call, x, training=bool(training)) for call in (layer, step_by_step(layer)))
        check(f"{cell} over {num_steps} steps", ours(), loop(), 1e-5)
        what = f"{cell:14} {size:9} {num_steps:3} steps  {'forward + backward' if training else 'forward'}"
        print(f"{what:58} {measure_pairs(ours, loop)}", flush=True)
    print(f"\n{'a scan against a chain':58} {HEADER}")
    for (size, (batch, channels, side)), num_steps, training in product(SIZES.items(), STEPS, (0, 1)):
        shape = (num_steps, batch, channels, side, side)
        f, written = torch.rand(shape), torch.randn(shape)
        scan, chain = (runner(call, f, written, training=bool(training)) for call in (scans.scan, scans.chain))
        check(f"a scan over {num_steps} steps", scan(), chain(), 1e-5)
        what = f"{size:9} {num_steps:3} steps  {'forward + backward' if training else 'forward'}"
        print(f"{what:58} {measure_pairs(scan, chain)}", flush=True)


if __name__ == "__main__":
    main()
