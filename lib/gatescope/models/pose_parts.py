"""The parts of a recurrent 3-D pose machine: trunk, and the stage of 2-D, adaption and recurrent modules."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.hooks import HookPoint
from gatescope.models.pose_config import POOL, VARIANTS, RPSMConfig
from gatescope.models.rnn import LSTM
from rendered_people.skeleton import JOINT_NAMES

NUM_COORDINATES = 3 * len(JOINT_NAMES)

Maps = Float[Tensor, "batch time trunk height width"]
Features = Float[Tensor, "batch time feature height width"]
Poses = Float[Tensor, "batch time 51"]


class Stage(nn.Module):
    r"""One stage of the RPSM (Lin et al. 2017), for all frames of a clip.

    2-D pose module: $P_t^k = D^k([F_t ; P_t^{k-1}])$ (1), of the trunk's maps $F$ and the maps of the stage before

    feature adaption: $a_t^k = A^k(P_t^k)$ (2), a vector

    recurrent 3-D pose module: $h_t^k = \mathrm{LSTM}^k([a_t^k ; S_t^{k-1}], h_{t-1}^k, c_{t-1}^k)$ (3), from a state of
    zeros before the first frame, and $S_t^k = W^k h_t^k + \beta^k$ (4), the pose

    Hook points: `features` (P), `adapted` (a), those of `lstm`, and `pose` (S).
    """

    def __init__(self, config: RPSMConfig, *, feedback_2d: bool, feedback_3d: bool):
        super().__init__()
        self.hooks = nn.ModuleDict({name: HookPoint(time_axis=1) for name in ("features", "adapted", "pose")})
        self.feedback_2d, self.feedback_3d = feedback_2d, feedback_3d
        self.feature_channels = config.feature_channels
        in_channels = config.trunk_channels + feedback_2d * config.feature_channels
        self.pose_2d = convolutions((config.feature_channels,) * 2, in_channels)
        self.adaption = adaption(config)
        in_features = config.adapted_features + feedback_3d * NUM_COORDINATES
        self.lstm = self.frame_mlp = None
        if config.recurrent:
            # As the released code's FastLSTM, not as the notes' equations: no peepholes.
            self.lstm = LSTM(in_features, config.hidden_features, peepholes=False, forget_bias=config.forget_bias)
        else:
            self.frame_mlp = frame_mlp(in_features, config.hidden_features)
        self.to_pose = nn.Linear(config.hidden_features, NUM_COORDINATES)

    def forward(self, maps: Maps, features: Features | None, pose: Poses | None) -> tuple[Features, Poses]:
        """The stage's maps P and its poses S, from the trunk's maps and what the stage before gave.

        Where there is none before it, what the stage has inputs for is zero.
        """
        frames = maps.flatten(0, 1)
        if self.feedback_2d:
            before = frames.new_zeros(len(frames), self.feature_channels, *frames.shape[2:])
            frames = torch.cat([frames, before if features is None else features.flatten(0, 1)], 1)
        features = self.hooks["features"](self.pose_2d(frames).unflatten(0, maps.shape[:2]))  # (1)
        adapted = self.hooks["adapted"](by_frame(self.adaption, features))  # (2)
        if self.feedback_3d:
            before = adapted.new_zeros(*adapted.shape[:2], NUM_COORDINATES) if pose is None else pose
            adapted = torch.cat([adapted, before], 2)
        hidden = (self.frame_mlp if self.lstm is None else self.lstm)(adapted)  # (3)
        return features, self.hooks["pose"](self.to_pose(hidden))  # (4)


def by_frame(module: nn.Module, clips: Float[Tensor, "batch time ..."]) -> Float[Tensor, "batch time ..."]:
    """What `module` makes of every frame, of all clips and frames at once."""
    return module(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


def convolutions(layers: tuple[int | str, ...], in_channels: int) -> nn.Sequential:
    """3 x 3 convolutions of so many channels, each with a ReLU, and max-poolings between them."""
    modules: list[nn.Module] = []
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        if layer == POOL:
            modules.append(nn.MaxPool2d(2))
        else:
            modules.append(started(nn.Conv2d(in_channels, layer, 3, padding=1)))
            in_channels = layer
        # The ReLU of the greatest is the greatest ReLU, on a quarter of the positions.
        if following != POOL:
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)


def adaption(config: RPSMConfig) -> nn.Sequential:
    """From the maps of a frame to a vector, through the convolutions of the variant and fc_1."""
    modules: list[nn.Module] = []
    in_channels = config.feature_channels
    for layer, kernel_size, stride, padding in VARIANTS[config.variant]:
        if layer == POOL:
            modules.append(nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=True))
        else:
            made = nn.Conv2d(in_channels, config.adaption_channels, kernel_size, stride, padding)
            modules += [started(made), nn.ReLU()]
            in_channels = config.adaption_channels
    fc_1 = started(nn.Linear(in_channels * config.adapted_side**2, config.adapted_features))
    return nn.Sequential(*modules, nn.Flatten(), fc_1, nn.ReLU())


def frame_mlp(in_features: int, hidden_features: int) -> nn.Sequential:
    """Two layers that see one frame at a time, in place of an LSTM.

    Four times the hidden features between them are as many weights as the LSTM's four gates have, and only one bias
    per hidden feature more. The tanh bounds them as an LSTM's are, without which it is harder to train.
    """
    layers = nn.Linear(in_features, 4 * hidden_features), nn.Linear(4 * hidden_features, hidden_features)
    return nn.Sequential(started(layers[0]), nn.ReLU(), started(layers[1]), nn.Tanh())


def started(layer: nn.Module) -> nn.Module:
    """The layer with weights that keep the size of what passes a ReLU (He et al. 2015), and biases of 0."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer
