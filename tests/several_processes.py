"""A training that several processes share: run with a folder, this file starts two, loses one, and starts again.

Weights are in float64, where processes that share a batch differ from one alone by rounding of 1e-15 and not of 1e-7,
which a network that just began can make a thousand times larger.
"""

import json
import os
import signal
import socket
import sys
from multiprocessing import get_context
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


def note(folder, environment, rank, ends):
    """Train as one of two; leave what was seen."""
    os.environ.update(environment)
    rows, network, clips, valid = train(folder, rank, ends)
    noted = {"rows": [(row.loss, row.accuracy, row.valid_loss, row.valid_accuracy) for row in rows]}
    noted |= {"clips": clips.asked, "valid": valid.asked["None"]}
    Path(folder, f"rank-{rank}.json").write_text(json.dumps(noted))
    torch.save(network.state_dict(), Path(folder, f"rank-{rank}.pt"))


def as_srun(rank):
    """What srun sets for one of two tasks, here in an interactive job."""
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "interactive", "SLURM_NODELIST": "127.0.0.1", "SLURM_NNODES": "1"}
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    return job | step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0"}


def as_torchrun(rank):
    """What torchrun sets for one of two workers."""
    group = {"TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    return group | {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "LOCAL_RANK": str(rank)}


def as_fabric_run(rank):
    """What `fabric run` sets for one of two workers."""
    asked = {"LT_CLI_USED": "1", "LT_ACCELERATOR": "cpu", "LT_DEVICES": "2", "LT_NUM_NODES": "1"}
    return as_torchrun(rank) | asked


def together(folder, environment, ends=-1):
    """Train by two processes; return how they ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = {"MASTER_PORT": str(free.getsockname()[1])}
    # Forked, since they would take most of their time to import torch.
    start = get_context("fork").Process
    two = [start(target=note, args=(folder, environment(rank) | port, rank, ends)) for rank in range(2)]
    for process in two:
        process.start()
    for process in two:
        process.join()
    return [process.exitcode for process in two]


def main(folder):
    import gatescope.train  # noqa: F401, once for all

    ended = [together(folder, as_srun, ends=1), together(folder, as_torchrun, ends=2), together(folder, as_fabric_run)]
    Path(folder, "ended.json").write_text(json.dumps(ended))


if __name__ == "__main__":
    main(sys.argv[1])
