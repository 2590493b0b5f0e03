"""Rendered clips kept on disk: memory-mapped, checked, filled by any number of processes at once."""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from filelock import FileLock
from torch.utils.data import Dataset

from gatescope.files import atomic_write, sha256_of, sha256_of_files
from gatescope.loaders.clip import Clip
from gatescope.loaders.synthetic.dataset import SyntheticGestures
from gatescope.paths import CACHE, LIBRARY

CLIPS_PER_SHARD = 27
_ARRAYS = ("frames", "hand_mask", "depth", "flow", "joints_2d", "joints_3d")


class CachedGestures(Dataset):
    """The clips of a `SyntheticGestures`, rendered once and read from `folder` from then on.

    The folder's name is a hash of all that determines the pixels: the data set's parameters, the renderer's code and
    the versions of the libraries it draws with. A shard's card, with the checksums of its arrays, is written last; a
    shard without a card, or whose arrays do not match it, is rendered again.
    """

    def __init__(self, clips: SyntheticGestures, folder: Path = CACHE):
        self.clips = clips
        self.folder = Path(folder) / f"gestures-{_key(clips)}"
        self._arrays: dict[int, dict] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def label(self, index: int) -> int:
        """The 0-based class of clip `index`."""
        return self.clips.label(index)

    def __getitem__(self, index: int) -> Clip:
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)} cached clips")
        shard, place = divmod(index % len(self), CLIPS_PER_SHARD)
        if shard not in self._arrays:
            self._arrays[shard] = self._open(shard) or self._render(shard)
        card, arrays = self._arrays[shard]
        parts = {name: array[place] for name, array in arrays.items()}
        return Clip(**card["clips"][place], **parts)

    def fill(self, processes: int = 1) -> Iterable[int]:
        """Render what is missing; yields the number of clips present after each shard, for a progress bar."""
        shards = range(-(-len(self) // CLIPS_PER_SHARD))
        missing = [shard for shard in shards if not self._card(shard).exists()]
        present = len(shards) - len(missing)
        if processes == 1 or len(missing) < 2:
            done = map(self._render_quietly, missing)
            for number, _ in enumerate(done, start=present + 1):
                yield min(number * CLIPS_PER_SHARD, len(self))
            return
        # Forked workers would inherit the threads and locks of torch and OpenCV.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for number, _ in enumerate(pool.map(self._render_quietly, missing), start=present + 1):
                yield min(number * CLIPS_PER_SHARD, len(self))

    def __getstate__(self) -> dict:
        # Workers open their own maps.
        return self.__dict__ | {"_arrays": {}}

    def _card(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.json"

    def _file(self, shard: int, name: str) -> Path:
        return self.folder / f"{shard:05d}-{name}.npy"

    def _open(self, shard: int) -> tuple[dict, dict[str, np.ndarray]] | None:
        """The card and arrays of a shard, or None if it is absent, unfinished or damaged."""
        try:
            card = json.loads(self._card(shard).read_text())
            if any(sha256_of(self._file(shard, name)) != digest for name, digest in card["sha256"].items()):
                return None
            return card, {name: np.load(self._file(shard, name), mmap_mode="r") for name in card["sha256"]}
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _render_quietly(self, shard: int) -> None:
        self._render(shard)

    def _render(self, shard: int) -> tuple[dict, dict[str, np.ndarray]]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{shard:05d}.lock"):
            # Another process may have finished it while this one waited.
            if found := self._open(shard):
                return found
            start = shard * CLIPS_PER_SHARD
            clips = [self.clips.clip(index) for index in range(start, start + CLIPS_PER_SHARD)]
            card = {
                "clips": [{k: getattr(clip, k) for k in ("fps", "source", "label", "name")} for clip in clips],
                "sha256": {},
            }
            for name in _ARRAYS:
                if getattr(clips[0], name) is not None:
                    with atomic_write(self._file(shard, name)) as path, open(path, "wb") as file:
                        np.save(file, np.stack([getattr(clip, name) for clip in clips]))
                    card["sha256"][name] = sha256_of(self._file(shard, name))
            with atomic_write(self._card(shard)) as path:
                path.write_text(json.dumps(card))
        return self._open(shard)


@lru_cache(maxsize=1)
def _renderer() -> str:
    """A hash of the renderer's code and of what it draws with."""
    code = sha256_of_files((LIBRARY / "loaders" / "synthetic").glob("*.py"), LIBRARY)
    libraries = ("numpy", "scipy", "numba", "scikit-image", "opencv-python-headless")
    return " ".join([code, *(f"{name} {version(name)}" for name in libraries)])


def _key(clips: SyntheticGestures) -> str:
    what = [
        clips.split,
        clips.size,
        clips.seed,
        clips.num_frames,
        clips.difficulty,
        clips.modalities,
        _renderer(),
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
