"""DSTS: layers that route each clip to one of their neurons, whose channels are either spatial or temporal.

After Dynamic Spatio-Temporal Specialization (ECCV 2022), which has no public code. What the paper leaves open is marked
as ours, here and in `DSTSConfig`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor  # torch has no public name for it
from torch.nn import functional as F

from gatescope.models.cards import SavedNetwork
from gatescope.models.dsts_config import DSTSConfig
from gatescope.models.dsts_parts import (
    MaskedBatchNorm,
    gumbel_softmax,
    one_hot,
    pulses_of,
    semhash,
    soft_half,
    straight_through,
)
from gatescope.models.hooks import HookPoint, refuse_tracing

UPSTREAM = ("scoring", "gates")  # parameters of a neuron that decide the routing and its gates

Maps = Float[Tensor, "batch channel time height width"]
Route = Int64[Tensor, " batch"]  # the number of each clip's neuron
Choice = Float[Tensor, "batch neurons"]  # a


class Neuron(nn.Module):
    """One neuron: 14 C^2 + 5 C parameters, of which C^2 + C are upstream."""

    def __init__(self, config: DSTSConfig):
        super().__init__()
        size = config.channels
        self.scoring = nn.Parameter(torch.empty(size, size, 1, 1, 1))
        self.gates = nn.Parameter(torch.empty(size))
        whole = config.gates == "conv3d"
        self.spatial = nn.Parameter(torch.empty(size, size, 3 if whole else 1, 3, 3))
        self.temporal = None if whole else nn.Parameter(torch.empty(size, size, 3, 1, 1))
        self.norm_s = MaskedBatchNorm(size)
        self.norm_t = None if whole else MaskedBatchNorm(size)
        self.fusion = nn.Parameter(torch.empty(size, size, 1, 1, 1))
        for kernel in (self.spatial, self.temporal, self.fusion):
            if kernel is not None:
                nn.init.kaiming_normal_(kernel)
        # In eval mode gates of zero would all be spatial.
        nn.init.normal_(self.gates, std=0.1)
        # Pulses start with a spread near 1: with more, the Gumbel noise has no effect and the gradients vanish.
        std = 1.0 if config.pulse == "mean" else 1 / (size * (1 if config.centre else config.num_positions))
        nn.init.normal_(self.scoring, std=std)

    def see_space(self, x: Maps, counts: Bool[Tensor, " batch"]) -> Maps:
        """Return ReLU(norm(S * x)), as a 2-D convolution of frames: several times faster on small maps than in 3-D."""
        if self.temporal is None:
            return F.relu(self.norm_s(F.conv3d(x, self.spatial, padding=1), counts))
        frames = F.conv2d(x.transpose(1, 2).flatten(0, 1), self.spatial.squeeze(2), padding=1)
        return F.relu(self.norm_s(frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2), counts))

    def see_time(self, x: Maps, counts: Bool[Tensor, " batch"]) -> Maps:
        """Return ReLU(norm(T * x)), position by position."""
        rows = F.conv2d(x.flatten(3), self.temporal.squeeze(4), padding=(1, 0))
        return F.relu(self.norm_t(rows.unflatten(3, x.shape[3:]), counts))

    def fuse(self, z: Maps) -> Maps:
        """Return the maps after the 1 x 1 x 1 convolution that mixes space and time."""
        return F.conv2d(z.flatten(3), self.fusion.squeeze(4)).unflatten(3, z.shape[3:])


class SpecialisedLayer(nn.Module):
    """A layer of N neurons that runs one of them on each clip.

        X_S = (1 - b) X;  X_T = b X                                                                        (5)
        Z_S = ReLU(norm(S * X_S));  Z_T = ReLU(norm(T * X_T))                                              (6)
        Z' = fusion * (Z_S + Z_T);  the output is the sum of a_i Z'_i over the neurons                     (7)

    with the gates b and the operators of each neuron, and the choice a: one-hot, in training straight-through with the
    gradient of a Gumbel-Softmax. While the choice is learned, every neuron is run on every clip (dense), which that
    gradient needs. Otherwise only the chosen neuron is run on a clip (sparse), but in torch.export and torch.func.vmap
    again all. On both paths a neuron's norms see its own clips alone.

    Hook points: `pulses` and `choice` (batch, neuron), `gates` (visit, channel), and the maps `x_s x_t z_s z_t` of each
    visit of a clip to a neuron. On the sparse path there is one visit per clip, in the clips' order; on the dense path
    all clips visit the first neuron, then the next.
    """

    def __init__(self, config: DSTSConfig):
        super().__init__()
        self.config = config
        self.neurons = nn.ModuleList(Neuron(config) for _ in range(config.num_neurons))
        self.centre = MaskedBatchNorm(config.channels, affine=False) if config.centre else None
        axes = {"pulses": None, "choice": None, "gates": None, "x_s": 2, "x_t": 2, "z_s": 2, "z_t": 2}
        self.hooks = nn.ModuleDict({name: HookPoint(time_axis) for name, time_axis in axes.items()})

    def forward(self, x: Maps, route: Route | None = None) -> Maps:
        """Return the maps of each clip's neuron: the one that `route` names, or without it the layer's own choice."""
        pulses = self.hooks["pulses"](self.pulses(x))
        choice = self.hooks["choice"](self._choose(pulses) if route is None else one_hot(route, pulses))
        # Where the choice is neither learned nor spread over neurons, only the chosen one matters.
        learns = self.training and self.config.router == "learned"
        refuse_tracing()
        spread = route is None and (learns or self.config.router in ("all", "soft"))
        return self.dense(x, choice) if spread or _is_hidden(choice) else self.sparse(x, choice)

    def dense(self, x: Maps, choice: Choice) -> Maps:
        """Return the sum of all neurons' maps of each clip, weighted by its choice."""
        num_clips, num_neurons = choice.shape
        own = choice.T > 0

        def by_neuron(operate: Callable[..., Maps], maps: Maps) -> Maps:
            parts = zip(self.neurons, maps.unflatten(0, (num_neurons, num_clips)), own, strict=True)
            return torch.cat([operate(*part) for part in parts])

        neurons = torch.arange(num_neurons, device=x.device).repeat_interleave(num_clips)
        z = self._specialise(x.repeat(num_neurons, 1, 1, 1, 1), neurons, num_clips, by_neuron)
        return (choice.T.flatten().view(-1, 1, 1, 1, 1) * z).unflatten(0, (num_neurons, num_clips)).sum(0)  # (7)

    def sparse(self, x: Maps, choice: Choice) -> Maps:
        """Return the maps of the neuron with each clip's largest choice, the only one that is run on it."""
        neurons = choice.argmax(1)
        clips = [(neurons == number).nonzero().squeeze(1) for number in range(len(self.neurons))]
        order = torch.cat(clips).argsort()

        def by_neuron(operate: Callable[..., Maps], maps: Maps) -> Maps:
            served = [(neuron, maps[own]) for neuron, own in zip(self.neurons, clips, strict=True) if len(own)]
            parts = [operate(neuron, part, choice.new_ones(len(part), dtype=torch.bool)) for neuron, part in served]
            return torch.cat(parts)[order]

        z = self._specialise(x, neurons, len(x), by_neuron)
        return choice.gather(1, neurons[:, None]).view(-1, 1, 1, 1, 1) * z  # (7)

    def _specialise(self, x: Maps, neurons: Route, num_clips: int, by_neuron: Callable[..., Maps]) -> Maps:
        """Return Z' of each visit of a clip to one of the `neurons`; `by_neuron` runs an operation of theirs."""
        hooks, x_s, x_t = self.hooks, x, x
        if self.config.gates not in ("both", "conv3d"):
            b = hooks["gates"](self._gates(neurons, num_clips)).view(x.shape[0], -1, 1, 1, 1)
            x_s, x_t = (1 - b) * x, b * x  # (5)
        z = hooks["z_s"](by_neuron(Neuron.see_space, hooks["x_s"](x_s)))  # (6)
        if self.config.gates != "conv3d":
            z = z + hooks["z_t"](by_neuron(Neuron.see_time, hooks["x_t"](x_t)))  # (6)
        return by_neuron(lambda neuron, maps, _: neuron.fuse(maps), z)  # (7)

    def pulses(self, x: Maps) -> Float[Tensor, "batch neurons"]:
        """Return the scores of the choice, without noise: Eq. (1), with `centre` of centred features (ours)."""
        scoring = torch.stack([neuron.scoring for neuron in self.neurons])
        features = x if self.centre is None else self.centre(x.mean((2, 3, 4), keepdim=True))
        return pulses_of(scoring, features, mean=self.config.pulse == "mean")

    def gate_logits(self) -> Float[Tensor, "neurons channel"]:
        """Return the gate logits g of every neuron."""
        return torch.stack([neuron.gates for neuron in self.neurons])

    def _choose(self, pulses: Tensor) -> Choice:
        router = self.config.router
        if router == "given":
            raise ValueError("this layer's router is given: name a neuron for every clip in the argument route")
        if router == "all":
            return torch.full_like(pulses, 1 / len(self.neurons))
        if router == "random":
            return one_hot(torch.randint(len(self.neurons), (len(pulses),), device=pulses.device), pulses)
        if not self.training:
            return pulses.softmax(1) if router == "soft" else one_hot(pulses.argmax(1), pulses)
        y = gumbel_softmax(pulses, self.config.tau)
        return y if router == "soft" else straight_through(one_hot(y.argmax(1), y), y)

    def _gates(self, neurons: Route, num_clips: int) -> Float[Tensor, "visits channel"]:
        kind, g = self.config.gates, self.gate_logits()[neurons]
        if kind != "learned":
            return torch.full_like(g, float(kind == "temporal"))
        if self.config.semhash == "sigmoid":
            return g.sigmoid()
        if not self.training:
            return (g > 0).to(g)
        # One draw for each clip serves all its visits: only one of them counts.
        visits_of_clip = len(g) // num_clips
        noise = torch.randn(num_clips, g.shape[1], dtype=g.dtype, device=g.device).repeat(visits_of_clip, 1)
        soft = torch.full((num_clips,), self.config.semhash == "soft", device=g.device)
        if self.config.semhash == "half":
            soft = soft_half(num_clips, g.device)
        return semhash(g, noise, soft.repeat(visits_of_clip))


class DSTS(nn.Module):
    """Layers of specialised neurons with a skip connection: X + Z' of the last layer (ours: one size throughout).

    Hook points: those of `layer1`, `layer2`, ...
    """

    def __init__(self, config: DSTSConfig):
        super().__init__()
        for number in range(config.num_layers):
            self.add_module(f"layer{number + 1}", SpecialisedLayer(config))

    @property
    def layers(self) -> list[SpecialisedLayer]:
        """Layers, first to last."""
        return list(self.children())

    def forward(self, x: Maps, route: Route | None = None) -> Maps:
        """Return features plus the neurons' maps; `route` names the neuron of every clip, in all layers."""
        z = x
        for layer in self.layers:
            z = layer(z, route)
        return x + z


class SpecialisedNetwork(SavedNetwork):
    """Features, specialised neurons, and class scores from the mean over time and space (the head is ours).

    Hook points: `features`, the input of the neurons, and those of `dsts.layer1`, `dsts.layer2`, ...
    """

    config_type = DSTSConfig

    def __init__(self, config: DSTSConfig):
        super().__init__(config)
        self.backbone = nn.Identity()
        if config.backbone == "small":
            # Frame by frame: only the neurons see time.
            conv = nn.Conv3d(1, config.channels, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False)
            self.backbone = nn.Sequential(conv, nn.BatchNorm3d(config.channels), nn.ReLU())
        self.dsts = DSTS(config)
        self.head = nn.Linear(config.channels, config.num_classes)
        self.hooks = nn.ModuleDict({"features": HookPoint(time_axis=2)})

    def forward(self, x: Maps, route: Route | None = None) -> Float[Tensor, "batch classes"]:
        """Return the logits of clips of one channel, or without a backbone of features.

        Raises ValueError if the clips have another shape, or `route` lacks a neuron for some of them.
        """
        expected, num_neurons = 1 if self.config.backbone == "small" else self.config.channels, self.config.num_neurons
        if x.ndim != 5 or x.shape[1] != expected or not x.numel() or not x.is_floating_point():
            raise ValueError(
                f"needed (batch, {expected}, time, height, width) floats, one clip or more; got {tuple(x.shape)} "
                f"{x.dtype}. Features of GestureNetwork.encode have time before channels: transpose(1, 2)"
            )
        seen = route is not None and not _is_hidden(route)
        if seen and (len(route) != len(x) or route.min() < 0 or route.max() >= num_neurons):
            raise ValueError(
                f"route must name a neuron, 0 to {num_neurons - 1}, for each of {len(x)} clips; got {route.tolist()}"
            )
        features = self.hooks["features"](self.backbone(x))
        return self.head(self.dsts(features, route).mean((2, 3, 4)))


def _is_hidden(values: Tensor) -> bool:
    """Return True in torch.export and under vmap, where nobody can look at the values to do what they say."""
    return torch.compiler.is_exporting() or is_batchedtensor(values)


def upstream_names(network: nn.Module) -> list[str]:
    """Return the names of the upstream parameters: the neurons' scoring kernels and gates."""
    return [name for name, _ in network.named_parameters() if name.rpartition(".")[2] in UPSTREAM]
