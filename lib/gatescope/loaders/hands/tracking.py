"""Follow up to two hands through a clip: forwards, backwards from where each first appears, and across short gaps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from gatescope.loaders.hands.networks import LANDMARKS, PALMS, open_network
from gatescope.loaders.hands.palms import find_palms
from gatescope.loaders.hands.regions import NUM_JOINTS, Region, region_of_joints
from gatescope.paths import HANDS

MAX_HANDS = 2
LEAST_CONFIDENCE = 0.5
_SIZE = 224  # px, the landmark network's input
_LEAST_SIDE = 8  # px of the frame
# With one hand in sight, a second one is looked for every few frames: finding takes longer than following.
_LOOK_EVERY = 8


@dataclass(frozen=True)
class Hand:
    """One hand in one frame."""

    joints: Float32[np.ndarray, "21 2"]  # px; the first pixel's centre is (0.5, 0.5)
    confidence: float  # the network's probability that the region shows a hand

    @property
    def region(self) -> Region:
        """Where to look for it in the frame before or after."""
        return region_of_joints(self.joints - 0.5)


class HandTracker:
    """The hands of a stream of frames; `hands[k]` is hand k's latest, None where it is not in sight."""

    def __init__(self, folder: Path = HANDS):
        self._palms, self._landmarks = open_network(PALMS, folder), open_network(LANDMARKS, folder)
        self.hands: list[Hand | None] = [None] * MAX_HANDS
        self._last: list[Region | None] = [None] * MAX_HANDS
        self._seen = [-1] * MAX_HANDS  # number of the frame
        self._frames = 0

    def follow(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Hand | None]:
        """Find the hands of the next frame: where they were, or anywhere."""
        hands = [None if hand is None else self.look(frame, hand.region) for hand in self.hands]
        if all(hands) and hands[0].region.overlaps(hands[1].region):
            # Two tracks that have run into each other: the surer one goes on.
            hands[hands[0].confidence > hands[1].confidence] = None
        if not any(hands) or (not all(hands) and self._frames % _LOOK_EVERY == 0):
            for region in find_palms(self._palms, frame):
                if any(hand and hand.region.overlaps(region) for hand in hands) or all(hands):
                    continue
                if found := self.look(frame, region):
                    hands[self._place(hands, region)] = found
        for place, hand in enumerate(hands):
            if hand is not None:
                self._last[place], self._seen[place] = hand.region, self._frames
        self._frames += 1
        self.hands = hands
        return hands

    def look(self, frame: UInt8[np.ndarray, "height width 3"], region: Region) -> Hand | None:
        """Return the hand that a region shows, None if the network sees none there."""
        outputs = self._landmarks(region.crop(frame, _SIZE))
        points, confidence = outputs["Identity"].reshape(NUM_JOINTS, 3)[:, :2], outputs["Identity_1"].item()
        if not confidence >= LEAST_CONFIDENCE:
            return None
        hand = Hand(region.to_frame(points, _SIZE), confidence)
        found = hand.region
        # A hand neither leaps out of the region in which it is seen nor shrinks to a point.
        leap = float(np.linalg.norm(found.centre - region.centre))
        return hand if leap < region.side / 2 and found.side > _LEAST_SIDE else None

    def _place(self, hands: list[Hand | None], region: Region) -> int:
        """Return the free place whose hand was last seen nearest, within a region's side, else the longest unused."""
        free = [place for place, hand in enumerate(hands) if hand is None]
        same = [place for place in free if self._distance(place, region) < region.side]
        if same:
            return min(same, key=lambda place: self._distance(place, region))
        return min(free, key=lambda place: self._seen[place])

    def _distance(self, place: int, region: Region) -> float:
        last = self._last[place]
        return np.inf if last is None else float(np.linalg.norm(last.centre - region.centre))


def track(
    frames: UInt8[np.ndarray, "time height width 3"],
    folder: Path = HANDS,
    report: Callable[[int], None] = lambda step: None,
) -> list[list[Hand | None]]:
    """Return the hands of each frame, a list of MAX_HANDS; a hand keeps its place while it is followed.

    Forwards through all frames; then each hand backwards from where it appeared, as far as it is seen there. `report`
    gets the number of steps done, of 2 T - 1, and may raise. Raises HandNetworksError if `folder` lacks the networks.
    """
    tracker = HandTracker(folder)
    found: list[list[Hand | None]] = []
    for step, frame in enumerate(frames, 1):
        found.append(tracker.follow(frame))
        report(step)
    for step, t in enumerate(range(len(frames) - 2, -1, -1), len(frames) + 1):
        for place, after in enumerate(found[t + 1]):
            if after is None or found[t][place] is not None:
                continue
            before = tracker.look(frames[t], after.region)
            if before and not any(hand and hand.region.overlaps(before.region) for hand in found[t]):
                found[t][place] = before
        report(step)
    return found
