"""A training of seconds: a tiny network on clips of noise that brighten with their label."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

# So small that threads would wait for each other; and resuming is exact for one number of threads.
torch.set_num_threads(1)


class TinyNetwork(nn.Module):
    """Clips to logits, with what makes resuming hard: running statistics and dropout."""

    def __init__(self, num_classes: int = 3):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.dropout(self.norm(self.conv(x)).relu().mean((2, 3, 4))))


def tiny_network(seed: int = 0, num_classes: int = 3) -> TinyNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyNetwork(num_classes)


def noisy_clips(num_clips: int = 30, num_classes: int = 3, seed: int = 0) -> TensorDataset:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_clips) % num_classes
    clips = torch.randn(num_clips, 3, 4, 6, 6, generator=rng) + 0.5 * labels[:, None, None, None, None]
    return TensorDataset(clips, labels)


def weights_of(network: nn.Module) -> dict[str, bytes]:
    """Every tensor of a network, to the last bit."""
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}
