"""Evaluation: a prediction for every clip, accuracies with intervals, and controls that change the clips."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from gatescope.files import atomic_write
from gatescope.formats.arrays import read_arrays
from gatescope.formats.facts import needed

Batch = Float[Tensor, "batch channel time height width"]


def shuffle_frames(x: Batch, rng: torch.Generator) -> Batch:
    """Put each clip's frames in a random order of its own: only what does not depend on time is left."""
    orders = torch.stack([torch.randperm(x.shape[2], generator=rng) for _ in range(len(x))]).to(x.device)
    return x.gather(2, orders[:, None, :, None, None].expand_as(x))


def repeat_middle_frame(x: Batch, rng: torch.Generator) -> Batch:
    """Replace every frame by the middle one: only what a single frame shows is left.

    If `clip_mean` was subtracted, the frame still carries a trace of the frames that it replaces.
    """
    return x[:, :, x.shape[2] // 2, None].expand_as(x).contiguous()


def reverse_frames(x: Batch, rng: torch.Generator) -> Batch:
    """Reverse the frames: swiping left becomes a kind of swiping right."""
    return x.flip(2)


CONTROLS: dict[str, Callable[[Batch, torch.Generator], Batch]] = {
    "shuffled": shuffle_frames,
    "single": repeat_middle_frame,
    "reversed": reverse_frames,
}


def control(name: str | None) -> Callable[[Batch, torch.Generator], Batch]:
    """Return the control of that name, or for None the identity; raises LookupError for an unknown name."""
    if name is not None and name not in CONTROLS:
        raise LookupError(f"no control {name!r}; there are {', '.join(CONTROLS)}")
    return (lambda x, rng: x) if name is None else CONTROLS[name]


def pass_over(change: Callable[[Batch, torch.Generator], Batch], rng: torch.Generator, x: Batch, count: int) -> None:
    """Let `rng` draw what a control draws for `count` other clips, of as many frames as those of `x`."""
    if count:
        change(x.new_empty(count, 1, x.shape[2], 1, 1), rng)


@dataclass(frozen=True)
class Proportion:
    """A count out of a total, with Wilson's 95 % confidence interval, which covers clip sampling only.

    Of none the value is nan and the interval 0 to 1.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """Count over total, 0 to 1."""
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % score interval, without continuity correction."""
        from scipy.stats import binomtest  # half a second that readers of predictions need not wait for

        if not self.total:
            return 0.0, 1.0
        interval = binomtest(self.count, self.total).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} [{low:.1%}, {high:.1%}] ({self.count} of {self.total})"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits and labels of every clip of a set, in its order.

    Raises ValueError for other shapes, a logit that is not finite (nothing is above NaN, so that it would count as
    right), and a label outside the classes.
    """

    logits: Float32[np.ndarray, "clips classes"]
    labels: Int64[np.ndarray, " clips"]

    def __post_init__(self):
        logits, labels = self.logits, self.labels
        if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
            shapes = f"{logits.shape} and {labels.shape} {labels.dtype}"
            raise ValueError(f"logits must be (clips, classes) and labels (clips,), whole numbers; got {shapes}")
        if not np.isfinite(logits).all():
            raise ValueError("logits hold a value that is not finite")
        if (wrong := labels[(labels < 0) | (labels >= logits.shape[1])]).size:
            raise ValueError(f"labels must be 0 to {logits.shape[1] - 1}, the network's classes; got {wrong[0]}")

    @property
    def ranks(self) -> Int64[np.ndarray, " clips"]:
        """Number of classes that score above the true one, ties to the lower label: 0 is right."""
        own = np.take_along_axis(self.logits, self.labels[:, None], axis=1)
        earlier = np.arange(self.logits.shape[1]) < self.labels[:, None]
        return ((self.logits > own) | ((self.logits == own) & earlier)).sum(axis=1)

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats; nan for no clip."""
        return float(nn.functional.cross_entropy(torch.tensor(self.logits).double(), torch.tensor(self.labels)))

    def accuracy(self, k: int = 1) -> Proportion:
        """Return the proportion of clips with the true class among the first `k`."""
        return Proportion(int((self.ranks < k).sum()), len(self.labels))

    def confusion(self) -> Int64[np.ndarray, "classes classes"]:
        """Return the number of clips of the row's class that were predicted as the column's class."""
        num_classes = self.logits.shape[1]
        pairs = self.labels * num_classes + self.logits.argmax(axis=1)
        return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def first_not_finite(network: nn.Module, x: Batch) -> str | None:
    """Return the name of the first layer whose output for `x` is not finite, None if all are; the mode is kept."""
    culprits: list[str] = []

    def look(layer: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor) and not torch.isfinite(output).all():
            culprits.append(names[layer])

    # Without the names of Fabric's wrapper and of the tables of hook points.
    names = {
        layer: name.removeprefix("_forward_module").removeprefix(".").replace("hooks.", "") or "the network"
        for name, layer in network.named_modules()
    }
    with torch.no_grad(), ExitStack() as hooks:
        for layer in names:
            hooks.callback(layer.register_forward_hook(look).remove)
        network(x)
    return culprits[0] if culprits else None


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[torch.device]:
    """Set `network` to eval mode for a block, then to the mode it had; the block receives its device."""
    was_training = network.training
    network.eval()
    try:
        yield next(network.parameters()).device
    finally:
        network.train(was_training)


def kept_random(device: torch.device) -> AbstractContextManager[None]:
    """Return a context after which torch's random numbers are as before, the CPU's and those of `device`."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def batches(clips: Dataset, batch_size: int, num_workers: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield clips and targets on `device`, in order, the last incomplete batch included; ValueError for no clip."""
    if len(clips) == 0:
        raise ValueError("there is no clip to evaluate; give a data set of at least one")
    # A generator of its own, or the loader takes a number from the caller's.
    for x, target in DataLoader(clips, batch_size, num_workers=num_workers, generator=torch.Generator()):
        yield x.to(device), target.to(device)


def evaluate(
    network: nn.Module,
    clips: Dataset,
    *,
    batch_size: int = 32,
    transform: str | None = None,
    num_workers: int = 0,
    only: range | None = None,
) -> Predictions:
    """Predict every clip in eval mode, or those of the numbers `only`, on the device of the network's parameters.

    `network` is any module that returns logits; `clips` is a data set of (tensor (3, T, H, W), label); `transform`
    names one of CONTROLS. Example:

        valid = ClipTensors(SyntheticGestures("valid", 600, 48), **network.config.input)
        predictions, shuffled = evaluate(network, valid), evaluate(network, valid, transform="shuffled")
        print(predictions.accuracy(), predictions.accuracy(k=5), shuffled.accuracy().interval)

    Raises ValueError if there is no clip or a label is outside the network's classes, LookupError if there is no such
    control, FloatingPointError if logits are not finite; its message names the first such layer.
    """
    change, rng = control(transform), torch.Generator().manual_seed(0)
    logits, labels = [], []
    if only is not None:
        clips = Subset(clips, only)
    with eval_mode(network) as device, torch.inference_mode():
        for x, label in batches(clips, batch_size, num_workers, device):
            if only is not None and not logits:
                pass_over(change, rng, x, only.start)
            x = change(x, rng)
            logits.append(network(x).float().cpu())
            labels.append(label.cpu())
            if not torch.isfinite(logits[-1]).all():
                culprit = first_not_finite(network, x) if torch.isfinite(x).all() else "the data set"
                raise FloatingPointError(f"the output of {culprit} is not finite; the clips cannot be evaluated")
    return Predictions(torch.cat(logits).numpy(), torch.cat(labels).numpy())


class SavedArrays:
    """Base class of dataclasses of arrays that are saved as npz: floats to 1 part in 2,000, integers as bytes.

    Floats beyond the range of 16 bits are saved in 32.
    """

    def save(self, path: Path) -> None:
        """Write the fields' arrays."""
        arrays = {}
        for name, values in vars(self).items():
            reached = values.dtype.kind == "f" and not abs(values).max(initial=0) < np.finfo(np.float16).max
            small = {"b": np.bool_, "i": np.uint8, "f": np.float32 if reached else np.float16}
            arrays[name] = values.astype(small[values.dtype.kind])
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **arrays)

    @classmethod
    def load(cls, path: Path) -> "SavedArrays":
        """Read what `save` wrote; raises OSError without such a file, ValueError for any other."""
        kinds = {"b": np.bool_, "u": np.int64, "f": np.float32}
        try:
            return cls(**{name: array.astype(kinds[array.dtype.kind]) for name, array in read_arrays(path).items()})
        except (LookupError, TypeError) as error:
            raise ValueError(f"{path} does not hold the arrays of {cls.__name__}: {error}") from None


def save_predictions(path: Path, predictions: Mapping[str, Predictions]) -> None:
    """Write predictions on one set under several conditions, by name, as npz without pickles."""
    arrays = {f"logits/{name}": found.logits for name, found in predictions.items()}
    arrays |= {f"labels/{name}": found.labels for name, found in predictions.items()}
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_predictions(path: Path) -> dict[str, Predictions]:
    """Read what `save_predictions` wrote, by name; raises OSError without such a file, ValueError for any other."""
    arrays = read_arrays(path)
    names = [name.removeprefix("logits/") for name in arrays if name.startswith("logits/")]
    needed(arrays, *[f"labels/{name}" for name in names], path=path)
    return {name: Predictions(arrays[f"logits/{name}"], arrays[f"labels/{name}"]) for name in names}
