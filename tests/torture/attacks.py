"""A worker that reads what it is given, watched from outside: what hangs, crashes or takes too much is told."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
ENV = os.environ | {"PYTHONPATH": str(HERE.parent.parent / "lib"), "OMP_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-W", "ignore", str(HERE / "worker.py")]
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
MOST_SECONDS = 10.0  # of a processor; on a busy machine more by the clock
MOST_IDLE = 30.0  # by the clock, asleep
MOST_BYTES = 2 << 30


class Worker:
    """A process that reads folders, started anew where a reader killed it or hung."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def read(self, reader: str, folder: Path, make: bool = False) -> dict[str, object]:
        """Return what became of reading a folder: `digest`, `error`, or `fault` with what must never be."""
        if self._process is None:
            self._process = subprocess.Popen(COMMAND, env=ENV, text=True, **PIPES)
            assert self._process.stdout.readline() == "ready\n"
        process = self._process
        watched = psutil.Process(process.pid)
        used = moved = _cpu_seconds(watched)
        process.stdin.write(json.dumps({"reader": reader, "folder": str(folder), "make": make}) + "\n")
        process.stdin.flush()
        awake = time.monotonic()
        while not select.select([process.stdout], [], [], 0.5)[0]:
            now = _cpu_seconds(watched)
            # One that waits for a processor is not asleep.
            if now > moved or watched.status() == psutil.STATUS_RUNNING:
                moved, awake = now, time.monotonic()
            if now - used > MOST_SECONDS or time.monotonic() - awake > MOST_IDLE:
                self.close()
                return {"fault": "hangs"}
        line = process.stdout.readline()
        if not line:
            status = process.wait()
            self.close()
            return {"fault": f"ends its process with status {status}"}
        found = json.loads(line)
        if found["seconds"] > MOST_SECONDS:
            found["fault"] = f"takes {found['seconds']:.0f} s"
        elif found["peak"] > MOST_BYTES:
            found["fault"] = f"takes {found['peak'] / 2**30:.1f} GiB"
            self.close()  # what it holds would count against the next
        elif "untyped" in found:
            found["fault"] = found["untyped"]
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


class Input:
    """The valid input of a reader in a folder, of which files are spoilt one at a time and put back."""

    def __init__(self, worker: Worker, reader: str, pattern: str, folder: Path):
        self.worker, self.reader, self.folder = worker, reader, folder
        folder.mkdir()
        self.good = worker.read(reader, folder, make=True)
        assert not self.good.get("fault") and not self.good["error"], f"{reader}: the valid input: {self.good}"
        self.every = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.files = {
            path.relative_to(folder).as_posix(): content for path, content in self.every.items() if path.match(pattern)
        }

    def fault_of(self, name: str, data: bytes, promises: bool) -> str:
        """Return what is wrong with how the reader takes the input with one file spoilt; empty where nothing is."""
        path = self.folder / name
        try:
            path.write_bytes(data)
            found = self.worker.read(self.reader, self.folder)
        finally:
            self._restore(path)
        if fault := found.get("fault"):
            return str(fault)
        if promises and not found["error"] and found["digest"] != self.good["digest"]:
            return "another result than was written, without a word"
        return ""

    def _restore(self, spoilt: Path) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.every:
                path.unlink()
        spoilt.write_bytes(self.every[spoilt])
        for path, content in self.every.items():
            if not path.exists() or path.stat().st_size != len(content):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
