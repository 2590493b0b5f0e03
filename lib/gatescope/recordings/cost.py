"""Cost of a module: parameters and multiply-adds."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from gatescope.models import RecurrentLayer

# "Mult-Adds" of Zhang et al. 2018, Table 1, for one step of 256 channels on 28 x 28 positions. They are the parameters
# times the positions, as if the pooled gates were computed at every position; `count_multiply_adds` is what runs.
PUBLISHED_MULTIPLY_ADDS = {"convlstm": 3700e6, "a": 415e6, "b": 522e6, "c": 472e6, "d": 472e6}


def count_parameters(module: nn.Module, biases: bool = False) -> int:
    """Return the number of trained values; without biases Eqs. 7, 16, 20 and 24 for the cells of the paper."""
    named = module.named_parameters()
    return sum(value.numel() for name, value in named if biases or name.rpartition(".")[2] != "bias")


def count_multiply_adds(module: nn.Module, *inputs: Any) -> int:
    """Return the multiply-adds of all convolutions and matrix products in `module(*inputs)`, over all time steps.

    Counted on fake tensors, so that no size takes time. A recurrent layer without a given state skips the products with
    the zero state in its first step; here they are counted.
    """
    weights = dict(module.named_parameters()) | dict(module.named_buffers())
    with ExitStack() as cleanup, FakeTensorMode() as fake, torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, RecurrentLayer):
                cleanup.enter_context(layer.register_forward_pre_hook(_with_state))
        weights, inputs = tree_map_only(Tensor, fake.from_tensor, (weights, inputs))
        with FlopCounterMode(display=False) as counter:
            torch.func.functional_call(module, weights, inputs)
    return counter.get_total_flops() // 2  # a multiplication and an addition each


def _with_state(layer: RecurrentLayer, inputs: tuple) -> tuple | None:
    x, *rest = inputs
    if rest and rest[0] is not None:
        return None
    zero = x.new_zeros(len(x), layer.hidden_channels, *x.shape[3:])
    return (x, (zero, zero), *rest[1:])
