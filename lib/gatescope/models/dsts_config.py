"""DSTSConfig: all that decides what a network of specialised neurons computes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gatescope.models.config_fields import check_fields

CHOICES = {
    "backbone": ("small", "none"),
    "router": ("learned", "soft", "random", "all", "given"),
    "gates": ("learned", "spatial", "temporal", "both", "conv3d"),
    "semhash": ("half", "hard", "soft", "sigmoid"),
    "pulse": ("mean", "sum"),
}


@dataclass(frozen=True, kw_only=True)
class DSTSConfig:
    """What a SpecialisedNetwork is made of.

    The source of DSTS gives neither numbers of layers and neurons nor a temperature: every default here is ours, and so
    is all that its `pulse`, `router`, `gates` and `semhash` can be beside "sum", "learned", "learned" and "half".
    Raises ValueError or LookupError for what no network can have.
    """

    num_classes: int
    num_layers: int = 1
    num_neurons: int = 4  # in each layer
    channels: int = 16  # of the backbone's maps, and of all that follows
    backbone: str = "small"  # one convolution for each frame by itself; "none": features are what the network is given
    router: str = "learned"  # "soft": all, weighted; "random": any; "all": all alike; "given": as the caller says
    gates: str = "learned"  # "both": all channels to both operators; "conv3d": one 3 x 3 x 3 operator
    semhash: str = "half"  # half of a batch has soft gates; "sigmoid": a plain one, soft and without noise
    pulse: str = "mean"  # over positions and outputs of the scoring kernel, or their sum
    centre: bool = True  # pooled features to mean 0 and variance 1 before they are scored
    tau: float = 1.0  # of the Gumbel-Softmax
    num_positions: int = 512  # steps x rows x columns of a map, for the start of scoring kernels

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise LookupError(f"no {name} {getattr(self, name)!r}; there are {', '.join(known)}")
        for name in ("num_classes", "num_layers", "num_neurons", "channels", "num_positions"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number, 1 or more; got {getattr(self, name)!r}")
        if not 0 < self.tau < float("inf"):
            raise ValueError(f"tau is a temperature, positive and finite; got {self.tau}")

    def to_json(self) -> dict[str, Any]:
        """The config in JSON's types; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DSTSConfig":
        """The config that `to_json` gave these values for; raises ValueError where they are of something else."""
        check_fields(cls, values, "specialised neurons")
        return cls(**values)
