"""Compare the hands that the atlas finds in recordings with those of MediaPipe's own program, and keep how they agree.

    python data/evidence/hands/agreement.py CLIPS PYTHON

CLIPS is a folder of videos; PYTHON an interpreter of an environment of its own, into which `pip install
mediapipe==0.10.21` went: it wants an older numpy than the atlas. Both get the same frames, in order, and run the same
two networks. The atlas, which has all frames, also looks backwards and fills short gaps; MediaPipe, made for a camera,
does not. `agreement.json` receives the clips' names and numbers, nothing of the clips.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from gatescope.files import code_digest
from gatescope.formats.facts import write_card
from gatescope.loaders.datasets import recorded
from gatescope.loaders.hands.measuring import measure_hands
from gatescope.loaders.hands.networks import made_by
from gatescope.loaders.hands.regions import MIDDLE, WRIST
from gatescope.measures.hand_errors import KEPT
from gatescope.paths import named

CARD = "agreement.json"
# Run by the other interpreter: frames from one file, the joints (px) to another. Asked for two hands, MediaPipe gives
# three in some frames. It counts from the centre of the first pixel, the atlas from its corner.
THEIRS = """
import sys
import mediapipe
import numpy as np
from mediapipe.python.solutions.hands import Hands

frames = np.load(sys.argv[1])
height, width = frames.shape[1:3]
joints = np.full((len(frames), 4, 21, 2), np.nan, np.float32)
with Hands(model_complexity=1, max_num_hands=2) as hands:
    for t, frame in enumerate(frames):
        for place, hand in enumerate((hands.process(frame).multi_hand_landmarks or ())[:4]):
            joints[t, place] = [(each.x * width + 0.5, each.y * height + 0.5) for each in hand.landmark]
np.save(sys.argv[2], joints)
print(mediapipe.__version__)
"""

Joints = Float32[np.ndarray, "time hands 21 2"]


def found_by_mediapipe(frames: UInt8[np.ndarray, "time height width 3"], python: str) -> tuple[Joints, str]:
    """Return the joints (px) that MediaPipe finds in another interpreter, NaN where it finds none, and its version.

    Raises ValueError with the end of what it said, if it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answer = (str(Path(folder) / name) for name in ("frames.npy", "joints.npy"))
        np.save(given, frames)
        command = [python, "-c", THEIRS, given, answer]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise ValueError(f"{python} must be able to run mediapipe 0.10.21; it said: {done.stderr[-500:]}")
        return np.load(answer), done.stdout.strip()


def agreement(ours: Joints, theirs: Joints) -> dict[str, Any]:
    """Return how many frames have a hand by both, by one and by neither, and how far apart the hands of both are.

    Of a frame in which both find one, the nearest two count, by the mean distance of their joints. `px` and `palms`
    (from wrist to middle finger by MediaPipe) are the medians over frames, None without any; `other` is the share
    beyond a palm, which are different hands or none.
    """
    is_ours, is_theirs = (np.isfinite(joints[..., 0, 0]).any(1) for joints in (ours, theirs))
    distance = np.linalg.norm(ours[:, :, None] - theirs[:, None], axis=-1).mean(-1)[is_ours & is_theirs]
    palm = np.linalg.norm(theirs[:, :, MIDDLE] - theirs[:, :, WRIST], axis=-1)[is_ours & is_theirs]
    distance = np.where(np.isfinite(distance), distance, np.inf).reshape(len(distance), ours.shape[1] * theirs.shape[1])
    nearest = np.arange(len(distance)), distance.argmin(1)
    in_px = distance[nearest]
    in_palms = in_px / palm[nearest[0], nearest[1] % theirs.shape[1]]
    return {
        "frames": len(ours),
        "both": int((is_ours & is_theirs).sum()),
        "atlas": int((is_ours & ~is_theirs).sum()),
        "mediapipe": int((is_theirs & ~is_ours).sum()),
        "neither": int((~is_ours & ~is_theirs).sum()),
        "px": float(np.median(in_px)) if in_px.size else None,
        "palms": float(np.median(in_palms)) if in_px.size else None,
        "other": float((in_palms > 1).mean()) if in_px.size else None,
    }


def main(arguments: list[str]) -> None:
    """Compare on each clip, and write the card."""
    if len(arguments) != 2:
        raise SystemExit(__doc__)
    clips, python = Path(arguments[0]).absolute(), arguments[1]
    pairs = {}
    for clip in recorded(clips):
        theirs, version = found_by_mediapipe(clip.frames, python)
        pairs[clip.name or Path(clip.source).stem] = measure_hands(clip.frames, clip.fps).joints, theirs
    found = {name: agreement(*pair) for name, pair in pairs.items()}
    everything = agreement(*map(np.concatenate, zip(*pairs.values(), strict=True)))
    facts = {"of": named(clips), "clips": found, "all": everything, "mediapipe": version, **made_by()}
    write_card(KEPT / CARD, {**facts, "code": code_digest()})


if __name__ == "__main__":
    main(sys.argv[1:])
