"""Rendered clips: computed people who perform Jester's 27 gestures or walk before a camera."""

from gatescope.loaders.rendered.bodies import BodyClips
from gatescope.loaders.rendered.counterfactuals import Counterfactual, counterfactuals
from gatescope.loaders.rendered.gestures import SyntheticGestures

__all__ = ["BodyClips", "Counterfactual", "SyntheticGestures", "counterfactuals"]
