"""Where neither the library's folder nor the home folder can be written, it runs all the same."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch

LIBRARY = Path(__file__).resolve().parent.parent / "lib"


def test_the_renderer_compiles_where_its_result_cannot_be_kept(tmp_path):
    package = tmp_path / "lib" / "rendered_people"
    shutil.copytree(LIBRARY / "rendered_people", package, ignore=shutil.ignore_patterns("__pycache__"))
    # Nobody can write there, not even root.
    (package / "__pycache__").write_text("in the way")
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("XDG", "NUMBA"))}
    surroundings |= {"HOME": "/dev/null/nobody", "PYTHONPATH": str(package.parent)}
    code = (
        "import numpy as np\n"
        "from rendered_people import raster\n"
        "@raster.compiled\n"
        "def twice(x):\n"
        "    return 2 * x\n"
        "print(raster.__file__, twice(4))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == [str(package / "raster.py"), "8"], done.stderr


def test_where_no_memory_can_be_shared_clips_are_made_and_read_in_one_process(tmp_path, monkeypatch):
    """As without /dev/shm, or where it is full: whoever writes to a file in it is killed."""
    from gatescope.loaders import CachedClips, ClipTensors, PoseTensors, SyntheticGestures, cache

    def nowhere(*args, **settings):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(torch.Tensor, "share_memory_", nowhere)
    monkeypatch.setattr(cache, "ProcessPoolExecutor", nowhere)
    clips = CachedClips(SyntheticGestures("train", 2, 16, num_frames=4), tmp_path)
    assert list(clips.fill()) == [2]
    for tensors in (ClipTensors(clips, num_frames=4, size=16, mean=(0, 0, 0)), PoseTensors(clips)):
        tensors.set_epoch(1)


def test_a_working_folder_that_was_removed_and_a_backend_that_nobody_has_are_told_or_passed_over(tmp_path):
    gone = tmp_path / "gone"
    surroundings = os.environ | {"PYTHONPATH": str(LIBRARY), "MPLBACKEND": "nonsense"}
    command = [sys.executable, "-m", "gatescope", "rebuild", "a.ipynb"]
    for before, said in (("", "a.ipynb is no file"), (f"rmdir {gone}; ", "^the working folder was removed")):
        gone.mkdir(exist_ok=True)
        line = f'{before}exec "$@"'
        done = subprocess.run(
            ["sh", "-c", line, "sh", *command], cwd=gone, env=surroundings, capture_output=True, text=True, check=False
        )
        assert re.search(said, done.stderr) and "Traceback" not in done.stderr
