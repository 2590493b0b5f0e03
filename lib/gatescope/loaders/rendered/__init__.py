"""The embedded clips: people who exist nowhere, performing Jester's 27 gestures or walking before a camera."""

from gatescope.loaders.rendered.bodies import BodyClips
from gatescope.loaders.rendered.gestures import SyntheticGestures

__all__ = ["BodyClips", "SyntheticGestures"]
