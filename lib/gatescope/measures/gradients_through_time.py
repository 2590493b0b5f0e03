"""Gradients through time: norms by lag, by each step's copy of the weights, and along the cell state alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models import LSTM, PeepholeConvLSTM
from gatescope.recordings.record import Recording, record


def gradient_norms(recording: Recording, score: Float[Tensor, ""], *names: str) -> Float[Tensor, "batch time"]:
    """Return the norm of the score's gradient at each step, over the named quantities: `c` and `h` for an LSTM.

    Euclidean over channels and positions, from a recording with `gradients`. For one score per sequence pass the sum
    over the batch. Every path counts: through later gates as well as along the cell state.
    """
    squares = [recording.gradient(name, score).flatten(2).square().sum(2) for name in names]
    return torch.stack(squares).sum(0).sqrt()


def by_lag(norms: Float[Tensor, "*any time"]) -> Float[Tensor, "*any lag"]:
    """Return norms from the last step backwards, relative to the last step's; NaN where that is zero."""
    backwards = norms.flip(-1)
    last = backwards[..., :1]
    return torch.where(last > 0, backwards / last, torch.nan)


def weight_gradients(
    recording: Recording, score: Float[Tensor, ""]
) -> Float[Tensor, "batch time hidden previous_hidden"]:
    r"""Return the gradient with respect to each step's copy of an RNN's state-to-state matrix, for every sequence.

    $\delta_k h_{k-1}^\top$ with $\delta_k = \partial E / \partial \mathrm{net}_k$: of rank one, with the norm
    $|\delta_k| |h_{k-1}|$, zero at the first step. The sum over steps is the gradient of the shared matrix. Needs a
    recording of `net` and `h` with `gradients` that started without a state.
    """
    delta, h = recording.gradient("net", score), recording["h"]
    before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
    return delta[..., None] * before[..., None, :]


def cell_path(
    layer: LSTM | PeepholeConvLSTM, x: Float[Tensor, "batch time in *space"]
) -> Float[Tensor, "batch time hidden *space"]:
    r"""Return the factor by which each step passes on a gradient along the cell state, all hidden states held fixed.

    $\partial c_t / \partial c_{t-1} = f_t + c_{t-1} f_t (1 - f_t) w_{cf} + g_t i_t (1 - i_t) w_{ci}$, for each
    unit; without peepholes it is the forget gate.
    """
    with torch.no_grad(), record(layer, "[ifgc]") as recording:
        layer(x)
    i, f, g, c = (recording[name] for name in "ifgc")
    if layer.peepholes is None:
        return f
    w_i, w_f, _ = layer.peepholes.detach()
    before = torch.cat([torch.zeros_like(c[:, :1]), c[:, :-1]], 1)
    return f + before * f * (1 - f) * w_f + g * i * (1 - i) * w_i
