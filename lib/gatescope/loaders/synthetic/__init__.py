"""The embedded clips: people who exist nowhere, performing Jester's 27 gestures or walking before a camera."""

from gatescope.loaders.synthetic.body_clips import BodyClips
from gatescope.loaders.synthetic.dataset import SyntheticGestures

__all__ = ["BodyClips", "SyntheticGestures"]
