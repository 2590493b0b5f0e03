"""What specialised neurons choose with: pulses, hard choices with soft gradients, gates of channels, masked norms."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F


def pulses_of(
    scoring: Float[Tensor, "neurons out in 1 1 1"], x: Float[Tensor, "batch in time height width"], *, mean: bool
) -> Float[Tensor, "batch neurons"]:
    """The sum, or the mean, of all that each neuron's 1 x 1 x 1 scoring kernel gives of a clip.

    q = m * X, v = the sum of q over channels, time, height and width. Nothing between the two is non-linear, so that

        v = <w, sum of X over time, height, width>, w = the sum of m over its outputs                      (1)

    which needs a convolution's work neither forward nor backward (ours; the same number but for rounding).
    """
    reduce = torch.mean if mean else torch.sum
    return reduce(x, (2, 3, 4)) @ weights_of(scoring, mean=mean).T  # (1)


def weights_of(scoring: Float[Tensor, "neurons out in 1 1 1"], *, mean: bool) -> Float[Tensor, "neurons in"]:
    """What a neuron's scoring kernel comes to for each channel; its outputs only add up."""
    return (scoring.mean(1) if mean else scoring.sum(1)).flatten(1)


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """`hard` to the last bit, with the gradient of `soft`."""
    return hard + (soft - soft.detach())


def one_hot(index: Int64[Tensor, " batch"], like: Float[Tensor, "batch neurons"]) -> Float[Tensor, "batch neurons"]:
    """1 at the index of each row, 0 elsewhere."""
    return F.one_hot(index, like.shape[1]).to(like)


def gumbel_softmax(pulses: Float[Tensor, "batch neurons"], tau: float) -> Float[Tensor, "batch neurons"]:
    """A soft draw of one neuron for each clip (Jang et al. 2017); its largest entry is drawn as softmax(pulses) says.

        G = -log(-log U), U uniform;  y = softmax((V + G) / tau)                                           (2)

    At every temperature the same neuron is drawn: tau changes y and its gradients alone.
    """
    noise = -torch.empty_like(pulses).exponential_().log()
    return ((pulses + noise) / tau).softmax(1)  # (2)


def saturating_sigmoid(x: Tensor) -> Tensor:
    """A sigmoid that reaches 0 and 1, at -ln 11 and ln 11 (Kaiser & Bengio 2018).

    sig'(x) = max(0, min(1, 1.2 sig(x) - 0.1))                                                              (3)
    """
    return (1.2 * x.sigmoid() - 0.1).clamp(0, 1)  # (3)


def soft_half(num_clips: int, device: torch.device) -> Bool[Tensor, " batch"]:
    """Which clips of a batch see soft gates: exactly half of them, rounded down, drawn anew; a clip alone by a coin."""
    if num_clips == 1:
        return torch.rand(1, device=device) < 0.5
    return torch.randperm(num_clips, device=device) < num_clips // 2


def semhash(
    logits: Float[Tensor, "visits channel"], noise: Float[Tensor, "visits channel"], soft: Bool[Tensor, " visits"]
) -> Float[Tensor, "visits channel"]:
    """Gates in training, from 0, spatial, to 1, temporal, by Improved SemHash (Kaiser & Bengio 2018) as in GaterNet.

        g' = g + noise;  alpha = sig'(g');  beta = 1[g' > 0], with the gradient of alpha                    (4)

    alpha where `soft`, beta elsewhere. With standard normal noise P(beta = 1) = Phi(g).
    """
    noisy = logits + noise  # (4)
    alpha = saturating_sigmoid(noisy)  # (4)
    beta = straight_through((noisy > 0).to(alpha), alpha)  # (4)
    return torch.where(soft[:, None], alpha, beta)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over channels (axis 1) by the statistics of the clips that count alone.

    With fewer than two values to a channel there is no variance: the running statistics stand in, and stay.
    """

    def __init__(self, channels: int, *, affine: bool = True):
        super().__init__()
        self.momentum, self.eps = 0.1, 1e-5  # as torch's own
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self, x: Float[Tensor, "visits channel *positions"], counts: Bool[Tensor, " visits"] | None = None
    ) -> Float[Tensor, "visits channel *positions"]:
        """All of `x`, normalised; in training by those that count (all, without `counts`)."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            seen = (x if counts is None else x[counts]).to(mean)  # also where the maps are of 16 bits
            num_values = seen.shape[0] * seen[:, :1].flatten(1).shape[1]
            if num_values > 1:
                axes = [axis for axis in range(x.ndim) if axis != 1]
                variance, mean = torch.var_mean(seen, axes, correction=0)
                with torch.no_grad():
                    self.running_mean.lerp_(mean, self.momentum)
                    self.running_var.lerp_(variance * num_values / (num_values - 1), self.momentum)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        ones = (1,) * (x.ndim - 2)
        return torch.addcmul(shift.view(-1, *ones), x, scale.view(-1, *ones))
