"""CachedClips: rendered clips kept on disk, memory-mapped and checksummed; several processes may fill one cache."""

import hashlib
import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import lru_cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from filelock import FileLock
from torch.utils.data import Dataset

from gatescope.dependencies import digest_of
from gatescope.files import PACKAGES, atomic_write, regular_file, sha256_of, warn_not_kept
from gatescope.loaders.clip import Clip
from gatescope.loaders.rendered.clips import RenderedClips
from gatescope.paths import CACHE

CLIPS_PER_SHARD = 27
_ARRAYS = ("frames", "hand_mask", "depth", "flow", "joints_2d", "joints_3d")


class CachedClips(Dataset):
    """The clips of a `SyntheticGestures` or its like, rendered once and then read from a folder below `folder`.

    The folder's name is a hash of all that determines the clips: the data set's parameters, the renderer's code and
    the versions of its libraries. A shard's card, with the checksums of its arrays and its own, is written last; a
    shard without a card, or that does not match it, is rendered again. Where the folder cannot be written, clips stay
    in memory, with a warning.
    """

    def __init__(self, clips: RenderedClips, folder: Path = CACHE):
        self.clips = clips
        self.folder = Path(folder) / f"{clips.KIND}-{_key(clips)}"
        self._shards: dict[int, _Shard] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def label(self, index: int) -> int:
        """Return the label of clip `index`: its class's 0-based place in the data set's `names`."""
        return self.clips.label(index)

    def __getitem__(self, index: int) -> Clip:
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)} cached clips")
        number, place = divmod(index % len(self), CLIPS_PER_SHARD)
        if number not in self._shards:
            self._shards[number] = self._render(number)
        facts, arrays = self._shards[number]
        return Clip(**facts[place], **{name: array[place] for name, array in arrays.items()})

    def fill(self, processes: int = 1) -> Iterator[int]:
        """Render what is missing; yield the number of clips present after each shard, for a progress bar."""
        num_clips = {
            number: min(CLIPS_PER_SHARD, len(self) - number * CLIPS_PER_SHARD)
            for number in range(-(-len(self) // CLIPS_PER_SHARD))
        }
        missing = [number for number in num_clips if not self._card(number).exists()]
        # Processes that fill the same cache should begin at different shards.
        random.Random(os.getpid()).shuffle(missing)
        present = len(self) - sum(num_clips[number] for number in missing)
        with ExitStack() as stack:
            done = map(self._fill_one, missing)
            if processes > 1:
                # Forked workers would inherit the threads and locks of torch and OpenCV.
                pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
                done = stack.enter_context(pool).map(self._fill_one, missing)
            for number in done:
                present += num_clips[number]
                yield present

    def __getstate__(self) -> dict:
        # Workers open their own maps.
        return self.__dict__ | {"_shards": {}}

    def _card(self, number: int) -> Path:
        return self.folder / f"{number:05d}.json"

    def _file(self, number: int, name: str) -> Path:
        return self.folder / f"{number:05d}-{name}.npy"

    def _fill_one(self, number: int) -> int:
        shard = self._render(number)
        if not self._card(number).exists():
            self._shards[number] = shard
        return number

    def _open(self, number: int) -> "_Shard | None":
        """Return the contents of a shard, or None if it is absent, unfinished or damaged."""
        try:
            text, digest = regular_file(self._card(number)).read_bytes().rsplit(b"\n", 1)
            if hashlib.sha256(text).hexdigest().encode() != digest:
                return None
            card = json.loads(text)
            if any(sha256_of(self._file(number, name)) != digest for name, digest in card["sha256"].items()):
                return None
            return card["clips"], {name: np.load(self._file(number, name), mmap_mode="r") for name in card["sha256"]}
        except (OSError, ValueError):
            return None

    def _render(self, number: int) -> "_Shard":
        if found := self._open(number):
            return found
        clips: list[Clip] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{number:05d}.lock"):
                # Another process may have finished it while this one waited.
                if found := self._open(number):
                    return found
                # Left by a writer that was killed.
                for unfinished in self.folder.glob(f".{number:05d}*"):
                    unfinished.unlink()
                clips = self._clips_of(number)
                self._write(number, clips)
            return self._open(number) or _shard(clips)
        except OSError as error:
            warn_not_kept(self.folder, error)
            return _shard(clips or self._clips_of(number))

    def _clips_of(self, number: int) -> list[Clip]:
        start = number * CLIPS_PER_SHARD
        return [self.clips.clip(index) for index in range(start, start + CLIPS_PER_SHARD)]

    def _write(self, number: int, clips: list[Clip]) -> None:
        facts, arrays = _shard(clips)
        digests = {}
        for name, array in arrays.items():
            with atomic_write(self._file(number, name)) as path, open(path, "wb") as file:
                np.save(file, array)
            digests[name] = sha256_of(self._file(number, name))
        text = json.dumps({"clips": facts, "sha256": digests}).encode()
        with atomic_write(self._card(number)) as path:
            path.write_bytes(text + b"\n" + hashlib.sha256(text).hexdigest().encode())


_Shard = tuple[list[dict], dict[str, np.ndarray]]  # each clip's plain facts, and the arrays of all clips


def _shard(clips: list[Clip]) -> _Shard:
    facts = [{name: getattr(clip, name) for name in ("fps", "source", "label", "name")} for clip in clips]
    present = [name for name in _ARRAYS if getattr(clips[0], name) is not None]
    return facts, {name: np.stack([getattr(clip, name) for clip in clips]) for name in present}


@lru_cache(maxsize=2)
def _renderer(module: str) -> list:
    """Return what determines the clips beside a data set's parameters: code, versions of libraries, shard size."""
    libraries = [version(name) for name in ("numpy", "scipy", "numba", "scikit-image", "opencv-python-headless")]
    return [digest_of([module]), libraries, CLIPS_PER_SHARD]


def _key(clips: RenderedClips) -> str:
    # A reader's own class is a library class with other parameters.
    module = next(each.__module__ for each in type(clips).__mro__ if each.__module__.split(".")[0] in PACKAGES)
    what = [clips.KIND, clips.determined_by(), _renderer(module)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
