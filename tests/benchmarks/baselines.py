"""The alternatives: each cell as a plain loop over its equations, and the ConvLSTM that most PyTorch users write."""

import copy

import torch
from torch import nn

from gatescope.models import GestureNetwork, RecurrentLayer


class NaiveLayer(nn.Module):
    """A copy of a RecurrentLayer's parts in a plain loop: each step computes each gate from X_t and H_{t-1} by itself.

    It is in PyTorch's default memory format.
    """

    def __init__(self, layer: RecurrentLayer):
        super().__init__()
        self.layer = copy.deepcopy(layer).to(memory_format=torch.contiguous_format)

    def forward(self, x):
        """H_t of every step, (batch, time, hidden, height, width)."""
        h = c = x.new_zeros(len(x), self.layer.hidden_channels, *x.shape[3:])
        steps = []
        for t in range(x.shape[1]):
            h, c = self.step(x[:, t], h, c)
            steps.append(h)
        return torch.stack(steps, dim=1)

    def step(self, x, h, c):
        if self.layer.attention is not None:
            z = self.layer.attention.score(torch.tanh(both(self.layer.attention, x, h)))
            x = torch.softmax(z.flatten(1), dim=1).view_as(z) * x
        pooled = x.mean((2, 3)), h.mean((2, 3))
        i, f, o = (self.gate(name, x, h, pooled) for name in "ifo")
        g = torch.tanh(both(self.layer.candidate, x, h))
        c = f * c + i * g
        return o * torch.tanh(c), c

    def gate(self, name, x, h, pooled):
        part, kind = self.layer.gates[name], self.layer.cell.gates[name]
        if kind == "pooled":
            return torch.sigmoid(both(part, *pooled))[:, :, None, None]
        if kind == "conv":
            return torch.sigmoid(both(part, x, h))
        z = part.score(torch.tanh(both(part, x, h)))
        return torch.exp(z - z.amax((2, 3), keepdim=True))


def both(part, x, h):
    """W_x X + W_h H + b."""
    return part.input_to_state(x) + part.state_to_state(h)


class PopularConvLSTM(nn.Module):
    """ConvLSTM with one convolution of [X_t, H_{t-1}] to the four gates, weights taken from a RecurrentLayer."""

    def __init__(self, layer: RecurrentLayer):
        super().__init__()
        self.hidden = layer.hidden_channels
        self.conv = nn.Conv2d(layer.in_channels + self.hidden, 4 * self.hidden, layer.kernel_size, padding="same")
        parts = [*layer.gates.values(), layer.candidate]
        with torch.no_grad():
            weights = [torch.cat([part.input_to_state.weight, part.state_to_state.weight], dim=1) for part in parts]
            self.conv.weight.copy_(torch.cat(weights))
            self.conv.bias.copy_(torch.cat([part.input_to_state.bias for part in parts]))

    def forward(self, x):
        """H_t of every step, (batch, time, hidden, height, width)."""
        h = c = x.new_zeros(len(x), self.hidden, *x.shape[3:])
        steps = []
        for t in range(x.shape[1]):
            gates = self.conv(torch.cat([x[:, t], h], dim=1))
            i, f, o, g = torch.split(gates, self.hidden, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            steps.append(h)
        return torch.stack(steps, dim=1)


def naive_network(network: GestureNetwork) -> GestureNetwork:
    """A copy whose recurrent layers are naive, in PyTorch's default memory format from end to end."""
    network = copy.deepcopy(network)
    network.layer1, network.layer2 = NaiveLayer(network.layer1), NaiveLayer(network.layer2)
    res3d, top = network.res3d, network.mobilenet
    # Their own forward passes put channels innermost first.
    res3d.forward = lambda x: in_turn(res3d.units, torch.relu(res3d.stem_norm(res3d.stem(x))))
    top.forward = lambda x: in_turn(top.blocks, x.contiguous())
    return network.to(memory_format=torch.contiguous_format)


def in_turn(modules, x):
    """Return `x` after one module after the other."""
    for module in modules.values():
        x = module(x)
    return x
