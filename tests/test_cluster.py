"""A sweep as jobs of a cluster: a Slurm of one node that the test starts and ends, beside any that the machine has."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from test_trainings import TINY

REPOSITORY = Path(__file__).resolve().parent.parent
COMMANDS = ("slurmctld", "slurmd", "slurmstepd", "srun", "sbatch", "squeue", "scancel", "sinfo")
GRID = '[sweep.trainings.tiny]\ncells = ["a", "b", "c", "d"]\nseeds = 2\n'
pytestmark = pytest.mark.cluster

# Authentication takes everybody for who they say they are: the ports are on this machine alone, for a minute.
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName=here NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
PartitionName=work Nodes=ALL Default=YES
"""


def free_ports(count):
    """Ports that nobody has; all are held until the last is found."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@pytest.fixture
def slurm(tmp_path):
    """The environment in which Slurm's commands speak to a cluster of this machine's two cores."""
    if os.geteuid():
        pytest.skip("needs root: slurmd starts jobs as their users")
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("needs snakemake-executor-plugin-slurm: pip install '.[slurm]'")
    folder = tmp_path / "slurm"
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=socket.gethostname(), ports=free_ports(2), folder=folder))
    # Debian's plugins beside its commands, wherever these are.
    top = Path(shutil.which("slurmctld")).resolve().parents[1]
    for plugins in top.glob("lib/*/slurm-wlm"):
        config.write_text(config.read_text() + f"PluginDir={plugins}\n")
    # Snakemake's job step takes SLURM_CONF from srun, which would then read /etc/slurm/slurm.conf: another cluster's.
    (folder / "bin" / "srun").write_text(f'#!/bin/sh\nSLURM_CONF={config} exec {shutil.which("srun")} "$@"\n')
    (folder / "bin" / "srun").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment |= {
        "SLURM_CONF": str(config),
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    step = ["-N", "here", "-d", shutil.which("slurmstepd")]
    daemons = []
    try:
        for command in (["slurmctld", "-D"], ["slurmd", "-D", *step]):
            with open(folder / f"{command[0]}.log", "w") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        while "idle" not in subprocess.run(["sinfo"], env=environment, capture_output=True, text=True).stdout:
            logs = "".join((folder / f"{name}.log").read_text() for name in ("slurmctld", "slurmd"))
            assert [each.poll() for each in daemons] == [None, None], logs
            time.sleep(0.2)
        yield environment
    finally:
        for each in reversed(daemons):
            each.terminate()
            each.wait()


def training_job(environment):
    """The number of a training's job that runs, None if there is none."""
    jobs = subprocess.run(
        ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"], env=environment, capture_output=True, text=True
    )
    return next((line.split()[0] for line in jobs.stdout.splitlines() if "train" in line), None)


def test_a_sweep_of_eight_trainings_outlives_the_kill_of_a_job(slurm, tmp_path):
    tree = tmp_path / "tree"
    (tree / "notebooks").mkdir(parents=True)
    shutil.copy(REPOSITORY / "Snakefile", tree)
    (tree / "profiles.toml").write_text(GRID)
    (tree / "data" / "trainings").mkdir(parents=True)
    (tree / "data" / "trainings" / "tiny.toml").write_text(TINY.replace("epochs = 1", "epochs = 3"))
    profile = (REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text()
    # A machine without a GPU, and of two cores; and no minutes of waiting.
    for cluster, here in (("gpu: 1", "gpu: 0"), ("cpus_per_task: 8", "cpus_per_task: 1"), ("workers: 7", "workers: 0")):
        assert cluster in profile
        profile = profile.replace(cluster, here)
    profile = profile.replace("clips: 16", "clips: 2").replace("32000", "1000").replace("16000", "1000")
    (tree / "profile").mkdir()
    (tree / "profile" / "config.yaml").write_text(profile)
    command = [sys.executable, "-m", "snakemake", "trainings", "--workflow-profile", "profile", "--nolock"]
    command += ["--rerun-triggers", "mtime", "--slurm-no-account", "--slurm-status-command", "squeue"]
    command += ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
    command += ["--latency-wait", "5", "--config", "profile=sweep"]
    with open(tree / "printed", "w") as printed:
        run = subprocess.Popen(command, cwd=tree, env=slurm, stdout=printed, stderr=subprocess.STDOUT)
    try:
        while (killed := training_job(slurm)) is None:
            assert run.poll() is None, (tree / "printed").read_text()
            time.sleep(0.5)
        subprocess.run(["scancel", killed], env=slurm, check=True)
        status = run.wait()
    finally:
        run.kill()
        run.wait()
    said = (tree / "printed").read_text()
    assert status == 0, said
    assert "Trying to restart job" in said
    assert said.count("has been submitted with SLURM jobid") == 10  # the clips, eight trainings, one of them again
    for cell in "abcd":
        for seed in range(2):
            card = json.loads((tree / "build" / "runs" / "tiny" / f"{cell}-{seed}" / "network.json").read_text())
            assert (card["config"]["cells"][0], card["seed"]) == (cell, seed)
