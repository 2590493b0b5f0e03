"""Upstream-downstream learning by its public name; the code is in gatescope.trainings.udl."""

from gatescope.trainings.udl import UpstreamDownstream

__all__ = ["UpstreamDownstream"]
