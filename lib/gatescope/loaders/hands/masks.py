"""A hand's mask from its joints: thick bones and a palm, corrected by GrabCut."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from gatescope.loaders.hands.regions import FINGERS, INDEX, LITTLE, MIDDLE, WRIST

# In lengths of the palm, the longer of wrist to middle finger and index to little finger.
_LIKELY = 0.30  # thickness of what is probably hand
_SURE = 0.12  # of what certainly is
_FARTHEST = 0.30  # beyond what is probably hand, where the rest of it may lie
_MARGIN = 0.5  # of the cut-out around the joints
_ROUNDS = 1
_SIDE = 96  # px of the cut-out while it is worked on
_PALM = (WRIST, 1, 5, 9, 13, 17)


def hand_mask(
    frame: UInt8[np.ndarray, "height width 3"], hands: Iterable[Float32[np.ndarray, "21 2"]]
) -> Bool[np.ndarray, "height width"]:
    """Return the pixels that show one of the hands, given their joints (px), up to the wrist.

    Lines along the bones and a filled palm begin OpenCV's GrabCut (Rother et al. 2004), which moves their outline to
    the colours of the hand. Measured against rendered people in the notebook on measured hands.
    """
    mask = np.zeros(frame.shape[:2], bool)
    for joints in hands:
        _add(mask, frame, joints.astype(np.float64) - 0.5)
    return mask


def _add(
    mask: Bool[np.ndarray, "height width"],
    frame: UInt8[np.ndarray, "height width 3"],
    joints: Float[np.ndarray, "21 2"],
) -> None:
    import cv2

    palm = max(float(np.linalg.norm(joints[a] - joints[b])) for a, b in ((MIDDLE, WRIST), (INDEX, LITTLE)))
    margin = _MARGIN * palm + 2
    left, top = np.floor(joints.min(0) - margin).clip(0).astype(int)
    right, bottom = np.minimum(np.ceil(joints.max(0) + margin) + 1, frame.shape[1::-1]).astype(int)
    if min(right - left, bottom - top) < 3:  # beside the frame
        return
    cutout = frame[top:bottom, left:right]
    scale = _SIDE / max(cutout.shape[:2])
    width, height = (max(round(side * scale), 3) for side in cutout.shape[1::-1])
    enlarged = cv2.resize(cutout, (width, height), interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
    points = (joints - (left, top) + 0.5) * scale - 0.5
    likely = _drawn(points, (height, width), _LIKELY * palm * scale)
    farthest = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(_FARTHEST * palm * scale) + 1,) * 2)
    kinds = np.full((height, width), cv2.GC_BGD, np.uint8)
    kinds[cv2.dilate(likely, farthest) > 0] = cv2.GC_PR_BGD
    kinds[likely > 0] = cv2.GC_PR_FGD
    kinds[_drawn(points, (height, width), _SURE * palm * scale) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # GrabCut draws its first clusters of colours
    cv2.grabCut(enlarged, kinds, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    cut = np.isin(kinds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    inside = cv2.resize(cut, cutout.shape[1::-1], interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    mask[top:bottom, left:right] |= inside > 0.5


def _drawn(
    points: Float[np.ndarray, "21 2"], shape: tuple[int, int], thickness: float
) -> UInt8[np.ndarray, "height width"]:
    """Draw the palm and the fingers' bones in 255."""
    import cv2

    drawn = np.zeros(shape, np.uint8)
    places = points.round().astype(np.int32)
    cv2.fillConvexPoly(drawn, cv2.convexHull(places[list(_PALM)]), 255)
    for finger in FINGERS:
        cv2.polylines(drawn, [places[list(finger)]], False, 255, max(round(thickness), 1))
    cv2.line(drawn, places[WRIST].tolist(), places[1].tolist(), 255, max(round(thickness), 1))
    return drawn
