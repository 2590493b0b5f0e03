"""Draw numbers: static pictures, the scrubber, the stepper, and the explorer by its public name."""

from importlib import import_module
from typing import Any

__all__ = ["Scrubber", "Stepper", "explore"]

# Imported when asked for: torch, widgets and loaders take seconds, and most pictures need none of them.
_HOMES = {
    "Scrubber": "gatescope.pictures.scrubber",
    "Stepper": "gatescope.pictures.stepper",
    "explore": "gatescope.explorer.explorer",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
