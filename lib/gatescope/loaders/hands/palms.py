"""Find palms in a whole frame: the first of the two networks, its anchors and its suppression of doubles."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from gatescope.loaders.hands.networks import Network
from gatescope.loaders.hands.regions import Region, region_of_palm

SIZE = 192  # px, the network's input
_CELLS = {8: 2, 16: 6}  # stride in px: boxes a cell
_LEAST_SCORE = 0.5
_SAME_PALM = 0.3  # intersection over union
_WRIST, _MIDDLE = 0, 2  # of a palm's seven key points


def find_palms(network: Network, frame: UInt8[np.ndarray, "height width 3"]) -> list[Region]:
    """Return the region of each hand whose palm is found, the surest first."""
    import cv2

    height, width = frame.shape[:2]
    scale = SIZE / max(height, width)
    small = cv2.resize(
        frame, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=cv2.INTER_AREA
    )
    top, left = (SIZE - small.shape[0]) // 2, (SIZE - small.shape[1]) // 2
    square = np.zeros((SIZE, SIZE, 3), np.uint8)
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    outputs = network(square)
    scores = 1 / (1 + np.exp(-np.clip(outputs["Identity_1"].reshape(-1), -100, 100)))
    likely = scores >= _LEAST_SCORE
    points = _decode(outputs["Identity"].reshape(-1, 18)[likely], anchors()[likely])
    regions = []
    for palm in _one_each(points, scores[likely]):
        palm = (palm - (left, top)) / scale
        regions.append(region_of_palm(palm[:2].ravel(), palm[2 + _WRIST], palm[2 + _MIDDLE]))
    return regions


@lru_cache(maxsize=1)
def anchors() -> Float[np.ndarray, "2016 2"]:
    """Return the centres of the network's boxes, px of its input, in the order of its outputs."""
    layers = []
    for stride, boxes in _CELLS.items():
        centres = (np.arange(SIZE // stride) + 0.5) * stride
        x, y = np.meshgrid(centres, centres)
        layers.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=-1), boxes, axis=0))
    return np.concatenate(layers)


def _decode(
    offsets: Float[np.ndarray, "boxes 18"], places: Float[np.ndarray, "boxes 2"]
) -> Float[np.ndarray, "boxes 9 2"]:
    """Return each box's top left, bottom right and seven key points, px of the input."""
    pairs = offsets.reshape(-1, 9, 2).astype(np.float64)
    centre, size = pairs[:, 0] + places, pairs[:, 1]
    corners = np.stack([centre - size / 2, centre + size / 2], axis=1)
    return np.concatenate([corners, pairs[:, 2:] + places[:, None]], axis=1)


def _one_each(
    points: Float[np.ndarray, "boxes 9 2"], scores: Float[np.ndarray, " boxes"]
) -> list[Float[np.ndarray, "9 2"]]:
    """Average the boxes of each palm, weighted by score."""
    palms, left = [], np.argsort(-scores)
    while left.size:
        same = _overlap(points[left[0]], points[left]) > _SAME_PALM
        same[0] = True
        palms.append(np.average(points[left[same]], axis=0, weights=scores[left[same]]))
        left = left[~same]
    return palms


def _overlap(one: Float[np.ndarray, "9 2"], many: Float[np.ndarray, "boxes 9 2"]) -> Float[np.ndarray, " boxes"]:
    """Intersection over union of the boxes."""
    low, high = np.maximum(one[0], many[:, 0]), np.minimum(one[1], many[:, 1])
    shared = np.clip(high - low, 0, None).prod(-1)
    both = (one[1] - one[0]).prod() + (many[:, 1] - many[:, 0]).prod(-1) - shared
    return shared / np.maximum(both, 1e-9)
