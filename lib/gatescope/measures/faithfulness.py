"""Faithfulness of attributions: removal of what they rank highest, and comparison with randomised networks.

`reference` is what replaces the removed part of a clip; `classes` are the classes whose scores are measured, one a
clip. Infidelity and sensitivity are captum's own, `captum.metrics`.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from gatescope.measures.localisation import correlation
from gatescope.models import GestureNetwork
from gatescope.recordings.attribution import BATCH_SIZE, Classes, Clips, chosen

TOP_DOWN = ("head", "mobilenet", "layer2", "layer1", "res3d")
ClipMaps = Float[np.ndarray, "clips ..."]


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
    """Return the class's probability after the first `parts` (0 to 1) of a clip, highest `priority` first, are removed.

    Deletion (Petsiuk et al. 2018), or with `insert` insertion into `reference`. Ties are ordered at random. A priority
    with one value a frame removes whole frames.
    """
    flat = priority.flatten(1).numpy(force=True)
    order = np.lexsort((np.random.default_rng(0).random(flat.shape), -flat), axis=-1)
    ranks = torch.from_numpy(order.argsort(-1) / flat.shape[1]).view(priority.shape).to(x.dtype)  # 0 to below 1
    curve = []
    for part in parts:
        taken = (ranks < part)[:, None]
        changed = torch.where(taken, x, reference) if insert else torch.where(taken, reference, x)
        logits = torch.cat([network(some) for some in changed.split(BATCH_SIZE)])
        curve.append(chosen(logits.softmax(1), classes))
    return torch.stack(curve, 1).float().numpy()


def area_under(curves: Float[np.ndarray, "*any parts"], parts: Sequence[float]) -> Float[np.ndarray, "*any"]:
    """Return the mean height of curves over `parts`, by the trapezoid rule."""
    return np.trapezoid(curves, parts, axis=-1) / (parts[-1] - parts[0])


def remove_tubes(shape: tuple[int, int, int]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return a perturbation for `captum.metrics.infidelity` that puts the reference into a random tube of each clip.

    `shape` is (frames, rows, columns). The function takes clips and references and returns the tubes, 1 inside, and the
    clips without them. It suits attributions that contain the difference from the reference: integrated gradients.
    """
    rng = torch.Generator().manual_seed(0)

    def perturb(x: Clips, reference: Clips) -> tuple[Tensor, Tensor]:
        tube = torch.zeros_like(x)
        sizes = list(zip(x.shape[2:], shape, strict=True))
        for each in tube:
            starts = [int(torch.randint(full - size + 1, (), generator=rng)) for full, size in sizes]
            each[:, *(slice(start, start + size) for start, size in zip(starts, shape, strict=True))] = 1
        return tube, torch.where(tube > 0, reference, x)

    return perturb


def randomised(network: GestureNetwork, x: Clips, seed: int = 0) -> Iterator[tuple[str, GestureNetwork]]:
    """Yield copies of `network` with more and more parts at random weights, from the head down (Adebayo et al. 2018).

    Each comes with the name of the part randomised last; `network` itself does not change. One pass over the clips `x`
    sets the running statistics of the norms in random parts: those of a new network would let no signal through.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = GestureNetwork(network.config)
    fresh.to(next(network.parameters()))
    network = deepcopy(network)
    for number, name in enumerate(TOP_DOWN, 1):
        network.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
        _calibrate(network, TOP_DOWN[:number], x)
        yield name, deepcopy(network)


@torch.no_grad()
def _calibrate(network: GestureNetwork, parts: Sequence[str], x: Clips) -> None:
    norms = [each for name in parts for each in network.get_submodule(name).modules() if isinstance(each, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train().momentum = None  # the mean over batches
    # Parts of nearly equal size, as each counts the same.
    for some in x.chunk(-(-len(x) // BATCH_SIZE)):
        network(some)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


def rank_correlation(maps: ClipMaps, others: ClipMaps) -> Float[np.ndarray, " clips"]:
    """Return Spearman's rank correlation of two maps of each clip, -1 to 1; NaN where one of them is constant."""
    from scipy.stats import rankdata  # slow to import

    return correlation(*(rankdata(values.reshape(len(values), 1, -1), axis=-1) for values in (maps, others)))
