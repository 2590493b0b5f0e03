"""Training as a generator of rows: exact to resume, checked at every step, on CPU or GPU."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from gatescope.trainings.evaluation import control, evaluate, first_not_finite
from gatescope.trainings.recipes import TrainConfig, choose_precision, make_optimizer
from gatescope.trainings.saved_states import first_difference, load_state, pack, save_state, unpack

__all__ = ["Classification", "Row", "Task", "TrainConfig", "evaluate", "fit"]

# One stream of random numbers for each purpose: the order of clips, a control's draws, dropout and the like.
_ORDER, _CHANGE, _NETWORK = range(3)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of any training."""

    epoch: int  # from 1
    step: int  # taken so far
    rate: float  # at the last step
    loss: float  # mean over the training clips, as they were met
    valid_loss: float | None
    seconds: float  # the epoch took, validation included
    precision: str
    device: str  # cpu or cuda


@dataclass(frozen=True, kw_only=True)
class Row(Epoch):
    """One epoch of learning classes; losses are cross-entropies in nats."""

    accuracy: float  # on the training clips, as they were met
    valid_accuracy: float | None

    @property
    def score(self) -> str:
        """What a progress bar says of the validation clips; nothing without any."""
        return "" if self.valid_accuracy is None else f"valid {self.valid_accuracy:.1%}"


# A loss whose gradients are in place, and sums over the batch's clips of which a row shows the means, by its names:
# `loss` among them, of one of the steps.
Step = tuple[Tensor, dict[str, float]]


@runtime_checkable
class Task(Protocol):
    """What is learnt of the clips: the steps, and the numbers of a row that a task has of its own."""

    row: type[Epoch]

    def steps(self, fabric: Fabric, module: nn.Module, x: Tensor, target: Tensor) -> Iterator["Step"]:
        """Put gradients of a batch in place, and yield; the optimiser moves what has any, and forgets them."""

    def validate(self, module: nn.Module, clips: Dataset, config: TrainConfig, num_workers: int) -> dict[str, float]:
        """What a row says of the validation clips, by the row's names."""


class OneStep:
    """A task that moves all parameters once for each batch, down the gradient of its `loss(module, x, target)`."""

    def steps(self, fabric: Fabric, module: nn.Module, x: Tensor, target: Tensor) -> Iterator[Step]:
        """The one step."""
        loss, counted = self.loss(module, x, target)
        fabric.backward(loss)
        yield loss, counted | {"loss": loss.item() * len(target)}


class Classification(OneStep):
    """The classes of clips, by cross-entropy."""

    row = Row

    def logits(self, module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """What the module gives of clips; it does not see their labels."""
        return module(x)

    def loss(self, module: nn.Module, x: Tensor, target: Tensor) -> Step:
        """The mean cross-entropy, and how many clips are right; raises ValueError for a label that is no class."""
        logits = self.logits(module, x, target)
        # cross_entropy would pass over a label of -100.
        if len(wrong := target[(target < 0) | (target >= logits.shape[1])]):
            raise ValueError(f"label {wrong[0]} is none of the network's {logits.shape[1]} classes (from 0)")
        # The authors' code clips probabilities to [1e-7, 1 - 1e-7], without gradient beyond; logits need no clipping.
        return F.cross_entropy(logits, target), {"accuracy": int((logits.argmax(1) == target).sum())}

    def validate(self, module: nn.Module, clips: Dataset, config: TrainConfig, num_workers: int) -> dict[str, float]:
        """Loss and accuracy on the clips, changed as in training."""
        found = evaluate(module, clips, transform=config.transform, num_workers=num_workers)
        return {"valid_loss": found.loss, "valid_accuracy": found.accuracy().value}


CLASSIFICATION = Classification()


def fit(
    network: nn.Module,
    train_clips: Dataset,
    valid_clips: Dataset | None,
    config: TrainConfig,
    folder: str | Path | None = None,
    *,
    data: dict[str, Any] | None = None,
    task: Task = CLASSIFICATION,
    num_workers: int = 0,
) -> Iterator[Epoch]:
    """Train `network` in place; a row after each epoch, when the network stands in evaluation mode.

    `network` is any module that gives logits, the clips are data sets of (tensor (3, T, H, W), label); another `task`
    asks for what it says, and gives rows of its own. With a
    `folder` the state is kept there after every epoch, and a training that was stopped goes on from it: the rows
    already there come first, and with the same number of threads on the same kind of processor the weights end the
    same to the last bit. `data` says in JSON what the clips are, for a state to be told from another's. Incomplete
    last batches are left out, as the authors do; every epoch has an order of its own. Example:

        config = NetworkConfig.small("a", num_classes=12)
        torch.manual_seed(0)
        network = GestureNetwork(config)
        train = ClipTensors(SyntheticGestures("train", 960, 48), **config.input, train=True)
        valid = ClipTensors(SyntheticGestures("valid", 600, 48), **config.input)
        rows = list(fit(network, train, valid, TrainConfig(epochs=16), Path("runs/a-0")))
        print(rows[-1].valid_accuracy, evaluate(network, valid).accuracy())

    Raises:
        ValueError: if there is no training clip, a label is none of the network's classes, or `folder` holds the
            state of another training; the message names the first difference.
        RuntimeError: if another process trains in `folder`.
        FloatingPointError: if a loss or a gradient is not finite; the message names the first layer to blame.
    """
    training = describe(network, train_clips, valid_clips, config, data)
    if folder is None:
        yield from _epochs(network, train_clips, valid_clips, config, None, training, task, num_workers)
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(f"another process is training in {folder}; wait for it or take another folder") from None
    try:
        yield from _epochs(network, train_clips, valid_clips, config, folder, training, task, num_workers)
    finally:
        lock.release()


def _epochs(
    network: nn.Module,
    train_clips: Dataset,
    valid_clips: Dataset | None,
    config: TrainConfig,
    folder: Path | None,
    training: dict[str, Any],
    task: Task,
    num_workers: int,
) -> Iterator[Epoch]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = choose_precision(config.precision, device)
    # Given as a plugin, since the name alone makes Fabric print a line.
    plugin = MixedPrecision("bf16-mixed", device.type) if precision == "bf16-mixed" else Precision()
    fabric = Fabric(accelerator=device.type, devices=1, plugins=plugin)
    optimizer = make_optimizer(network, config)
    module, stepper = fabric.setup(network, optimizer)

    rows: list[Epoch] = []
    if folder is not None and (state := load_state(folder)):
        tensors, facts = state
        if difference := first_difference(training, facts["training"]):
            raise ValueError(f"{folder} holds the state of another training: {difference}; take another folder")
        unpack(tensors, network, optimizer)
        rows = [task.row(**row) for row in facts["rows"]]
    network.eval()
    yield from rows

    num_steps = config.epochs * max(len(train_clips) // config.batch_size, 1)
    for epoch in range(len(rows), config.epochs):
        start = time.perf_counter()
        # What is drawn depends on seed and epoch alone, and the caller's own random numbers stay as they were.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(_generator(config, epoch, _NETWORK).initial_seed())
            loader = fabric.setup_dataloaders(_loader(train_clips, config, epoch, num_workers))
            network.train()
            row = _one_epoch(fabric, module, stepper, loader, config, task, epoch, num_steps)
            network.eval()
        # Without validation clips a row's fields for them hold None.
        row |= {field.name: None for field in fields(task.row) if field.name.startswith("valid_")}
        if valid_clips is not None:
            row |= task.validate(module, valid_clips, config, num_workers)
        seconds = time.perf_counter() - start
        rows.append(task.row(**row, seconds=seconds, precision=precision, device=device.type))
        if folder is not None:
            facts = {"training": training, "rows": [asdict(row) for row in rows]}
            save_state(folder, epoch + 1, pack(network, optimizer), facts)
        yield rows[-1]


def _one_epoch(
    fabric: Fabric,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Iterable,
    config: TrainConfig,
    task: Task,
    epoch: int,
    num_steps: int,
) -> dict[str, Any]:
    """One pass over the clips; what a row says of it."""
    change, rng = control(config.transform), _generator(config, epoch, _CHANGE)
    step, num_clips, sums = num_steps // config.epochs * epoch, 0, Counter()
    for x, target in loader:
        rate = config.rate_at(step, num_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = change(x, rng)
        for loss, counted in task.steps(fabric, module, x, target):
            gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if not torch.isfinite(loss + norm):
                raise FloatingPointError(f"epoch {epoch + 1}, step {step + 1}: {_blame(module, x, loss)}")
            if config.max_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(module.parameters(), config.max_norm, norm)
            optimizer.step()
            optimizer.zero_grad()
            sums.update(counted)
        step += 1
        num_clips += len(target)
    means = {name: total / num_clips for name, total in sums.items()}
    return {"epoch": epoch + 1, "step": step, "rate": rate, **means}


def _blame(module: nn.Module, x: Float[Tensor, "batch channel time height width"], loss: Tensor) -> str:
    """Where what is not finite comes from: the clips, or the first layer to give it, or a gradient."""
    if not torch.isfinite(x).all():
        return "the clips hold values that are not finite; look at how they are made"
    if name := first_not_finite(module, x):
        return f"the output of {name} is not finite; a lower rate or a max_norm may help"
    gradients = {name: w.grad for name, w in module.module.named_parameters() if w.grad is not None}
    name = next((name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()), "no weight")
    return f"the loss is {loss.item()} and the gradient of {name} is not finite; a lower rate or a max_norm may help"


def _loader(clips: Dataset, config: TrainConfig, epoch: int, num_workers: int) -> DataLoader:
    if hasattr(clips, "set_epoch"):
        clips.set_epoch(epoch)
    order = torch.randperm(len(clips), generator=_generator(config, epoch, _ORDER))
    return DataLoader(
        clips,
        min(config.batch_size, len(clips)),
        sampler=order.tolist(),
        num_workers=num_workers,
        drop_last=True,
    )


def _generator(config: TrainConfig, epoch: int, purpose: int) -> torch.Generator:
    entropy = np.random.SeedSequence([config.seed, epoch, purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0]))


def describe(
    network: nn.Module,
    train_clips: Dataset,
    valid_clips: Dataset | None,
    config: TrainConfig,
    data: dict[str, Any] | None,
) -> dict[str, Any]:
    """What decides how a training ends, in JSON; two that differ in it are two trainings.

    Raises ValueError if there is no clip.
    """
    if len(train_clips) == 0 or (valid_clips is not None and len(valid_clips) == 0):
        raise ValueError("there is no clip to train on, or none to validate on; give one or more, or no valid_clips")
    about = getattr(network, "config", None)
    shapes = {name: " ".join(map(str, weight.shape)) for name, weight in network.named_parameters()}
    facts = {
        "config": asdict(config),
        "network": about.to_json() if hasattr(about, "to_json") else shapes,
        "data": data,
        "clips": {
            "train": len(train_clips),
            "valid": 0 if valid_clips is None else len(valid_clips),
            "shape": list(train_clips[0][0].shape),
        },
    }
    return json.loads(json.dumps(facts))
