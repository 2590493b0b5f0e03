"""GestureNetwork: a clip through Res3D, two recurrent layers and the MobileNet top to class scores."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.backbone import MobileNetTop, Res3D, scaled
from gatescope.models.cards import load_network, save_network
from gatescope.models.config import NetworkConfig
from gatescope.models.conventions import CONVENTIONS
from gatescope.models.hooks import HookPoint
from gatescope.models.recurrent import RecurrentLayer

FILTERS = 256  # of each recurrent layer, at width 1

Clips = Float[Tensor, "batch channel time height width"]


class GestureNetwork(nn.Module):
    """The network of Zhang et al. 2018, Fig. 1, at any width and around any cells.

    Hook points: `features`, what Res3D gives to the first recurrent layer; those of `layer1` and `layer2`; `top`,
    the maps whose mean the class scores are made from.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.card: dict[str, Any] | None = None  # of the file that the weights were last saved to or loaded from
        conventions = CONVENTIONS[config.conventions]
        filters = scaled(FILTERS, config.width)
        first, second = config.cells
        self.res3d = Res3D(config.in_channels, config.width, config.stem_stride, conventions)
        self.layer1 = RecurrentLayer(first, self.res3d.out_channels, filters, conventions=config.conventions)
        self.layer2 = RecurrentLayer(second, filters, filters, conventions=config.conventions)
        self.mobilenet = MobileNetTop(filters, config.width, conventions)
        self.head = nn.Linear(self.mobilenet.out_channels, config.num_classes)
        self.hooks = nn.ModuleDict({name: HookPoint(time_axis=1) for name in ("features", "top")})

    def forward(self, x: Clips) -> Float[Tensor, "batch classes"]:
        """The logits of clips; each is scored by the mean of its maps over time and space."""
        return self.score(self.encode(x))

    def encode(self, x: Clips) -> Float[Tensor, "batch step features rows columns"]:
        """What Res3D makes of clips, for `score`: most of the work, and the same whatever the recurrent layers do."""
        if x.ndim != 5 or x.shape[1] != self.config.in_channels or not x.is_floating_point():
            raise ValueError(
                f"clips must be (batch, {self.config.in_channels}, time, height, width) floats, as to_batch(clip, "
                f"**network.config.input) makes them; got {tuple(x.shape)} {x.dtype}"
            )
        maps = self.res3d(x).transpose(1, 2)  # from batch channel time to batch time channel, here and nowhere else
        return self.hooks["features"](maps)

    def score(self, features: Float[Tensor, "batch step features rows columns"]) -> Float[Tensor, "batch classes"]:
        """The logits from what `encode` gave."""
        return self.head(self._top(features).mean((1, 3, 4)))

    def scores_over_time(self, x: Clips) -> Float[Tensor, "batch step classes"]:
        """The logits after each time step: the head on the mean over the steps so far; the last are the logits.

        A step is two frames of the clip, and no score of a viewer who stopped there: only the recurrent layers run
        forward in time. Before them the convolutions of Res3D reach 20 frames back and 20 ahead (19 and 21 with the
        authors' padding).
        """
        return self.score_steps(self.encode(x))

    def score_steps(
        self, features: Float[Tensor, "batch step features rows columns"]
    ) -> Float[Tensor, "batch step classes"]:
        """`scores_over_time` from what `encode` gave."""
        pooled = self._top(features).mean((3, 4))
        num_steps = pooled.new_ones(pooled.shape[1]).cumsum(0)
        return self.head(pooled.cumsum(1) / num_steps[:, None])

    def _top(self, features: Tensor) -> Float[Tensor, "batch step filters rows columns"]:
        maps = self.layer2(self.layer1(features))
        top = self.mobilenet(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return self.hooks["top"](top)

    def with_classes(self, num_classes: int) -> "GestureNetwork":
        """A copy with the same weights and a new head for other classes, as fine-tuning begins with."""
        other = copy.deepcopy(self)
        other.config, other.card = replace(self.config, num_classes=num_classes), None
        other.head = nn.Linear(self.head.in_features, num_classes).to(self.head.weight)
        return other.train(self.training)

    def save(
        self,
        path: str | Path,
        *,
        data: Any = None,
        seed: int | None = None,
        metrics: Any = None,
        **facts: Any,
    ) -> dict[str, Any]:
        """Write the weights to `path` (.safetensors) and their card beside it (.json); the card comes back.

        The card holds the config, what the network was trained on, the seed, metrics, whatever other `facts` are
        given, a hash of the library's code and the weights' SHA-256. Each file is replaced whole or not at all, the
        weights first: a crash between the two leaves a pair that `load` refuses.

        Raises:
            ValueError, TypeError: if a fact cannot stand in JSON; nothing is written then.
        """
        return save_network(self, path, {"data": data, "seed": seed, "metrics": metrics, **facts})

    @classmethod
    def load(cls, path: str | Path, config: NetworkConfig | None = None) -> "GestureNetwork":
        """The network saved at `path`, in its evaluation mode; its card is `network.card`.

        Given a `config`, the weights go into that network instead, for instance at another size or stem stride.
        For other classes see `with_classes`.

        Raises:
            FileNotFoundError: if the weights or their card are missing.
            ValueError: if they do not belong together, are something else, or do not fit the config; the first tensor
                that does not is named, with both shapes.
        """
        return load_network(path, lambda values: cls(config or NetworkConfig.from_json(values)))
