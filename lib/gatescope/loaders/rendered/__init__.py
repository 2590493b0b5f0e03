"""Rendered clips: computed people who perform Jester's 27 gestures, alone or in pairs, or walk before a camera."""

from gatescope.loaders.rendered.bodies import BodyClips
from gatescope.loaders.rendered.counterfactuals import Counterfactual, counterfactuals
from gatescope.loaders.rendered.gestures import SyntheticGestures
from gatescope.loaders.rendered.pairs import GesturePairs

__all__ = ["BodyClips", "Counterfactual", "GesturePairs", "SyntheticGestures", "counterfactuals"]
