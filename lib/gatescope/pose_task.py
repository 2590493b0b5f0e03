"""Learning poses: the loss as a task of `fit`, and what a network's poses are worth, clip by clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gatescope.files import atomic_write
from gatescope.loaders.pose_tensors import PoseTensors
from gatescope.models.pose import RPSM, RPSMConfig
from gatescope.pose_errors import joint_errors, pa_mpjpe
from gatescope.recipes import TrainConfig
from gatescope.train import Epoch

HIDDEN = (0.0, 0.2, 0.4, 0.6, 0.8)  # parts of the frames with a board, at which a finished network is measured
RESULTS = "poses.npz"


@dataclass(frozen=True, kw_only=True)
class PoseRow(Epoch):
    """One epoch of learning poses; errors are MPJPE of the last stage over all 17 joints, mm."""

    error_mm: float  # on the training clips, as they were met
    valid_error_mm: float | None

    @property
    def score(self) -> str:
        """What a progress bar says of the validation clips; nothing without any."""
        return "" if self.valid_error_mm is None else f"valid {self.valid_error_mm:.1f} mm"


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """How far a network's joints are from the truth, mm, means over the 17 joints unless they say otherwise."""

    by_frame: Float32[np.ndarray, "clips stage time"]
    by_joint: Float32[np.ndarray, "stage joint"]  # means over clips and frames
    aligned: Float32[np.ndarray, " clips"]  # of the last stage, after the best similarity: PA-MPJPE
    # How far each stage from the second on moves the pose it is given.
    moved: Float32[np.ndarray, " refinement"]
