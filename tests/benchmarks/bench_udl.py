"""What an iteration of upstream-downstream learning takes, in every form and variant, against joint training."""

from collections.abc import Callable

import numpy as np
import torch
from pairs import check, keep_freed_memory, machine, measure_pairs
from torch.nn import functional as F

from gatescope.models import DSTSConfig, SpecialisedNetwork
from gatescope.models.dsts import upstream_names
from gatescope.trainings.udl import FORMS, UpstreamDownstream

BATCH_SIZE, INPUT = 16, (1, 8, 16, 16)  # clips in each of the two batches; channel, time, height, width
# Variant, form, and whether the backbone takes the simulated step.
CASES = [
    ("udl", "unrolled", True),
    *(("udl", form, False) for form in FORMS),
    *((variant, "unrolled", False) for variant in ("full", "first", "alternate")),
]


def learner(variant: str, form: str, *, backbone: bool, **settings: str) -> UpstreamDownstream:
    """Four neurons on the small backbone, always with the same weights; `backbone` takes the simulated step, or not."""
    torch.manual_seed(0)
    network = SpecialisedNetwork(DSTSConfig(num_classes=12, **settings))
    upstream = set(upstream_names(network))
    neurons = [name for name, _ in network.named_parameters() if name not in upstream and "backbone" not in name]
    simulated = None if backbone else neurons
    return UpstreamDownstream(
        network, F.cross_entropy, upstream, rate=0.05, form=form, variant=variant, simulated=simulated
    )


def batches(dtype: torch.dtype = torch.float32) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """One to train on and one to look ahead with."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        (torch.randn(BATCH_SIZE, *INPUT, generator=generator).to(dtype), torch.arange(BATCH_SIZE) % 12)
        for _ in range(2)
    )


def runner(variant: str, form: str, *, backbone: bool) -> Callable[[], object]:
    """A call that takes one iteration."""
    udl, both = learner(variant, form, backbone=backbone), batches()
    optimizer = torch.optim.Adam(udl.model.parameters())
    return lambda: udl.step(*both, optimizer)


def check_forms() -> None:
    """The exact forms in float32 against the unrolled one in float64; a difference steps over kinks of ReLUs."""
    expected = hyper_gradient("unrolled", torch.float64)
    for form in ("unrolled", "hessian"):
        check(f"the {form} form in float32", hyper_gradient(form, torch.float32), expected, 1e-4)


def hyper_gradient(form: str, dtype: torch.dtype) -> torch.Tensor:
    """All upstream gradients of one iteration in a row, of a network that is soft throughout and draws nothing."""
    udl = learner("udl", form, backbone=True, router="soft", semhash="sigmoid")
    udl.model.eval().to(dtype)
    batch, valid_batch = batches(dtype)
    udl.upstream_gradients(*batch, *valid_batch)
    return torch.cat([weight.grad.flatten() for weight in udl.upstream.values()])


def main() -> None:
    """Print a table: passes through the model, seconds, and how many times as long as joint training."""
    keep_freed_memory()
    torch.set_num_threads(1)
    print(machine())
    check_forms()
    print(f"an iteration on two batches of {BATCH_SIZE} clips {INPUT}, Adam, 1 thread; joint takes both at once")
    print(f"{'variant, form, simulated':34} forward backward {'s':>8} {'of joint':>9} {'quartiles':>11}")
    joint = runner("joint", "unrolled", backbone=True)
    for variant, form, backbone in CASES:
        pairs = measure_pairs(joint, runner(variant, form, backbone=backbone))
        passes = learner(variant, form, backbone=backbone).passes
        low, median, high = pairs.ratios
        print(
            f"{f'{variant}, {form}, ' + ('all' if backbone else 'no backbone'):34} {passes.forward:7} "
            f"{passes.backward:8} {np.median(pairs.other_s):8.4f} {median:9.2f} {low:6.2f}-{high:.2f}",
            flush=True,
        )
    print(f"joint, an iteration: {np.median(pairs.ours_s):.4f} s")


if __name__ == "__main__":
    main()
