"""Time the small network's training, in clips a second, against the same network written plainly."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from baselines import naive_network
from pairs import HEADER, Pairs, check, keep_freed_memory, machine, measure_pairs, say
from torch.nn import functional as F

from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.trainings.recipes import choose_precision

NUM_CLIPS = 16
BAR = 1.8


def step(network: GestureNetwork, x: torch.Tensor, labels: torch.Tensor, bfloat16: bool) -> Callable[[], None]:
    """Return a call of forward and backward of one batch."""

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext():
            loss = F.cross_entropy(network(x), labels)
        loss.backward()
        network.zero_grad()

    return run


@torch.no_grad()
def check_networks(network: GestureNetwork, naive: GestureNetwork, x: torch.Tensor, bfloat16: bool) -> None:
    """Compare both with the equations in float64, with batch statistics and with running statistics."""
    for training in (False, True):
        expected = naive_network(network).double().train(training)(x.double())
        check("the naive network", naive.train(training)(x), expected, 1e-5)
        # In training, PyTorch sums the statistics of maps with channels innermost less exactly (2e-5 in one batch
        # norm), and in bf16 the naive network is 3 % off as well.
        check("the network", network.train(training)(x), expected, 1e-4 if training else 1e-5)
        if bfloat16:
            with torch.autocast("cpu", torch.bfloat16):
                check("the network in bf16", network(x), expected, 5e-2 if training else 2e-2)


def main() -> None:
    """Print the table, and whether the bar is reached in the precision that training would choose."""
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chosen = choose_precision("auto", torch.device("cpu")) == "bf16-mixed"
    network = GestureNetwork(NetworkConfig.small("a", num_classes=12))
    naive = naive_network(network)
    config = network.config
    x = torch.randn(NUM_CLIPS, config.in_channels, config.num_frames, config.size, config.size)
    labels = torch.arange(NUM_CLIPS) % config.num_classes
    check_networks(network, naive, x, chosen)
    print(machine())
    shape = f"{config.num_frames} x {config.size} x {config.size}"
    print(f"small preset, cells {config.cells}; {NUM_CLIPS} clips of {shape}")
    print(f"{'forward + backward':52} {HEADER}  clips/s")
    measured: dict[tuple[bool, int], Pairs] = {}
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        for bfloat16 in sorted({False, chosen}):
            pairs = measure_pairs(step(network, x, labels, bfloat16), step(naive, x, labels, False))
            measured[bfloat16, num_threads] = pairs
            name = f"{'bf16' if bfloat16 else 'fp32'} against naive contiguous fp32, {num_threads} thread"
            rate, other = (NUM_CLIPS / np.median(times) for times in (pairs.ours_s, pairs.other_s))
            print(f"{name:52} {pairs}  {rate:.1f} against {other:.1f}", flush=True)
    print()
    say(f"small network as `fit` trains it, in {'bf16' if chosen else 'fp32'}, 1 thread", measured[chosen, 1], BAR)


if __name__ == "__main__":
    main()
