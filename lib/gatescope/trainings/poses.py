"""Poses: their task for `fit`, and the errors of a network's poses, clip by clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from gatescope.loaders.pose_tensors import PoseTensors
from gatescope.measures.pose_errors import joint_errors, pa_mpjpe
from gatescope.models.pose import RPSM, RPSMConfig
from gatescope.trainings.evaluation import SavedArrays, batches, eval_mode
from gatescope.trainings.processes import joined, share
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.tasks import Epoch, Step, Task

HIDDEN = (0.0, 0.2, 0.4, 0.6, 0.8)  # fractions of frames behind a board, for the evaluation of a finished network
RESULTS = "poses.npz"
BATCH_SIZE = 32  # clips


@dataclass(frozen=True, kw_only=True)
class PoseRow(Epoch):
    """One epoch of a training on poses; errors are MPJPE of the last stage over all 17 joints, mm."""

    error_mm: float  # on the training clips, each before its step
    valid_error_mm: float | None = None

    @property
    def score(self) -> str:
        """Text for a progress bar: the validation error, empty without validation clips."""
        return "" if self.valid_error_mm is None else f"valid {self.valid_error_mm:.1f} mm"


@dataclass(frozen=True, eq=False)
class PoseErrors(SavedArrays):
    """Distances of a network's joints from the truth, mm; means over the 17 joints unless noted."""

    by_frame: Float32[np.ndarray, "clips stage time"]
    by_joint: Float32[np.ndarray, "stage joint"]  # means over clips and frames
    aligned: Float32[np.ndarray, " clips"]  # PA-MPJPE of the last stage: after the best similarity transform
    moved: Float32[np.ndarray, " refinement"]  # from the pose of the stage before, by each stage but the first
    hidden: Bool[np.ndarray, "clips time"]  # frames with a board
    by_hidden: Float32[np.ndarray, "levels clips"]  # of the last stage, at each of HIDDEN


@dataclass(frozen=True, eq=False)
class PredictedPoses:
    """A network's poses for every clip of a set, and the true ones, mm from the pelvis."""

    poses: Float32[np.ndarray, "clips stage time 17 3"]
    truth: Float32[np.ndarray, "clips time 17 3"]


def predict_poses(network: RPSM, clips: Dataset, *, num_workers: int = 0) -> PredictedPoses:
    """Predict the poses of every clip in eval mode, on the device of the network's parameters.

    Raises ValueError if there is no clip, FloatingPointError if a pose is not finite.
    """
    poses, truth = [], []
    with eval_mode(network) as device, torch.inference_mode():
        for x, target in batches(clips, BATCH_SIZE, num_workers, device):
            poses.append(network.poses(x).float().cpu())
            truth.append(target.cpu())
            if not torch.isfinite(poses[-1]).all():
                raise FloatingPointError("a predicted pose is not finite; look at the clips, or at the training")
    return PredictedPoses(torch.cat(poses).numpy(), torch.cat(truth).numpy())


def errors_of(network: RPSM, clips: PoseTensors, *, num_workers: int = 0) -> PoseErrors:
    """Measure a network's poses of `clips`, also at each fraction of HIDDEN; raises as `predict_poses` does."""
    found = predict_poses(network, clips, num_workers=num_workers)
    errors = joint_errors(found.poses, found.truth[:, None])  # clips, stage, time, joint
    levels = [
        predict_poses(network, PoseTensors(clips.clips, hidden=level, length=clips.length, seed=clips.seed))
        for level in HIDDEN
    ]
    return PoseErrors(
        by_frame=errors.mean(-1),
        by_joint=errors.mean((0, 2)),
        aligned=pa_mpjpe(found.poses[:, -1], found.truth).mean(-1),
        moved=joint_errors(found.poses[:, 1:], found.poses[:, :-1]).mean((0, 2, 3)),
        hidden=np.stack([clips.frames_hidden(index) for index in range(len(clips))]),
        by_hidden=np.stack([joint_errors(level.poses[:, -1], level.truth).mean((1, 2)) for level in levels]),
    )


class PoseEstimation(Task):
    """Poses from clips, by the loss that the network's config names."""

    network_type, row, results = RPSM, PoseRow, RESULTS

    def loss(self, module: nn.Module, x: Tensor, target: Tensor) -> Step:
        """Return the loss over stages and frames, and the sum of the clips' errors in mm."""
        network = getattr(module, "module", module)
        values = module(x)
        with torch.no_grad():
            errors = joint_errors(network.denormalise(values[:, -1]), target)
        return network.loss(values, target), {"error_mm": float(errors.mean((1, 2)).sum())}

    def validate(
        self, fabric: Fabric, module: nn.Module, clips: Dataset, config: TrainConfig, num_workers: int
    ) -> dict[str, float]:
        """Return loss and error on the clips."""
        network = getattr(module, "module", module)
        own = Subset(clips, share(fabric, len(clips)))
        found = joined(fabric, predict_poses(network, own, num_workers=num_workers))
        poses, truth = torch.from_numpy(found.poses), torch.from_numpy(found.truth)
        loss = network.loss(network.normalise(poses), truth)
        return {"valid_loss": float(loss), "valid_error_mm": float(joint_errors(poses[:, -1], truth).mean())}

    def begin(self, config: RPSMConfig, train_clips: PoseTensors) -> RPSM:
        """Return a new `RPSM` of `config` with the scale of the training clips' poses."""
        network = super().begin(config, train_clips)
        network.set_scale(torch.from_numpy(train_clips.poses()))
        return network

    def conclude(self, network: nn.Module, valid_clips: PoseTensors, path: Path, num_workers: int) -> dict[str, Any]:
        """Write the `PoseErrors`; return their means in mm."""
        errors = errors_of(network, valid_clips, num_workers=num_workers)
        errors.save(path)
        mean = float(errors.by_frame[:, -1].mean())
        return {
            "mpjpe_mm": mean,
            "mpjpe_without_root_mm": mean * 17 / 16,
            "pa_mpjpe_mm": float(errors.aligned.mean()),
            "mpjpe_by_stage_mm": errors.by_frame.mean((0, 2)).tolist(),
            "clips": len(valid_clips),
        }
