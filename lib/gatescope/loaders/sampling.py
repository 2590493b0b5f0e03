"""Which frames of a clip are taken: the authors' rule by number, and the same rule by time where the rate varies."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

# Of a count of frames, and their times where the rate varies, the numbers of those to take, ascending.
Choose = Callable[[int, Float64[np.ndarray, " time"] | None], Sequence[int]]


def sample_frames(
    num_frames: int,
    length: int,
    train: bool = False,
    rng: np.random.RandomState | None = None,
    times_s: Float64[np.ndarray, " time"] | None = None,
) -> list[int]:
    """Return the 0-based numbers of the `length` frames taken from a clip of `num_frames`.

    The authors' arithmetic: floor(n / L k); in training, if floor(n / L) >= 2, each is jittered by up to a quarter
    of floor(n / L) either way, with `length` draws from `rng`. A clip shorter than `length` repeats its last frame.
    For flow, `num_frames` is the number of its fields, one less than the clip's frames.

    `times_s`, each frame's time where the rate varies (`Clip.times_s`), turns the places n / L k into times, the clip
    being n mean frames long: taken is the frame that is on the screen then, which may be one twice.

    Raises ValueError if a count is not positive, training comes without `rng`, or times do not ascend or are not as
    many as frames.
    """
    if num_frames < 1 or length < 1:
        raise ValueError(f"num_frames and length must be at least 1; got {num_frames} and {length}")
    if train and rng is None:
        raise ValueError("training needs rng, e.g. numpy.random.RandomState(0); test time takes train=False")
    if times_s is not None and len(times_s) != num_frames:
        raise ValueError(f"times_s must hold one time for each of {num_frames} frames; got {len(times_s)}")
    if times_s is not None and not (np.diff(times_s) >= 0).all():  # NaN neither
        raise ValueError(f"times_s must ascend, in s; got {np.asarray(times_s)}")
    step = num_frames // length
    if step == 0:
        return [min(k, num_frames - 1) for k in range(length)]
    places = num_frames / length * np.arange(length)
    if train and step >= 2:
        places = places + step / 2 * (rng.random_sample(length) - 0.5)
        # Only the ends can leave the clip: the jitter is less than half the distance between two frames.
        places[0] = max(places[0], 0)
        places[-1] = min(places[-1], num_frames - 1)
    if times_s is not None and num_frames > 1:
        mean_s = (times_s[-1] - times_s[0]) / (num_frames - 1)
        shown = np.searchsorted(times_s, times_s[0] + mean_s * places + 1e-6, side="right") - 1
        return [int(number) for number in shown]
    return [int(place) for place in np.floor(places)]


def varying_times(times_s: Sequence[float | None]) -> Float64[np.ndarray, " time"] | None:
    """Return the ascending times from the first frame's on, or None if the rate is constant or a time is unknown.

    Constant is a rate at which no frame is half a mean frame from its place: containers round times.
    """
    if len(times_s) < 3 or None in times_s:
        return None
    times = np.asarray(times_s, np.float64) - times_s[0]
    mean_s = times[-1] / (len(times) - 1)
    if np.abs(times - mean_s * np.arange(len(times))).max() < 0.5 * mean_s or mean_s <= 0:
        return None
    return times
