"""Convolutions read the positions that their padding says, and the separable one is its two halves."""

from itertools import product

import numpy as np
import pytest
import torch

from gatescope.models import convolutions
from gatescope.models.conventions import hard_sigmoid
from gatescope.models.convolutions import Conv2d, Conv3d, PointwiseConv2d, SeparableConv2d, one_sided_padding


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


@pytest.fixture
def slow_mkl(monkeypatch):
    """The images of each 1 x 1 convolution that PyTorch is given, on one thread of a processor where MKL is slow."""
    images, convolve, num_threads = [], torch.nn.Conv2d.forward, torch.get_num_threads()
    monkeypatch.setattr(convolutions, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda conv, x: images.append(len(x)) or convolve(conv, x))
    torch.set_num_threads(1)
    yield images
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_rows_as_images_give_what_whole_images_give(slow_mkl, batch, bias):
    torch.manual_seed(0)
    conv = PointwiseConv2d(256, 7, bias=bias)
    x = torch.randn(batch, 256, 24, 22).contiguous(memory_format=torch.channels_last).requires_grad_()
    target = torch.randn(batch, 7, 24, 22)

    def results():
        y = conv(x)
        first = torch.autograd.grad((y.square() * target).sum(), [x, *conv.parameters()], create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), [x, conv.weight])
        return [y, *first, *second]

    found = results()
    assert slow_mkl == [24 * batch]
    conv, x, target = conv.double(), x.detach().double().requires_grad_(), target.double()
    for one, other in zip(found, results(), strict=True):
        assert (one - other).norm() <= 1e-6 * other.norm()
    assert slow_mkl[1:] == [batch]  # float64 goes as it comes


def test_rows_are_images_only_where_that_is_faster(slow_mkl):
    conv, narrow = PointwiseConv2d(256, 3), PointwiseConv2d(255, 3)
    x = torch.randn(1, 256, 28, 28).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        conv(x.contiguous()), conv(x[:, :, :14, :14]), conv(x.expand(16, -1, -1, -1)), narrow(x[:, 1:])
        with torch.autocast("cpu", torch.bfloat16):
            conv(x.bfloat16())
        conv.to("meta")(x.to("meta"))
    assert slow_mkl == [1, 1, 16, 1, 1, 1]


def test_rows_as_images_go_through_function_transforms(slow_mkl):
    torch.manual_seed(0)
    conv = PointwiseConv2d(256, 4, bias=False)
    x = torch.randn(2, 256, 24, 22).contiguous(memory_format=torch.channels_last)

    def score(weight, x):
        return torch.func.functional_call(conv, {"weight": weight}, (x,)).square().sum()

    weight = conv.weight.detach()
    found = torch.func.grad(score)(weight, x)
    each = torch.func.vmap(torch.func.grad(score), in_dims=(None, 0))(weight, x[:, None])
    expected = torch.func.grad(score)(weight.double(), x.double())
    assert 48 in slow_mkl
    for gradient in (found, each.sum(0)):
        assert (gradient - expected).norm() <= 1e-6 * expected.norm()
