"""Features of rendered clips from a trained network's Res3D, computed once and cached on disk."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from filelock import FileLock
from jaxtyping import Float16, Float32
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from gatescope.dependencies import digest_of
from gatescope.files import warn_not_kept
from gatescope.loaders import CachedClips, ClipTensors
from gatescope.models import GestureNetwork
from gatescope.models.cards import read_weights, write_weights
from gatescope.paths import CACHE

BATCH_SIZE = 16  # clips

Features = Float16[Tensor, "clips channel step rows columns"]


class FrozenFeatures(Dataset):
    """Data set of a clip's features from `network.encode` (channel, step, rows, columns) and its label.

    Each value is a mean over `pool` x `pool` places of a map, in 16 bits. All features are computed together, at the
    first access or by `fill`. The file's name is a hash of all that decides them: the weights of Res3D, the network's
    config, the clips, `pool` and the code. A file that does not match its checksum is computed again. Where the folder
    cannot be written, features stay in memory, with a warning.

    Raises ValueError if there is no clip or the network is in training mode, in which features change between passes.
    `fill` raises it if maps do not divide by `pool` or exceed the range of 16 bits.
    """

    def __init__(self, network: GestureNetwork, clips: CachedClips, *, pool: int = 2, folder: Path = CACHE):
        if not len(clips) or pool < 1:
            raise ValueError(f"needed one clip or more, and pool >= 1; got {len(clips)} and {pool}")
        if network.training:
            raise ValueError("the features of a network in training change from batch to batch; call network.eval()")
        self.network, self.clips, self.pool = network, clips, pool
        self.path = Path(folder) / f"features-{self._key()}.safetensors"
        self._features: Features | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Float32[Tensor, "channel step rows columns"], int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)} with features")
        for _ in self.fill():
            pass
        index %= len(self)
        return self._features[index].float(), self.clips.label(index)

    def __getstate__(self) -> dict:
        # Workers read the file themselves.
        return self.__dict__ | {"_features": None}

    def fill(self) -> Iterator[int]:
        """Compute the features if they are missing; yield the number of clips done, for a progress bar."""
        if self._features is None:
            self._features = self._open()
        if self._features is not None:
            return
        with ExitStack() as held:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(self.path.with_suffix(".lock")))
            except OSError as error:
                warn_not_kept(self.path.parent, error)
            # Another process may have finished while this one waited.
            if (found := self._open()) is None:
                batches: list[Tensor] = []
                for x, _ in DataLoader(ClipTensors(self.clips, **self.network.config.input), BATCH_SIZE):
                    batches.append(self._encode(x))
                    yield sum(map(len, batches))
                found = torch.cat(batches)
                self._keep(found)
        self._features = found

    def _keep(self, features: Features) -> None:
        try:
            # Temporary files of a killed writer.
            for unfinished in self.path.parent.glob(f".{self.path.stem}*"):
                unfinished.unlink()
            write_weights(self.path, {"features": features}, {})
        except OSError as error:
            warn_not_kept(self.path.parent, error)

    @torch.inference_mode()
    def _encode(self, x: Float32[Tensor, "batch 3 time size size"]) -> Features:
        maps = self.network.encode(x).transpose(1, 2)
        rows, columns = maps.shape[-2:]
        if rows % self.pool or columns % self.pool:
            raise ValueError(f"maps of {rows} x {columns} do not divide by a pool of {self.pool}")
        pooled = F.avg_pool3d(maps, (1, self.pool, self.pool))
        largest, most = float(pooled.abs().max()), torch.finfo(torch.float16).max
        if not largest <= most:
            raise ValueError(f"features reach {largest:g}, and 16 bits hold {most:g}; is the network trained?")
        return pooled.half()

    def _open(self) -> Features | None:
        """Return the features on disk, or None if they are absent, unfinished or damaged."""
        try:
            return read_weights(self.path)[0]["features"]
        except (OSError, ValueError, LookupError):
            return None

    def _key(self) -> str:
        weights = {name: tensor.contiguous() for name, tensor in self.network.res3d.state_dict().items()}
        what = [
            hashlib.sha256(save(weights)).hexdigest(),
            self.network.config.to_json(),
            [self.clips.folder.name, len(self.clips), self.pool],
            digest_of([__name__]),
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
