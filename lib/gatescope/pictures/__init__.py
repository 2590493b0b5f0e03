"""From numbers to what a reader sees."""

from gatescope.pictures.scrubber import Scrubber

__all__ = ["Scrubber"]
