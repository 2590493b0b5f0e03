"""Where Python answers: the reader's clips, networks and interventions, live."""

from gatescope.explorer.explorer import explore

__all__ = ["explore"]
