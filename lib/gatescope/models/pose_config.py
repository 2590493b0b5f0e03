"""RPSMConfig: all that decides what a recurrent 3-D pose machine computes and learns, with its presets."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gatescope.models.config_fields import STRICT, Config, Count, Few, Finite, one_of

POOL = "pool"
# Channels of the 3 x 3 convolutions, and max-poolings that halve the map. The notes' table has 256 channels in
# conv4_2, where the pose network that the authors took their trunk from (Wei et al. 2016, CPM) has 512.
_BELOW = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, 256, POOL)
TRUNKS = {
    "notes": (*_BELOW, 512, 256, 256, 256, 256, 256, 128),
    "cpm": (*_BELOW, 512, 512, 256, 256, 256, 256, 128),
    "small": (16, POOL, 24, POOL, 24),
}
# Feature adaption as (layer, kernel size, stride, padding): the notes' table, with the padding that gives fc_1 the
# released code's size (ours); the released Torch code; the Caffe code of the same group's follow-up.
VARIANTS = {
    "table": (("conv", 5, 2, 2), ("conv", 5, 2, 2)),
    "torch": (("conv", 5, 2, 2), ("conv", 3, 1, 1), ("pool", 2, 2, 0)),
    "caffe": (("conv", 5, 2, 1), ("conv", 5, 2, 1)),
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RPSMConfig(Config):
    """The parts of an RPSM, and its loss; the defaults are the notes' table.

    A feedback that is switched off has no inputs, rather than inputs of zeros, and so no unused parameters.
    Raises ValueError for a value that no network can have, LookupError for an unknown name.
    """

    num_stages: Few = 3
    variant: Annotated[str, one_of(VARIANTS)] = "table"  # of the feature adaption
    trunk: str | Annotated[tuple[Count | Literal["pool"], ...], Field(max_length=100)] = (
        "notes"  # a name in TRUNKS, or layers written in the same way
    )
    size: Count = 368  # px, of a square frame
    feature_channels: Count = 128  # of the 2-D pose module's maps
    adaption_channels: Count = 128
    adapted_features: Count = 1024  # of a frame, behind fc_1
    hidden_features: Count = 1024  # of the LSTM
    recurrent: bool = True  # without, each frame by itself through layers of as many parameters as the LSTM
    forget_bias: Finite = 0.0  # at the start; the released code sets none
    feedback_2d: bool = True  # maps from stage to stage
    feedback_3d: bool = True  # poses from stage to stage
    detached_feedback: bool = False  # a stage then learns nothing from the losses of later ones
    shared_stages: bool = False  # one set of weights for all stages; the first is fed back zeros
    freeze_trunk: bool = False  # as the released code does, whose trunk was trained on 2-D poses
    loss: Annotated[str, one_of(("mse", "l1", "mpjpe"))] = "mse"
    deep_supervision: bool = True  # a loss on every stage, else on the last alone
    # Of each coordinate: "standard": mean and deviation; "minmax": extrema to [0, 1].
    scale: Annotated[str, one_of(("standard", "minmax"))] = "standard"

    def __post_init__(self):
        if isinstance(self.trunk, str) and self.trunk not in TRUNKS:
            raise LookupError(f"no trunk {self.trunk!r}; there are {', '.join(TRUNKS)}, or write its layers")
        if self.trunk_layers[:1] in ((), (POOL,)):
            raise ValueError(f"a trunk needs layers of which the first is a convolution; got {self.trunk!r}")
        if self.adapted_side < 1:
            raise ValueError(f"frames of {self.size} px leave no map behind the trunk and variant {self.variant!r}")

    @classmethod
    def paper(cls, variant: str = "table", **settings: Any) -> "RPSMConfig":
        """Return the notes' network (seed 003, after Lin et al. 2017); `settings` override fields."""
        return cls(variant=variant, **settings)

    @classmethod
    def small(cls, **settings: Any) -> "RPSMConfig":
        """Return the same network with a shallow trunk, few channels and 48 px, trained in minutes on a CPU."""
        widths = {"feature_channels": 24, "adaption_channels": 24, "adapted_features": 64, "hidden_features": 64}
        return cls(**{"trunk": "small", "size": 48, **widths, **settings})

    @property
    def trunk_layers(self) -> tuple[int | str, ...]:
        """Channels of convolutions and poolings of the trunk, in order."""
        return TRUNKS[self.trunk] if isinstance(self.trunk, str) else self.trunk

    @property
    def trunk_channels(self) -> int:
        """Channels of the trunk's maps, which every stage gets."""
        return [layer for layer in self.trunk_layers if layer != POOL][-1]

    @property
    def adapted_side(self) -> int:
        """Rows and columns of the maps that go into fc_1; below 1 where frames are too small."""
        map_side = side = self.size // 2 ** self.trunk_layers.count(POOL)  # of the trunk's maps
        for layer, kernel_size, stride, padding in VARIANTS[self.variant]:
            room = side + 2 * padding - kernel_size
            # Max-pooling keeps an incomplete window at the edge, as the released code's does; convolutions do not.
            side = (-(-room // stride) if layer == POOL else room // stride) + 1
        return side if map_side else 0
