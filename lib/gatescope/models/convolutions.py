"""Convolutions with "same" padding, symmetric or TensorFlow's, and the depthwise separable one."""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def one_sided_padding(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return TensorFlow's "same" padding as `F.pad` takes it: (before, after) of each axis, last axis first.

    It is the least that gives ceil(size / stride) outputs, the odd one at the end: for an even size at stride 2 a
    3-kernel gets none before and one after, where k // 2 on both sides would read other positions.
    """
    padding = []
    for size, k, s in zip(reversed(sizes), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        padding += [total // 2, total - total // 2]
    return padding


def channels_innermost(x: Float[Tensor, "batch channel ..."]) -> Float[Tensor, "batch channel ..."]:
    """Return `x` as it lies in memory in torch's channels_last formats, by steps that vmap knows."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


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
        # At stride 1 both paddings are the same.
        self.one_sided = one_sided and stride > 1
        padding = 0 if self.one_sided else kernel_size // 2
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)

    def forward(self, x: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out rows columns"]:
        """Return the maps of `x`."""
        if self.one_sided:
            x = F.pad(x, one_sided_padding(x.shape[2:], self.kernel_size, self.stride))
        strided_depthwise = self.groups > 1 and max(self.stride) > 1
        if strided_depthwise and x.is_cpu and torch.is_autocast_enabled("cpu"):
            # oneDNN has no bfloat16 kernel for the input gradient of this one: 40 ms in place of 0.4.
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
        """Return the maps of `x`."""
        if self.one_sided:
            x = F.pad(x, one_sided_padding(x.shape[2:], self.kernel_size, self.stride))
        # Over two steps, and where strides meet maps no larger than their padding, oneDNN's weight gradient in bfloat16
        # is uninitialised memory (torch 2.13).
        narrow = max(self.stride) > 1 and any(n <= p for n, p in zip(x.shape[3:], self.padding[1:], strict=True))
        if (x.shape[2] == 2 or narrow) and x.is_cpu and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.to(self.weight.dtype))
        return super().forward(x)


@cache
def mkl_is_slow() -> bool:
    """Return True on processors not by Intel: MKL's products take twice oneDNN's time there, its tanh ten times."""
    name = getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name", "")
    return torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available() and "Intel" not in name


class PointwiseConv2d(nn.Conv2d):
    """A 1 x 1 convolution across channels."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True):
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out height width"]:
        """Return the maps of `x`."""
        batch, channels, height, width = x.shape
        # On one thread PyTorch sends 1 x 1 convolutions of fewer than 16 images to MKL, forward and backward, and all
        # others to oneDNN. A row of an image is an image too, and there are enough rows. Narrower layers get slower.
        if (
            not torch.compiler.is_exporting()
            and batch < 16 <= batch * height
            and channels >= 256
            and batch * height * width >= 512
            and x.is_cpu
            and x.dtype == torch.float32
            and x.movedim(1, -1).is_contiguous()
            and torch.get_num_threads() == 1
            and mkl_is_slow()
        ):
            rows = x.permute(0, 2, 3, 1).reshape(batch * height, 1, width, channels).permute(0, 3, 1, 2)
            rows = super().forward(rows).permute(0, 2, 3, 1)
            return rows.reshape(batch, height, width, self.out_channels).permute(0, 3, 1, 2)
        return super().forward(x)


class SeparableConv2d(nn.Module):
    """A K x K convolution of each channel alone, then a 1 x 1 convolution across channels; nothing between."""

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
        self.pointwise = PointwiseConv2d(in_channels, out_channels, bias=bias)

    def forward(self, x: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out rows columns"]:
        """Return the maps of `x`."""
        return self.pointwise(self.depthwise(x))
