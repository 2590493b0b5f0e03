"""The parts of specialised neurons: pulses, straight-through choices, gates of channels, masked norms."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F


def pulses_of(
    scoring: Float[Tensor, "neurons out in 1 1 1"], x: Float[Tensor, "batch in time height width"], *, mean: bool
) -> Float[Tensor, "batch neurons"]:
    """Return the sum, or the mean, of the output of each neuron's 1 x 1 x 1 scoring kernel.

    q = m * X, v = the sum of q over channels, time, height and width. Both steps are linear, so

        v = <w, sum of X over time, height, width>, w = the sum of m over its outputs                      (1)

    without a convolution, forward or backward (ours; equal up to rounding).
    """
    reduce = torch.mean if mean else torch.sum
    return reduce(x, (2, 3, 4)) @ reduce(scoring, 1).flatten(1).T  # (1)


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Return `hard` to the last bit, with the gradient of `soft`."""
    return hard + (soft - soft.detach())


def one_hot(index: Int64[Tensor, " batch"], like: Float[Tensor, "batch neurons"]) -> Float[Tensor, "batch neurons"]:
    """Return 1 at the index of each row, 0 elsewhere."""
    return F.one_hot(index, like.shape[1]).to(like)


def gumbel_softmax(pulses: Float[Tensor, "batch neurons"], tau: float) -> Float[Tensor, "batch neurons"]:
    """Draw one neuron for each clip, softly (Jang et al. 2017); the largest entry has the odds of softmax(pulses).

        G = -log(-log U), U uniform;  y = softmax((V + G) / tau)                                           (2)

    The temperature tau changes y and its gradients, never which entry is largest.
    """
    noise = -torch.empty_like(pulses).exponential_().log()
    return ((pulses + noise) / tau).softmax(1)  # (2)


def saturating_sigmoid(x: Tensor) -> Tensor:
    """Return a sigmoid that reaches 0 and 1, at -ln 11 and ln 11 (Kaiser & Bengio 2018).

    sig'(x) = max(0, min(1, 1.2 sig(x) - 0.1))                                                              (3)
    """
    return (1.2 * x.sigmoid() - 0.1).clamp(0, 1)  # (3)


def soft_half(num_clips: int, device: torch.device) -> Bool[Tensor, " batch"]:
    """Draw the clips that get soft gates: exactly half of a batch, rounded down; a single clip with probability 1/2."""
    if num_clips == 1:
        return torch.rand(1, device=device) < 0.5
    return torch.randperm(num_clips, device=device) < num_clips // 2


def semhash(
    logits: Float[Tensor, "visits channel"], noise: Float[Tensor, "visits channel"], soft: Bool[Tensor, " visits"]
) -> Float[Tensor, "visits channel"]:
    """Return gates in training, 0 spatial to 1 temporal, by Improved SemHash (Kaiser & Bengio 2018) as in GaterNet.

        g' = g + noise;  alpha = sig'(g');  beta = 1[g' > 0], straight-through with the gradient of alpha   (4)

    alpha where `soft`, beta elsewhere. With standard normal noise P(beta = 1) = Phi(g).
    """
    noisy = logits + noise  # (4)
    alpha = saturating_sigmoid(noisy)  # (4)
    beta = straight_through((noisy > 0).to(alpha), alpha)  # (4)
    return torch.where(soft[:, None], alpha, beta)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over channels (axis 1) by the statistics of some clips only.

    With fewer than two values per channel there is no variance: the running statistics are used, and stay unchanged.
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
        """Return `x` normalised, in training by the statistics of the visits that count, by default all."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            seen = (x if counts is None else x[counts]).to(mean)  # float32 statistics also of 16-bit maps
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
