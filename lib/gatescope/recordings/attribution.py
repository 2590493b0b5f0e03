"""Attribution that captum lacks: recurrent layers step by step, and integrated gradients that add up.

Where captum is right it is called directly: `captum.attr.GradientShap`, `Occlusion`. `classes` are the classes whose
logits are explained, one a clip; `reference` is the baseline of each clip, for instance `still`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from gatescope.models import GestureNetwork
from gatescope.recordings.opening import Names
from gatescope.recordings.record import intervene, record
from gatescope.recordings.scoring import BATCH_SIZE, Clips

Classes = Int64[Tensor, " clips"]

# Scores change most within the first fiftieth of the path from a still clip, which even steps miss: step k of n ends at
# (k / n) ** BEND.
BEND = 1.7
MAX_PIECES = 128  # of a path, after refinement


def still(x: Clips) -> Clips:
    """Return clips whose frames are all the clip's mean frame: the same scene without motion."""
    return x.mean(2, keepdim=True).expand_as(x).contiguous()


@dataclass(frozen=True, eq=False)
class PathSum:
    """Integrated gradients of clips, with the error of their sum."""

    values: Clips  # logits that each input value adds to the class's score
    errors: Float[Tensor, " clips"]  # of the sum, relative to the difference in score
    gradients: Int64[Tensor, " clips"]  # number computed


def integrated_gradients(
    network: GestureNetwork,
    x: Clips,
    reference: Clips,
    classes: Classes,
    *,
    tolerance: float = 0.01,
    num_pieces: int = 16,
) -> PathSum:
    """Return integrated gradients (Sundararajan et al. 2017) from `reference` to `x` that add up within `tolerance`.

    The path is cut into `num_pieces`, which captum integrates with one gradient each; a clip's worst quarter of them is
    halved until the sum is within tolerance or there are MAX_PIECES. Errors are relative to the difference in score, or
    to one logit where that is smaller.

    Raises ValueError for a class that the network does not have, no piece or more than MAX_PIECES.
    """
    if not (1 <= num_pieces <= MAX_PIECES and tolerance >= 0):
        raise ValueError(f"needed num_pieces 1 to {MAX_PIECES}, tolerance >= 0; got {num_pieces} and {tolerance}")
    clips = zip(x, reference, classes.tolist(), strict=True)
    found = [_along_path(network, *clip, tolerance, num_pieces) for clip in clips]
    values, errors, gradients = zip(*found, strict=True)
    return PathSum(torch.stack(values), torch.tensor(errors), torch.tensor(gradients))


def _along_path(
    network: GestureNetwork, clip: Tensor, start: Tensor, label: int, tolerance: float, num_pieces: int
) -> tuple[Tensor, float, int]:
    from captum.attr import IntegratedGradients  # slow to import

    captum = IntegratedGradients(network)

    def point(at: Tensor) -> Tensor:
        return start + at[:, None, None, None, None] * (clip - start)

    @torch.no_grad()
    def scores(at: Tensor) -> Tensor:
        parts = (network(point(part)) for part in at.split(BATCH_SIZE))
        return torch.cat([chosen(part, torch.full((len(part),), label)) for part in parts]).double()

    def integrate(low: Tensor, high: Tensor) -> Tensor:
        ends = zip(low.split(BATCH_SIZE), high.split(BATCH_SIZE), strict=True)
        return torch.cat([captum.attribute(point(b), point(a), target=label, n_steps=1) for a, b in ends])

    edges = torch.linspace(0, 1, num_pieces + 1, dtype=clip.dtype) ** BEND
    low, high = edges[:-1], edges[1:]
    given = scores(edges)
    rises = given.diff()
    found = integrate(low, high)
    count = len(found)
    scale = max(abs(float(given[-1] - given[0])), 1.0)
    while True:
        missed = rises - found.flatten(1).double().sum(1)
        error = abs(float(missed.sum())) / scale
        worst = torch.zeros(len(missed), dtype=torch.bool)
        worst[missed.abs().topk(-(-len(missed) // 4)).indices] = True
        if error <= tolerance or len(missed) + int(worst.sum()) > MAX_PIECES:
            return found.sum(0), error, count
        middle = (low[worst] + high[worst]) / 2
        first = scores(middle) - scores(low[worst])
        halves = torch.cat([low[worst], middle]), torch.cat([middle, high[worst]])
        rises = torch.cat([rises[~worst], first, rises[worst] - first])
        found = torch.cat([found[~worst], integrate(*halves)])
        low, high = (torch.cat([old[~worst], new]) for old, new in zip((low, high), halves, strict=True))
        count += len(halves[0])


def grad_cam(
    network: nn.Module,
    x: Float[Tensor, "clips ..."],
    classes: Classes,
    point: str = "layer2.h",
    names: Names | None = None,
) -> Float[Tensor, "clips step rows columns"]:
    """Return Grad-CAM (Selvaraju et al. 2017) at a point, a map for every time step, never negative.

    A channel's weight at a step is the spatial mean of the gradient there, which includes the step's effect on later
    ones. Maps are not normalised, so that values compare over time. The network is any that returns class scores from
    clips; `point` and `names` are as in `record`.

    Raises LookupError if there is no such point, ValueError if it has one value per channel, as a pooled gate has.
    """
    maps = []
    for part, labels in zip(x.split(BATCH_SIZE), classes.split(BATCH_SIZE), strict=True):
        with torch.enable_grad(), record(network, point, *_given(names), gradients=True) as recording:
            score = chosen(network(part), labels).sum()
        values, gradient = recording[point], recording.gradient(point, score)
        if values.ndim != 5:
            raise ValueError(f"Grad-CAM needs maps; {point} has the shape {tuple(values.shape)}, a value per channel")
        maps.append(F.relu((gradient.mean((3, 4), keepdim=True) * values).sum(2)))
    return torch.cat(maps)


def conductance(
    network: nn.Module,
    features: Float[Tensor, "clips ..."],
    reference: Float[Tensor, "clips ..."],
    classes: Classes,
    points: Sequence[str],
    num_steps: int = 32,
    names: Names | None = None,
) -> dict[str, Float[Tensor, "clips step *channel_and_space"]]:
    """Return the conductance (Dhamdhere et al. 2019) of each of `points` from `reference` to `features`, in logits.

    One change suits recurrent layers: all points are held fixed while one step of one of them varies, since the
    reaction of the others is counted where it occurs. Where every path from the features to the score passes through
    `points` (a cut), the values of all points and steps add up to the difference in score, up to the error of
    `num_steps`. `layer1.h` is a cut; so are `layer1.i`, `f`, `o` and `g` together, but no gate alone.

    Of a GestureNetwork `features` are those of `encode`; of any other network they are what it takes. `points` and
    `names` are as in `record`.

    Raises LookupError if there is no such point after the features, ValueError for no step or an unknown class.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be 1 or more; got {num_steps}")
    score_of = network.score if isinstance(network, GestureNetwork) else network
    found: dict[str, Tensor] = {}
    before: dict[str, tuple[Tensor, Tensor]] = {}
    for at in (torch.linspace(0, 1, num_steps + 1) ** BEND).tolist():
        on_path = reference + at * (features - reference)
        with torch.no_grad(), record(network, *points, *_given(names)) as recording:
            score_of(on_path)
        held = {name: value.clone().requires_grad_() for name, value in recording.items()}
        with torch.enable_grad(), intervene(network, held, names):
            score = chosen(score_of(on_path), classes).sum()
        gradients = torch.autograd.grad(score, list(held.values()), allow_unused=True, materialize_grads=True)
        for (name, value), gradient in zip(held.items(), gradients, strict=True):
            if name in before:
                last_value, last_gradient = before[name]
                found[name] = found.get(name, 0) + (value.detach() - last_value) * (gradient + last_gradient) / 2
            before[name] = value.detach(), gradient
    return found


def _given(names: Names | None) -> list[Names]:
    return [] if names is None else [names]


def at_pixels(maps: Float[Tensor, "clips step rows columns"], x: Clips) -> Float[Tensor, "clips time height width"]:
    """Return maps at the frames and pixels of `x`, by nearest-neighbour interpolation."""
    return F.interpolate(maps[:, None], size=x.shape[2:], mode="nearest")[:, 0]


def chosen(scores: Float[Tensor, "clips classes"], classes: Classes) -> Float[Tensor, " clips"]:
    """Return each clip's score of its class; raises ValueError for a class that the network does not have."""
    if len(wrong := classes[(classes < 0) | (classes >= scores.shape[1])]):
        raise ValueError(f"class {wrong[0]} is none of the network's {scores.shape[1]} (from 0)")
    return scores.gather(1, classes[:, None])[:, 0]
