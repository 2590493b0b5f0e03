"""GestureNetwork: a clip through Res3D, two recurrent layers and the MobileNet top to class scores."""

import copy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.backbone import MobileNetTop, Res3D, scaled
from gatescope.models.cards import SavedNetwork
from gatescope.models.config import NetworkConfig
from gatescope.models.conventions import CONVENTIONS
from gatescope.models.hooks import HookPoint
from gatescope.models.recurrent import RecurrentLayer

FILTERS = 256  # of each recurrent layer, at width 1

Clips = Float[Tensor, "batch channel time height width"]
Features = Float[Tensor, "batch step features rows columns"]


class GestureNetwork(SavedNetwork):
    """The network of Zhang et al. 2018, Fig. 1, at any width and around any cells.

    Hook points: `features`, the output of Res3D and input of the first recurrent layer; those of `layer1` and
    `layer2`; `top`, the maps whose mean gives the class scores.
    """

    config_type = NetworkConfig

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        conventions = CONVENTIONS[config.conventions]
        filters = scaled(FILTERS, config.width)
        first, second = config.cells
        self.res3d = Res3D(config.in_channels, config.width, config.stem_stride, conventions, config.reach)
        settings = {"conventions": config.conventions, "memory": config.memory}
        self.layer1 = RecurrentLayer(first, self.res3d.out_channels, filters, **settings)
        self.layer2 = RecurrentLayer(second, filters, filters, **settings)
        self.mobilenet = MobileNetTop(filters, config.width, conventions)
        self.head = nn.Linear(self.mobilenet.out_channels, config.num_classes)
        self.hooks = nn.ModuleDict({name: HookPoint(time_axis=1) for name in ("features", "top")})

    def forward(self, x: Clips) -> Float[Tensor, "batch classes"]:
        """Return the logits of clips, each from the mean of its maps over time and space."""
        return self.score(self.encode(x))

    def encode(self, x: Clips) -> Features:
        """Return the features of clips from Res3D, for `score`: most of the work, and without the recurrent layers."""
        if x.ndim != 5 or x.shape[1] != self.config.in_channels or not x.is_floating_point():
            raise ValueError(
                f"clips must be (batch, {self.config.in_channels}, time, height, width) floats, as to_batch(clip, "
                f"**network.config.input) makes them; got {tuple(x.shape)} {x.dtype}"
            )
        maps = self.res3d(x).transpose(1, 2)  # from batch channel time to batch time channel, here and nowhere else
        return self.hooks["features"](maps)

    def score(self, features: Features) -> Float[Tensor, "batch classes"]:
        """Return the logits from the features that `encode` gave."""
        return self.head(self._top(features).mean((1, 3, 4)))

    def scores_over_time(self, x: Clips) -> Float[Tensor, "batch step classes"]:
        """Return the logits after each time step: the head on the mean over the steps so far.

        The last step's equal `forward`. A step is two frames of the clip. Its scores are not those of a viewer who
        stopped there: at the paper's `reach` of 41 the convolutions of Res3D, before the recurrent layers, reach 20
        frames back and 20 ahead (19 and 21 with the authors' padding).
        """
        return self.score_steps(self.encode(x))

    def score_steps(self, features: Features) -> Float[Tensor, "batch step classes"]:
        """Return the `scores_over_time` from the features that `encode` gave."""
        pooled = self._top(features).mean((3, 4))
        num_steps = torch.arange(1, pooled.shape[1] + 1, device=pooled.device)
        return self.head(pooled.cumsum(1) / num_steps[:, None])

    def _top(self, features: Tensor) -> Float[Tensor, "batch step filters rows columns"]:
        maps = self.layer2(self.layer1(features))
        return self.hooks["top"](self.mobilenet(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]))

    def with_classes(self, num_classes: int) -> "GestureNetwork":
        """Return a copy with a new head for other classes, as the start of fine-tuning."""
        other = copy.deepcopy(self)
        other.config, other.card = replace(self.config, num_classes=num_classes), None
        other.head = nn.Linear(self.mobilenet.out_channels, num_classes).to(next(self.parameters()))
        return other.train(self.training)
