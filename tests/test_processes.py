"""Several processes train as one does, whoever starts them; one of a cluster's trains as on a laptop."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import several_processes
from small_training import noisy_clips, tiny_network, weights_of

SCRIPT = several_processes.__file__
# What a job of one task finds, in three kinds of job, and a script that a job of four tasks runs once.
STEP = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
JOBS = {
    "none": {},
    "batch": {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "sweep"},
    "step": {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1", **STEP},
    "interactive": {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "interactive", **STEP},
    "of four": {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "wide"},
    "torchrun of one": {"TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
}


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """A command `srun` on the path."""
    command = tmp_path / "bin" / "srun"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)


@pytest.fixture
def fitted():
    def fitted():
        from gatescope.train import TrainConfig, fit

        network = tiny_network()
        list(fit(network, noisy_clips(16), None, TrainConfig(epochs=1, batch_size=8)))
        return weights_of(network)

    return fitted


@pytest.mark.parametrize("job", JOBS)
def test_a_job_of_one_process_trains_as_a_laptop_does(fitted, srun, monkeypatch, job):
    """Warnings are errors here."""
    with monkeypatch.context() as patch:
        for name, value in JOBS[job].items():
            patch.setenv(name, value)
        within = fitted()
    assert within == fitted()


HALF = [
    ({"SLURM_STEP_NUM_TASKS": ""}, "SLURM_STEP_NUM_TASKS must be a whole number from 1; got ''"),
    ({"SLURM_STEP_NUM_TASKS": "abc"}, "start this with srun, .* or unset SLURM_STEP_NUM_TASKS"),
    ({"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_PROCID must be a whole number from 0; got none"),
    ({**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2"}, "SLURM_STEP_NUM_NODES"),
    ({"TORCHELASTIC_RUN_ID": "7"}, "start this with torchrun, .* or unset TORCHELASTIC_RUN_ID"),
    ({"TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "2", "RANK": "x"}, "RANK must be .*; got 'x'"),
]


@pytest.mark.parametrize(("variables", "said"), HALF)
def test_what_a_cluster_left_half_set_is_told_in_words(monkeypatch, variables, said):
    from gatescope.trainings.processes import cluster

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        cluster()


@pytest.mark.slow
def test_two_processes_that_lose_one_twice_train_as_one_process_does(tmp_path):
    folder = tmp_path / "two"
    path = os.pathsep.join([str(Path(SCRIPT).parents[1] / "lib"), str(Path(SCRIPT).parent)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::UserWarning"}
    command = [sys.executable, SCRIPT, str(folder)]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0, run.stdout
    assert json.loads((folder / "ended.json").read_text()) == [[1, -9], [1, -9], [0, 0]]
    assert run.stdout.count("RuntimeError: another process of this training has ended") == 2
    rows, network, clips, valid = several_processes.train(tmp_path / "one")
    first, second = (json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2))
    for rank in range(2):
        torch.testing.assert_close(torch.load(folder / f"rank-{rank}.pt"), network.state_dict(), rtol=1e-6, atol=1e-9)
    assert first["rows"] == second["rows"]
    for row, found in zip(rows, first["rows"], strict=True):
        expected = (row.loss, row.accuracy, row.valid_loss, row.valid_accuracy)
        assert found == pytest.approx(expected, rel=1e-6)

    # The last two went on after two epochs. The clips of each batch are one process's or the other's.
    assert list(first["clips"]) == list(second["clips"]) == ["None", "2", "3"]
    for epoch in ("2", "3"):
        together = [first["clips"][epoch], second["clips"][epoch]]
        for start in range(0, 24, 8):
            batch = [index for own in together for index in own[start // 2 : start // 2 + 4]]
            assert batch == clips.asked[epoch][start : start + 8]
    assert sorted(first["valid"] + second["valid"]) == sorted([*range(9)] * 2)
