"""Convolutions with "same" padding, symmetric or TensorFlow's, and the depthwise separable one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def one_sided_padding(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    """TensorFlow's "same" padding as `F.pad` takes it: (before, after) of each axis, last axis first.

    What it takes to get ceil(size / stride) outputs and no more, the odd one at the end: for an even size at
    stride 2 a 3-kernel gets none before and one after, where k // 2 on both sides would read other positions.
    """
    padding = []
    for size, k, s in zip(reversed(sizes), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        padding += [total // 2, total - total // 2]
    return padding


class Conv2d(nn.Conv2d):
    """A convolution to ceil(size / stride) positions along each axis."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        one_sided: bool = False,
    ):
        # At stride 1 both paddings are one.
        self.one_sided = one_sided and stride > 1
        padding = 0 if self.one_sided else kernel_size // 2
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)

    def forward(self, x: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out rows columns"]:
        """The maps of `x`."""
        if self.one_sided:
            x = F.pad(x, one_sided_padding(x.shape[2:], self.kernel_size, self.stride))
        strided_depthwise = self.groups > 1 and max(self.stride) > 1
        if strided_depthwise and x.is_cpu and torch.is_autocast_enabled("cpu"):
            # oneDNN has no bfloat16 kernel for this one's input gradient, and takes 40 ms instead of 0.4.
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class Conv3d(nn.Conv3d):
    """A convolution without bias to ceil(size / stride) positions along time, height and width."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int],
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        one_sided: bool = False,
    ):
        self.one_sided = one_sided and max(stride) > 1
        padding = 0 if self.one_sided else tuple(k // 2 for k in kernel_size)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)

    def forward(self, x: Float[Tensor, "batch in time height width"]) -> Float[Tensor, "batch out steps rows columns"]:
        """The maps of `x`."""
        if self.one_sided:
            x = F.pad(x, one_sided_padding(x.shape[2:], self.kernel_size, self.stride))
        # Over two steps, and where strides meet maps no larger than their padding, oneDNN's weight gradient in bfloat16
        # is memory that nobody wrote (torch 2.13).
        narrow = max(self.stride) > 1 and any(n <= p for n, p in zip(x.shape[3:], self.padding[1:], strict=True))
        if (x.shape[2] == 2 or narrow) and x.is_cpu and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.to(self.weight.dtype))
        return super().forward(x)


class SeparableConv2d(nn.Module):
    """A K x K convolution of each channel by itself, then a 1 x 1 convolution across channels; nothing between."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        bias: bool = True,
        one_sided: bool = False,
    ):
        super().__init__()
        self.depthwise = Conv2d(
            in_channels, in_channels, kernel_size, stride=stride, groups=in_channels, bias=False, one_sided=one_sided
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out rows columns"]:
        """The maps of `x`."""
        return self.pointwise(self.depthwise(x))
