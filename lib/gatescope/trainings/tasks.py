"""Tasks: the loss and the steps of a training, the numbers in its rows, and what its card reports."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from gatescope.models import GestureNetwork
from gatescope.trainings.evaluation import CONTROLS, evaluate, save_predictions
from gatescope.trainings.processes import joined, share
from gatescope.trainings.recipes import TrainConfig

PREDICTIONS = "predictions.npz"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of any training."""

    epoch: int  # from 1
    step: int  # taken so far
    rate: float  # at the last step
    loss: float  # mean over the training clips, each before its step
    valid_loss: float | None = None  # None without validation clips, as are all fields `valid_...`
    seconds: float  # of this epoch, validation included
    precision: str
    device: str  # cpu or cuda


@dataclass(frozen=True, kw_only=True)
class Row(Epoch):
    """One epoch of a classification; losses are cross-entropies in nats."""

    accuracy: float  # on the training clips, each before its step
    valid_accuracy: float | None = None

    @property
    def score(self) -> str:
        """Text for a progress bar: the validation accuracy, empty without validation clips."""
        return "" if self.valid_accuracy is None else f"valid {self.valid_accuracy:.1%}"


# A loss whose gradients are in `.grad`, and sums over the batch's clips, by the names of the row's fields; `loss` is
# in one of a batch's steps.
Step = tuple[Tensor, dict[str, float]]


class Task(ABC):
    """Base class of all that a network can be trained for."""

    network_type: type[nn.Module]
    row: type[Epoch]
    results: str  # name of the file with the finished network's results
    alone = False  # True where several processes cannot share the steps

    def begin(self, config: Any, train_clips: Dataset) -> nn.Module:
        """Return a new network of `config`, its weights drawn from torch's random numbers."""
        return self.network_type(config)

    @abstractmethod
    def loss(self, module: nn.Module, x: Tensor, target: Tensor) -> Step:
        """Return the loss of a batch, without gradients yet, and the sums that a row averages."""

    def steps(self, fabric: Fabric, module: nn.Module, x: Tensor, target: Tensor) -> Iterator[Step]:
        """Put the gradients of a batch in place and yield; the caller then takes the optimiser's step.

        One step of all parameters, unless a task has several.
        """
        loss, sums = self.loss(module, x, target)
        fabric.backward(loss)
        yield loss, sums | {"loss": loss.item() * len(target)}

    @abstractmethod
    def validate(
        self, fabric: Fabric, module: nn.Module, clips: Dataset, config: TrainConfig, num_workers: int
    ) -> dict[str, float]:
        """Return the fields of a row that describe the validation clips; each process looks at its share of them."""

    @abstractmethod
    def conclude(self, network: nn.Module, valid_clips: Dataset, path: Path, num_workers: int) -> dict[str, Any]:
        """Write the finished network's results to `path`; return the card's metrics."""


class Classification(Task):
    """Classes of clips, by cross-entropy; a finished network is also evaluated on clips changed by each control."""

    network_type, row, results = GestureNetwork, Row, PREDICTIONS

    def logits(self, module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """Return the module's logits; it does not see `target`."""
        return module(x)

    def loss(self, module: nn.Module, x: Tensor, target: Tensor) -> Step:
        """Return the mean cross-entropy and the number of clips classified right.

        Raises ValueError for a label outside the network's classes, or logits or labels of another form.
        """
        logits = self.logits(module, x, target)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the network must return logits, (batch, classes); got {got}")
        if target.dtype != torch.int64:
            raise ValueError(f"labels must be whole numbers, 0-based class indices; got {target.dtype}")
        # cross_entropy ignores a label of -100 without a word.
        if len(wrong := target[(target < 0) | (target >= logits.shape[1])]):
            raise ValueError(f"label {wrong[0]} is none of the network's {logits.shape[1]} classes (from 0)")
        # The authors' code clips probabilities to [1e-7, 1 - 1e-7], without gradient beyond; logits need no clipping.
        return F.cross_entropy(logits, target), {"accuracy": int((logits.argmax(1) == target).sum())}

    def validate(
        self, fabric: Fabric, module: nn.Module, clips: Dataset, config: TrainConfig, num_workers: int
    ) -> dict[str, float]:
        """Return loss and accuracy on the clips, under the same control as in training."""
        own = share(fabric, len(clips))
        found = evaluate(module, clips, transform=config.transform, num_workers=num_workers, only=own)
        found = joined(fabric, found)
        return {"valid_loss": found.loss, "valid_accuracy": found.accuracy().value}

    def conclude(self, network: nn.Module, valid_clips: Dataset, path: Path, num_workers: int) -> dict[str, Any]:
        """Write the predictions; return the accuracies on the clips and under each control."""
        predictions, metrics = {}, {}
        for transform in (None, *CONTROLS):
            name = transform or "clips"
            found = predictions[name] = evaluate(network, valid_clips, transform=transform, num_workers=num_workers)
            top1, top5 = found.accuracy(), found.accuracy(k=5).value
            metrics[name] = {"top1": top1.value, "top1_interval_95": top1.interval, "top5": top5, "clips": top1.total}
        save_predictions(path, predictions)
        return metrics


CLASSIFICATION = Classification()
