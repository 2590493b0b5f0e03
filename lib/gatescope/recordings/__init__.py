"""A model at work: what passes its hook points, what changes when they are changed, and what it costs."""

from gatescope.recordings.cost import (
    PUBLISHED_MULTIPLY_ADDS,
    count_multiply_adds,
    count_parameters,
    measure_memory,
    measure_time,
)
from gatescope.recordings.record import Recording, hook_points, intervene, record
from gatescope.recordings.scoring import encode_all, score_all
from gatescope.recordings.watching import Watched, watch

__all__ = [
    "PUBLISHED_MULTIPLY_ADDS",
    "Recording",
    "Watched",
    "count_multiply_adds",
    "count_parameters",
    "encode_all",
    "hook_points",
    "intervene",
    "measure_memory",
    "measure_time",
    "record",
    "score_all",
    "watch",
]
