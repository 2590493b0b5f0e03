"""State of a training on disk: written atomically, verified before use, without pickles."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatescope.files import temporary_of
from gatescope.models.cards import read_weights, write_weights

_STATE = r"epoch-\d{5,}\.(?:json|safetensors)"
KEPT = 2  # states; if the last is damaged, the one before it is used


def save_state(folder: Path, epoch: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state after `epoch`: the tensors, then the card with the checksums of both.

    Old states and temporary files of a killed writer are removed; there must be no other writer.
    """
    write_weights(folder / f"epoch-{epoch:05d}.safetensors", tensors, facts)
    remove_states(folder, KEPT)


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and facts of the last good state in `folder`, None if there is none.

    A state without a card was never finished and is ignored; one that does not match its checksums is left out with a
    warning.
    """
    for path in _cards(folder):
        try:
            return read_weights(path.with_suffix(".safetensors"))
        except (OSError, ValueError) as error:
            warnings.warn(f"a training's state is damaged, the one before it is used: {error}", stacklevel=2)
    return None


def remove_states(folder: Path, kept: int = 0) -> None:
    """Remove the states in `folder` but the last `kept`, and temporary files of a killed writer."""
    cards = _cards(folder)
    used = {path.stem for path in cards[:kept]}
    # The cards first: tensors without a card are not used.
    for path in [*cards, *folder.iterdir()]:
        if re.fullmatch(f"{_STATE}|{temporary_of(_STATE)}", path.name) and path.stem not in used:
            path.unlink(missing_ok=True)


def pack(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return all tensors of a training by name: the network's, and the optimiser's of each parameter."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for parameter, values in optimizer.state.items():
        tensors |= {f"optimizer.{key}.{names[parameter]}": value for key, value in values.items()}
    return tensors


def unpack(tensors: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load what `pack` returned into a network and an optimiser of the same kind."""
    prefix = "network."
    network.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    parameters = dict(network.named_parameters())
    optimizer.state.clear()
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, key, owner = name.split(".", 2)
            parameter = parameters[owner]
            # On the parameter's device and in its memory layout; AdamW's step count stays as it is.
            value = torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
            optimizer.state[parameter][key] = value


def first_difference(wanted: Any, found: Any, name: str = "") -> str | None:
    """Describe the first difference of two JSON values; None if they are equal."""
    if not (isinstance(wanted, dict) and isinstance(found, dict)):
        return None if wanted == found else f"{name} is {wanted!r} here and {found!r} in the saved one"
    for key in [*wanted, *(found.keys() - wanted.keys())]:
        place = f"{name}.{key}" if name else key
        if key not in wanted or key not in found:
            return f"{place} is only in {'this training' if key in wanted else 'the saved one'}"
        if difference := first_difference(wanted[key], found[key], place):
            return difference
    return None


def _cards(folder: Path) -> list[Path]:
    """Return the cards of all states, the newest first."""
    found = [path for path in folder.glob("epoch-*.json") if re.fullmatch(_STATE, path.name)]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("epoch-")), reverse=True)
