"""Res3D blocks 1-4 before the recurrent layers, and the top of MobileNet after them (Zhang et al. 2018, Fig. 1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gatescope.models.conventions import Conventions
from gatescope.models.convolutions import Conv3d, SeparableConv2d, channels_innermost

STEM_CHANNELS = 64  # at width 1
# The residual units of Res3D: channels at width 1, and stride over time and space.
RES3D_UNITS = {"2a": (64, 1), "2b": (64, 1), "3a": (128, 2), "3b": (128, 1), "4a": (256, 1), "4b": (256, 1)}
# Convolutions, counted from the stem on, whose kernels see three frames, by how many frames of the clip a step of the
# features sees in the end; those of the others see one. All 13 reach 20 frames to either side of a step's own.
REACHES = {1: 0, 5: 2, 41: 13}
# The separable blocks of the top: channels at width 1, and stride. MobileNet's last nine.
_MIDDLE = {f"2{letter}": (512, 1) for letter in "abcde"}
TOP_BLOCKS = {"1a": (256, 1), "1b": (256, 2), **_MIDDLE, "3a": (1024, 2), "3b": (1024, 2)}


def scaled(channels: int, width: float) -> int:
    """Return the number of channels at a width multiplier; at least one."""
    return max(1, round(channels * width))


def batch_norm(kind: type[nn.Module], channels: int, conventions: Conventions) -> nn.Module:
    """Return a batch norm of that kind with the conventions' epsilon and momentum.

    Keras' running variance averages the biased variance of each batch, torch's the unbiased one. They differ by one
    part in the number of positions, thousands; this difference remains.
    """
    return kind(channels, eps=conventions.batch_norm_eps, momentum=conventions.batch_norm_momentum)


class ResidualUnit(nn.Module):
    """Two convolutions with a shortcut: ReLU(norm(conv(ReLU(norm(conv(x))))) + shortcut(x)).

    Their kernels are 3 x 3 in space; `frames` are their lengths in time.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        frames: tuple[int, int],
        stride: int,
        project: bool,
        conventions: Conventions,
    ):
        super().__init__()
        strides, one_sided = (stride, stride, stride), conventions.one_sided_padding
        kernel_a, kernel_b = ((length, 3, 3) for length in frames)
        self.conv_a = Conv3d(in_channels, out_channels, kernel_a, stride=strides, one_sided=one_sided)
        self.norm_a = batch_norm(nn.BatchNorm3d, out_channels, conventions)
        self.conv_b = Conv3d(out_channels, out_channels, kernel_b)
        self.norm_b = batch_norm(nn.BatchNorm3d, out_channels, conventions)
        self.shortcut = nn.Identity()
        if project:
            projection = Conv3d(in_channels, out_channels, (1, 1, 1), stride=strides)
            self.shortcut = nn.Sequential(projection, batch_norm(nn.BatchNorm3d, out_channels, conventions))

    def forward(self, x: Float[Tensor, "batch in time height width"]) -> Float[Tensor, "batch out steps rows columns"]:
        """Return the unit's maps."""
        y = F.relu(self.norm_a(self.conv_a(x)))
        return F.relu(self.norm_b(self.conv_b(y)) + self.shortcut(x))


class Res3D(nn.Module):
    """The stem and blocks 2 to 4 of a residual network of 3-D convolutions; time is halved once, in block 3.

    A step's features see `reach` frames of the clip, one of `REACHES`. At 41, the paper's, every kernel spans three
    frames; at 5 those of the stem and of the first convolution after it do; at 1 none does, which makes a 2-D network
    of it. Block 3 takes every other step, so that step t of the features is centred at frame 2t: at reach 5 it sees
    frames 2t - 2 to 2t + 2, at reach 1 frame 2t alone, and the frames between are seen by no step.
    """

    def __init__(self, in_channels: int, width: float, stem_stride: int, conventions: Conventions, reach: int = 41):
        super().__init__()
        channels = scaled(STEM_CHANNELS, width)
        strides = (1, stem_stride, stem_stride)
        lengths = [3 if place < REACHES[reach] else 1 for place in range(1 + 2 * len(RES3D_UNITS))]
        one_sided = conventions.one_sided_padding
        self.stem = Conv3d(in_channels, channels, (lengths[0], 7, 7), stride=strides, one_sided=one_sided)
        self.stem_norm = batch_norm(nn.BatchNorm3d, channels, conventions)
        self.units = nn.ModuleDict()
        for name, (out_channels, stride), frames in zip(
            RES3D_UNITS, RES3D_UNITS.values(), zip(lengths[1::2], lengths[2::2], strict=True), strict=True
        ):
            project = name.endswith("a")  # also in 2a, where neither width nor size changes
            sizes = channels, scaled(out_channels, width)
            settings = {"frames": frames, "stride": stride, "project": project, "conventions": conventions}
            self.units[name] = ResidualUnit(*sizes, **settings)
            channels = sizes[1]
        self.out_channels = channels
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, x: Float[Tensor, "batch in time height width"]) -> Float[Tensor, "batch out steps rows columns"]:
        """Return the features of clips: half the time steps, a fourth of rows and columns at a stem stride of 2."""
        # With channels innermost, convolutions of few channels take half the time, forward and backward.
        x = channels_innermost(x)
        x = F.relu(self.stem_norm(self.stem(x)))
        for unit in self.units.values():
            x = unit(x)
        return x


class SeparableBlock(nn.Module):
    """Depthwise separable convolution, batch norm, activation; unlike MobileNet, no norm between the convolutions."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, conventions: Conventions):
        super().__init__()
        self.conv = SeparableConv2d(
            in_channels, out_channels, stride=stride, bias=conventions.top_bias, one_sided=conventions.one_sided_padding
        )
        self.norm = batch_norm(nn.BatchNorm2d, out_channels, conventions)
        self.activation = conventions.top_activation

    def forward(self, x: Float[Tensor, "frames in height width"]) -> Float[Tensor, "frames out rows columns"]:
        """Return the block's maps."""
        return self.activation(self.norm(self.conv(x)))


class MobileNetTop(nn.Module):
    """Last nine blocks of MobileNet, applied to each time step: an eighth of the rows and columns."""

    def __init__(self, in_channels: int, width: float, conventions: Conventions):
        super().__init__()
        self.blocks = nn.ModuleDict()
        for name, (channels, stride) in TOP_BLOCKS.items():
            out_channels = scaled(channels, width)
            self.blocks[name] = SeparableBlock(in_channels, out_channels, stride=stride, conventions=conventions)
            in_channels = out_channels
        self.out_channels = in_channels
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Float[Tensor, "frames channel height width"]) -> Float[Tensor, "frames out rows columns"]:
        """Return the maps from which the class scores are computed."""
        x = channels_innermost(x)
        for block in self.blocks.values():
            x = block(x)
        return x
