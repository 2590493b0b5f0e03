"""Trained networks by the names of their checkpoints, and untrained networks as their controls."""

import fnmatch
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch.optim.swa_utils import update_bn

from gatescope.files import regular_file
from gatescope.models.config import NetworkConfig
from gatescope.models.network import Clips, GestureNetwork
from gatescope.paths import CHECKPOINTS, ROOT

WEIGHTS = "network.safetensors"  # in the folder of a checkpoint
CALIBRATION_BATCH = 16  # clips, as in training


def checkpoint(name: str) -> Path:
    """Return the path of the weights that `name` means: a folder in data/checkpoints, or a .safetensors file.

    Relative paths start at the top of the repository. Raises FileNotFoundError if there is neither.
    """
    for path in (CHECKPOINTS / name / WEIGHTS, ROOT / name):
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return regular_file(path)
    raise FileNotFoundError(
        f"{name} is neither a .safetensors file nor one of data/checkpoints, which holds {', '.join(_kept()) or 'none'}"
    )


def checkpoint_names(patterns: Sequence[str]) -> list[str]:
    """Return the folders of data/checkpoints that match each pattern; a pattern without a match stays as it is."""
    return [name for pattern in patterns for name in fnmatch.filter(_kept(), pattern) or [pattern]]


def open_networks(names: Sequence[str]) -> dict[str, GestureNetwork]:
    """Return the networks of these checkpoints, by name; `a-?` stands for every matching folder of data/checkpoints.

    Raises FileNotFoundError if one is missing, ValueError if there is none or they differ in input or num_classes.
    """
    networks = {name: GestureNetwork.load(checkpoint(name)) for name in checkpoint_names(names)}
    if not networks:
        raise ValueError("name at least one checkpoint; got none")
    first, *others = networks
    for other in others:
        for what in ("input", "num_classes"):
            one, two = (getattr(networks[name].config, what) for name in (first, other))
            if one != two:
                raise ValueError(f"{first} and {other} cannot be compared: their {what} are {one} and {two}")
    return networks


def by_cell(networks: Mapping[str, GestureNetwork]) -> dict[str, list[GestureNetwork]]:
    """Group networks by the cell in their first layer, the one under study.

    A network with a Cell of your own is a group by itself, under its checkpoint's name.
    """
    groups: dict[str, list[GestureNetwork]] = {}
    for name, network in networks.items():
        cell = network.config.cells[0]
        groups.setdefault(cell if isinstance(cell, str) else name, []).append(network)
    return groups


def untrained(config: NetworkConfig, seed: int, x: Clips) -> GestureNetwork:
    """Return a network of that config with the weights training starts from, in eval mode, as a control.

    One pass over the clips `x`, as the network takes them, sets the running statistics of its norms. At their start
    (mean 0, variance 1) each norm lets a signal shrink as the layers before it do, and the scores are those of no clip.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = GestureNetwork(config)
    # Parts of nearly equal size, as each counts the same.
    update_bn(x.chunk(-(-len(x) // CALIBRATION_BATCH)), network)
    return network.eval()


def class_names(network: GestureNetwork) -> list[str]:
    """Return the names of a network's classes from its card, or none without a card.

    Raises ValueError for a card whose names are anything else than texts, or not one for each class.
    """
    data = (network.card or {}).get("data")
    names = data.get("names", []) if isinstance(data, dict) else []
    if not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"names of classes are a list of texts; the network's card has {str(names)[:100]}")
    if names and len(names) != network.config.num_classes:
        raise ValueError(f"the network's card names {len(names)} classes, and it has {network.config.num_classes}")
    return list(names)


def _kept() -> list[str]:
    """List the folders of data/checkpoints that hold weights."""
    return sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{WEIGHTS}"))
