"""Recurrences over all steps of a clip: linear ones as a chain or a scan, and any of them in an exported graph."""

from collections.abc import Callable
from types import CodeType

import torch
from jaxtyping import Float
from torch import Tensor
from torch._higher_order_ops.scan import scan as graph_loop  # torch has no public name for it

Steps = Float[Tensor, "time batch channel _ _"]  # f may hold one value for all positions
State = Float[Tensor, "batch channel height width"]


def recurrence(f: Steps, written: Steps, c: State | None = None) -> Steps:
    r"""Return $C_t = f_t \circ C_{t-1} + w_t$ of every step, with `written` as w and `c` as the state before the first.

    Zhang et al. 2018, Eqs. 5 and 14, where neither f nor w depends on the state. Without `c` that state is zero.
    """
    # A scan adds up log2 T times as much, in log2 T steps that wait for each other and not T: nothing gained on a CPU.
    return chain(f, written, c) if written.is_cpu else scan(f, written, c)


def chain(f: Steps, written: Steps, c: State | None = None) -> Steps:
    """Return what `recurrence` does, one step after the other."""
    states = []
    for f_t, written_t in zip(f, written, strict=True):
        c = written_t if c is None else torch.addcmul(written_t, f_t, c)
        states.append(c)
    return torch.stack(states)


def scan(f: Steps, written: Steps, c: State | None = None) -> Steps:
    """Return what `recurrence` does, in parallel in time: the scan of Hillis & Steele 1986.

    After pass n a step holds what the last 2^n steps have left in it. Nothing is divided or taken the logarithm of, so
    that closed gates and candidates of either sign do no harm.
    """
    if c is not None:
        written = torch.cat([torch.addcmul(written[:1], f[:1], c[None]), written[1:]])
    reach = 1
    while reach < len(f):
        later = torch.addcmul(written[reach:], f[reach:], written[:-reach])
        written = torch.cat([written[:reach], later])
        f = torch.cat([f[:reach], f[reach:] * f[:-reach]])
        reach *= 2
    return written


def exported_loop(
    step: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], x: Float[Tensor, "batch time ..."]
) -> tuple[Float[Tensor, "batch time ..."], tuple[Tensor, ...]]:
    """Return the first part of the state after every step, and the last state, from a loop that is one node of a graph.

    `step` takes what `x` holds for a step and the state, and returns the next state. A loop of Python leaves as many
    steps in the graph as the clip had with which it was exported.
    """

    def body(state: tuple[Tensor, ...], x_t: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        following = tuple(part.clone(memory_format=torch.contiguous_format) for part in step(x_t, *state))
        return following, following[0].clone()  # a graph's loop may not give one tensor twice

    if torch.onnx.is_in_onnx_export() and torch.is_grad_enabled():
        raise RuntimeError("torch cannot write a loop with its gradient to ONNX: export inside torch.no_grad()")
    # torch compiles the loop and holds the next export against what it compiled: sizes that were fixed there would be
    # ruled out here.
    for constant in graph_loop.__code__.co_consts:
        if isinstance(constant, CodeType):
            torch._dynamo.reset_code(constant)  # which torch loads here: more than a second that only an export needs
    last, outputs = graph_loop(body, state, x.transpose(0, 1).contiguous())
    return outputs.transpose(0, 1), last
