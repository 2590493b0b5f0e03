"""NetworkConfig: all that decides what a network computes and the input it takes, with its presets."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gatescope.models.backbone import REACHES
from gatescope.models.cells import CELLS, Cell, cell_named
from gatescope.models.config_fields import STRICT, Config, Count, Finite, Positive, one_of
from gatescope.models.conventions import CONVENTIONS, MEANS


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NetworkConfig(Config):
    """The parts of a GestureNetwork, and the input it expects.

    Raises ValueError for a value that no network can have, LookupError for an unknown name.
    """

    cells: tuple[str | Cell, str | Cell]  # of the two recurrent layers: names in CELLS or STUDY_CELLS, or your own
    num_classes: Count
    width: Positive = 1.0  # multiplies every number of channels: 256 filters in the recurrent layers at 1
    in_channels: Count = 3
    stem_stride: Count = 2  # over space; 3 makes quick runs quicker
    conventions: Annotated[str, one_of(CONVENTIONS)] = "paper"
    num_frames: Count = 16  # taken from a clip; the network itself takes any number
    size: Count = 112  # px, of a square frame; the network itself takes any size
    mean: tuple[Finite, ...] = MEANS["jester", "rgb"]  # grey levels per channel, subtracted
    modality: str = "rgb"
    clip_mean: Annotated[float, Field(ge=0, le=1)] = 0.0  # part of the clip's own mean picture that is subtracted too
    reach: Literal[*REACHES] = 41  # frames of the clip that a step of Res3D's features sees
    memory: bool = True  # False: each step of the recurrent layers starts from an empty state

    # Fields that cards written before them lack, with the value that those networks have.
    ADDED: ClassVar[Mapping[str, Any]] = {"reach": 41, "memory": True}

    def __post_init__(self):
        for cell in self.cells:
            if isinstance(cell, str):
                cell_named(cell)
        if len(self.mean) != self.in_channels:
            raise ValueError(f"mean needs a value for each of {self.in_channels} channels; got {self.mean}")

    @classmethod
    def paper(cls, cell: str | Cell, *, num_classes: int, **settings: Any) -> "NetworkConfig":
        """Return the network of Zhang et al. 2018, Fig. 1, around `cell`; `settings` override fields.

        Only the first layer is the cell under study. The second is pooled gates (a), except for the ConvLSTM, where
        both layers are ConvLSTMs.
        """
        second = "convlstm" if cell in ("convlstm", CELLS["convlstm"]) else "a"
        return cls(**{"cells": (cell, second), "num_classes": num_classes, **settings})

    @classmethod
    def small(cls, cell: str | Cell, *, num_classes: int, **settings: Any) -> "NetworkConfig":
        """Return the same network with an eighth of the channels and frames of 56 px, trained in minutes on a CPU."""
        return cls.paper(cell, num_classes=num_classes, **{"width": 1 / 8, "size": 56, **settings})

    @property
    def input(self) -> dict[str, Any]:
        """Keywords with which `to_batch` and `ClipTensors` make this network's input."""
        return {name: getattr(self, name) for name in ("num_frames", "size", "mean", "modality", "clip_mean")}
