"""From a model at work to numbers: recordings, interventions, costs."""

from gatescope.recordings.record import Recording, hook_points, intervene, record

__all__ = ["Recording", "hook_points", "intervene", "record"]
