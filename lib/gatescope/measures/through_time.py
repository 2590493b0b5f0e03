"""What of a gradient reaches each step: norms by lag, one copy of W at a time, and along the cell state alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models import LSTM, PeepholeConvLSTM
from gatescope.recordings.record import Recording, record


def gradient_norms(recording: Recording, score: Float[Tensor, ""], *names: str) -> Float[Tensor, "batch time"]:
    """How large the score's gradient is at each step, in the named quantities together: of an LSTM's state `c` and `h`.

    Euclidean over channels and positions, from a recording with `gradients`. For a score per sequence take the sum over
    the batch. All that a state acts upon counts: what goes by way of later gates as well as along the cell state.
    """
    squares = [recording.gradient(name, score).flatten(2).square().sum(2) for name in names]
    return torch.stack(squares).sum(0).sqrt()


def by_lag(norms: Float[Tensor, "*any time"]) -> Float[Tensor, "*any lag"]:
    """Norms from the last step backwards, relative to that step's, which is 1; NaN where that one is zero."""
    backwards = norms.flip(-1)
    last = backwards[..., :1]
    return torch.where(last > 0, backwards / last, torch.nan)


def weight_gradients(
    recording: Recording, score: Float[Tensor, ""]
) -> Float[Tensor, "batch time hidden previous_hidden"]:
    r"""The gradient with respect to each step's own copy of an RNN's state-to-state matrix, for every sequence.

    The step's $\delta_k = \partial E / \partial \mathrm{net}_k$ times $h_{k-1}^\top$, hence of rank one, with the norm
    $|\delta_k| |h_{k-1}|$; zero at the first step, before which the state is zero. Summed over steps it is the gradient
    of the one matrix that all steps share. From a recording of `net` and `h` with `gradients`, started without a state.
    """
    delta, h = recording.gradient("net", score), recording["h"]
    before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
    return delta[..., None] * before[..., None, :]


def cell_path(
    layer: LSTM | PeepholeConvLSTM, x: Float[Tensor, "batch time in *space"]
) -> Float[Tensor, "batch time hidden *space"]:
    r"""The factor by which each step hands on a gradient along the cell state, all hidden states held fixed.

    $\partial c_t / \partial c_{t-1} = f_t + c_{t-1} f_t (1 - f_t) w_{cf} + g_t i_t (1 - i_t) w_{ci}$, one number a
    unit: the forget gate alone only without peepholes.
    """
    with torch.no_grad(), record(layer, "[ifgc]") as recording:
        layer(x)
    i, f, g, c = (recording[name] for name in "ifgc")
    if layer.peepholes is None:
        return f
    w_i, w_f, _ = layer.peepholes.detach()
    before = torch.cat([torch.zeros_like(c[:, :1]), c[:, :-1]], 1)
    return f + before * f * (1 - f) * w_f + g * i * (1 - i) * w_i
