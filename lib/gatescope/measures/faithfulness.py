"""What attributions are worth: removing what they name, comparing them with those of spoilt networks.

`removal` and `remove_tubes` take `reference`, what stands where something of a clip is removed; `classes` are those
whose scores are looked at, one a clip. Infidelity and sensitivity are captum's own, `captum.metrics`.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.stats import rankdata
from torch import Tensor

from gatescope.models import GestureNetwork
from gatescope.recordings.attribution import BATCH_SIZE, Classes, Clips, chosen

TOP_DOWN = ("head", "mobilenet", "layer2", "layer1", "res3d")


@torch.inference_mode()
def removal(
    network: GestureNetwork,
    x: Clips,
    reference: Clips,
    priority: Float[Tensor, "#clips #time #height #width"],
    parts: Sequence[float],
    classes: Classes,
    *,
    insert: bool = False,
) -> Float32[np.ndarray, "clips parts"]:
    """The class's probability after the first `parts` (0 to 1) in the order of `priority` were removed from clips.

    Deletion (Petsiuk et al. 2018), or with `insert` insertion: as much of the clip put into `reference`. The highest
    go first, equals in a random order. A priority of one value a frame removes whole frames.
    """
    ranks = _ranks(priority).to(x.dtype)
    curve = []
    for part in parts:
        taken = (ranks < part)[:, None]
        changed = torch.where(taken, x, reference) if insert else torch.where(taken, reference, x)
        logits = torch.cat([network(some) for some in changed.split(BATCH_SIZE)])
        curve.append(chosen(logits.softmax(1), classes))
    return torch.stack(curve, 1).float().numpy()


def area_under(curves: Float[np.ndarray, "*any parts"], parts: Sequence[float]) -> Float[np.ndarray, "*any"]:
    """The mean height of curves over `parts`, by the trapezoid rule."""
    return np.trapezoid(curves, parts, axis=-1) / (parts[-1] - parts[0])


def remove_tubes(shape: tuple[int, int, int], seed: int = 0) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What `captum.metrics.infidelity` asks for: of each clip a tube of (frames, rows, columns) somewhere is replaced.

    The function takes clips and their references and returns where the tube was, 1 inside, and the clips without it.
    Attributions that already hold the difference from the reference, as integrated gradients do, go with it.
    """
    rng = torch.Generator().manual_seed(seed)

    def perturb(x: Clips, reference: Clips) -> tuple[Tensor, Tensor]:
        tube = torch.zeros_like(x)
        for each in tube:
            places = [
                int(torch.randint(full - size + 1, (), generator=rng))
                for full, size in zip(each.shape[1:], shape, strict=True)
            ]
            t, row, column = (slice(place, place + size) for place, size in zip(places, shape, strict=True))
            each[:, t, row, column] = 1
        return tube, torch.where(tube > 0, reference, x)

    return perturb


def randomised(network: GestureNetwork, seed: int = 0) -> Iterator[tuple[str, GestureNetwork]]:
    """Copies of `network` with more and more parts as before training, from the head down (Adebayo et al. 2018).

    Each comes with the name of the part that was the last to lose its weights; `network` stays as it is.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = GestureNetwork(network.config)
    fresh.to(next(network.parameters()))
    network = deepcopy(network)
    for name in TOP_DOWN:
        network.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
        yield name, deepcopy(network)


def rank_correlation(
    maps: Float[np.ndarray, "clips ..."], others: Float[np.ndarray, "clips ..."]
) -> Float[np.ndarray, " clips"]:
    """Spearman's rank correlation of two maps of each clip, -1 to 1; NaN where one is the same everywhere."""
    ranks = [rankdata(values.reshape(len(values), -1), axis=1) for values in (maps, others)]
    first, second = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    sizes = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.divide((first * second).sum(1), sizes, out=np.full(len(maps), np.nan), where=sizes > 0)


def _ranks(priority: Tensor) -> Tensor:
    """The place of each value in its clip's order, the highest first, from 0 to just below 1."""
    rng = np.random.default_rng(0)
    flat = priority.flatten(1).numpy(force=True)
    ranks = np.empty(flat.shape)
    for row, values in enumerate(flat):
        ranks[row, np.lexsort((rng.random(len(values)), -values))] = np.arange(len(values)) / len(values)
    return torch.from_numpy(ranks).view(priority.shape)
