"""Attribution where captum alone does not do: recurrent layers step by step, and path sums that add up.

What captum does rightly is called directly: `captum.attr.GradientShap`, `Occlusion`. Everywhere `classes` are those
whose logits are explained, one a clip, and `reference` is what the clips are compared with, for instance `still`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from captum.attr import IntegratedGradients
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from gatescope.models import GestureNetwork
from gatescope.recordings.record import intervene, record

Clips = Float[Tensor, "clips channel time height width"]
Features = Float[Tensor, "clips step features rows columns"]
Classes = Int64[Tensor, " clips"]

BATCH_SIZE = 16  # clips
# Along a straight path from where nothing moves these networks first see nothing and then change their mind within a
# fiftieth of the way, so even steps miss most of it: step k of n ends at (k / n) ** BEND.
BEND = 1.7


def still(x: Clips) -> Clips:
    """Each clip's own mean picture in the place of every frame: the same scene in which nothing moves."""
    return x.mean(2, keepdim=True).expand_as(x).contiguous()


@dataclass(frozen=True, eq=False)
class PathSum:
    """Integrated gradients of clips, and how well they add up."""

    values: Clips  # in logits: what each number of the input adds to the class's score
    errors: Float[Tensor, " clips"]  # of the sum, as a part of the difference in score it should be
    gradients: Int64[Tensor, " clips"]  # that were computed


def integrated_gradients(
    network: GestureNetwork,
    x: Clips,
    reference: Clips,
    classes: Classes,
    *,
    tolerance: float = 0.01,
    max_pieces: int = 128,
) -> PathSum:
    """Sundararajan et al. 2017, from `reference` to `x`, refined until each clip's values add up within `tolerance`.

    The straight path is cut in 16 pieces, which captum integrates, with one gradient each; a clip's worst quarter of
    them is halved until the sum is right or there are `max_pieces`. Errors are relative to the difference in score,
    or to one logit where that is less.
    """
    found = [
        _along_path(network, clip, start, label, tolerance, max_pieces)
        for clip, start, label in zip(x, reference, classes.tolist(), strict=True)
    ]
    values, errors, gradients = zip(*found, strict=True)
    return PathSum(torch.stack(values), torch.tensor(errors), torch.tensor(gradients))


def _along_path(
    network: GestureNetwork, clip: Tensor, start: Tensor, label: int, tolerance: float, max_pieces: int
) -> tuple[Tensor, float, int]:
    captum = IntegratedGradients(network)

    def point(at: Tensor) -> Tensor:
        return start + at[:, None, None, None, None] * (clip - start)

    @torch.no_grad()
    def scores(at: Tensor) -> Tensor:
        return torch.cat([network(point(part))[:, label] for part in at.split(BATCH_SIZE)]).double()

    def integrate(low: Tensor, high: Tensor) -> Tensor:
        ends = zip(low.split(BATCH_SIZE), high.split(BATCH_SIZE), strict=True)
        return torch.cat([captum.attribute(point(b), point(a), target=label, n_steps=1) for a, b in ends])

    edges = torch.linspace(0, 1, 17, dtype=clip.dtype) ** BEND
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
        if error <= tolerance or len(missed) + int(worst.sum()) > max_pieces:
            return found.sum(0), error, count
        middle = (low[worst] + high[worst]) / 2
        first = scores(middle) - scores(low[worst])
        halves = torch.cat([low[worst], middle]), torch.cat([middle, high[worst]])
        rises = torch.cat([rises[~worst], first, rises[worst] - first])
        found = torch.cat([found[~worst], integrate(*halves)])
        low, high = (torch.cat([old[~worst], new]) for old, new in zip((low, high), halves, strict=True))
        count += len(halves[0])


def grad_cam(
    network: GestureNetwork, x: Clips, classes: Classes, point: str = "layer2.h"
) -> Float[Tensor, "clips step rows columns"]:
    """Grad-CAM (Selvaraju et al. 2017) at a hook point, a map for every time step, never negative.

    A channel's weight at a step is the spatial mean of the gradient there, which holds what the step does to all later
    ones. Nothing is scaled by step or by clip: values compare over time.

    Raises:
        LookupError: if there is no such point.
        ValueError: if what passes it has no rows and columns, as the values of a pooled gate.
    """
    maps = []
    for part, labels in zip(x.split(BATCH_SIZE), classes.split(BATCH_SIZE), strict=True):
        with torch.enable_grad(), record(network, point, gradients=True) as recording:
            score = chosen(network(part), labels).sum()
        values, gradient = recording[point], recording.gradient(point, score)
        if values.ndim != 5:
            raise ValueError(f"Grad-CAM needs maps; what passes {point} is {tuple(values.shape)}, a value per channel")
        maps.append(F.relu((gradient.mean((3, 4), keepdim=True) * values).sum(2)))
    return torch.cat(maps)


def conductance(
    network: GestureNetwork,
    features: Features,
    reference: Features,
    classes: Classes,
    points: Sequence[str],
    num_steps: int = 32,
) -> dict[str, Float[Tensor, "clips step *channel_and_space"]]:
    """What passes through each of `points` when `features` go straight from `reference` to what they are, in logits.

    Dhamdhere et al. 2019, with one change that a recurrent layer needs: the points are held. Each acts on the score
    as if the others of them, and its own later steps, did not react, for their reaction is counted where it passes.
    So if every way from the features to the score leads through `points`, a cut, the values of all points and steps
    add up to the difference in score, up to the steps of the path. `layer1.h` is a cut; so are `layer1.i`, `f`, `o`
    and `g` together, but no gate alone.

    The features are those of `GestureNetwork.encode`, and patterns are as in `record`; nothing is averaged.

    Raises LookupError if there is no such point after the features.
    """
    found: dict[str, Tensor] = {}
    before: dict[str, tuple[Tensor, Tensor]] = {}
    for at in (torch.linspace(0, 1, num_steps + 1) ** BEND).tolist():
        on_path = reference + at * (features - reference)
        with torch.no_grad(), record(network, *points) as recording:
            network.score(on_path)
            values = {name: recording[name].clone() for name in recording}
        held = {name: value.requires_grad_() for name, value in values.items()}
        with torch.enable_grad(), intervene(network, held):
            score = chosen(network.score(on_path), classes).sum()
        gradients = torch.autograd.grad(score, list(held.values()), allow_unused=True, materialize_grads=True)
        for (name, value), gradient in zip(held.items(), gradients, strict=True):
            value = value.detach()
            if name in before:
                last_value, last_gradient = before[name]
                found[name] = found.get(name, 0) + (value - last_value) * (gradient + last_gradient) / 2
            before[name] = value, gradient
    return found


def at_pixels(maps: Float[Tensor, "clips step rows columns"], x: Clips) -> Float[Tensor, "clips time height width"]:
    """Maps at the frames and pixels of `x`, each value repeated where it stands for several."""
    return F.interpolate(maps[:, None], size=x.shape[2:], mode="nearest")[:, 0]


def chosen(scores: Float[Tensor, "clips classes"], classes: Classes) -> Float[Tensor, " clips"]:
    """Of each clip the score of its own class."""
    return scores.gather(1, classes[:, None])[:, 0]
