"""DSTSConfig: all that decides what a network of specialised neurons computes."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from gatescope.models.config_fields import STRICT, Config, Count, Few, Positive, one_of


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DSTSConfig(Config):
    """The parts of a SpecialisedNetwork.

    The source of DSTS gives neither numbers of layers and neurons nor a temperature: every default here is ours, and so
    are all values of `pulse`, `router`, `gates` and `semhash` except "sum", "learned", "learned" and "half".
    Raises ValueError for a value that no network can have, LookupError for an unknown name.
    """

    num_classes: Count
    num_layers: Few = 1
    num_neurons: Few = 4  # in each layer
    channels: Count = 16  # of the backbone's maps, and of all that follows
    # "small": one convolution, frame by frame; "none": the network is given features.
    backbone: Annotated[str, one_of(("small", "none"))] = "small"
    # "soft": all, weighted; "random": one at random; "all": all with equal weights; "given": the caller chooses.
    router: Annotated[str, one_of(("learned", "soft", "random", "all", "given"))] = "learned"
    # "both": all channels to both operators; "conv3d": one 3 x 3 x 3 operator.
    gates: Annotated[str, one_of(("learned", "spatial", "temporal", "both", "conv3d"))] = "learned"
    # "half": soft gates for half of a batch; "sigmoid": a plain sigmoid, without noise.
    semhash: Annotated[str, one_of(("half", "hard", "soft", "sigmoid"))] = "half"
    pulse: Annotated[str, one_of(("mean", "sum"))] = "mean"  # over positions and outputs of the scoring kernel
    centre: bool = True  # normalise pooled features to mean 0 and variance 1 before they are scored
    tau: Positive = 1.0  # temperature of the Gumbel-Softmax
    num_positions: Count = 512  # steps x rows x columns of a map, which scale the initial scoring kernels
