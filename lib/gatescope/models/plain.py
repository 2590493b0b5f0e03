"""Three recurrent networks in plain PyTorch, as people write them without this package, and how to make others."""

import importlib
import importlib.util
import sys
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.files import regular_file

Frames = Float[Tensor, "batch time 3 height width"]
Logits = Float[Tensor, "batch classes"]


class ConvLSTMCell(nn.Module):
    """One convolution of input and state for all gates."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int = 3):
        super().__init__()
        self.hidden_channels = hidden_channels
        self.conv = nn.Conv2d(in_channels + hidden_channels, 4 * hidden_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the next hidden and cell state."""
        h_cur, c_cur = state
        combined = self.conv(torch.cat([x, h_cur], dim=1))
        cc_i, cc_f, cc_o, cc_g = torch.split(combined, self.hidden_channels, dim=1)
        i, f, o, g = torch.sigmoid(cc_i), torch.sigmoid(cc_f), torch.sigmoid(cc_o), torch.tanh(cc_g)
        c_next = f * c_cur + i * g
        return o * torch.tanh(c_next), c_next


class PlainConvLSTM(nn.Module):
    """A strided convolution for each frame, a dense ConvLSTM, and a head on the mean of its hidden states."""

    def __init__(self, num_classes: int = 4, channels: int = 8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 5, stride=4, padding=2), nn.ReLU())
        self.cell = ConvLSTMCell(channels, channels)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Frames) -> Logits:
        """Return class scores."""
        state, hidden = None, []
        for t in range(x.shape[1]):
            maps = self.stem(x[:, t])
            state = self.cell(maps, (torch.zeros_like(maps), torch.zeros_like(maps)) if state is None else state)
            hidden.append(state[0])
        return self.head(torch.stack(hidden, 1).mean((1, 3, 4)))


class PlainConvGRU(nn.Module):
    """A ConvGRU whose loop over time stands in the forward pass itself; both gates are one convolution."""

    def __init__(self, num_classes: int = 4, channels: int = 8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 5, stride=4, padding=2), nn.ReLU())
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Frames) -> Logits:
        """Return class scores."""
        maps = self.stem(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        h, hidden = torch.zeros_like(maps[:, 0]), []
        for t in range(x.shape[1]):
            reset, update = torch.sigmoid(self.gates(torch.cat([maps[:, t], h], 1))).chunk(2, 1)
            new = torch.tanh(self.candidate(torch.cat([maps[:, t], reset * h], 1)))
            h = (1 - update) * h + update * new
            hidden.append(h)
        return self.head(torch.stack(hidden, 1).mean((1, 3, 4)))


class FrameLSTM(nn.Module):
    """A small CNN for each frame, and torch's nn.LSTM over the features."""

    def __init__(self, num_classes: int = 4, channels: int = 8, hidden: int = 32):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, channels, 5, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(hidden),
        )
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, x: Frames) -> Logits:
        """Return class scores."""
        features = self.cnn(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.head(self.lstm(features)[0].mean(1))


def made_by(factory: str) -> Any:
    """Return what a factory makes: `package.module:name`, or `file.py:name` for one in a file of its own.

    Raises ValueError for another form, FileNotFoundError or ImportError without the file or module, and AttributeError
    if there is no such name in it.
    """
    where, separator, name = factory.rpartition(":")
    if not (separator and where and name.isidentifier()):
        raise ValueError(f"a factory is named `package.module:name` or `file.py:name`; got {factory!r}")
    if not where.endswith(".py"):
        return getattr(importlib.import_module(where), name)()
    try:
        path = regular_file(where).resolve()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {where} with a factory {name}") from error
    known_as = f"factory {path}"  # under which no other module can stand
    spec = importlib.util.spec_from_file_location(known_as, path)
    module = importlib.util.module_from_spec(spec)
    # Where the file's classes are looked up, for pickles and data classes.
    sys.modules[known_as] = module
    spec.loader.exec_module(module)
    return getattr(module, name)()
