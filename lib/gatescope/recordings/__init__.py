"""Recordings: read and override what passes a model's hook points, attribute its scores, count its cost."""

from gatescope.recordings.cost import PUBLISHED_MULTIPLY_ADDS, count_multiply_adds, count_parameters
from gatescope.recordings.gates import find_gates
from gatescope.recordings.opening import hook_points, opened
from gatescope.recordings.points import points
from gatescope.recordings.record import Recording, intervene, record
from gatescope.recordings.scoring import encode_all, score_all
from gatescope.recordings.watching import Watched, watch

__all__ = [
    "PUBLISHED_MULTIPLY_ADDS",
    "Recording",
    "Watched",
    "count_multiply_adds",
    "count_parameters",
    "encode_all",
    "find_gates",
    "hook_points",
    "intervene",
    "opened",
    "points",
    "record",
    "score_all",
    "watch",
]
