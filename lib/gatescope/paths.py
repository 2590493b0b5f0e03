"""Where things stand in the tree; no other module spells out a folder."""

import os
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent  # the packages `gatescope` and `rendered_people`
ROOT = LIBRARY.parent
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
MANIFEST = FIGURES / "manifest.json"
DATA = ROOT / "data"
CACHE = DATA / "cache"
TRAININGS = DATA / "trainings"  # what describes them, for `gatescope train`
CHECKPOINTS = DATA / "checkpoints"  # weights of ours that the repository holds
POSES = DATA / "poses"  # what trainings on poses came to, and the weights of two
NEURONS = DATA / "neurons"  # what trainings with specialised neurons came to, and the weights of a few
RUNS = ROOT / "build" / "runs"  # trainings, finished or not
RUN_FIGURES = Path("figures")  # of a running notebook, below its working folder
FINISHED = "finished.json"  # in it, once the notebook came to its end


def named(path: Path) -> str:
    """A path as others may read it: from the repository on if it lies there, else its last name alone."""
    path = Path(os.path.abspath(ROOT / path))
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
