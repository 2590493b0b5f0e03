"""Specialised neurons: the chosen alone against all of them, and the shortcut to a pulse against its convolution."""

from collections.abc import Callable

import torch
from pairs import HEADER, check, keep_freed_memory, machine, measure_pairs, say
from torch.nn import functional as F

from gatescope.models import DSTSConfig
from gatescope.models.dsts import SpecialisedLayer
from gatescope.models.dsts_parts import one_hot, pulses_of

NUM_NEURONS = 8
# Clips, channels, and steps, rows and columns of the maps: of a layer as a video backbone would feed it, and of ours.
SCALES = {"large": (4, 256, 16, 14, 14), "small": (32, 16, 8, 8, 8)}
SPARSE_BAR, PULSE_BAR = 3.0, 20.0
NUM_PAIRS = 7  # of seconds each at the large size


def specialised(scale: str) -> tuple[SpecialisedLayer, torch.Tensor, torch.Tensor]:
    """A layer, features, and a neuron for each clip, one after the other: as evenly as can be."""
    torch.manual_seed(0)
    num_clips, channels, *sides = SCALES[scale]
    config = DSTSConfig(num_classes=12, channels=channels, num_neurons=NUM_NEURONS)
    x = torch.randn(num_clips, channels, *sides).relu()
    return (
        SpecialisedLayer(config).eval(),
        x,
        one_hot(torch.arange(num_clips) % NUM_NEURONS, x.new_empty(num_clips, NUM_NEURONS)),
    )


def evaluation(path: Callable, x: torch.Tensor, choice: torch.Tensor) -> Callable:
    """A call that gives the layer's output by one of its two paths."""

    @torch.inference_mode()
    def run() -> torch.Tensor:
        return path(x, choice)

    return run


def convolved(scoring: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The pulses as their definition reads, in one convolution for all neurons."""
    num_neurons, num_outputs = scoring.shape[:2]
    maps = F.conv3d(x, scoring.flatten(0, 1))
    return maps.unflatten(1, (num_neurons, num_outputs)).mean((2, 3, 4, 5))


def short(scoring: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The pulses by way of the features' sums."""
    return pulses_of(scoring, x, mean=True)


def pulse(compute: Callable, scoring: torch.Tensor, x: torch.Tensor, *, training: bool) -> Callable[[], torch.Tensor]:
    """A call that gives the pulses, and in training also the gradients of features and kernels."""
    scoring, x = (tensor.clone().requires_grad_(training) for tensor in (scoring, x))

    def run() -> torch.Tensor:
        with torch.set_grad_enabled(training):
            pulses = compute(scoring, x)
        if training:
            pulses.backward(torch.ones_like(pulses))
            scoring.grad = x.grad = None
        return pulses.detach()

    return run


def main() -> None:
    """Print both tables, and for each bar whether it is reached."""
    keep_freed_memory()
    torch.set_num_threads(1)
    print(machine())
    print(
        f"one layer of {NUM_NEURONS} neurons, float32, 1 thread; " + "; ".join(f"{k}: {v}" for k, v in SCALES.items())
    )
    reached = []
    print(f"{'':44} {HEADER}")
    for scale in SCALES:
        layer, x, choice = specialised(scale)
        expected = evaluation(layer.double().dense, x.double(), choice.double())()
        layer.float()
        sparse, dense = (evaluation(path, x, choice) for path in (layer.sparse, layer.dense))
        for name, call in (("sparse", sparse), ("dense", dense)):
            check(f"{name} evaluation at {scale} size", call(), expected, 1e-5)
        pairs = measure_pairs(sparse, dense, NUM_PAIRS)
        print(f"{f'evaluation, {scale}: sparse against dense':44} {pairs}", flush=True)
        reached.append((f"sparse evaluation, {scale}", pairs, SPARSE_BAR))
        scoring = torch.stack([neuron.scoring.detach() for neuron in layer.neurons])
        expected = short(scoring.double(), x.double())
        for training in (False, True):
            ours, other = (pulse(compute, scoring, x, training=training) for compute in (short, convolved))
            for name, call in (("shortcut", ours), ("convolution", other)):
                check(f"the {name} at {scale} size", call(), expected, 1e-4)
            pairs = measure_pairs(ours, other, NUM_PAIRS)
            what = f"pulses, {scale}, forward{' + backward' if training else ''}"
            print(f"{what:44} {pairs}", flush=True)
            reached.append((what, pairs, PULSE_BAR))
    print()
    for line in reached:
        say(*line)


if __name__ == "__main__":
    main()
