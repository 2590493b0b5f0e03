"""One training on several processes: who they are, what each takes, and the statistics that they share.

Whatever starts them (`torchrun`, `fabric run`, `srun`), a batch is the config's: each process takes an equal part of
its clips, gradients are means over all of them, and so are the statistics of batch norms, on any device.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gatescope.files import LOCK

Own = TypeVar("Own")

# What starts processes, and the variable by which it is known.
TORCHRUN, SRUN = ("torchrun", "TORCHELASTIC_RUN_ID"), ("srun", "SLURM_STEP_NUM_TASKS")
ENDED = "another process of this training has ended; the same command, started again, goes on from the last whole epoch"


def cluster() -> ClusterEnvironment | None:
    """Return the environment of a process that trains together with others, None for one that trains alone.

    Raises ValueError where what started it left out, or spoilt, a variable that tells which of them it is.
    """
    if TorchElasticEnvironment.detect():
        size = _told("WORLD_SIZE", TORCHRUN, least=1)
        for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE") if size > 1 else ():
            _told(name, TORCHRUN)
        return TorchElasticEnvironment() if size > 1 else None
    # Tasks of the step, not of the job: a script of a job with many tasks is one process until it calls srun.
    if "SLURM_STEP_NUM_TASKS" not in os.environ or _told("SLURM_STEP_NUM_TASKS", SRUN, least=1) == 1:
        return None
    for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS"):
        _told(name, SRUN)
    _told("SLURM_STEP_NUM_NODES", SRUN, least=1)
    with warnings.catch_warnings():
        # Said also of srun in a job that is named `interactive`, as salloc names it.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        return SLURMEnvironment()


def _told(name: str, whose: tuple[str, str], least: int = 0) -> int:
    text = os.environ.get(name)
    if text is None or not text.isdecimal() or int(text) < least:
        starter, mark = whose
        raise ValueError(
            f"the variable {name} must be a whole number from {least}; got {'none' if text is None else repr(text)}: "
            f"start this with {starter}, which sets it, or unset {mark} to train in one process"
        )
    return int(text)


def is_first() -> bool:
    """Return True for a process that trains alone, and for the one of several that writes and prints."""
    environment = cluster()
    return environment is None or environment.global_rank() == 0


def start_fabric(device: str, precision: Precision) -> Fabric:
    """Return a launched Fabric on `device`, cpu or cuda, of all the processes that train together."""
    environment = cluster()
    if environment is None:
        # Named, or Fabric looks for a cluster, and warns where it finds an srun that was not used.
        return Fabric(accelerator=device, devices=1, plugins=[precision, LightningEnvironment()])
    size = environment.world_size()
    if isinstance(environment, TorchElasticEnvironment):
        here = int(os.environ["LOCAL_WORLD_SIZE"])
    else:
        here = size // int(os.environ["SLURM_STEP_NUM_NODES"])
    # With `srun --gpus-per-task=1` each process sees a GPU of its own, as the first and only one.
    num_devices = here if device == "cpu" else min(here, torch.cuda.device_count())
    places = [
        torch.device(device, number % num_devices) if device == "cuda" else torch.device(device)
        for number in range(here)
    ]
    fabric = Fabric(
        accelerator=device,
        devices=num_devices,
        num_nodes=size // here,
        strategy=_Processes(parallel_devices=places),
        plugins=[precision, environment],
    )
    if "LT_CLI_USED" not in os.environ:  # `fabric run` has launched it already
        fabric.launch()
    return fabric


class _Processes(DDPStrategy):
    """Processes without torch's wrapper, which refuses networks with weights that a batch does not use."""

    def setup_module(self, module: nn.Module) -> nn.Module:
        return module


def share(fabric: Fabric, count: int) -> range:
    """Return which of `count` things are this process's: each is one process's, and their numbers differ by one."""
    rank, size = fabric.global_rank, fabric.world_size
    return range(count * rank // size, count * (rank + 1) // size)


def of_all(fabric: Fabric, own: Own) -> list[Own]:
    """Return what each process gives, in their order."""
    parts = [own] * fabric.world_size
    if len(parts) > 1:
        distributed.all_gather_object(parts, own)
    return parts


def joined(fabric: Fabric, own: Own) -> Own:
    """Return the arrays of all processes, joined along their first axis in the order of the shares."""
    parts, names = of_all(fabric, own), [field.name for field in fields(own)]
    return type(own)(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@contextmanager
def only_one(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Hold the folder for this training, by its first process; raises RuntimeError in all if another one has it."""
    lock, taken = FileLock(folder / LOCK, timeout=0), False
    if fabric.global_rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            taken = True
    if fabric.broadcast(taken):
        raise RuntimeError(f"another process trains in {folder}; wait for it or take another folder")
    try:
        yield
    finally:
        lock.release()


def begin_alike(fabric: Fabric, network: nn.Module) -> None:
    """Give `network` the first process's weights and buffers in all."""
    if fabric.world_size > 1:
        network.load_state_dict(fabric.broadcast({name: value.cpu() for name, value in network.state_dict().items()}))


def average_gradients(fabric: Fabric, network: nn.Module) -> None:
    """Replace gradients by their means over processes: those of the whole batch, since its parts are equal."""
    if fabric.world_size == 1:
        return
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    used = [float(weight.grad is not None) for weight in weights]
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([gradients[0].new_tensor(used), *(gradient.flatten() for gradient in gradients)])
    fabric.all_reduce(flat)
    used, *means = flat.split([len(weights), *(weight.numel() for weight in weights)])
    for weight, gradient, mean, somewhere in zip(weights, gradients, means, used.tolist(), strict=True):
        # Where no process has a gradient the optimiser leaves the weight as it is.
        weight.grad = gradient.copy_(mean.view_as(gradient)) if somewhere else None


@contextmanager
def errors_of_others() -> Iterator[None]:
    """Raise a RuntimeError that says so where a block fails because another process has ended."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise RuntimeError(ENDED) from error
        raise


@contextmanager
def shared_statistics(fabric: Fabric, network: nn.Module) -> Iterator[None]:
    """Let the batch norms of `network` use the statistics of all processes' clips within a block, in training mode.

    torch's SyncBatchNorm does so on CUDA alone.
    """
    norms = [norm for norm in network.modules() if isinstance(norm, _BatchNorm) and fabric.world_size > 1]
    for norm in norms:
        norm.forward = partial(_normalise, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


class _Sum(torch.autograd.Function):
    """Sum over processes; the gradient of a part is the sum of the gradients of all."""

    @staticmethod
    def forward(ctx, part: Tensor) -> Tensor:
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient.contiguous())


def _normalise(norm: _BatchNorm, x: Float[Tensor, "batch channels *places"]) -> Float[Tensor, "batch channels *places"]:
    """Return what `norm` would return for the whole batch, of this process's part of it; in float32, as torch does."""
    if not norm.training:
        return type(norm).forward(norm, x)
    axes, shape = [0, *range(2, x.ndim)], [-1] + [1] * (x.ndim - 2)
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    sums = _Sum.apply(torch.cat([values.sum(axes), values.new_tensor([x.numel() / x.shape[1]])]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = values - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    if norm.track_running_stats:
        with torch.no_grad():
            norm.num_batches_tracked += 1
            part = norm.momentum if norm.momentum is not None else 1 / norm.num_batches_tracked.item()
            norm.running_mean.lerp_(mean, part)
            norm.running_var.lerp_(variance * count / (count - 1), part)
    y = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        y = y * norm.weight.view(shape) + norm.bias.view(shape)
    return y.to(x.dtype)
