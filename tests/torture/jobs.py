"""A rebuild, a training and a site, each in a process to kill; they are forked, so that only one has to import."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent.parent / "lib"


def rebuild(tree: Path) -> None:
    """The notebook 07 of a tree."""
    from gatescope.atlas.rebuild import rebuild

    rebuild(tree / "notebooks" / "07_line.ipynb")


def train(tree: Path) -> None:
    """A tiny network, three epochs, to its end."""
    from gatescope.models import NetworkConfig
    from gatescope.trainings.recipes import TrainConfig
    from gatescope.trainings.runs import run
    from gatescope.trainings.train import Training
    from small_training import noisy_clips

    training = Training(
        start=NetworkConfig.small("a", num_classes=3, width=1 / 64, size=6, num_frames=4),
        train_clips=noisy_clips(),
        valid_clips=noisy_clips(9),
        config=TrainConfig(epochs=3, batch_size=8),
        data={"noise": 0.5},
    )
    list(run(training, tree / "run"))


def site(tree: Path) -> None:
    """The pages of a tree's notebooks."""
    from gatescope.atlas import site

    site.reference = lambda: "# Reference\n\n## `Clip`"  # the library's own takes a second
    site.write_site(tree, tree / "out" / "site")


JOBS = {"rebuild": rebuild, "training": train, "site": site}
# What is imported once: a fork takes it over.
IMPORTS = {
    "rebuild": ["gatescope.atlas.rebuild", "gatescope.atlas.figures"],
    "training": ["gatescope.trainings.runs", "gatescope.models", "small_training", "lightning_fabric"],
    "site": ["gatescope.atlas.site", "nbconvert.exporters.html", "pygments.lexers.python", "pygments.formatters.html"],
}


class Jobs:
    """A process that has imported what one job needs and forks a process for each time it is done."""

    def __init__(self, job: str, warm: Path):
        env = os.environ | {"PYTHONPATH": f"{LIBRARY}{os.pathsep}{HERE.parent}", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "ignore", str(HERE / "jobs.py"), job]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=env, text=True, **pipes)
        assert self._process.stdout.readline() == "ready\n"
        start = time.monotonic()
        assert self.run(warm) == ""
        self.seconds = time.monotonic() - start

    def run(self, tree: Path, kill_after_s: float | None = None) -> str:
        """Do the job in a tree, and kill it after that time; return its error, empty where it ended well."""
        print(json.dumps(str(tree)), file=self._process.stdin, flush=True)
        number = int(self._process.stdout.readline())
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            os.kill(number, signal.SIGKILL)  # waited for by its parent only after it said so: the number is no other's
        print("done", file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve(job: str) -> None:
    """Fork a process for each line with a tree; after a second line wait for it and print its error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in IMPORTS[job]:
        import_module(module)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        ends, begins = os.pipe()
        number = os.fork()
        if not number:
            os.close(ends)
            _work(job, Path(json.loads(line)), begins)
        os.close(begins)
        print(number, file=answers, flush=True)
        sys.stdin.readline()
        said = os.fdopen(ends).read()
        _, status = os.waitpid(number, 0)
        print(json.dumps(said or ("" if status == 0 else f"status {status}")), file=answers, flush=True)


def _work(job: str, tree: Path, begins: int) -> None:
    try:
        JOBS[job](tree)
    # Whatever it is, it is told.
    except BaseException as error:
        os.write(begins, f"{type(error).__name__}: {error}"[-1000:].encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
