"""BodyClips: rendered clips of a whole body in motion, with the exact positions of its 17 joints."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gatescope.loaders.clip import Clip
from gatescope.loaders.rendered.clips import RenderedClips
from rendered_people.body_motion import BodyMotion

# One stream of random numbers for each ingredient of a clip, so that one can change without the others.
_PERSON, _MOTION, _SCENE, _PAINT = range(4)


class BodyClips(RenderedClips):
    """Rendered clips of people walking, or of given motions, none of them from a video.

    Clip i is a function of (seed, split, i, size, num_frames, fps) and of the motions alone. Every clip has a person of
    its own, so that nobody appears in two splits. Without `motions` each clip is a gait of its own (`gaits.gait`); with
    them it is a part of one, resampled to `fps`, and the caller decides which motions are for training.

    The camera follows the pelvis, which is always at the image's centre and at one distance, so that sizes can be told
    (`render_body`). `joints_2d` and `joints_3d` are exact; a frame's exposure is short, so that nothing is blurred.

    People wear a marked suit: right limbs red, left limbs green, trunk blue. In a picture of a few dozen pixels a grey
    body seen from the front looks the same as its mirror image with limbs exchanged; the suit distinguishes them.

    Raises ValueError if an argument is out of range or a motion is too short for a clip.
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
        super().__init__(split, num_clips, size, seed, num_frames)
        if not 0 < fps < np.inf:
            raise ValueError(f"fps must be a positive number of frames per second; got {fps}")
        self.fps = float(fps)
        self.motions = None if motions is None else tuple(motion.resampled(self.fps) for motion in motions)
        if self.motions == ():
            raise ValueError("motions must hold at least one BodyMotion; leave them out for procedural gaits")
        for motion in self.motions or ():
            if len(motion.joints) < self.num_frames:
                raise ValueError(
                    f"clips of {self.num_frames} frames at {self.fps:g} frames/s need motions as long; "
                    f"{motion.source} has {len(motion.joints)}: leave it out, or ask for fewer frames"
                )

    def determined_by(self) -> dict:
        """Return all parameters that determine the clips, for JSON."""
        contents = [
            [motion.source, hashlib.sha256(np.ascontiguousarray(motion.joints).tobytes()).hexdigest()]
            for motion in self.motions or ()
        ]
        names = ("split", "seed", "size", "num_frames", "fps")
        return {"motions": contents} | {name: getattr(self, name) for name in names}

    def motion(self, index: int) -> BodyMotion:
        """Return the motion of clip `index`, in the motion's own world axes."""
        rng = self._stream(_MOTION, index)
        if self.motions is None:
            from rendered_people.gaits import gait

            return gait(rng, num_frames=self.num_frames, fps=self.fps)
        # In proportion to their lengths, so that all times are equally likely.
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
        """Render clip `index`."""
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
