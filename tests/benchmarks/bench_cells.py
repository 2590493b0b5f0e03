"""Time each cell against the alternatives: a plain loop over its equations, and the popular dense ConvLSTM."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from baselines import NaiveLayer, PopularConvLSTM
from memory import measure_memory
from pairs import HEADER, Pairs, check, convolution_peak, keep_freed_memory, machine, measure_pairs, say
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gatescope.models import CELLS, RecurrentLayer
from gatescope.trainings.recipes import choose_precision

NUM_STEPS = 8
SCALES = {"paper": (1, 256, 28), "small": (16, 32, 14)}  # clips, channels in and out, height and width
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
FAST_BFLOAT16 = choose_precision("auto", torch.device("cpu")) == "bf16-mixed"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison; `bar` is the least ratio wanted of it, if any."""

    cell: str
    scale: str
    training: bool
    dtype: torch.dtype = torch.float32
    other_dtype: torch.dtype = torch.float32
    num_threads: int = 1
    bar: float | None = None

    def __str__(self) -> str:
        other = "popular" if self.cell == "convlstm" else "naive"
        return (
            f"{self.cell:8}  {self.scale}  {'forward + backward' if self.training else 'forward':18}  "
            f"{_short(self.dtype)} against {other:7} {_short(self.other_dtype)}  {self.num_threads} thread"
        )


def cases() -> list[Case]:
    """List the comparisons: everything on one thread, ConvLSTM and (a), pooled gates, at the paper's size on two."""
    bars = {"convlstm": (1.1, 1.0)} | dict.fromkeys("abcd", (1.8, 1.3))
    listed = []
    for scale in SCALES:
        for cell in CELLS:
            for training in (False, True):
                case = {"cell": cell, "scale": scale, "training": training}
                listed.append(Case(**case, bar=bars[cell][training] if scale == "paper" else None))
                if FAST_BFLOAT16:
                    bar = (2.0, 1.8)[training] if (cell, scale) == ("convlstm", "paper") else None
                    listed.append(Case(**case, dtype=torch.bfloat16, bar=bar))
                    if cell == "convlstm":
                        listed.append(Case(**case, dtype=torch.bfloat16, other_dtype=torch.bfloat16))
    for cell in ("convlstm", "a"):
        listed += [Case(cell=cell, scale="paper", training=training, num_threads=2) for training in (False, True)]
    return listed


def build(case: Case) -> tuple[RecurrentLayer, nn.Module, torch.Tensor]:
    """Return ours and the other with the same weights, and a clip of features."""
    torch.manual_seed(0)
    batch, channels, size = SCALES[case.scale]
    layer = RecurrentLayer(case.cell, channels, channels)
    other = PopularConvLSTM(layer) if case.cell == "convlstm" else NaiveLayer(layer)
    return layer, other, torch.randn(batch, NUM_STEPS, channels, size, size)


def runner(module: nn.Module, x: torch.Tensor, dtype: torch.dtype, training: bool) -> Callable[[], torch.Tensor]:
    """Return a call that runs the module, and in training the gradients of a clip and all weights."""
    x = x.clone().requires_grad_(training)

    def run() -> torch.Tensor:
        precision = torch.autocast("cpu", dtype) if dtype == torch.bfloat16 else nullcontext()
        with torch.set_grad_enabled(training), precision:
            hidden = module(x)
        if training:
            hidden.backward(torch.ones_like(hidden))
            for tensor in (x, *module.parameters()):
                tensor.grad = None
        return hidden

    return run


def check_cells() -> None:
    """Compare ours and the other, in each type that is timed, with the equations in float64."""
    for scale in SCALES:
        for cell in CELLS:
            layer, other, x = build(Case(cell=cell, scale=scale, training=False))
            with torch.no_grad():
                expected = NaiveLayer(layer).double()(x.double())
            for dtype, tolerance in TOLERANCES.items():
                if dtype == torch.float32 or FAST_BFLOAT16:
                    for name, module in (("ours", layer), ("the other", other)):
                        found = runner(module, x, dtype, False)()
                        check(f"{cell} at {scale} size in {_short(dtype)}, {name},", found, expected, tolerance)


def main() -> None:
    """Print the table, and for each bar whether it is reached."""
    keep_freed_memory()
    torch.set_num_threads(1)
    peaks = {dtype: convolution_peak(dtype) for dtype in TOLERANCES if dtype == torch.float32 or FAST_BFLOAT16}
    print(machine())
    print(
        "convolution peak, 1 thread:", ", ".join(f"{_short(t)} {peak / 1e9:.0f} GFLOP/s" for t, peak in peaks.items())
    )
    check_cells()
    print("both agree with the equations in float64; bf16 is autocast\n")
    print(f"{'cell, size, mode':84} {HEADER}  of peak  MB  other")
    measured: dict[Case, Pairs] = {}
    for case in cases():
        torch.set_num_threads(case.num_threads)
        layer, other, x = build(case)
        ours, theirs = runner(layer, x, case.dtype, case.training), runner(other, x, case.other_dtype, case.training)
        measured[case] = pairs = measure_pairs(ours, theirs)
        share = ""
        # The counter counts the gradient of a depthwise convolution as if it were dense.
        if case.num_threads == 1 and not case.training:
            with FlopCounterMode(display=False) as counter:
                ours()
            share = f"{counter.get_total_flops() / np.median(pairs.ours_s) / peaks[case.dtype]:6.0%}"
        memory = " ".join(f"{measure_memory(call) / 1e6:5.0f}" for call in (ours, theirs))
        print(f"{case!s:84} {pairs} {share:>7} {memory}", flush=True)
    print()
    for case, pairs in measured.items():
        if case.bar is not None:
            say(str(case), pairs, case.bar)


def _short(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]


if __name__ == "__main__":
    main()
