"""Specialised neurons: their task for `fit`, and a trained network's routing of clips to neurons."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from gatescope.measures.specialisation import (
    class_mean_accuracy,
    effective_neurons,
    mutual_information,
    temporal_fraction,
)
from gatescope.models.dsts import SpecialisedNetwork, upstream_names
from gatescope.models.dsts_parts import MaskedBatchNorm
from gatescope.trainings.evaluation import SavedArrays, batches, eval_mode, kept_random
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.tasks import Classification, Row, Step
from gatescope.trainings.udl import UpstreamDownstream

RESULTS = "neurons.npz"


@dataclass(frozen=True, kw_only=True)
class NeuronRow(Row):
    """One epoch of a training with specialised neurons; quantities of a layer's neurons are means over layers."""

    valid_effective_neurons: float | None = None  # from 1 (one serves all clips) to num_neurons
    valid_nmi: float | None = None  # mutual information of neuron and class, 0 to 1
    valid_gate_size: float | None = None  # mean |g| of the gate logits; beyond about 4 a gate hardly learns


@dataclass(frozen=True, eq=False)
class NeuronResults(SavedArrays):
    """Predictions, pulses and routing of validation clips in eval mode: no noise, hard gates."""

    labels: Int64[np.ndarray, " clips"]
    predicted: Int64[np.ndarray, " clips"]
    pulses: Float32[np.ndarray, "layers clips neurons"]
    chosen: Int64[np.ndarray, "layers clips"]
    gates: Float32[np.ndarray, "layers neurons channels"]  # the logits g

    @property
    def accuracy(self) -> float:
        """Fraction of the clips that are predicted right."""
        return float((self.labels == self.predicted).mean())

    def routing(self) -> dict[str, list[float]]:
        """Return each layer's number of effective neurons and its mutual information of neuron and class."""
        num_neurons = self.pulses.shape[2]
        return {
            "effective_neurons": [effective_neurons(layer, num_neurons) for layer in self.chosen],
            "nmi_class": [mutual_information(layer, self.labels) for layer in self.chosen],
        }


def serve(
    network: SpecialisedNetwork, clips: Dataset, families: Sequence[int], *, num_workers: int = 0
) -> tuple[NeuronResults, float]:
    """Run `network` on every clip in eval mode; return its results and its mean cross-entropy in nats.

    `families` holds the family of every class, from which a "given" router takes its routes. Raises ValueError if
    there is no clip.
    """
    layers, logits, labels = network.dsts.layers, [], []
    recorded = {name: [[] for _ in layers] for name in ("pulses", "choice")}
    with eval_mode(network) as device, torch.inference_mode(), kept_random(device), ExitStack() as hooks:
        torch.manual_seed(0)
        for name, by_layer in recorded.items():
            for layer, values in zip(layers, by_layer, strict=True):
                keep = partial(lambda values, module, given, value: values.append(value.float().cpu()), values)
                hooks.callback(layer.hooks[name].register_forward_hook(keep).remove)
        for x, target in batches(clips, 100, num_workers, device):
            logits.append(network(x, route_of(network, target, families)).float().cpu())
            labels.append(target.cpu())
    scores, truth = torch.cat(logits), torch.cat(labels)
    pulses, choice = (torch.stack([torch.cat(values) for values in by_layer]) for by_layer in recorded.values())
    found = NeuronResults(
        labels=truth.numpy(),
        predicted=scores.argmax(1).numpy(),
        pulses=pulses.numpy(),
        chosen=choice.argmax(2).numpy(),
        gates=torch.stack([layer.gate_logits() for layer in layers]).detach().float().cpu().numpy(),
    )
    return found, float(F.cross_entropy(scores, truth))


def settle(network: SpecialisedNetwork, clips: Dataset, families: Sequence[int], *, num_workers: int = 0) -> None:
    """Replace the norms' running statistics by those of `clips` in eval mode, means over batches (ours).

    In training half of the gates are soft, in eval mode none is, so the running statistics of training do not fit.
    """
    passes = Counter()

    def average(norm: MaskedBatchNorm, given: tuple) -> None:
        passes[norm] += 1
        norm.momentum = 1 / passes[norm]

    with eval_mode(network) as device, torch.no_grad(), kept_random(device), ExitStack() as stack:
        torch.manual_seed(0)
        for norm in network.modules():
            if isinstance(norm, MaskedBatchNorm):
                stack.callback(setattr, norm, "momentum", norm.momentum)
                stack.callback(norm.train().register_forward_pre_hook(average).remove)
        for x, target in batches(clips, 200, num_workers, device):
            network(x, route_of(network, target, families))


def route_of(network: SpecialisedNetwork, target: Tensor, families: Sequence[int]) -> Tensor | None:
    """Return the neuron of each clip's own family for a "given" router (an oracle), None for any other router."""
    if network.config.router != "given":
        return None
    return torch.tensor(families, device=target.device)[target] % network.config.num_neurons


class Specialisation(Classification):
    """Classification with specialised neurons: joint training, or upstream and downstream steps in turn.

    With `apart`, the arguments of `UpstreamDownstream`, each batch is halved: one half for the simulated and the actual
    step, the other for the hyper-gradient, then with the halves swapped, so that each clip counts once in an epoch.
    """

    network_type, row, results = SpecialisedNetwork, NeuronRow, RESULTS
    alone = True  # a neuron's norms see the clips that it serves, of which other processes would hold some

    def __init__(self, families: Sequence[int], train_clips: Dataset, apart: Mapping[str, Any] | None = None):
        self.families = tuple(families)
        self.train_clips = train_clips  # for the norms' statistics before the network is evaluated
        self.apart = apart

    def logits(self, module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """Return the module's logits; a "given" router sees the clips' families."""
        return module(x, route_of(getattr(module, "module", module), target, self.families))

    def steps(self, fabric: Fabric, module: nn.Module, x: Tensor, target: Tensor) -> Iterator[Step]:
        """Take one step, or upstream and downstream steps in turn; a neuron that served no clip stays as it is."""
        if self.apart is None:
            steps = super().steps(fabric, module, x, target)
        else:
            if len(x) < 2:
                raise ValueError(f"`apart` needs batches of two clips or more, one for each half; got {len(x)}")
            steps = self._apart(module, x.chunk(2), target.chunk(2))
        for step in steps:
            for weight in module.parameters():
                # Momentum and decay would move it all the same; a parameter without a gradient is skipped.
                if weight.grad is not None and not weight.grad.any():
                    weight.grad = None
            yield step

    def _apart(self, module: nn.Module, x: Sequence[Tensor], target: Sequence[Tensor]) -> Iterator[Step]:
        network = getattr(module, "module", module)
        names = upstream_names(network)
        # The backbone learns, but is left out of the simulated step (ours): it is most of the work.
        neurons = [n for n, _ in network.named_parameters() if n not in names and not n.startswith("backbone.")]
        udl = UpstreamDownstream(network, F.cross_entropy, names, simulated=neurons, **self.apart)
        for own, other in ((0, 1), (1, 0)):
            loss, _ = udl.upstream_gradients(x[own], target[own], x[other], target[other])
            yield loss, {}
            loss, output = udl.downstream_gradients(x[own], target[own])
            right = int((output.argmax(1) == target[own]).sum())
            yield loss, {"loss": loss.item() * len(target[own]), "accuracy": right}

    def validate(
        self, fabric: Fabric, module: nn.Module, clips: Dataset, config: TrainConfig, num_workers: int
    ) -> dict[str, float]:
        """Return loss and accuracy on the clips, and measures of their routing."""
        network = getattr(module, "module", module)
        settle(network, self.train_clips, self.families, num_workers=num_workers)
        found, loss = serve(network, clips, self.families, num_workers=num_workers)
        return {
            "valid_loss": loss,
            "valid_accuracy": found.accuracy,
            "valid_effective_neurons": float(np.mean(found.routing()["effective_neurons"])),
            "valid_nmi": float(np.mean(found.routing()["nmi_class"])),
            "valid_gate_size": float(np.abs(found.gates).mean()),
        }

    def conclude(self, network: nn.Module, valid_clips: Dataset, path: Path, num_workers: int) -> dict[str, Any]:
        """Write the `NeuronResults`; return accuracies and measures of the routing."""
        found, loss = serve(network, valid_clips, self.families, num_workers=num_workers)
        found.save(path)
        family = np.array(self.families)[found.labels]
        of_family = (family == number for number in range(max(self.families) + 1))
        right = found.labels == found.predicted
        return {
            "top1": found.accuracy,
            "class_mean": class_mean_accuracy(found.predicted, found.labels),
            "by_family": [float(right[own].mean()) if own.any() else None for own in of_family],
            "loss": loss,
            **found.routing(),
            "nmi_family": [mutual_information(layer, family) for layer in found.chosen],
            "temporal_fraction": temporal_fraction(found.gates).tolist(),
            "clips": len(valid_clips),
        }
