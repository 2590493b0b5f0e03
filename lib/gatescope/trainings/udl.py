"""Upstream-downstream learning of any model: parameters that are moved by what a step of the others would bring."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["FORMS", "VARIANTS", "Passes", "Toy", "UpstreamDownstream", "toy_trajectory"]

FORMS = ("unrolled", "hessian", "difference")
VARIANTS = ("udl", "full", "first", "alternate", "joint")

Names = Iterable[str] | Callable[[str], bool]  # of parameters, or what says of a name whether it is one of them


@dataclass(frozen=True)
class Passes:
    """How often an iteration goes through the model, of one batch each; joint training takes two batches at once."""

    forward: int
    backward: int  # also those through the graph of a gradient


class UpstreamDownstream:
    r"""The three steps of upstream-downstream learning (Li et al. 2022, Algorithm 1), for any model.

    With upstream parameters $u$, downstream $d$, a loss $l$ and two batches, $(X, Y)$ and $(X_v, Y_v)$:

    simulated step: $\hat d(u) = d - \alpha \nabla_d\, l(u, d; X, Y)$ (1), plain SGD at `rate` $\alpha$

    hyper-gradient: $\nabla_u\, l(\bar u, \hat d(u); X_v, Y_v)$ (2), where $\bar u$ is $u$ without a gradient, so that
    only the path through $\hat d$ counts

    actual step: $\nabla_d\, l(u', d; X, Y)$ (3), from the $d$ before the simulated step, with $u'$ after (2) held

    The source moves by plain SGD at one rate throughout; here the optimiser that follows (2) and (3) is the caller's
    (ours). Three forms of (2), with $\nu = \nabla_{\hat d}\, l(\bar u, \hat d; X_v, Y_v)$: "unrolled" derives through
    (1); "hessian" takes the product
    $-\alpha \nabla_u \langle \nabla_d\, l(u, d; X, Y), \nu \rangle$ (4); "difference" (Liu et al. 2019, Eq. 8) takes
    $-\alpha\, [\nabla_u\, l(u, d + \epsilon\nu; X, Y) - \nabla_u\, l(u, d - \epsilon\nu; X, Y)] / 2\epsilon$ (5).

    Variants, for an ablation: "udl" is the above; "full" does not hold $\bar u$, so that the direct path counts too;
    "first" has the direct path alone, at $\hat d$; "alternate" the same at $d$, without a simulated step; "joint" is
    ordinary training, one step of all parameters on both batches together.

    The first two forms are one number; (5) is near it where the loss is smooth in the simulated parameters. Over the
    kinks of many ReLUs it is off by some percent, and to a hard choice with a soft gradient (straight-through) that
    hangs on simulated parameters it is blind: there the choice stays as it is, and the others derive by its soft twin.

    What a model draws at random it draws anew in each of the three steps; the two further passes of (5) see what the
    simulated step saw. All three forms leave torch's random numbers at the same place.

    Example:
        udl = UpstreamDownstream(model, F.cross_entropy, ["gates"], rate=0.05)
        optimizer = torch.optim.Adam(model.parameters())
        for batch, valid_batch in zip(loader, other_loader):
            loss = udl.step(batch, valid_batch, optimizer)
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        upstream: Names,
        *,
        rate: float,
        form: str = "unrolled",
        variant: str = "udl",
        simulated: Names | None = None,
    ):
        """Split what trains in `model` into `upstream` and the rest; `loss(model(x), target)` is a scalar.

        Of the rest those in `simulated` take the simulated step, all unless given. A parameter with several names is
        upstream where one of them is.

        Raises:
            LookupError: for a form or variant that there is not, or a name that no parameter that trains has.
            ValueError: if no parameter is upstream, none downstream or none simulated, or the rate is negative or not
                finite.
        """
        for name, known in ((form, FORMS), (variant, VARIANTS)):
            if name not in known:
                raise LookupError(f"no {name!r}; there are {', '.join(known)}")
        if not 0 <= rate < math.inf:
            raise ValueError(f"rate must be 0 or more and finite; got {rate}")
        self.model, self.loss, self.rate, self.form, self.variant = model, loss, rate, form, variant
        self._trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.upstream = _chosen(model, self._trained, upstream)
        self.downstream = {name: weight for name, weight in self._trained.items() if name not in self.upstream}
        self.simulated = self.downstream if simulated is None else _chosen(model, self.downstream, simulated)
        for part in ("upstream", "downstream", "simulated"):
            if not getattr(self, part):
                raise ValueError(f"no parameter is {part}; there are {', '.join(self._trained) or 'none that train'}")

    @property
    def passes(self) -> Passes:
        """What an iteration costs; a pass of (4) or back through (1) goes through gradient and loss, and counts twice.

        Passes back end where no parameter of interest is left, and may be shorter than those of joint training.
        """
        exact = Passes(5, 5) if self.form == "difference" else Passes(3, 5)
        others = {"joint": Passes(1, 1), "alternate": Passes(2, 2), "first": Passes(3, 3)}
        return others.get(self.variant, exact)

    def step(self, batch: Sequence[Any], valid_batch: Sequence[Any], optimizer: torch.optim.Optimizer) -> Tensor:
        """Take a whole iteration on two batches of (x, target); the loss of its last step comes back.

        `optimizer` has all parameters, and moves those that have a gradient, as torch's do.
        """
        for loss, _ in self.steps(*batch, *valid_batch):  # noqa: B007
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def steps(self, x: Any, target: Any, x_valid: Any, target_valid: Any) -> Iterator[tuple[Tensor, Any]]:
        """The iteration without an optimiser: a loss and an output after each step that put gradients in place.

        The caller moves the parameters that have a gradient before the next. There are two steps: upstream, with the
        output for `x_valid`, and downstream, with that for `x`; joint training has one, with that for both in a row.
        """
        if self.variant == "joint":
            yield self._gradients(torch.cat([x, x_valid]), torch.cat([target, target_valid]), self._trained)
            return
        yield self.upstream_gradients(x, target, x_valid, target_valid)
        yield self.downstream_gradients(x, target)

    def upstream_gradients(self, x: Any, target: Any, x_valid: Any, target_valid: Any) -> tuple[Tensor, Any]:
        """Put the hyper-gradient (2) into `.grad` of the upstream parameters, and None into all others.

        No parameter and no buffer changes. The loss and the output of (2) come back. A parameter that the loss does
        not reach keeps None.

        Raises:
            ValueError: if the variant is "joint", or the loss reaches no parameter of the simulated step.
            FloatingPointError: if a gradient is not finite, the first of which is named, or the loss is not.
        """
        if self.variant == "joint":
            raise ValueError("joint training has no gradients of upstream parameters alone; take its `steps`")
        self.model.zero_grad()
        direct, indirect = self.variant != "udl", self.variant in ("udl", "full")
        noise = self._noise()
        slopes = {}
        if self.variant != "alternate":
            slopes = self._slopes(x, target, graph=indirect and self.form != "difference")
        ahead = {name: self.simulated[name] - self.rate * slope for name, slope in slopes.items()}  # (1)
        upstream = list(self.upstream.values())
        if indirect and self.form == "unrolled":
            held = {} if direct else {name: weight.detach() for name, weight in self.upstream.items()}
            loss, output = self._run(x_valid, target_valid, held | ahead)
            loss.backward(inputs=upstream)  # (2)
        else:
            ahead = {name: value.detach().requires_grad_(indirect) for name, value in ahead.items()}
            loss, output = self._run(x_valid, target_valid, ahead)
            loss.backward(inputs=upstream * direct + list(ahead.values()) * indirect)
            nu = {name: value.grad for name, value in ahead.items() if value.grad is not None}
            if indirect and self.form == "hessian":
                self._add_product(slopes, nu)
            elif indirect:
                self._add_difference(x, target, nu, noise)
        _check(self.upstream, loss)
        return loss.detach(), output

    def downstream_gradients(self, x: Any, target: Any) -> tuple[Tensor, Any]:
        """Put the gradient (3) into `.grad` of the downstream parameters, and None into all others.

        An ordinary pass: it updates the buffers. The loss and the output come back. Raises FloatingPointError as
        `upstream_gradients` does.
        """
        return self._gradients(x, target, self.downstream)  # (3)

    def look_ahead(self, x: Any, target: Any) -> dict[str, Tensor]:
        """Where the simulated step (1) takes the parameters that it moves; nothing changes."""
        slopes = self._slopes(x, target, graph=False)
        return {name: (self.simulated[name] - self.rate * slope).detach() for name, slope in slopes.items()}  # (1)

    def _gradients(self, x: Any, target: Any, weights: dict[str, nn.Parameter]) -> tuple[Tensor, Any]:
        self.model.zero_grad()
        output = self.model(x)
        loss = self.loss(output, target)
        loss.backward(inputs=list(weights.values()))
        _check(weights, loss)
        return loss.detach(), output

    def _run(self, x: Any, target: Any, replaced: dict[str, Tensor]) -> tuple[Tensor, Any]:
        """Loss and output with other values for some parameters; what is written to buffers goes to copies."""
        values = {id(self._trained[name]): value for name, value in replaced.items()}
        values |= {id(buffer): buffer.clone() for buffer in self.model.buffers()}
        # Each place once, whatever its names: by itself functional_call finds all names of a weight, and where two
        # lead to one module, as in a wrapper, it puts the replacement back instead of the weight (torch 2.13).
        places = {
            place: values[id(tensor)]
            for prefix, module in self.model.named_modules()
            for found in (module.named_parameters, module.named_buffers)
            for place, tensor in found(prefix, recurse=False, remove_duplicate=False)
            if id(tensor) in values
        }
        output = functional_call(self.model, places, (x,), tie_weights=False)
        return self.loss(output, target), output

    def _slopes(self, x: Any, target: Any, *, graph: bool) -> dict[str, Tensor]:
        """The gradient of the simulated step, of the parameters that the loss reaches."""
        loss, _ = self._run(x, target, {})
        found = torch.autograd.grad(loss, list(self.simulated.values()), create_graph=graph, allow_unused=True)
        slopes = {name: slope for name, slope in zip(self.simulated, found, strict=True) if slope is not None}
        if not slopes:
            raise ValueError(f"the loss reaches none of the simulated parameters {', '.join(self.simulated)}")
        return slopes

    def _add_product(self, slopes: dict[str, Tensor], nu: dict[str, Tensor]) -> None:
        product = sum(((slopes[name] * value).sum() for name, value in nu.items()), torch.zeros(()))
        # Where no slope depends on an upstream parameter, there is nothing to add.
        if product.requires_grad:
            (-self.rate * product).backward(inputs=list(self.upstream.values()))  # (4)

    def _add_difference(self, x: Any, target: Any, nu: dict[str, Tensor], noise: dict[torch.device, Tensor]) -> None:
        # The authors' 0.01 in float32; in other types as the cube root of their precision, which balances the error of
        # the difference against that of rounding.
        precision = torch.finfo(next(iter(self.simulated.values())).dtype).eps
        epsilon = 2 * precision ** (1 / 3) / torch.nn.utils.get_total_norm(nu.values()).clamp_min(precision)
        for sign in (1, -1):
            moved = {name: (self.simulated[name] + sign * epsilon * value).detach() for name, value in nu.items()}
            with _replayed(noise):
                loss, _ = self._run(x, target, moved)
            (-sign * self.rate / (2 * epsilon) * loss).backward(inputs=list(self.upstream.values()))  # (5)

    def _noise(self) -> dict[torch.device, Tensor]:
        """Where torch's random numbers stand, on the processor and on the model's devices."""
        devices = {weight.device for weight in self.simulated.values() if weight.is_cuda}
        return {torch.device("cpu"): torch.get_rng_state()} | {on: torch.cuda.get_rng_state(on) for on in devices}


def _chosen(model: nn.Module, among: dict[str, nn.Parameter], names: Names) -> dict[str, nn.Parameter]:
    """Those of `among` of which a name, the first or another, is one of `names`."""
    first = {id(weight): name for name, weight in among.items()}
    aliases = [
        (alias, first[id(weight)])
        for alias, weight in model.named_parameters(remove_duplicate=False)
        if id(weight) in first
    ]
    if not callable(names):
        names = set(names)
        if unknown := sorted(names - {alias for alias, _ in aliases}):
            raise LookupError(f"no parameter {', '.join(unknown)} to choose; there are {', '.join(among)}")
        names = names.__contains__
    chosen = {name for alias, name in aliases if names(alias)}
    return {name: weight for name, weight in among.items() if name in chosen}


@contextmanager
def _replayed(noise: dict[torch.device, Tensor]) -> Iterator[None]:
    devices = [device for device in noise if device.type == "cuda"]
    with torch.random.fork_rng(devices):
        torch.set_rng_state(noise[torch.device("cpu")])
        for device in devices:
            torch.cuda.set_rng_state(noise[device], device)
        yield


def _check(weights: dict[str, nn.Parameter], loss: Tensor) -> None:
    for name, weight in weights.items():
        if weight.grad is not None and not weight.grad.isfinite().all():
            raise FloatingPointError(f"the gradient of {name} is not finite; a lower rate may help")
    if not loss.isfinite():  # with gradients that are: of an empty batch
        raise FloatingPointError(f"the loss is {loss.item()}; give a batch of at least one clip")


@dataclass(frozen=True, eq=False)
class Toy:
    """An iteration with two numbers, for every start of a grid."""

    ahead: Float[np.ndarray, "*grid"]  # d after the simulated step
    upstream: Float[np.ndarray, "*grid"]  # u after the iteration
    downstream: Float[np.ndarray, "*grid"]  # d after the iteration
    loss: Float[np.ndarray, "*grid"]  # of training, at the start
    valid_loss: Float[np.ndarray, "*grid"]  # at u and the simulated d


class _TwoNumbers(nn.Module):
    def __init__(self, u: Tensor, d: Tensor):
        super().__init__()
        self.u, self.d = nn.Parameter(u), nn.Parameter(d)

    def forward(self, x: Tensor) -> Tensor:
        return self.d - x * self.u


def toy_trajectory(u: float | np.ndarray, d: float | np.ndarray, c: float | np.ndarray, rate: float) -> Toy:
    """Where upstream-downstream learning takes two numbers u and d, from one start or from every point of a grid.

    The loss of training is (d - u)^2 / 2, that of validation (d - c)^2 / 2: d learns to be u, and u has to find out
    that it should be c. All steps are plain SGD at `rate`. Ours.
    """
    shape = np.broadcast_shapes(np.shape(u), np.shape(d), np.shape(c))
    u, d, c = (torch.from_numpy(np.broadcast_to(values, shape).astype(np.float64)) for values in (u, d, c))
    model = _TwoNumbers(u.clone(), d.clone())

    def losses(output: Tensor, target: Tensor) -> Tensor:
        return (output - target) ** 2 / 2

    # The points of a grid are independent of each other: of the sum each has the gradient of its own.
    udl = UpstreamDownstream(model, lambda *pair: losses(*pair).sum(), ["u"], rate=rate)
    zero, one = d.new_tensor(0), d.new_tensor(1)
    ahead = udl.look_ahead(one, zero)["d"]
    for _ in udl.steps(one, zero, zero, c):
        with torch.no_grad():
            for weight in (weight for weight in model.parameters() if weight.grad is not None):
                weight -= rate * weight.grad
    found = ahead, model.u.detach(), model.d.detach(), losses(d, u), losses(ahead, c)
    return Toy(*(values.numpy() for values in found))
