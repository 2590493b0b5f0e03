"""Paths of the tree's folders and files; no other module spells out a folder."""

import os
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent  # the packages `gatescope` and `rendered_people`
ROOT = LIBRARY.parent
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
MANIFEST = FIGURES / "manifest.json"
DATA = ROOT / "data"
CACHE = DATA / "cache"
HANDS = DATA / "hands"  # networks that find hands, if the reader fetched them
TRAININGS = DATA / "trainings"  # descriptions, for `gatescope train`
CHECKPOINTS = DATA / "checkpoints"  # weights of the trained networks
POSES = DATA / "poses"  # results of trainings on poses, and the weights of two
NEURONS = DATA / "neurons"  # results of trainings with specialised neurons, and the weights of a few
EVIDENCE = DATA / "evidence"  # answers of networks on held-out clips, without the weights
OWN = DATA / "own"  # clips that a reader recorded, in a folder for each class
OWN_RUNS = ROOT / "runs" / "own"  # trainings on them
RUNS = ROOT / "build" / "runs"  # trainings, finished or not
ROOT_FILE = "root"  # in a training: where its recorded set lies, if not where it is described
RUN_FIGURES = Path("figures")  # of a running notebook, below its working folder
FINISHED = "finished.json"  # in it, once the notebook came to its end


def named(path: Path) -> str:
    """A path as others may read it: from the repository on if it lies there, else its last name alone."""
    path = Path(os.path.abspath(ROOT / path))
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
