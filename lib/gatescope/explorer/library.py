"""Library: rendered clips that a network was validated on, searched for what a reader asks, and distances to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.loaders import CachedClips, SyntheticGestures, to_batch
from gatescope.measures.distance import distances, mean_features
from gatescope.measures.sample import Sample, open_sample, rendered
from gatescope.models import GestureNetwork
from gatescope.recordings import record
from gatescope.recordings.replacements import replacement
from gatescope.recordings.scoring import Features, encode_all, score_all

VALID_CLIPS, TRAINING_CLIPS = 2, 3  # of each class


@dataclass(frozen=True)
class Finding:
    """The clip on which an intervention takes most from the score of the right class, and how many stay right."""

    index: int  # of the clip
    before: int  # clips that are right
    after: int
    of: int  # clips


@dataclass(frozen=True)
class Distance:
    """How far a clip lies from training clips, beside validation clips."""

    own: float
    valid: Float[np.ndarray, " clips"]

    @property
    def percentile(self) -> float:
        """Part of the validation clips that lie nearer, 0 to 1."""
        return float((self.valid < self.own).mean())


class Library:
    """Validation clips of a network, rendered once and encoded once."""

    def __init__(self, network: GestureNetwork, cache: Path, report: Callable[[str], None]):
        """Render two clips of each class, or read them from the cache.

        `report` hears of progress and may raise to stop.
        """
        self.network, self._cache = network, cache
        each = len(rendered(network, 1).names)
        self._fill(rendered(network, VALID_CLIPS * each), report)
        self.sample: Sample = open_sample(network, "", VALID_CLIPS * each, cache)
        report("encoding the validation clips")
        self.features = encode_all(network, self.sample.x)
        self.courses = lru_cache(4)(self._courses)
        self._training: Float[Tensor, "clips features"] | None = None

    def finding(self, names: Sequence[str], by: str, report: Callable[[str], None]) -> Finding:
        """Return what replacing these hook points by the replacement of the name `by` does to the scores.

        Raises LookupError where one of them has no such replacement.
        """
        with torch.inference_mode(), record(self.network, *names) as recording:
            before = self.network.score(self.features).softmax(1).numpy()
        report(f"scoring {len(self.sample)} clips with the change")
        changes = {name: replacement(name, recording[name], by) for name in names}
        after = torch.from_numpy(score_all(self.network, self.features, changes)).softmax(1).numpy()
        clips, labels = np.arange(len(self.sample)), self.sample.labels
        right, still = (scores.argmax(1) == labels for scores in (before, after))
        # Among the clips that are right, where there are any.
        lost = before[clips, labels] - after[clips, labels] + right
        return Finding(int(lost.argmax()), int(right.sum()), int(still.sum()), len(clips))

    def alike(
        self, name: str, channel: int, course: Float[np.ndarray, " step"], steps: tuple[int, int]
    ) -> list[tuple[int, float]]:
        """Return the clips by how their course correlates with `course` from step to step, and r; most alike first.

        The course of a channel is its mean over positions at each step; `steps` are the first and the last, from 0.
        Clips in which it does not change, and so correlates with nothing, are left out.

        Raises ValueError for fewer than three steps, or a course without change.
        """
        first, last = steps
        if last - first < 2:
            raise ValueError(f"a course to compare needs at least 3 steps; got {last - first + 1}: widen the span")
        wanted = _centred(course[None, first : last + 1])[0]
        if not wanted.any():
            raise ValueError(f"channel {channel} does not change from step {first + 1} to {last + 1}: take another")
        found = _centred(self.courses(name)[:, first : last + 1, channel])
        correlations = found @ wanted
        order = np.argsort(-correlations, kind="stable")
        return [(int(place), float(correlations[place])) for place in order if found[place].any()]

    def distance(self, features: Features, report: Callable[[str], None]) -> Distance:
        """Return how far a clip's features lie from training clips, beside how far the validation clips do.

        See `gatescope.measures.distance` for what a distance is.
        """
        if self._training is None:
            clips = rendered(self.network, TRAINING_CLIPS * len(rendered(self.network, 1).names), "train", ())
            self._fill(clips, report)
            report("encoding the training clips")
            made = CachedClips(clips, self._cache)
            x = torch.cat([to_batch(made[index], **self.network.config.input) for index in range(len(made))])
            self._training = mean_features(encode_all(self.network, x))
        own, valid = (distances(mean_features(each), self._training) for each in (features, self.features))
        return Distance(float(own[0]), valid)

    @property
    def num_training(self) -> int:
        """Number of training clips that distances are measured to."""
        return 0 if self._training is None else len(self._training)

    def _courses(self, name: str) -> Float[np.ndarray, "clip step channel"]:
        with torch.inference_mode(), record(self.network, name) as recording:
            self.network.score(self.features)
        return recording[name].flatten(3).mean(3).numpy() if recording[name].ndim == 5 else recording[name].numpy()

    def _fill(self, clips: SyntheticGestures, report: Callable[[str], None]) -> None:
        report(f"rendering {len(clips)} clips, once")
        for present in CachedClips(clips, self._cache).fill():
            report(f"{present} of {len(clips)} clips are rendered")


def _centred(courses: Float[np.ndarray, "clip step"]) -> Float[np.ndarray, "clip step"]:
    """Return courses less their mean, of length 1; 0 for one that does not change."""
    away = courses - courses.mean(1, keepdims=True)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return np.where(length > 1e-6, away / np.maximum(length, 1e-6), 0.0)
