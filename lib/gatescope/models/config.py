"""NetworkConfig: all that decides what a network computes, and what it is fed; the presets of it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gatescope.models.cells import CELLS, Cell, cell_named
from gatescope.models.config_fields import check_fields
from gatescope.models.conventions import CONVENTIONS, MEANS


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What a GestureNetwork is made of, and the input it expects.

    Raises ValueError or LookupError for what no network can have.
    """

    cells: tuple[str | Cell, str | Cell]  # of the two recurrent layers: rows of CELLS or STUDY_CELLS, or your own
    num_classes: int
    width: float = 1.0  # multiplies every number of channels: 256 filters in the recurrent layers at 1
    in_channels: int = 3
    stem_stride: int = 2  # over space; 3 makes quick runs quicker
    conventions: str = "paper"
    num_frames: int = 16  # taken from a clip; the network itself takes any number
    size: int = 112  # px, of a square frame; the network itself takes any size
    mean: tuple[float, ...] = MEANS["jester", "rgb"]  # grey levels per channel, subtracted
    modality: str = "rgb"
    clip_mean: float = 0.0  # part of the clip's own mean picture subtracted as well: a departure from the paper

    def __post_init__(self):
        if isinstance(self.cells, str) or len(self.cells) != 2:
            raise ValueError(f"cells names one for each of the two recurrent layers; got {self.cells!r}")
        for cell in self.cells:
            if isinstance(cell, str):
                cell_named(cell)
        if self.conventions not in CONVENTIONS:
            raise LookupError(f"no conventions {self.conventions!r}; there are {', '.join(CONVENTIONS)}")
        for name in ("num_classes", "in_channels", "stem_stride", "num_frames", "size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number, 1 or more; got {getattr(self, name)!r}")
        if not 0 < self.width < math.inf:
            raise ValueError(f"width must be a positive multiplier; got {self.width}")
        if not 0 <= self.clip_mean <= 1:
            raise ValueError(f"clip_mean is a part, from 0 to 1, of the clip's mean picture; got {self.clip_mean}")
        if len(self.mean) != self.in_channels:
            raise ValueError(f"mean needs a value for each of {self.in_channels} channels; got {self.mean}")

    @classmethod
    def paper(cls, cell: str | Cell, *, num_classes: int, **settings: Any) -> "NetworkConfig":
        """The network of Zhang et al. 2018, Fig. 1, around `cell`; `settings` are fields that shall differ.

        Only the first layer is the cell under study: the second is (a), but for the ConvLSTM, where both are one.
        """
        second = "convlstm" if cell in ("convlstm", CELLS["convlstm"]) else "a"
        return cls(**{"cells": (cell, second), "num_classes": num_classes, **settings})

    @classmethod
    def small(cls, cell: str | Cell, *, num_classes: int, **settings: Any) -> "NetworkConfig":
        """The same network with an eighth of the channels and frames of 56 px, trained in minutes on a CPU."""
        return cls.paper(cell, num_classes=num_classes, **{"width": 1 / 8, "size": 56, **settings})

    @property
    def input(self) -> dict[str, Any]:
        """The keywords with which `to_batch` and `ClipTensors` make this network's input."""
        return {name: getattr(self, name) for name in ("num_frames", "size", "mean", "modality", "clip_mean")}

    def to_json(self) -> dict[str, Any]:
        """The config in JSON's types; `from_json` reads it back."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "cells": [asdict(cell) if isinstance(cell, Cell) else cell for cell in self.cells],
            "mean": list(self.mean),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "NetworkConfig":
        """The config that `to_json` gave these values for; raises ValueError where they are of something else."""
        check_fields(cls, values, "a network")
        cells = tuple(Cell(**cell) if isinstance(cell, Mapping) else cell for cell in values["cells"])
        return cls(**{**values, "cells": cells, "mean": tuple(values["mean"])})
