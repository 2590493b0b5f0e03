"""Training as a generator of rows: it resumes exactly, checks every step, and runs on CPU or GPU."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from gatescope.trainings.evaluation import control, first_not_finite, kept_random, pass_over
from gatescope.trainings.processes import (
    average_gradients,
    begin_alike,
    errors_of_others,
    of_all,
    only_one,
    share,
    shared_statistics,
    start_fabric,
)
from gatescope.trainings.recipes import TrainConfig, choose_precision, make_optimizer
from gatescope.trainings.saved_states import first_difference, load_state, pack, save_state, unpack
from gatescope.trainings.tasks import CLASSIFICATION, Epoch, Task

# One stream of random numbers for each purpose: the order of clips, a control's draws, dropout and the like.
_ORDER, _CHANGE, _NETWORK = range(3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """All that decides a training: where it starts, its clips, its config and its task."""

    start: Any  # a network, or a config from which the task makes one with the seed of `config`
    train_clips: Dataset
    valid_clips: Dataset | None
    config: TrainConfig
    data: dict[str, Any] | None = None  # in JSON's types, what the clips are: tells this training from another
    task: Task = CLASSIFICATION


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
    """Train `network` in place; yield a row after each epoch, with the network in eval mode.

    `network` is any module that returns logits; the clips are data sets of (tensor (3, T, H, W), label). Another
    `task` may need another network and other clips. With a `folder` the state is saved after every epoch, and a
    stopped training resumes from it: the saved rows come first, and with the same number of threads on the same kind
    of processor the final weights are bit-identical. `data` describes the clips in JSON's types. Incomplete last
    batches are dropped, as the authors do; every epoch has its own order. Under `torchrun`, `fabric run` or `srun` all
    processes call `fit` alike, share each batch and yield the same rows, and the first one writes. Example:

        config = NetworkConfig.small("a", num_classes=12)
        torch.manual_seed(0)
        network = GestureNetwork(config)
        train = ClipTensors(SyntheticGestures("train", 960, 48), **config.input, train=True)
        valid = ClipTensors(SyntheticGestures("valid", 600, 48), **config.input)
        rows = list(fit(network, train, valid, TrainConfig(epochs=16), Path("runs/a-0")))
        print(rows[-1].valid_accuracy, evaluate(network, valid).accuracy())

    Raises:
        ValueError: if there is no training clip, a label is outside the network's classes, or `folder` holds the
            state of another training; the message names the first difference. Also if several processes cannot share
            its batches, or its task.
        RuntimeError: if another training runs in `folder`, or one of several processes has ended.
        FloatingPointError: if a loss or a gradient is not finite; the message names the first such layer.
    """
    training = Training(
        start=network, train_clips=train_clips, valid_clips=valid_clips, config=config, data=data, task=task
    )
    facts = describe(training)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = choose_precision(config.precision, torch.device(device))
    # As a plugin, since with the name alone Fabric prints a line.
    plugin = MixedPrecision("bf16-mixed", device) if precision == "bf16-mixed" else Precision()
    with errors_of_others(), ExitStack() as stack:
        fabric = start_fabric(device, plugin)
        _check_shares(training, fabric)
        if folder is not None:
            stack.enter_context(only_one(fabric, Path(folder)))
        yield from _epochs(training, facts, fabric, precision, folder, num_workers)


def _check_shares(training: Training, fabric: Fabric) -> None:
    """Raise ValueError if the processes cannot share the training."""
    size, batch_size = fabric.world_size, min(training.config.batch_size, len(training.train_clips))
    if size > 1 and training.task.alone:
        raise ValueError(f"such a training is one process's; got {size}")
    if batch_size % size:
        raise ValueError(f"{size} processes cannot share batches of {batch_size} clips evenly; take another batch_size")
    if training.valid_clips is not None and len(training.valid_clips) < size:
        raise ValueError(f"{size} processes need {size} validation clips or more; got {len(training.valid_clips)}")


def _epochs(
    training: Training,
    facts: dict[str, Any],
    fabric: Fabric,
    precision: str,
    folder: str | Path | None,
    num_workers: int,
) -> Iterator[Epoch]:
    network, config, task = training.start, training.config, training.task
    device = fabric.device
    begin_alike(fabric, network)
    optimizer = make_optimizer(network, config)
    module, stepper = fabric.setup(network, optimizer)

    rows: list[Epoch] = []
    if folder is not None and (state := load_state(Path(folder))):
        tensors, saved = state
        if difference := first_difference(facts, saved.get("training")):
            raise ValueError(f"{folder} holds the state of another training: {difference}; take another folder")
        try:
            unpack(tensors, network, optimizer)
            rows = [task.row(**row) for row in saved["rows"]]
        except (LookupError, TypeError) as error:
            raise ValueError(f"{folder} holds no whole state of this training: {error!r}; take another") from error
    network.eval()
    yield from rows

    for epoch in range(len(rows), config.epochs):
        start = time.perf_counter()
        # Draws depend on seed and epoch alone, and the caller's own random numbers stay as they were.
        with kept_random(device):
            torch.manual_seed(_generator(config, epoch, _NETWORK, fabric.global_rank).initial_seed())
            network.train()
            with shared_statistics(fabric, network):
                row = _one_epoch(training, fabric, module, stepper, epoch, num_workers)
            network.eval()
        if training.valid_clips is not None:
            row |= task.validate(fabric, module, training.valid_clips, config, num_workers)
        rows.append(task.row(**row, seconds=time.perf_counter() - start, precision=precision, device=device.type))
        if folder is not None and fabric.global_rank == 0:
            saved = {"training": facts, "rows": [asdict(row) for row in rows]}
            save_state(Path(folder), epoch + 1, pack(network, optimizer), saved)
        yield rows[-1]


def _one_epoch(
    training: Training, fabric: Fabric, module: nn.Module, optimizer: Optimizer, epoch: int, num_workers: int
) -> dict[str, Any]:
    """Take one pass over the clips; return a row's fields for the training clips."""
    config, clips = training.config, training.train_clips
    if hasattr(clips, "set_epoch"):
        clips.set_epoch(epoch)
    order = torch.randperm(len(clips), generator=_generator(config, epoch, _ORDER)).tolist()
    batch_size = min(config.batch_size, len(clips))
    own = share(fabric, batch_size)  # of each batch
    starts = range(0, len(clips) - batch_size + 1, batch_size)
    parts = [order[start + own.start : start + own.stop] for start in starts]
    loader = DataLoader(clips, batch_sampler=parts, num_workers=num_workers)
    loader = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    change, rng = control(config.transform), _generator(config, epoch, _CHANGE)
    num_steps, step, num_clips, sums = config.epochs * len(loader), epoch * len(loader), 0, Counter()
    for x, target in loader:
        rate = config.rate_at(step, num_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pass_over(change, rng, x, own.start)
        x = change(x, rng)
        pass_over(change, rng, x, batch_size - own.stop)
        for loss, counted in training.task.steps(fabric, module, x, target):
            average_gradients(fabric, module)
            gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if not torch.isfinite(fabric.all_reduce(loss.detach()) + norm):
                raise FloatingPointError(f"epoch {epoch + 1}, step {step + 1}: {_blame(fabric, module, x, loss)}")
            if config.max_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(module.parameters(), config.max_norm, norm)
            optimizer.step()
            optimizer.zero_grad()
            sums.update(counted)
        step += 1
        num_clips += batch_size
    totals = Counter()
    for part in of_all(fabric, sums):
        totals.update(part)
    means = {name: total / num_clips for name, total in totals.items()}
    return {"epoch": epoch + 1, "step": step, "rate": rate, **means}


def _blame(fabric: Fabric, module: nn.Module, x: Float[Tensor, "batch channel time height width"], loss: Tensor) -> str:
    """Return where a value that is not finite comes from: any process's clips, the first layer, or a gradient."""
    name = first_not_finite(module, x)  # in every process, since norms need them all
    if not torch.isfinite(x).all():
        found = 0, "the clips hold values that are not finite; look at how they are made"
    elif name:
        found = 1, f"the output of {name} is not finite; a lower rate or a max_norm may help"
    else:
        gradients = {name: w.grad for name, w in module.module.named_parameters() if w.grad is not None}
        name = next((name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()), "no weight")
        what = f"the loss is {loss.item()} and the gradient of {name} is not finite"
        found = 2, f"{what}; a lower rate or a max_norm may help"
    return min(of_all(fabric, found))[1]


def _generator(config: TrainConfig, epoch: int, purpose: int, rank: int = 0) -> torch.Generator:
    parts = [config.seed, epoch, purpose] + [rank] * (rank > 0)
    entropy = np.random.SeedSequence(parts).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0]))


def describe(training: Training) -> dict[str, Any]:
    """Return in JSON's types all that decides how the training of a network ends.

    Two trainings that differ in it are different trainings. Raises ValueError if there is no clip, if the first is no
    pair of a tensor and a label, or if no weight can be trained.
    """
    network, train_clips, valid_clips = training.start, training.train_clips, training.valid_clips
    if len(train_clips) == 0 or (valid_clips is not None and len(valid_clips) == 0):
        raise ValueError("there is no clip to train on, or none to validate on; give one or more, or no valid_clips")
    if not any(weight.requires_grad and not weight.is_meta for weight in network.parameters()):
        raise ValueError(
            "the network has no weight that can be trained: all are frozen, on the meta device, or none is"
        )
    first = train_clips[0]
    if not (isinstance(first, tuple | list) and len(first) == 2 and isinstance(first[0], Tensor | np.ndarray)):
        raise ValueError(f"clips are pairs of a tensor and a label, as ClipTensors gives; got {type(first).__name__}")
    about = getattr(network, "config", None)
    shapes = {name: " ".join(map(str, weight.shape)) for name, weight in network.named_parameters()}
    facts = {
        "config": asdict(training.config),
        "network": about.to_json() if hasattr(about, "to_json") else shapes,
        "data": training.data,
        "clips": {"train": len(train_clips), "valid": len(valid_clips or ()), "shape": list(first[0].shape)},
    }
    return json.loads(json.dumps(facts))
