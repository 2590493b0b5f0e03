"""The parts of a recurrent 3-D pose machine: the trunk, and stages of 2-D, adaption and recurrent modules."""

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

    2-D pose module: $P_t^k = D^k([F_t ; P_t^{k-1}])$ (1), from the trunk's maps $F$ and the previous stage's maps

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
        """Return the stage's maps P and poses S, from the trunk's maps and the previous stage's output.

        Without a previous stage, inputs for feedback are zero.
        """
        frames = maps.flatten(0, 1)
        if self.feedback_2d:
            before = frames.new_zeros(frames.shape[0], self.feature_channels, *frames.shape[2:])
            frames = torch.cat([frames, before if features is None else features.flatten(0, 1)], 1)
        features = self.hooks["features"](self.pose_2d(frames).unflatten(0, maps.shape[:2]))  # (1)
        adapted = self.hooks["adapted"](by_frame(self.adaption, features))  # (2)
        if self.feedback_3d:
            before = adapted.new_zeros(*adapted.shape[:2], NUM_COORDINATES) if pose is None else pose
            adapted = torch.cat([adapted, before], 2)
        hidden = (self.frame_mlp if self.lstm is None else self.lstm)(adapted)  # (3)
        return features, self.hooks["pose"](self.to_pose(hidden))  # (4)


def by_frame(module: nn.Module, clips: Float[Tensor, "batch time ..."]) -> Float[Tensor, "batch time ..."]:
    """Return the output of `module` for every frame, in one call."""
    return module(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


def convolutions(layers: tuple[int | str, ...], in_channels: int) -> nn.Sequential:
    """Make 3 x 3 convolutions of these channels, each with a ReLU, and max-poolings between them."""
    modules: list[nn.Module] = []
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        if layer == POOL:
            modules.append(nn.MaxPool2d(2))
        else:
            modules.append(initialised(nn.Conv2d(in_channels, layer, 3, padding=1)))
            in_channels = layer
        # ReLU and max-pooling commute; after the pooling it has a quarter of the positions.
        if following != POOL:
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)


def adaption(config: RPSMConfig) -> nn.Sequential:
    """Make the feature adaption, from the maps of a frame to a vector: the variant's convolutions and fc_1."""
    modules: list[nn.Module] = []
    in_channels = config.feature_channels
    for layer, kernel_size, stride, padding in VARIANTS[config.variant]:
        if layer == POOL:
            modules.append(nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=True))
        else:
            made = nn.Conv2d(in_channels, config.adaption_channels, kernel_size, stride, padding)
            modules += [initialised(made), nn.ReLU()]
            in_channels = config.adaption_channels
    fc_1 = initialised(nn.Linear(in_channels * config.adapted_side**2, config.adapted_features))
    return nn.Sequential(*modules, nn.Flatten(), fc_1, nn.ReLU())


def frame_mlp(in_features: int, hidden_features: int) -> nn.Sequential:
    """Make two layers that see one frame at a time, in place of an LSTM.

    With four times the hidden features between them they have as many weights as the LSTM's gates, and one bias more
    per hidden feature. The tanh bounds the output as an LSTM's is; without it training is harder.
    """
    layers = nn.Linear(in_features, 4 * hidden_features), nn.Linear(4 * hidden_features, hidden_features)
    return nn.Sequential(initialised(layers[0]), nn.ReLU(), initialised(layers[1]), nn.Tanh())


def initialised(layer: nn.Module) -> nn.Module:
    """Initialise and return the layer: weights that keep the scale through ReLUs (He et al. 2015), biases 0."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer
