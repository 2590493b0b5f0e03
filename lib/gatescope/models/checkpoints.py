"""Trained networks by the names of their checkpoints, and the untrained twins they are held against."""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from gatescope.models.config import NetworkConfig
from gatescope.models.network import GestureNetwork
from gatescope.paths import CHECKPOINTS, ROOT

WEIGHTS = "network.safetensors"  # in the folder of a checkpoint


def checkpoint(name: str) -> Path:
    """The weights that a notebook's parameter names: a folder in data/checkpoints, or a .safetensors file anywhere.

    Raises FileNotFoundError for neither; a relative path begins at the top of the repository.
    """
    for path in (CHECKPOINTS / name / WEIGHTS, ROOT / name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{name} is neither a .safetensors file nor one of data/checkpoints, which holds {', '.join(_kept()) or 'none'}"
    )


def checkpoint_names(patterns: Sequence[str]) -> list[str]:
    """The folders of data/checkpoints that fit each pattern; what fits none stands for itself."""
    return [name for pattern in patterns for name in fnmatch.filter(_kept(), pattern) or [pattern]]


def open_networks(names: Sequence[str]) -> dict[str, GestureNetwork]:
    """The networks of these checkpoints, by name; `a-?` stands for every folder of data/checkpoints that fits it.

    Raises:
        FileNotFoundError: if one is missing, or no folder fits.
        ValueError: if there is none, or they do not take the same input and tell the same classes.
    """
    networks = {name: GestureNetwork.load(checkpoint(name)) for name in checkpoint_names(names)}
    if not networks:
        raise ValueError("name at least one checkpoint")
    first, *others = networks
    for other in others:
        for what in ("input", "num_classes"):
            mine, its = (getattr(networks[name].config, what) for name in (first, other))
            if mine != its:
                raise ValueError(f"{first} and {other} do not compare: their {what} are {mine} and {its}")
    return networks


def by_cell(networks: Mapping[str, GestureNetwork]) -> dict[str, list[GestureNetwork]]:
    """The networks in groups of one cell in the first layer, the one under study.

    A row of one's own stands alone, under its checkpoint's name.
    """
    groups: dict[str, list[GestureNetwork]] = {}
    for name, network in networks.items():
        cell = network.config.cells[0]
        groups.setdefault(cell if isinstance(cell, str) else name, []).append(network)
    return groups


def untrained(config: NetworkConfig, seed: int = 0) -> GestureNetwork:
    """A network of that config as training finds it, in its evaluation mode: the control of every claim."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GestureNetwork(config).eval()


def class_names(network: GestureNetwork) -> list[str]:
    """The names of a network's classes as its card has them; without a card none."""
    return (network.card or {}).get("data", {}).get("names", [])


def _kept() -> list[str]:
    """The folders of data/checkpoints with weights."""
    return sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{WEIGHTS}"))
