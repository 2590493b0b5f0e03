"""How a network is trained: TrainConfig, the two recipes, their learning rates and optimisers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from gatescope.trainings.evaluation import control

PRECISIONS = ("auto", "32-true", "bf16-mixed")


def polynomial(done: float, peak: float) -> float:
    """The paper's learning rate when a part `done` of all steps is taken: from `peak` down to 1e-6."""
    return (peak - 1e-6) * (1 - done) ** 0.9 + 1e-6


def one_cycle(done: float, peak: float) -> float:
    """Up from peak / 25 for three tenths of the steps, down to peak / 250,000 at the last, along half cosines.

    Smith & Topin 2019, as torch's OneCycleLR has it but for momentum, which stays.
    """
    if done < 0.3:
        start, end, part = peak / 25, peak, done / 0.3
    else:
        start, end, part = peak, peak / 250_000, (done - 0.3) / 0.7
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


class KerasSGD(torch.optim.Optimizer):
    """SGD with momentum as Keras has it: v <- m v - rate (g + decay w), w <- w + v.

    The authors trained with this form. torch's own keeps the rate out of the velocity, which is another rule as
    soon as the rate changes from step to step, as it does here.
    """

    def __init__(self, parameters, *, lr: float, momentum: float, weight_decay: float):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Move every parameter that has a gradient."""
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


@dataclass(frozen=True)
class Recipe:
    """An optimiser, its schedule, and the values it is used with unless others are given."""

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


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained; all that decides its weights beside the data and the network itself.

    `recipe` "sgd" is the paper's: momentum 0.9 and a polynomial rate; "adamw" is AdamW with one cycle, many times
    faster at small scale. Left at None, `rate` and `weight_decay` take the recipe's own values. Raises ValueError
    or LookupError for a value that cannot be used.
    """

    recipe: str = "adamw"
    epochs: int = 16
    batch_size: int = 16  # clips
    rate: float | None = None  # the highest learning rate
    weight_decay: float | None = None  # of kernels alone: neither biases nor normalisations shrink
    max_norm: float | None = None  # longer gradients are cut to this length; None: none is
    precision: str = "auto"  # 32-true, bf16-mixed, or the faster of the two on this machine
    transform: str | None = None  # a control of gatescope.trainings.evaluation.CONTROLS that every clip goes through
    seed: int = 0

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise LookupError(f"no recipe {self.recipe!r}; there are {', '.join(RECIPES)}")
        if self.precision not in PRECISIONS:
            raise LookupError(f"no precision {self.precision!r}; there are {', '.join(PRECISIONS)}")
        control(self.transform)
        for name in ("rate", "weight_decay"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(RECIPES[self.recipe], name))
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number, {least} or more; got {value!r}")
        positive = self.rate > 0 and (self.max_norm is None or self.max_norm > 0)
        if not (positive and self.weight_decay >= 0 and max(self.rate, self.weight_decay) < math.inf):
            raise ValueError(
                "rate and max_norm must be positive, weight_decay not negative, rate and weight_decay finite; "
                f"got {self.rate}, {self.max_norm} and {self.weight_decay}"
            )

    def rate_at(self, step: int, num_steps: int) -> float:
        """The learning rate of 0-based `step` of `num_steps`."""
        # The authors divide by the number of steps, torch's one cycle reaches its end at the last of them.
        last = num_steps if self.recipe == "sgd" else max(num_steps - 1, 1)
        return RECIPES[self.recipe].schedule(step / last, self.rate)


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The recipe's optimiser over `network`, with weight decay on kernels only.

    Kernels are the weights with more than one axis, those of gates and attention among them.
    """
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    recipe = RECIPES[config.recipe]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return recipe.optimizer(groups, lr=config.rate, weight_decay=config.weight_decay, **recipe.extra)


def choose_precision(precision: str, device: torch.device) -> str:
    """`precision`, or for "auto" bf16-mixed where `device` computes in bfloat16 by itself, else 32-true."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Other processors emulate it, which is slower than float32.
    known = torch.cpu.get_capabilities()
    return "bf16-mixed" if known.get("avx512_bf16") or known.get("amx_bf16") else "32-true"
