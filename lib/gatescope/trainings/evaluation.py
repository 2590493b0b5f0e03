"""What a network gets right: a prediction for every clip, and all numbers from those; controls of its input."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gatescope.files import atomic_write

Batch = Float[Tensor, "batch channel time height width"]


def shuffle_frames(x: Batch, rng: torch.Generator) -> Batch:
    """Each clip's frames in an order of its own: what is left is what can be told without time."""
    orders = torch.stack([torch.randperm(x.shape[2], generator=rng) for _ in range(len(x))]).to(x.device)
    return x.gather(2, orders[:, None, :, None, None].expand_as(x))


def repeat_middle_frame(x: Batch, rng: torch.Generator) -> Batch:
    """The middle frame in place of every other: what is left is what one look can tell.

    Where `clip_mean` was subtracted, the frame still carries the mean of those it replaces.
    """
    return x[:, :, x.shape[2] // 2, None].expand_as(x).contiguous()


def reverse_frames(x: Batch, rng: torch.Generator) -> Batch:
    """The last frame first: swiping left becomes a kind of swiping right."""
    return x.flip(2)


CONTROLS: dict[str, Callable[[Batch, torch.Generator], Batch]] = {
    "shuffled": shuffle_frames,
    "single": repeat_middle_frame,
    "reversed": reverse_frames,
}


def control(name: str | None) -> Callable[[Batch, torch.Generator], Batch]:
    """The control of that name, or for None the clips as they are; raises LookupError for an unknown name."""
    if name is None:
        return lambda x, rng: x
    if name not in CONTROLS:
        raise LookupError(f"no control {name!r}; there are {', '.join(CONTROLS)}")
    return CONTROLS[name]


@dataclass(frozen=True)
class Proportion:
    """How many of how many, with Wilson's 95 % confidence interval; of none, not a number between 0 and 1."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The part, 0 to 1."""
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval at 95 %, without continuity correction."""
        if not self.total:
            return 0.0, 1.0
        interval = binomtest(self.count, self.total).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} [{low:.1%}, {high:.1%}] ({self.count} of {self.total})"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The logits of every clip of a set, in its order, and the labels; every number of an evaluation."""

    logits: Float32[np.ndarray, "clips classes"]
    labels: Int64[np.ndarray, " clips"]

    @property
    def ranks(self) -> Int64[np.ndarray, " clips"]:
        """How many classes come before the right one, the first of equals first: 0 is right."""
        own = np.take_along_axis(self.logits, self.labels[:, None], axis=1)
        earlier = np.arange(self.logits.shape[1]) < self.labels[:, None]
        return ((self.logits > own) | ((self.logits == own) & earlier)).sum(axis=1)

    @property
    def loss(self) -> float:
        """The mean cross-entropy in nats; not a number for no clip."""
        return float(nn.functional.cross_entropy(torch.tensor(self.logits).double(), torch.tensor(self.labels)))

    def accuracy(self, k: int = 1, label: int | None = None) -> Proportion:
        """How many clips have the right class among their first `k`; of one class only where `label` is given."""
        chosen = self.ranks if label is None else self.ranks[self.labels == label]
        return Proportion(int((chosen < k).sum()), len(chosen))

    def per_class(self, k: int = 1) -> list[Proportion]:
        """The accuracy on each class's own clips, by label."""
        return [self.accuracy(k, label) for label in range(self.logits.shape[1])]

    def confusion(self) -> Int64[np.ndarray, "classes classes"]:
        """How many clips of the class in the row were taken for that in the column."""
        num_classes = self.logits.shape[1]
        pairs = self.labels * num_classes + self.logits.argmax(axis=1)
        return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def first_not_finite(network: nn.Module, x: Batch) -> str | None:
    """The name of the first layer whose output for `x` is not finite, as the network is set; None if all are."""
    culprits: list[str] = []

    def look(layer: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor) and not torch.isfinite(output).all():
            culprits.append(names[layer])

    # Fabric's wrapper is not a part of the network; what passes a hook point is known without that word.
    names = {
        layer: name.removeprefix("_forward_module").removeprefix(".").replace("hooks.", "") or "the network"
        for name, layer in network.named_modules()
    }
    hooks = [layer.register_forward_hook(look) for layer in names]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return culprits[0] if culprits else None


def evaluate(
    network: nn.Module,
    clips: Dataset,
    *,
    batch_size: int = 32,
    transform: str | None = None,
    num_workers: int = 0,
) -> Predictions:
    """What `network` says of every clip, the last incomplete batch included.

    `network` is any module that gives logits, and is used where its parameters are, in evaluation mode; `clips` is a
    data set of (tensor (3, T, H, W), label); `transform` names one of CONTROLS. Example:

        valid = ClipTensors(SyntheticGestures("valid", 600, 48), **network.config.input)
        predictions, shuffled = evaluate(network, valid), evaluate(network, valid, transform="shuffled")
        print(predictions.accuracy(), predictions.accuracy(k=5), shuffled.accuracy().interval)

    Raises:
        ValueError: if there is no clip, or a label is none of the network's classes.
        FloatingPointError: if logits are not finite; the message names the first layer to blame.
        LookupError: if there is no such control.
    """
    change = control(transform)
    if len(clips) == 0:
        raise ValueError("there is no clip to evaluate; give a data set of at least one")
    device = next(network.parameters()).device
    rng = torch.Generator().manual_seed(0)
    logits, labels = [], []
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            # A generator of its own, or the loader takes a number from the caller's.
            loader = DataLoader(clips, batch_size, num_workers=num_workers, generator=torch.Generator())
            for x, label in loader:
                x = change(x.to(device), rng)
                logits.append(network(x).float().cpu())
                labels.append(label)
                if not torch.isfinite(logits[-1]).all():
                    culprit = first_not_finite(network, x) if torch.isfinite(x).all() else "the data set"
                    raise FloatingPointError(f"the output of {culprit} is not finite; nothing can be said of the clips")
    finally:
        network.train(was_training)
    found = Predictions(torch.cat(logits).numpy(), torch.cat(labels).numpy())
    num_classes = found.logits.shape[1]
    if (wrong := found.labels[(found.labels < 0) | (found.labels >= num_classes)]).size:
        raise ValueError(f"labels must be 0 to {num_classes - 1}, the network's classes; got {wrong[0]}")
    return found


def save_predictions(path: Path, predictions: Mapping[str, Predictions]) -> None:
    """Write the predictions on one set under several conditions, by name, as npz; nothing is pickled."""
    arrays = {f"logits/{name}": found.logits for name, found in predictions.items()}
    arrays |= {f"labels/{name}": found.labels for name, found in predictions.items()}
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_predictions(path: Path) -> dict[str, Predictions]:
    """What `save_predictions` wrote, by name."""
    with np.load(path) as file:
        names = [name.removeprefix("logits/") for name in file.files if name.startswith("logits/")]
        return {name: Predictions(file[f"logits/{name}"], file[f"labels/{name}"]) for name in names}
