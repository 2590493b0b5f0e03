"""Where things stand in the tree; no other module spells out a folder."""

from pathlib import Path

LIBRARY = Path(__file__).resolve().parent
ROOT = LIBRARY.parent.parent
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
MANIFEST = FIGURES / "manifest.json"
DATA = ROOT / "data"
CACHE = DATA / "cache"
TRAININGS = DATA / "trainings"  # what describes them, for `gatescope train`
CHECKPOINTS = DATA / "checkpoints"  # weights of ours that the repository holds
RUNS = ROOT / "build" / "runs"  # trainings, finished or not
RUN_FIGURES = Path("figures")  # of a running notebook, below its working folder
FINISHED = "finished.json"  # in it, once the notebook came to its end
