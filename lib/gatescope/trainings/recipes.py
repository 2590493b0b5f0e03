"""Settings of a training: TrainConfig, the two recipes, their learning rates and optimisers."""

import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from gatescope.trainings.evaluation import CONTROLS


def polynomial(done: float, peak: float) -> float:
    """Return the paper's learning rate after a fraction `done` of all steps: from `peak` down to 1e-6."""
    return (peak - 1e-6) * (1 - done) ** 0.9 + 1e-6


def one_cycle(done: float, peak: float) -> float:
    """Return the one-cycle learning rate after a fraction `done` of all steps (Smith & Topin 2019).

    Half a cosine up from peak / 25 over three tenths of the steps, half a cosine down to peak / 250,000 over the rest:
    torch's OneCycleLR with constant momentum.
    """
    if done < 0.3:
        start, end, part = peak / 25, peak, done / 0.3
    else:
        start, end, part = peak, peak / 250_000, (done - 0.3) / 0.7
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


class KerasSGD(torch.optim.Optimizer):
    """SGD with momentum in Keras's form: v <- m v - rate (g + decay w), w <- w + v.

    The authors trained with this form. torch's own SGD keeps the rate out of the velocity, which differs when the rate
    changes from step to step, as it does here.
    """

    def __init__(self, parameters, *, lr: float, momentum: float, weight_decay: float):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient = weight.grad.add(weight, alpha=group["weight_decay"])
                if "velocity" not in self.state[weight]:
                    self.state[weight]["velocity"] = torch.zeros_like(weight)
                velocity = self.state[weight]["velocity"]
                velocity.mul_(group["momentum"]).add_(gradient, alpha=-group["lr"])
                weight.add_(velocity)


class Recipe(NamedTuple):
    """An optimiser, its schedule, and the default values of both."""

    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Callable[[float, float], float]
    rate: float
    weight_decay: float
    extra: dict[str, float]


RECIPES: dict[str, Recipe] = {
    # The authors' l2(5e-5) adds 5e-5 sum(w^2) to the loss: a gradient of 1e-4 w.
    "sgd": Recipe(KerasSGD, polynomial, rate=1e-3, weight_decay=1e-4, extra={"momentum": 0.9}),
    "adamw": Recipe(torch.optim.AdamW, one_cycle, rate=5e-3, weight_decay=1e-2, extra={}),
}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class TrainConfig:
    """Settings of a training: with the data and the network they decide its weights.

    `recipe` "sgd" is the paper's: momentum 0.9 and a polynomial rate; "adamw" is AdamW with one cycle, many times
    faster at small scale. If None, `rate` and `weight_decay` take the recipe's values. Raises ValueError (pydantic's
    ValidationError, which lists every wrong field).
    """

    recipe: Literal[*RECIPES] = "adamw"
    epochs: PositiveInt = 16
    batch_size: PositiveInt = 16  # clips
    rate: PositiveFloat | None = None  # the highest learning rate
    weight_decay: NonNegativeFloat | None = None  # of kernels only: neither biases nor normalisations shrink
    max_norm: PositiveFloat | None = None  # longer gradients are clipped to this norm; None: no clipping
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"  # auto: the faster of the two on this machine
    transform: Literal[*CONTROLS] | None = None  # a control of gatescope.trainings.evaluation, applied to every clip
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0

    def __post_init__(self):
        for name in ("rate", "weight_decay"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(RECIPES[self.recipe], name))

    def rate_at(self, step: int, num_steps: int) -> float:
        """Return the learning rate of 0-based `step` of `num_steps`."""
        # The authors divide by the number of steps; torch's one cycle reaches its end at the last of them.
        last = num_steps if self.recipe == "sgd" else max(num_steps - 1, 1)
        return RECIPES[self.recipe].schedule(step / last, self.rate)


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over `network`, with weight decay on kernels only.

    Kernels are the weights with more than one axis, those of gates and attention among them.
    """
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    recipe = RECIPES[config.recipe]
    groups = [{"params": kernels, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return recipe.optimizer(groups, lr=config.rate, weight_decay=config.weight_decay, **recipe.extra)


def choose_precision(precision: str, device: torch.device) -> str:
    """Return `precision`; for "auto", bf16-mixed where `device` has native bfloat16, else 32-true."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Other processors emulate it, which is slower than float32.
    known = torch.cpu.get_capabilities()
    return "bf16-mixed" if known.get("avx512_bf16") or known.get("amx_bf16") else "32-true"
