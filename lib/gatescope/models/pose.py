"""RPSM, the recurrent 3-D pose sequence machine: poses of 17 joints from clips of a person, stage by stage."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.cards import SavedNetwork
from gatescope.models.convolutions import channels_innermost
from gatescope.models.hooks import HookPoint
from gatescope.models.pose_config import RPSMConfig
from gatescope.models.pose_parts import Stage, by_frame, convolutions
from rendered_people.skeleton import JOINT_NAMES

ROOT_SCALE_MM = 1e-4  # the pelvis never moves: as in the released code, its 0 / 0 becomes 0
LEAST_SCALE_MM = 1.0  # of coordinates that hardly vary in the training poses

Clips = Float[Tensor, "batch time channel height width"]  # 3 channels of the config's size: checked, with a message
Values = Float[Tensor, "batch stage time 51"]


class RPSM(SavedNetwork):
    """The recurrent 3-D pose sequence machine of Lin et al. 2017, at any size: a trunk and stages in a row.

    Every stage gets the trunk's maps, and the maps and poses of the stage before it. The equations stand in `Stage`.
    The network learns normalised poses, on the scale that `set_scale` takes from the training poses.

    Hook points: `trunk`, the maps that all stages share, and those of `stage1`, `stage2`, ...
    """

    config_type = RPSMConfig

    def __init__(self, config: RPSMConfig):
        super().__init__(config)
        self.hooks = nn.ModuleDict({"trunk": HookPoint(time_axis=1)})
        self.trunk = convolutions(config.trunk_layers, 3).requires_grad_(not config.freeze_trunk)
        for number in range(1, config.num_stages + 1):
            # The first stage gets no feedback, but with shared weights it has the same inputs, of zeros.
            fed = number > 1 or (config.shared_stages and config.num_stages > 1)
            stage = Stage(config, feedback_2d=fed and config.feedback_2d, feedback_3d=fed and config.feedback_3d)
            self.add_module(f"stage{number}", stage)
        self.register_buffer("pose_mean", torch.zeros(len(JOINT_NAMES), 3))  # mm; with "minmax" the least
        self.register_buffer("pose_scale", torch.ones(len(JOINT_NAMES), 3))  # mm
        self.to(memory_format=torch.channels_last)
        if config.shared_stages:
            self._share()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stages, first to last."""
        return tuple(getattr(self, f"stage{number}") for number in range(1, self.config.num_stages + 1))

    def forward(self, x: Clips) -> Values:
        """Return the normalised poses of every stage and frame, (batch, stage, time, 51).

        `x` holds any number of frames (batch, time, 3, size, size) in [-0.5, 0.5]. A pose depends only on its frame
        and earlier ones. Raises ValueError if `x` has other axes or another size than the config.
        """
        side = self.config.size
        if x.ndim != 5 or x.shape[2:] != (3, side, side) or 0 in x.shape or not x.is_floating_point():
            raise ValueError(
                f"clips must be (batch, time, 3, {side}, {side}) floats in [-0.5, 0.5], none empty; "
                f"got {tuple(x.shape)} {x.dtype}"
            )
        # Channels innermost in memory: the convolutions keep it from here to the last map.
        frames = channels_innermost(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        maps = self.hooks["trunk"](by_frame(self.trunk, frames))
        features, pose, poses = None, None, []
        for stage in self.stages:
            features, pose = stage(maps, features, pose)
            poses.append(pose)
            if self.config.detached_feedback:
                features, pose = features.detach(), pose.detach()
        return torch.stack(poses, 1)

    def poses(self, x: Clips) -> Float[Tensor, "batch stage time 17 3"]:
        """Return the poses of every stage and frame, mm from the pelvis, x right, y down, z away from the camera."""
        return self.denormalise(self(x))

    @torch.no_grad()
    def set_scale(self, poses: Float[Tensor, "*any 17 3"] | Float[np.ndarray, "*any 17 3"]) -> None:
        """Set the scale of normalised poses from the training poses, mm from the pelvis.

        Raises ValueError if there are no poses, one is not finite, or a pelvis is not at 0.
        """
        poses = torch.as_tensor(poses).double().reshape(-1, *self.pose_mean.shape)
        if not len(poses) or not poses.isfinite().all() or poses[:, 0].abs().max() > 0:
            raise ValueError(
                f"a scale needs at least one finite pose, all relative to the pelvis; got {len(poses)}, "
                f"{len(poses) - int(poses.isfinite().all((1, 2)).sum())} of them not finite"
            )
        if self.config.scale == "minmax":
            offset, scale = poses.amin(0), poses.amax(0) - poses.amin(0)
        else:
            offset, scale = poses.mean(0), poses.std(0, correction=0)
        scale.clamp_(min=LEAST_SCALE_MM)[0] = ROOT_SCALE_MM
        self.pose_mean.copy_(offset)
        self.pose_scale.copy_(scale)

    def normalise(self, poses: Float[Tensor, "*any 17 3"]) -> Float[Tensor, "*any 51"]:
        """Return poses, mm from the pelvis, on the scale that is learned."""
        return ((poses - self.pose_mean) / self.pose_scale).flatten(-2)

    def denormalise(self, values: Float[Tensor, "*any 51"]) -> Float[Tensor, "*any 17 3"]:
        """Return the network's output as poses, mm from the pelvis."""
        return values.unflatten(-1, self.pose_mean.shape) * self.pose_scale + self.pose_mean

    def loss(self, values: Values, poses: Float[Tensor, "batch time 17 3"]) -> Float[Tensor, ""]:
        r"""Return the mean over frames of the loss of a pose, summed over the stages or of the last alone.

        `values` is the output of `forward`, `poses` are the true poses, mm from the pelvis. For N frames and the error
        $\Delta$ of normalised poses:

        mse, the released code's: $\frac{1}{51 N} \sum \Delta^2$ (1)

        l1, the notes' formula taken literally: $\frac{1}{N} \sum |\Delta|$ (2)

        mpjpe, the measure: $\frac{1}{17 N} \sum_j \|s \circ \Delta_j\|$ (3), in mm with the scale s
        """
        difference = (values if self.config.deep_supervision else values[:, -1:]) - self.normalise(poses)[:, None]
        if self.config.loss == "mse":
            by_pose = difference.square().mean(-1)  # (1)
        elif self.config.loss == "l1":
            by_pose = difference.abs().sum(-1)  # (2)
        else:
            by_pose = (difference.unflatten(-1, self.pose_scale.shape) * self.pose_scale).norm(dim=-1).mean(-1)  # (3)
        return by_pose.mean((0, 2)).sum()

    def _share(self) -> None:
        """Share the first stage's weights with the later stages; a state dict then holds them once."""
        for stage in self.stages[1:]:
            for name, parameter in self.stage1.named_parameters():
                owner, _, last = name.rpartition(".")
                setattr(stage.get_submodule(owner), last, parameter)
        self.register_state_dict_post_hook(_leave_out_copies)
        self.register_load_state_dict_pre_hook(_put_in_copies)


def _leave_out_copies(network: RPSM, state: dict[str, Tensor], *_: Any) -> None:
    for name in [name for name in state if _copied_from(name) != name]:
        del state[name]


def _put_in_copies(network: RPSM, state: Mapping[str, Tensor], *_: Any) -> None:
    for name, _ in network.named_parameters(remove_duplicate=False):
        if _copied_from(name) in state:
            state[name] = state[_copied_from(name)]


def _copied_from(name: str) -> str:
    """Return the name of the first stage's tensor that is shared under this name."""
    stage, _, rest = name.partition(".")
    return f"stage1.{rest}" if stage.startswith("stage") else name
