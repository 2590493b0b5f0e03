"""A training that several processes share, each of which runs this file: its folder, and the epoch that kills one.

Weights are in float64, where processes that share a batch differ from one alone by rounding of 1e-15 and not of 1e-7,
which a network that just began can make a thousand times larger.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from small_training import TinyNetwork, noisy_clips

EPOCHS = 4


class Network(TinyNetwork):
    """Norms of three kinds, a weight that nothing uses, one that is held; no dropout."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Identity()
        self.cumulative = nn.BatchNorm1d(4, momentum=None)
        self.plain = nn.BatchNorm1d(4, affine=False)
        self.unused, self.held = nn.Linear(2, 2), nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, x):
        features = self.norm(self.conv(x.double())).relu().mean((2, 3, 4))
        return self.head(self.cumulative(features) + self.held * self.plain(features)).float()


class Noted(Dataset):
    """Clips that note which of them were asked for, by epoch; the last process asked for epoch `ends` kills itself."""

    def __init__(self, clips, rank, ends=-1):
        self.clips, self.rank, self.ends = clips, rank, ends
        self.asked, self.epoch = {}, None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        self.asked.setdefault(str(self.epoch), []).append(index)
        if self.epoch == self.ends and self.rank == 1 and len(self.asked[str(self.epoch)]) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.clips[index]


def train(folder, rank=0, ends=-1):
    """Train in `folder`; return the rows, the network and the clips of both sets."""
    from gatescope.train import TrainConfig, fit

    torch.manual_seed(rank)  # the first one's network decides
    network = Network().double()
    clips, valid = Noted(noisy_clips(31), rank, ends), Noted(noisy_clips(9, seed=1), rank)
    config = TrainConfig(
        recipe="sgd", rate=0.05, epochs=EPOCHS, batch_size=8, transform="shuffled", max_norm=1.0, precision="32-true"
    )
    return list(fit(network, clips, valid, config, folder)), network, clips, valid


def main(folder, ends=-1):
    rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID")))
    rows, network, clips, valid = train(folder, rank, int(ends))
    noted = {"rows": [(row.loss, row.accuracy, row.valid_loss, row.valid_accuracy) for row in rows]}
    noted |= {"clips": clips.asked, "valid": valid.asked["None"]}
    Path(folder, f"rank-{rank}.json").write_text(json.dumps(noted))
    torch.save(network.state_dict(), Path(folder, f"rank-{rank}.pt"))


if __name__ == "__main__":
    main(*sys.argv[1:])
