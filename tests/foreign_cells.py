"""Recurrent cells as others write them, in plain PyTorch; each keeps what it computes, as a twin of recordings."""

import torch
from torch import nn
from torch.nn import functional as F


class Kept(nn.Module):
    """A cell that keeps the values of its gates and states, by their names, in `self.kept`."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def keep(self, **values):
        for name, value in values.items():
            self.kept.setdefault(name, []).append(value.detach().clone())


def conv(inputs, outputs, **settings):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings)


class FusedLSTM(Kept):
    """One convolution of input and state, split in four."""

    states = 2

    def __init__(self, inputs, hidden):
        super().__init__()
        self.hidden, self.conv = hidden, conv(inputs + hidden, 4 * hidden)

    def forward(self, x, state):
        h, c = state
        a, b, d, e = torch.split(self.conv(torch.cat([x, h], dim=1)), self.hidden, dim=1)
        i, f, o, g = torch.sigmoid(a), torch.sigmoid(b), torch.sigmoid(d), torch.tanh(e)
        c = f * c + i * g
        h = o * torch.tanh(c)
        self.keep(i=i, f=f, o=o, g=g, c=c, h=h)
        return h, c


class PeepholeLSTM(Kept):
    """A convolution for each gate, and gates that see the cell state."""

    states = 2

    def __init__(self, inputs, hidden):
        super().__init__()
        for name in "ifco":
            self.add_module(f"Wx{name}", conv(inputs, hidden))
            self.add_module(f"Wh{name}", conv(hidden, hidden, bias=False))
        self.Wci, self.Wcf, self.Wco = (nn.Parameter(torch.randn(1, hidden, 1, 1) / 10) for _ in range(3))

    def forward(self, x, state):
        h, c = state
        ci = torch.sigmoid(self.Wxi(x) + self.Whi(h) + c * self.Wci)
        cf = torch.sigmoid(self.Wxf(x) + self.Whf(h) + c * self.Wcf)
        g = torch.tanh(self.Wxc(x) + self.Whc(h))
        cc = cf * c + ci * g
        co = torch.sigmoid(self.Wxo(x) + self.Who(h) + cc * self.Wco)
        ch = co * torch.tanh(cc)
        self.keep(i=ci, f=cf, o=co, g=g, c=cc, h=ch)
        return ch, cc


class SpatioTemporalLSTM(Kept):
    """Chunks with layer norm and a second memory that passes through the layers, as PredRNN has it."""

    def __init__(self, inputs, hidden, size=8):
        super().__init__()
        self.hidden = hidden
        self.of_x, self.of_h, self.of_m, self.of_both = (
            nn.Sequential(conv(some, many * hidden, bias=False), nn.LayerNorm([many * hidden, size, size]))
            for some, many in ((inputs, 7), (hidden, 4), (hidden, 3), (2 * hidden, 1))
        )
        self.last = nn.Conv2d(2 * hidden, hidden, 1, bias=False)

    def forward(self, x, h, c, m):
        ix, fx, gx, jx, ex, dx, ox = self.of_x(x).chunk(7, dim=1)
        ih, fh, gh, oh = self.of_h(h).chunk(4, dim=1)
        im, fm, gm = self.of_m(m).chunk(3, dim=1)
        i, f, g = torch.sigmoid(ix + ih), torch.sigmoid(fx + fh + 1.0), torch.tanh(gx + gh)
        c = f * c + i * g
        m = torch.sigmoid(ex + fm + 1.0) * m + torch.sigmoid(jx + im) * torch.tanh(dx + gm)
        both = torch.cat([c, m], 1)
        o = torch.sigmoid(ox + oh + self.of_both(both))
        h = o * torch.tanh(self.last(both))
        self.keep(i=i, f=f, o=o, g=g, c=c, h=h)
        return h, c, m


class KerasLSTM(Kept):
    """Hard sigmoids, 0.2 x + 0.5 between 0 and 1."""

    states = 2

    def __init__(self, inputs, hidden):
        super().__init__()
        self.hidden, self.kernel, self.recurrent = (
            hidden,
            conv(inputs, 4 * hidden),
            conv(hidden, 4 * hidden, bias=False),
        )

    def forward(self, x, state):
        h, c = state
        z = self.kernel(x) + self.recurrent(h)
        n = self.hidden
        i, f, o = (torch.clamp(0.2 * part + 0.5, 0, 1) for part in (z[:, :n], z[:, n : 2 * n], z[:, 3 * n :]))
        g = z[:, 2 * n : 3 * n].tanh()
        c = f * c + i * g
        h = o * c.tanh()
        self.keep(i=i, f=f, o=o, g=g, c=c, h=h)
        return h, c


class CoupledLSTM(Kept):
    """One gate keeps and lets in."""

    states = 2

    def __init__(self, inputs, hidden):
        super().__init__()
        self.conv = conv(inputs + hidden, 3 * hidden)

    def forward(self, x, state):
        h, c = state
        f, o, g = self.conv(torch.cat([x, h], 1)).chunk(3, 1)
        f, o, g = f.sigmoid(), o.sigmoid(), g.tanh()
        i = 1 - f
        c = f * c + i * g
        h = o * torch.tanh(c)
        self.keep(i=i, f=f, o=o, g=g, c=c, h=h)
        return h, c


class AttentiveLSTM(Kept):
    """An input gate that is a softmax over positions, and a norm between cell and hidden state."""

    states = 2

    def __init__(self, inputs, hidden, size=8):
        super().__init__()
        self.conv, self.score = conv(inputs + hidden, 3 * hidden), conv(inputs + hidden, 1)
        self.norm = nn.LayerNorm([hidden, size, size])

    def forward(self, x, state):
        h, c = state
        both = torch.cat([x, h], 1)
        f, o, g = self.conv(both).chunk(3, 1)
        scores = self.score(both)
        i = scores.flatten(2).softmax(-1).view_as(scores)
        f, o, g = f.sigmoid(), o.sigmoid(), g.tanh()
        c = torch.addcmul(f * c, i, g)
        h = o * torch.tanh(self.norm(c))
        self.keep(i=i, f=f, o=o, g=g, c=c, h=h)
        return h, c


class TorchGRU(Kept):
    """The reset gate acts on the product with the state, in place; the state is drawn towards it."""

    states = 1

    def __init__(self, inputs, hidden):
        super().__init__()
        self.of_x, self.of_h = conv(inputs, 3 * hidden), conv(hidden, 3 * hidden)

    def forward(self, x, h):
        (xr, xz, xn), (hr, hz, hn) = self.of_x(x).chunk(3, 1), self.of_h(h).chunk(3, 1)
        r, z = (xr + hr).sigmoid_(), (xz + hz).sigmoid_()
        n = torch.tanh(xn + r * hn)
        h = n + z * (h - n)
        self.keep(r=r, z=z, n=n, h=h)
        return h


class MinimalGated(Kept):
    """One gate forgets, resets and lets in."""

    states = 1

    def __init__(self, inputs, hidden):
        super().__init__()
        self.gate, self.new = conv(inputs + hidden, hidden), conv(inputs + hidden, hidden)

    def forward(self, x, h):
        z = F.sigmoid(self.gate(torch.cat([x, h], 1)))
        n = F.tanh(self.new(torch.cat([x, z * h], 1)))
        h = (1 - z) * h + z * n
        self.keep(z=z, n=n, h=h)
        return h


class MinimalGRU(Kept):
    """Gate and candidate see the input alone."""

    states = 1

    def __init__(self, inputs, hidden):
        super().__init__()
        self.gate, self.new = conv(inputs, hidden), conv(inputs, hidden)

    def forward(self, x, h):
        z, n = torch.sigmoid(self.gate(x)), self.new(x)
        h = torch.lerp(h, n, z)
        self.keep(z=z, n=n, h=h)
        return h


class MinimalLSTM(Kept):
    """Gates that add up to 1, and no output gate."""

    states = 1

    def __init__(self, inputs, hidden):
        super().__init__()
        self.conv = conv(inputs, 3 * hidden)

    def forward(self, x, h):
        f, i, g = self.conv(x).chunk(3, 1)
        f, i = f.sigmoid(), i.sigmoid()
        forget, let_in = f / (f + i), i / (f + i)
        h = forget * h + let_in * g
        self.keep(f=forget, i=let_in, g=g, c=h)
        return h


class PlainRNN(Kept):
    """No gate."""

    states = 1

    def __init__(self, inputs, hidden):
        super().__init__()
        self.of_x, self.of_h = conv(inputs, hidden), conv(hidden, hidden)

    def forward(self, x, h):
        h = torch.tanh(self.of_x(x) + self.of_h(h))
        self.keep(h=h)
        return h


class HiddenInPlace(Kept):
    """Three gates by one in-place sigmoid on a view: no operation of the pass gives the input gate."""

    states = 2

    def __init__(self, inputs, hidden):
        super().__init__()
        self.hidden, self.conv = hidden, conv(inputs + hidden, 4 * hidden)

    def forward(self, x, state):
        h, c = state
        z = self.conv(torch.cat([x, h], 1))
        z[:, : 3 * self.hidden].sigmoid_()
        i, f, o, g = z.chunk(4, 1)
        c = f * c + i * g.tanh()
        return o * torch.tanh(c), c


class Stack(nn.Module):
    """Layers of one kind of cell over time, one after the other, and a head on the mean."""

    def __init__(self, cell, layers=2, hidden=4, classes=3):
        super().__init__()
        self.hidden = hidden
        self.cells = nn.ModuleList([cell(3 if layer == 0 else hidden, hidden) for layer in range(layers)])
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        for cell in self.cells:
            zeros = torch.zeros(len(x), self.hidden, *x.shape[-2:], dtype=x.dtype)
            state = (zeros, zeros) if cell.states == 2 else zeros
            outputs = []
            for t in range(x.shape[1]):
                state = cell(x[:, t], state)
                outputs.append(state[0] if cell.states == 2 else state)
            x = torch.stack(outputs, 1)
        return self.head(x.mean((1, 3, 4)))


class PredRNN(nn.Module):
    """Layers step by step: the second memory goes up through the layers and on to the next step."""

    def __init__(self, layers=2, hidden=4):
        super().__init__()
        self.hidden = hidden
        self.cells = nn.ModuleList([SpatioTemporalLSTM(3 if n == 0 else hidden, hidden) for n in range(layers)])

    def forward(self, x):
        memory = x.new_zeros(len(x), self.hidden, *x.shape[-2:])
        h, c = [memory] * len(self.cells), [memory] * len(self.cells)
        for t in range(x.shape[1]):
            given = x[:, t]
            for n, cell in enumerate(self.cells):
                h[n], c[n], memory = cell(given, h[n], c[n], memory)
                given = h[n]
        return given.mean((2, 3))


class Together(nn.Module):
    """Layers step by step, whose states stand in one tensor between the steps."""

    def __init__(self, how, layers=2, hidden=4):
        super().__init__()
        self.how, self.hidden = how, hidden
        self.cells = nn.ModuleList([FusedLSTM(3 if n == 0 else hidden, hidden) for n in range(layers)])

    def forward(self, x):
        axis = 1 if self.how == "concatenated" else 0
        states = torch.zeros(2, len(self.cells), len(x), self.hidden, *x.shape[-2:])
        h, c = (torch.cat([*each], 1) if axis else each for each in states)
        for t in range(x.shape[1]):
            given, of_layers = x[:, t], []
            for n, cell in enumerate(self.cells):
                own = [each.chunk(len(self.cells), 1)[n] if axis else each[n] for each in (h, c)]
                of_layers.append(cell(given, own))
                given = of_layers[-1][0]
                if self.how == "assigned":
                    h[n], c[n] = of_layers[-1]
            if self.how == "stacked":
                h, c = (torch.stack(each) for each in zip(*of_layers, strict=True))
            if axis:
                h, c = (torch.cat(each, 1) for each in zip(*of_layers, strict=True))
        return given.mean((2, 3))


class LoopGRU(Kept):
    """A ConvGRU whose loop over time is in the forward pass itself, and whose gates are one convolution."""

    def __init__(self, hidden=4):
        super().__init__()
        self.hidden, self.gates, self.new = hidden, conv(3 + hidden, 2 * hidden), conv(3 + hidden, hidden)

    def forward(self, x):
        h = torch.zeros(len(x), self.hidden, *x.shape[-2:])
        for t in range(x.shape[1]):
            z, r = torch.sigmoid(self.gates(torch.cat([x[:, t], h], 1))).chunk(2, 1)
            n = torch.tanh(self.new(torch.cat([x[:, t], r * h], 1)))
            h = (1 - z) * h + z * n
            self.keep(r=r, z=z, n=n, h=h)
        return h.mean((2, 3))


class Twice(nn.Module):
    """One cell for two layers, both at every step."""

    def __init__(self, hidden=3):
        super().__init__()
        self.hidden, self.cell = hidden, FusedLSTM(hidden, hidden)

    def forward(self, x):
        zeros = x.new_zeros(len(x), self.hidden, *x.shape[-2:])
        first = second = zeros, zeros
        for t in range(x.shape[1]):
            first = self.cell(x[:, t], first)
            second = self.cell(first[0], second)
        return second[0].mean((2, 3))
