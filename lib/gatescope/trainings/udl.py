"""Upstream-downstream learning of any model: some parameters follow the loss after a simulated step of the others."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gatescope.trainings.evaluation import kept_random

FORMS = ("unrolled", "hessian", "difference")
VARIANTS = ("udl", "full", "first", "alternate", "joint")

Names = Iterable[str] | Callable[[str], bool]  # of parameters, or a predicate on names


class Passes(NamedTuple):
    """Passes of an iteration through the model, each of one batch; joint training takes two batches at once."""

    forward: int
    backward: int  # those through the graph of a gradient included


class UpstreamDownstream:
    r"""The three steps of upstream-downstream learning (Li et al. 2022, Algorithm 1), for any model.

    With upstream parameters $u$, downstream $d$, a loss $l$ and two batches, $(X, Y)$ and $(X_v, Y_v)$:

    simulated step: $\hat d(u) = d - \alpha \nabla_d\, l(u, d; X, Y)$ (1), plain SGD at `rate` $\alpha$

    hyper-gradient: $\nabla_u\, l(\bar u, \hat d(u); X_v, Y_v)$ (2), where $\bar u$ is $u$ without a gradient, so that
    only the path through $\hat d$ counts

    actual step: $\nabla_d\, l(u', d; X, Y)$ (3), from the $d$ before the simulated step, with $u'$ after (2) held

    The source takes plain SGD at one rate throughout; here the caller's optimiser follows (2) and (3) (ours). Three
    forms of (2), with $\nu = \nabla_{\hat d}\, l(\bar u, \hat d; X_v, Y_v)$: "unrolled" differentiates through (1);
    "hessian" takes the product
    $-\alpha \nabla_u \langle \nabla_d\, l(u, d; X, Y), \nu \rangle$ (4); "difference" takes the finite difference
    $-\alpha\, [\nabla_u\, l(u, d + \epsilon\nu; X, Y) - \nabla_u\, l(u, d - \epsilon\nu; X, Y)] / 2\epsilon$ (5)
    (Liu et al. 2019, Eq. 8).

    Variants, for an ablation: "udl" is the above; "full" does not hold $\bar u$, so that the direct path counts too;
    "first" has only the direct path, at $\hat d$; "alternate" the same at $d$, without a simulated step; "joint" is
    ordinary training, one step of all parameters on both batches together.

    The first two forms are equal; (5) approximates them if the loss is smooth in the simulated parameters. With many
    ReLUs it is off by some percent. It misses the straight-through gradient of a hard choice that depends on simulated
    parameters: the finite difference leaves the choice unchanged, the other forms use its soft gradient.

    Random draws of the model differ between the three steps; the two extra passes of (5) repeat those of the simulated
    step. All three forms leave torch's random numbers in the same state.

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
        """Split the trainable parameters of `model` into `upstream` and the rest; `loss(model(x), target)` is a scalar.

        Those of the rest in `simulated` take the simulated step, by default all. A parameter with several names is
        upstream if one of them is.

        Raises LookupError for an unknown form or variant, or a name of no trainable parameter; ValueError if no
        parameter is upstream, none downstream or none simulated, or the rate is negative or not finite.
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
        """Cost of an iteration; a backward pass through (1) or (4) covers gradient and loss, and counts twice.

        Backward passes end at the last parameter of interest, and may be shorter than those of joint training.
        """
        exact = Passes(5, 5) if self.form == "difference" else Passes(3, 5)
        others = {"joint": Passes(1, 1), "alternate": Passes(2, 2), "first": Passes(3, 3)}
        return others.get(self.variant, exact)

    def step(self, batch: Sequence[Any], valid_batch: Sequence[Any], optimizer: torch.optim.Optimizer) -> Tensor:
        """Take an iteration on two batches of (x, target); return the loss of its last step.

        `optimizer` holds all parameters, and updates those that have a gradient, as torch's do.
        """
        for loss, _ in self.steps(*batch, *valid_batch):  # noqa: B007 - the loss of the last step is returned
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def steps(self, x: Any, target: Any, x_valid: Any, target_valid: Any) -> Iterator[tuple[Tensor, Any]]:
        """Put the gradients of each step in place; yield its loss and output.

        The caller updates the parameters that have a gradient before the next step. There are two steps: upstream, with
        the output for `x_valid`, and downstream, with that for `x`; joint training has one, for both concatenated.
        """
        if self.variant == "joint":
            yield self._gradients(torch.cat([x, x_valid]), torch.cat([target, target_valid]), self._trained)
            return
        yield self.upstream_gradients(x, target, x_valid, target_valid)
        yield self.downstream_gradients(x, target)

    def upstream_gradients(self, x: Any, target: Any, x_valid: Any, target_valid: Any) -> tuple[Tensor, Any]:
        """Put the hyper-gradient (2) into `.grad` of the upstream parameters, and None into all others.

        No parameter and no buffer changes. Returns the loss and the output of (2). A parameter that the loss does not
        reach keeps None.

        Raises ValueError if the variant is "joint", or the loss reaches no parameter of the simulated step;
        FloatingPointError if a gradient, the first of which is named, or the loss is not finite.
        """
        if self.variant == "joint":
            raise ValueError("joint training has no gradients of upstream parameters alone; take its `steps`")
        self.model.zero_grad()
        direct, indirect = self.variant != "udl", self.variant in ("udl", "full")
        device = next(self.model.parameters()).device
        noise = torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None
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
                product = sum(((slopes[name] * value).sum() for name, value in nu.items()), torch.zeros(()))
                # No slope may depend on an upstream parameter; then there is nothing to add.
                if product.requires_grad:
                    (-self.rate * product).backward(inputs=upstream)  # (4)
            elif indirect:
                self._add_difference(x, target, nu, noise)
        _check(self.upstream, loss)
        return loss.detach(), output

    def downstream_gradients(self, x: Any, target: Any) -> tuple[Tensor, Any]:
        """Put the gradient (3) into `.grad` of the downstream parameters, and None into all others.

        An ordinary pass: it updates the buffers. Returns the loss and the output; raises FloatingPointError as
        `upstream_gradients` does.
        """
        return self._gradients(x, target, self.downstream)  # (3)

    def _gradients(self, x: Any, target: Any, weights: dict[str, nn.Parameter]) -> tuple[Tensor, Any]:
        self.model.zero_grad()
        output = self.model(x)
        loss = self.loss(output, target)
        loss.backward(inputs=list(weights.values()))
        _check(weights, loss)
        return loss.detach(), output

    def _run(self, x: Any, target: Any, replaced: dict[str, Tensor]) -> tuple[Tensor, Any]:
        """Return loss and output with other values for some parameters; buffers are copied first."""
        values = {id(self._trained[name]): value for name, value in replaced.items()}
        values |= {id(buffer): buffer.clone() for buffer in self.model.buffers()}
        # Each place once, whatever its names: left alone, functional_call takes every name of a weight, and if two
        # lead to one module, as in a wrapper, it restores the replacement instead of the weight (torch 2.13).
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
        """Return the gradient of the simulated step for the parameters that the loss reaches."""
        loss, _ = self._run(x, target, {})
        found = torch.autograd.grad(loss, list(self.simulated.values()), create_graph=graph, allow_unused=True)
        slopes = {name: slope for name, slope in zip(self.simulated, found, strict=True) if slope is not None}
        if not slopes:
            raise ValueError(f"the loss reaches none of the simulated parameters {', '.join(self.simulated)}")
        return slopes

    def _add_difference(self, x: Any, target: Any, nu: dict[str, Tensor], noise: tuple[Tensor, Tensor | None]) -> None:
        # The authors' 0.01 in float32; for other types in proportion to the cube root of their precision, which
        # balances truncation error against rounding error.
        precision = torch.finfo(next(iter(self.simulated.values())).dtype).eps
        epsilon = 2 * precision ** (1 / 3) / torch.nn.utils.get_total_norm(nu.values()).clamp_min(precision)
        for sign in (1, -1):
            moved = {name: (self.simulated[name] + sign * epsilon * value).detach() for name, value in nu.items()}
            device = next(self.model.parameters()).device
            with kept_random(device):
                torch.set_rng_state(noise[0])
                if noise[1] is not None:
                    torch.cuda.set_rng_state(noise[1], device)
                loss, _ = self._run(x, target, moved)
            (-sign * self.rate / (2 * epsilon) * loss).backward(inputs=list(self.upstream.values()))  # (5)


def _chosen(model: nn.Module, among: dict[str, nn.Parameter], names: Names) -> dict[str, nn.Parameter]:
    """Return those of `among` with a name, the first or another, in `names`."""
    first = {id(weight): name for name, weight in among.items()}
    everything = model.named_parameters(remove_duplicate=False)
    aliases = {alias: first[id(weight)] for alias, weight in everything if id(weight) in first}
    names = set(filter(names, aliases) if callable(names) else names)
    if unknown := sorted(names - aliases.keys()):
        raise LookupError(f"no parameter {', '.join(unknown)} to choose; there are {', '.join(among)}")
    chosen = {aliases[name] for name in names}
    return {name: weight for name, weight in among.items() if name in chosen}


def _check(weights: dict[str, nn.Parameter], loss: Tensor) -> None:
    for name, weight in weights.items():
        if weight.grad is not None and not weight.grad.isfinite().all():
            raise FloatingPointError(f"the gradient of {name} is not finite; a lower rate may help")
    if not loss.isfinite():  # with gradients that are: of an empty batch
        raise FloatingPointError(f"the loss is {loss.item()}; give a batch of at least one clip")
