"""Hidden attention of a recurrent layer: what each earlier step has left in the cell state, by the gates."""

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models import RecurrentLayer
from gatescope.recordings.record import intervene, record

Gate = Float[Tensor, "clips step channels *_space"]  # of a pooled gate one value a channel
Maps = Float[Tensor, "clips step channels rows columns"]


def left_by_steps(f: Gate, i: Gate, g: Maps) -> Maps:
    r"""Return what each step has left in the last cell state: $w_t = (\prod_{s>t} f_s) \circ i_t \circ G_t$.

    Their sum over steps is the last cell state (Zhang et al. 2018, Eqs. 5 and 14, from a state of zero). Where nothing
    sees the state it is also the whole effect of the step: without G_t the last state loses exactly $w_t$. This is the
    hidden attention of Ali et al. 2025, with the products of gates in the place of a selective state space's. Other
    cells have gates that depend on what came before: $w_t$ then leaves out what returns through H.
    """
    f, i = (gate[..., None, None] if gate.ndim == 3 else gate for gate in (f, i))
    # Of the gates after a step: the product from the last step back, which ends before the step's own.
    after = torch.cat([f[:, 1:], torch.ones_like(f[:, :1])], 1).flip(1).cumprod(1).flip(1)
    return after * i * g


def hidden_attention(f: Gate, i: Gate, g: Maps) -> Float[Tensor, "clips to_step from_step"]:
    """Return the share that each earlier step has in the cell state of every step, 0 to 1, mean over the layer.

    A share is the absolute value of what the step has left, at a channel and position, over the sum of those of all
    steps so far. The rows sum to 1; later steps than the row's are 0. NaN where all that was ever written is zero.
    """
    shares = g.new_zeros(len(g), g.shape[1], g.shape[1])
    for last in range(g.shape[1]):
        left = left_by_steps(*(part[:, : last + 1] for part in (f, i, g))).abs()
        total = left.sum(1, keepdim=True)
        known = torch.where(total > 0, left / total, torch.nan)
        shares[:, last, : last + 1] = known.flatten(2).nanmean(2)
    return shares


@torch.inference_mode()
def lost_without_steps(layer: RecurrentLayer, x: Maps) -> Float[Tensor, "clips step hidden rows columns"]:
    """Return what the last cell state loses where one step writes nothing: its candidate is 0, and all else runs on.

    In a cell that is linear in its state this is what `left_by_steps` says. Others add what returns through H.
    """
    with record(layer, "g", "c") as recording:
        layer(x)
    whole, lost = recording["c"][:, -1], []
    for step in range(x.shape[1]):
        without = recording["g"].clone()
        without[:, step] = 0
        with intervene(layer, {"g": without}):
            _, (_, last) = layer(x, None, True)
        lost.append(whole - last)
    return torch.stack(lost, 1)
