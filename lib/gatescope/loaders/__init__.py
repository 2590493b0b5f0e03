"""Loaders: clips from video files, frame folders, data sets and rendered people, and batches of them."""

from gatescope.loaders.cache import CachedClips
from gatescope.loaders.clip import Clip, as_seen, over_steps, sample_frames, to_batch
from gatescope.loaders.errors import ClipError
from gatescope.loaders.families import PermutationFamilies
from gatescope.loaders.flow import with_flow
from gatescope.loaders.folders import VideoClips
from gatescope.loaders.hands import MeasuredHands, with_hands
from gatescope.loaders.human36m import Human36M
from gatescope.loaders.isogd import IsoGDClips
from gatescope.loaders.jester import JesterClips
from gatescope.loaders.mocap import read_bvh
from gatescope.loaders.pose_tensors import PoseTensors
from gatescope.loaders.reading import read_clip
from gatescope.loaders.rendered import BodyClips, GesturePairs, SyntheticGestures
from gatescope.loaders.tensors import ClipTensors
from rendered_people.labels import CONFUSABLE, JESTER_LABELS, MOTION_CLASSES

__all__ = [
    "CONFUSABLE",
    "JESTER_LABELS",
    "MOTION_CLASSES",
    "BodyClips",
    "CachedClips",
    "Clip",
    "ClipError",
    "ClipTensors",
    "GesturePairs",
    "Human36M",
    "IsoGDClips",
    "JesterClips",
    "MeasuredHands",
    "PermutationFamilies",
    "PoseTensors",
    "SyntheticGestures",
    "VideoClips",
    "as_seen",
    "over_steps",
    "read_bvh",
    "read_clip",
    "sample_frames",
    "to_batch",
    "with_flow",
    "with_hands",
]
