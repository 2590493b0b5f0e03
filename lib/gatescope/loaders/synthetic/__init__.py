"""The embedded gestures: people who exist nowhere, performing Jester's 27 gestures before a camera."""

from gatescope.loaders.synthetic.dataset import SyntheticGestures

__all__ = ["SyntheticGestures"]
