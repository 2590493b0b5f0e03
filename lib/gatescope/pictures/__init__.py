"""From numbers to what a reader sees."""

from typing import Any

from gatescope.pictures.scrubber import Scrubber

__all__ = ["Scrubber", "explore"]


def __getattr__(name: str) -> Any:
    # Widgets, loaders and the study take seconds to import, and no other picture needs them.
    if name == "explore":
        from gatescope.pictures.explorer import explore

        return explore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
