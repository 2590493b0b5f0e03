"""Rendered people who gesture or walk, with exact hand masks, depth, flow and joints; README.md shows how."""

from importlib import import_module
from typing import Any

# Imported on first use: Numba, SciPy and scikit-image take half a second.
_HOMES = {
    "JESTER_LABELS": "labels",
    "BodyMotion": "body_motion",
    "Change": "changes",
    "Images": "drawing",
    "Person": "person",
    "gait": "gaits",
    "random_person": "person",
    "render_body": "whole_body_render",
    "render_counterfactuals": "counterfactual",
    "render_gesture": "render",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
