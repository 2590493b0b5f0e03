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
from filelock import FileLock, Timeout
from jaxtyping import Float
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from gatescope.trainings.evaluation import control, first_not_finite, kept_random
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
    batches are dropped, as the authors do; every epoch has its own order. Example:

        config = NetworkConfig.small("a", num_classes=12)
        torch.manual_seed(0)
        network = GestureNetwork(config)
        train = ClipTensors(SyntheticGestures("train", 960, 48), **config.input, train=True)
        valid = ClipTensors(SyntheticGestures("valid", 600, 48), **config.input)
        rows = list(fit(network, train, valid, TrainConfig(epochs=16), Path("runs/a-0")))
        print(rows[-1].valid_accuracy, evaluate(network, valid).accuracy())

    Raises:
        ValueError: if there is no training clip, a label is outside the network's classes, or `folder` holds the
            state of another training; the message names the first difference.
        RuntimeError: if another process trains in `folder`.
        FloatingPointError: if a loss or a gradient is not finite; the message names the first such layer.
    """
    training = Training(
        start=network, train_clips=train_clips, valid_clips=valid_clips, config=config, data=data, task=task
    )
    facts = describe(training)
    with ExitStack() as stack:
        if folder is not None:
            folder = Path(folder)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(folder / ".lock", timeout=0))
            except Timeout:
                raise RuntimeError(f"another process trains in {folder}; wait for it or take another folder") from None
        yield from _epochs(training, facts, folder, num_workers)


def _epochs(training: Training, facts: dict[str, Any], folder: Path | None, num_workers: int) -> Iterator[Epoch]:
    network, config, task = training.start, training.config, training.task
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = choose_precision(config.precision, device)
    # As a plugin, since with the name alone Fabric prints a line.
    plugin = MixedPrecision("bf16-mixed", device.type) if precision == "bf16-mixed" else Precision()
    fabric = Fabric(accelerator=device.type, devices=1, plugins=plugin)
    optimizer = make_optimizer(network, config)
    module, stepper = fabric.setup(network, optimizer)

    rows: list[Epoch] = []
    if folder is not None and (state := load_state(folder)):
        tensors, saved = state
        if difference := first_difference(facts, saved.get("training")):
            raise ValueError(f"{folder} holds the state of another training: {difference}; take another folder")
        unpack(tensors, network, optimizer)
        rows = [task.row(**row) for row in saved["rows"]]
    network.eval()
    yield from rows

    for epoch in range(len(rows), config.epochs):
        start = time.perf_counter()
        # Draws depend on seed and epoch alone, and the caller's own random numbers stay as they were.
        with kept_random(device):
            torch.manual_seed(_generator(config, epoch, _NETWORK).initial_seed())
            network.train()
            row = _one_epoch(training, fabric, module, stepper, epoch, num_workers)
            network.eval()
        if training.valid_clips is not None:
            row |= task.validate(module, training.valid_clips, config, num_workers)
        rows.append(task.row(**row, seconds=time.perf_counter() - start, precision=precision, device=device.type))
        if folder is not None:
            saved = {"training": facts, "rows": [asdict(row) for row in rows]}
            save_state(folder, epoch + 1, pack(network, optimizer), saved)
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
    loader = DataLoader(clips, batch_size, sampler=order, num_workers=num_workers, drop_last=True)
    loader = fabric.setup_dataloaders(loader)
    change, rng = control(config.transform), _generator(config, epoch, _CHANGE)
    num_steps, step, num_clips, sums = config.epochs * len(loader), epoch * len(loader), 0, Counter()
    for x, target in loader:
        rate = config.rate_at(step, num_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = change(x, rng)
        for loss, counted in training.task.steps(fabric, module, x, target):
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
    """Return where a value that is not finite comes from: the clips, the first layer, or a gradient."""
    if not torch.isfinite(x).all():
        return "the clips hold values that are not finite; look at how they are made"
    if name := first_not_finite(module, x):
        return f"the output of {name} is not finite; a lower rate or a max_norm may help"
    gradients = {name: w.grad for name, w in module.module.named_parameters() if w.grad is not None}
    name = next((name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()), "no weight")
    return f"the loss is {loss.item()} and the gradient of {name} is not finite; a lower rate or a max_norm may help"


def _generator(config: TrainConfig, epoch: int, purpose: int) -> torch.Generator:
    entropy = np.random.SeedSequence([config.seed, epoch, purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0]))


def describe(training: Training) -> dict[str, Any]:
    """Return in JSON's types all that decides how the training of a network ends.

    Two trainings that differ in it are different trainings. Raises ValueError if there is no clip.
    """
    network, train_clips, valid_clips = training.start, training.train_clips, training.valid_clips
    if len(train_clips) == 0 or (valid_clips is not None and len(valid_clips) == 0):
        raise ValueError("there is no clip to train on, or none to validate on; give one or more, or no valid_clips")
    about = getattr(network, "config", None)
    shapes = {name: " ".join(map(str, weight.shape)) for name, weight in network.named_parameters()}
    facts = {
        "config": asdict(training.config),
        "network": about.to_json() if hasattr(about, "to_json") else shapes,
        "data": training.data,
        "clips": {"train": len(train_clips), "valid": len(valid_clips or ()), "shape": list(train_clips[0][0].shape)},
    }
    return json.loads(json.dumps(facts))
