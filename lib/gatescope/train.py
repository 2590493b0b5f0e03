"""Training by its public names; the code is in gatescope.trainings."""

from gatescope.trainings.evaluation import evaluate
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.train import fit

__all__ = ["TrainConfig", "evaluate", "fit"]
