"""BodyClips: rendered clips of a whole body in motion, with the exact place of its 17 joints."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from operator import index as whole

import numpy as np
from torch.utils.data import Dataset

from gatescope.loaders.clip import Clip
from gatescope.loaders.rendered.gestures import MAX_SIZE, SPLITS
from rendered_people.body_motion import BodyMotion

# One stream of random numbers for each thing a clip is made of, so that one can change without the others.
_PERSON, _MOTION, _SCENE, _PAINT = range(4)


class BodyClips(Dataset):
    """Rendered clips of people walking, or of given motions, none of them from a video.

    Clip i is a function of (seed, split, i, size, num_frames, fps) and of what the motions hold alone. Every clip is
    performed by a person of its own, so that nobody appears in two splits. Without `motions` each clip is a gait of
    its own (`gaits.gait`); with them it is a part of one, resampled to `fps`: which motions are for training and which
    for testing is then the caller's to say.

    The camera stands within `MOST_YAW` of where the body faces at mid-clip and follows the pelvis, which is always at
    the image's centre and at one distance. It sees a square of 2.4 m there: sizes can be told. Where a motion reaches
    further, the clip's square is as large as it takes. `joints_2d` and `joints_3d` are exact; a frame's exposure is
    short, so that nothing is blurred.

    People wear a marked suit: right limbs red, left limbs green, trunk blue. In a picture of a few dozen pixels a grey
    body seen from the front and its mirror image, limbs exchanged, look the same; the suit says which it is.

    Raises:
        ValueError: if an argument is out of range or a motion is too short for a clip.
    """

    KIND = "bodies"

    def __init__(
        self,
        split: str = "train",
        num_clips: int = 2000,
        size: int = 48,
        seed: int = 0,
        *,
        motions: Sequence[BodyMotion] | None = None,
        num_frames: int = 10,
        fps: float = 12.5,
    ):
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        if num_clips < 0 or not 8 <= size <= MAX_SIZE or num_frames < 1 or seed < 0 or not 0 < fps < np.inf:
            raise ValueError(
                f"needed num_clips >= 0, size 8 to {MAX_SIZE} px, num_frames >= 1, seed >= 0 and fps above 0; "
                f"got {num_clips}, {size}, {num_frames}, {seed} and {fps}"
            )
        self.split = split
        self.num_clips, self.size = whole(num_clips), whole(size)
        self.seed, self.num_frames, self.fps = whole(seed), whole(num_frames), float(fps)
        self.motions = None if motions is None else tuple(motion.resampled(self.fps) for motion in motions)
        if self.motions == ():
            raise ValueError("motions must hold at least one BodyMotion; leave them out for procedural gaits")
        for motion in self.motions or ():
            if len(motion.joints) < self.num_frames:
                raise ValueError(
                    f"clips of {self.num_frames} frames at {self.fps:g} frames/s need motions as long; "
                    f"{motion.source} has {len(motion.joints)}: leave it out, or ask for fewer frames"
                )

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, index: int) -> Clip:
        if not -self.num_clips <= index < self.num_clips:
            raise IndexError(f"clip {index} of {self.num_clips} {self.split} clips")
        return self.clip(whole(index) % self.num_clips)

    def determined_by(self) -> dict:
        """All but code that determines the clips, as JSON holds it."""
        contents = [
            [motion.source, hashlib.sha256(np.ascontiguousarray(motion.joints).tobytes()).hexdigest()]
            for motion in self.motions or ()
        ]
        names = ("split", "seed", "size", "num_frames", "fps")
        return {"motions": contents} | {name: getattr(self, name) for name in names}

    def motion(self, index: int) -> BodyMotion:
        """What clip `index` shows, in the motion's own world."""
        rng = self._stream(_MOTION, index)
        if self.motions is None:
            from rendered_people.gaits import gait

            return gait(rng, num_frames=self.num_frames, fps=self.fps)
        # By their lengths, so that each moment is as likely as any other.
        room = np.array([len(motion.joints) - self.num_frames + 1 for motion in self.motions])
        chosen = rng.choice(len(room), p=room / room.sum())
        start = int(rng.integers(room[chosen]))
        motion = self.motions[chosen]
        return replace(
            motion,
            joints=motion.joints[start : start + self.num_frames],
            source=f"{motion.source} from {start / self.fps:.2f} s",
        )

    def clip(self, index: int) -> Clip:
        """Render clip `index` of the endless sequence of which the data set is the beginning."""
        # Numba and SciPy take 0.5 s to import.
        from rendered_people.person import random_person
        from rendered_people.whole_body_render import render_body

        motion = self.motion(index)
        person = random_person(self._stream(_PERSON, index))
        images = render_body(person, motion, [self._stream(_SCENE, index), self._stream(_PAINT, index)], size=self.size)
        return Clip(
            fps=self.fps,
            source=f"bodies: {self.split} clip {index}, seed {self.seed}, {self.size} px: {motion.source}",
            **vars(images),
        )

    def _stream(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), purpose, number])
