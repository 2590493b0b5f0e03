"""Learning with specialised neurons: a task of `fit`, and what the neurons of a trained network serve."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from gatescope.files import atomic_write
from gatescope.measures.specialisation import (
    class_mean_accuracy,
    effective_neurons,
    mutual_information,
    temporal_fraction,
)
from gatescope.models.dsts import DSTSConfig, SpecialisedNetwork, upstream_names
from gatescope.models.dsts_parts import MaskedBatchNorm
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.train import Classification, Row, Step
from gatescope.trainings.udl import UpstreamDownstream

RESULTS = "neurons.npz"


@dataclass(frozen=True, kw_only=True)
class NeuronRow(Row):
    """One epoch of learning with specialised neurons; what is said of a layer's neurons is the mean over layers."""

    valid_effective_neurons: float | None  # from 1, one serves all, to their number
    valid_nmi: float | None  # of neuron and class, 0 to 1
    valid_gate_size: float | None  # mean |g|; beyond about 4 a gate hardly learns


@dataclass(frozen=True, eq=False)
class NeuronResults:
    """What a network's neurons do on validation clips, in evaluation: no noise, hard gates."""

    labels: Int64[np.ndarray, " clips"]
    predicted: Int64[np.ndarray, " clips"]
    pulses: Float32[np.ndarray, "layers clips neurons"]
    chosen: Int64[np.ndarray, "layers clips"]
    gates: Float32[np.ndarray, "layers neurons channels"]  # the logits g

    @property
    def accuracy(self) -> float:
        """The part of the clips that are predicted right."""
        return float((self.labels == self.predicted).mean())

    def save(self, path: Path) -> None:
        """Write as npz: pulses and gates to a part in 2,000 where 16 bits reach, classes and neurons as bytes."""
        arrays = {
            name: values.astype(np.uint8)
            if values.dtype == np.int64
            else values.astype(np.float16 if abs(values).max() < np.finfo(np.float16).max else np.float32)
            for name, values in vars(self).items()
        }
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "NeuronResults":
        """What `save` wrote."""
        with np.load(path) as file:
            return cls(
                **{name: file[name].astype(np.int64 if file[name].dtype == np.uint8 else np.float32) for name in file}
            )


@contextmanager
def _own_noise(device: torch.device) -> Iterator[None]:
    """The same random numbers whenever a network is judged, and none of the caller's."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def serve(
    network: SpecialisedNetwork, clips: Dataset, families: Sequence[int], *, num_workers: int = 0
) -> tuple[NeuronResults, float]:
    """What `network` makes of every clip in evaluation, and its mean cross-entropy, nats.

    `families` has the family of every class, by which a router that is given its routes is told them. Raises
    ValueError if there is no clip.
    """
    if len(clips) == 0:
        raise ValueError("there is no clip to serve; give a data set of at least one")
    device = next(network.parameters()).device
    layers = network.dsts.layers
    passed: dict[str, list[list[Tensor]]] = {name: [[] for _ in layers] for name in ("pulses", "choice")}
    logits, labels = [], []
    was_training = network.training
    network.eval()
    try:
        with (
            torch.inference_mode(),
            _own_noise(device),
            ExitStack() as hooks,
        ):
            for name, kept in passed.items():
                for layer, values in zip(layers, kept, strict=True):
                    hook = layer.hooks[name].register_forward_hook(
                        lambda module, given, value, values=values: values.append(value.float().cpu())
                    )
                    hooks.callback(hook.remove)
            loader = DataLoader(clips, 100, num_workers=num_workers, generator=torch.Generator())
            for x, target in loader:
                logits.append(network(x.to(device), route_of(network, target.to(device), families)).float().cpu())
                labels.append(target)
    finally:
        network.train(was_training)
    scores, truth = torch.cat(logits), torch.cat(labels)
    pulses, choice = (torch.stack([torch.cat(values) for values in kept]) for kept in passed.values())
    found = NeuronResults(
        labels=truth.numpy(),
        predicted=scores.argmax(1).numpy(),
        pulses=pulses.numpy(),
        chosen=choice.argmax(2).numpy(),
        gates=torch.stack([layer.gate_logits() for layer in layers]).detach().float().cpu().numpy(),
    )
    return found, float(F.cross_entropy(scores, truth))


def settle(network: SpecialisedNetwork, clips: Dataset, families: Sequence[int], *, num_workers: int = 0) -> None:
    """Take the norms' statistics of `clips` as the network serves them in evaluation, means over batches (ours).

    In training half of the gates are soft, in evaluation none is: what a norm has seen before is not what it will see.
    """
    device = next(network.parameters()).device
    norms = [module for module in network.modules() if isinstance(module, MaskedBatchNorm)]
    momenta = [norm.momentum for norm in norms]
    passes = Counter()

    def take_in(norm: MaskedBatchNorm, given: tuple) -> None:
        passes[norm] += 1
        norm.momentum = 1 / passes[norm]

    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), _own_noise(device), ExitStack() as hooks:
            for norm in norms:
                norm.train()
                hooks.callback(norm.register_forward_pre_hook(take_in).remove)
            for x, target in DataLoader(clips, 200, num_workers=num_workers, generator=torch.Generator()):
                network(x.to(device), route_of(network, target.to(device), families))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)


def route_of(network: SpecialisedNetwork, target: Tensor, families: Sequence[int]) -> Tensor | None:
    """For a router that is given its routes, the neuron of each clip's own family: an oracle's choice."""
    if network.config.router != "given":
        return None
    return torch.tensor(families, device=target.device)[target] % network.config.num_neurons


class Specialisation(Classification):
    """Classes by specialised neurons, all parameters together, or upstream and downstream apart.

    With `apart`, arguments of `UpstreamDownstream`, a batch is two: one half for the simulated and the actual step, the
    other for the hyper-gradient, and then the other way around, so that each clip is learnt from once in an epoch.
    """

    row = NeuronRow

    def __init__(self, families: Sequence[int], train_clips: Dataset, apart: Mapping[str, Any] | None = None):
        self.families = tuple(families)
        self.train_clips = train_clips  # on which the norms settle before the network is judged
        self.apart = apart

    def logits(self, module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """What the module gives of clips, led by their families where its router is given the routes."""
        return module(x, route_of(getattr(module, "module", module), target, self.families))

    def steps(self, fabric: Fabric, module: nn.Module, x: Tensor, target: Tensor) -> Iterator[Step]:
        """One step, or upstream and downstream steps in turn; a neuron that served no clip takes none."""
        if self.apart is None:
            steps = super().steps(fabric, module, x, target)
        else:
            if len(x) < 2:
                raise ValueError(f"to learn apart takes batches of two clips or more, one for each half; got {len(x)}")
            steps = self._apart(module, x.chunk(2), target.chunk(2))
        for step in steps:
            for weight in module.parameters():
                # Momentum and decay would move it all the same.
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

    def validate(self, module: nn.Module, clips: Dataset, config: TrainConfig, num_workers: int) -> dict[str, float]:
        """Loss and accuracy on the clips, and how the neurons share them."""
        network = getattr(module, "module", module)
        settle(network, self.train_clips, self.families, num_workers=num_workers)
        found, loss = serve(network, clips, self.families, num_workers=num_workers)
        num_neurons = network.config.num_neurons
        return {
            "valid_loss": loss,
            "valid_accuracy": found.accuracy,
            "valid_effective_neurons": float(
                np.mean([effective_neurons(layer, num_neurons) for layer in found.chosen])
            ),
            "valid_nmi": float(np.mean([mutual_information(layer, found.labels) for layer in found.chosen])),
            "valid_gate_size": float(np.abs(found.gates).mean()),
        }

    def begin(self, config: DSTSConfig, train_clips: Dataset) -> SpecialisedNetwork:
        """A network of `config`, drawn from torch's random numbers."""
        return SpecialisedNetwork(config)

    def conclude(
        self, network: nn.Module, valid_clips: Dataset, folder: Path, num_workers: int
    ) -> tuple[dict[str, Any], list[str]]:
        """Accuracies, and how the neurons share the clips, for a card; and the file with all that is counted from."""
        found, loss = serve(network, valid_clips, self.families, num_workers=num_workers)
        found.save(folder / RESULTS)
        num_neurons = network.config.num_neurons
        family = np.array(self.families)[found.labels]
        right = found.labels == found.predicted
        return {
            "top1": found.accuracy,
            "class_mean": class_mean_accuracy(found.predicted, found.labels),
            "by_family": [
                float(right[own].mean()) if own.any() else None
                for own in (family == number for number in range(max(self.families) + 1))
            ],
            "loss": loss,
            "effective_neurons": [effective_neurons(layer, num_neurons) for layer in found.chosen],
            "nmi_class": [mutual_information(layer, found.labels) for layer in found.chosen],
            "nmi_family": [mutual_information(layer, family) for layer in found.chosen],
            "temporal_fraction": temporal_fraction(found.gates).tolist(),
            "clips": len(valid_clips),
        }, [RESULTS]
