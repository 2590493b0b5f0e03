"""Convolutions read the positions that their padding says, and the separable one is its two halves."""

from itertools import product

import numpy as np
import pytest
import torch

from gatescope.models.conventions import hard_sigmoid
from gatescope.models.convolutions import Conv2d, Conv3d, SeparableConv2d, one_sided_padding


def convolved(x, weight, stride, before):
    """One clip (channel, *space) by explicit loops: output p reads from p * stride - before on, zero outside."""
    out_channels, in_channels, *kernel = weight.shape
    sizes = [-(-size // s) for size, s in zip(x.shape[1:], stride, strict=True)]
    y = np.zeros((out_channels, *sizes))
    for place in product(*map(range, sizes)):
        for offset in product(*map(range, kernel)):
            read = tuple(p * s + k - b for p, s, k, b in zip(place, stride, offset, before, strict=True))
            if all(0 <= r < size for r, size in zip(read, x.shape[1:], strict=True)):
                y[(slice(None), *place)] += weight[(slice(None), slice(None), *offset)] @ x[(slice(None), *read)]
    return y


def tensorflows_padding_before(size, kernel, stride):
    """What TensorFlow documents for "same": half, rounded down, of what the last output reaches beyond the end."""
    beyond = kernel - stride if size % stride == 0 else kernel - size % stride
    return max(beyond, 0) // 2


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (112, 7, 2, [2, 3]),  # the stem
        (56, 3, 2, [0, 1]),  # block 3, and 1b and 3a of the top
        (7, 3, 2, [1, 1]),  # 3b of the top
        (28, 3, 1, [1, 1]),
        (9, 1, 2, [0, 0]),
        (8, 1, 2, [0, 0]),
    ],
)
def test_one_sided_padding_is_tensorflows(size, kernel, stride, padding):
    assert one_sided_padding([size], [kernel], [stride]) == padding


def test_padding_comes_last_axis_first():
    assert one_sided_padding([16, 56, 7], [3, 7, 3], [1, 2, 2]) == [1, 1, 2, 3, 1, 1]


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (7, 3), (1, 2)])
@pytest.mark.parametrize("size", [(6, 7), (9, 4), (1, 2)])
def test_a_convolution_reads_where_its_padding_says(one_sided, kernel, stride, size):
    torch.manual_seed(0)
    conv = Conv2d(3, 4, kernel, stride=stride, bias=False, one_sided=one_sided).double()
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    before = [tensorflows_padding_before(n, kernel, stride) if one_sided else kernel // 2 for n in size]
    expected = convolved(x[0].numpy(), conv.weight.detach().numpy(), (stride, stride), before)
    np.testing.assert_allclose(conv(x)[0].detach(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("size", [(4, 6, 5), (3, 4, 8), (1, 1, 2)])
def test_a_convolution_over_time_reads_where_its_padding_says(one_sided, size):
    torch.manual_seed(0)
    kernel, stride = (3, 5, 5), (1, 2, 2)
    conv = Conv3d(2, 3, kernel, stride=stride, one_sided=one_sided).double()
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    axes = list(zip(size, kernel, stride, strict=True))
    before = [tensorflows_padding_before(*axis) if one_sided else axis[1] // 2 for axis in axes]
    expected = convolved(x[0].numpy(), conv.weight.detach().numpy(), stride, before)
    np.testing.assert_allclose(conv(x)[0].detach(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("one_sided", "stride"), [(False, 1), (False, 2), (True, 2)])
def test_a_separable_convolution_is_one_by_channel_then_one_across(one_sided, stride):
    torch.manual_seed(0)
    conv = SeparableConv2d(3, 5, stride=stride, one_sided=one_sided).double()
    x = torch.randn(1, 3, 6, 7, dtype=torch.float64)
    depthwise, pointwise = conv.depthwise.weight.detach().numpy(), conv.pointwise.weight.detach().numpy()[:, :, 0, 0]
    before = [tensorflows_padding_before(n, 3, stride) if one_sided else 1 for n in (6, 7)]
    channels = [
        convolved(x[0, [channel]].numpy(), depthwise[[channel]], (stride, stride), before)[0] for channel in range(3)
    ]
    expected = np.einsum("oc,chw->ohw", pointwise, channels) + conv.pointwise.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(conv(x)[0].detach(), expected, rtol=1e-10, atol=1e-12)


def test_a_separable_convolution_has_one_bias_or_none():
    assert [name for name, _ in SeparableConv2d(2, 3).named_parameters() if "bias" in name] == ["pointwise.bias"]
    assert not [name for name, _ in SeparableConv2d(2, 3, bias=False).named_parameters() if "bias" in name]


def test_a_strided_depthwise_convolution_stays_in_float32_under_autocast():
    """Where bfloat16 has no kernel for its gradient and takes a hundred times as long."""
    torch.manual_seed(0)
    conv, x = SeparableConv2d(4, 4, stride=2), torch.randn(2, 4, 6, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        between, y = conv.depthwise(x), conv(x)
    assert between.dtype == torch.float32 and y.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(y.float().sum(), x)
    (expected,) = torch.autograd.grad(conv(x).sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=2e-2, atol=2e-2)


def test_the_hard_sigmoid_is_keras_and_not_torchs():
    x = torch.tensor([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0])
    torch.testing.assert_close(hard_sigmoid(x), torch.tensor([0, 0, 0.3, 0.5, 0.7, 1, 1]))
    assert (hard_sigmoid(x) - torch.nn.functional.hardsigmoid(x)).abs().max() > 0.03


def check_weight_gradient_under_autocast(conv, x, order):
    conv, x = conv.to(memory_format=order), x.to(memory_format=order)
    target = torch.randn(conv(x).shape)
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = conv(x)
        gradients += torch.autograd.grad((y.float() * target).sum(), conv.weight)
    assert (gradients[0] - gradients[1]).norm() < 2e-2 * gradients[0].norm()


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_weight_gradients_under_autocast_are_right_for_any_number_of_steps(steps, order):
    """Over two of them, oneDNN's own in bfloat16 is memory that nobody wrote."""
    torch.manual_seed(0)
    check_weight_gradient_under_autocast(Conv3d(4, 4, (3, 3, 3)), torch.randn(2, 4, steps, 6, 6), order)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 1), (2, 2), (3, 5), (5, 2)])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3, 3), (2, 2, 2)), ((3, 7, 7), (1, 2, 2)), ((3, 7, 7), (1, 3, 3))])
@pytest.mark.parametrize("one_sided", [False, True])
def test_weight_gradients_under_autocast_are_right_for_the_smallest_maps(kernel, stride, size, one_sided):
    """Where a stride meets a map no larger than its padding, oneDNN's own in bfloat16 is memory that nobody wrote."""
    torch.manual_seed(0)
    conv = Conv3d(4, 8, kernel, stride=stride, one_sided=one_sided)
    check_weight_gradient_under_autocast(conv, torch.randn(2, 4, 3, *size), torch.channels_last_3d)
