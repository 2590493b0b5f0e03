"""From a model at work to numbers: recordings, interventions, costs."""

from gatescope.measures.pose_influence import influence
from gatescope.recordings.cost import (
    PUBLISHED_MULTIPLY_ADDS,
    count_multiply_adds,
    count_parameters,
    measure_memory,
    measure_time,
)
from gatescope.recordings.record import Recording, hook_points, intervene, record
from gatescope.recordings.watching import Watched, watch

__all__ = [
    "PUBLISHED_MULTIPLY_ADDS",
    "Recording",
    "Watched",
    "count_multiply_adds",
    "count_parameters",
    "hook_points",
    "influence",
    "intervene",
    "measure_memory",
    "measure_time",
    "record",
    "watch",
]
