"""The state of a training on disk: written whole or not at all, checked before it is used, never pickled."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gatescope.files import atomic_write, sha256_of

KEPT = 2  # states; should the last be damaged, the one before it is there


def save_state(folder: Path, epoch: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write the state after `epoch`: the tensors, then the card that vouches for them; drop what is too old."""
    folder = Path(folder)
    path = _card(folder, epoch).with_suffix(".safetensors")
    # Copies: a file has neither devices, nor strides, nor shared memory.
    copies = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    with atomic_write(path) as temporary:
        # save_file would put a file of its own there, readable by its owner alone.
        temporary.write_bytes(save(copies))
    card = {"epoch": epoch, "tensors_sha256": sha256_of(path), **facts}
    with atomic_write(_card(folder, epoch)) as temporary:
        temporary.write_text(json.dumps(card | {"card_sha256": _digest(card)}, indent=1) + "\n")
    for old in _cards(folder)[KEPT:]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and facts of the last good state in `folder`, None if there is none.

    A state without a card was never finished and does not count; one that is not what its card says is left out
    with a warning.
    """
    for path in _cards(Path(folder)):
        try:
            card = json.loads(path.read_text())
            digest = card.pop("card_sha256")
            tensors = path.with_suffix(".safetensors")
            if digest == _digest(card) and card["tensors_sha256"] == sha256_of(tensors):
                return load_file(tensors), card
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        warnings.warn(f"{path} or its tensors are damaged; going back to the state before it", stacklevel=2)
    return None


def remove_states(folder: Path) -> None:
    """Remove every state in `folder`, and what a killed writer left of one."""
    for path in [*Path(folder).glob("epoch-*"), *Path(folder).glob(".epoch-*")]:
        path.unlink()


def pack(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All tensors of a training by name: the network's, and the optimiser's for each of its parameters."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for parameter, values in optimizer.state.items():
        tensors |= {f"optimizer.{key}.{names[parameter]}": value for key, value in values.items()}
    return tensors


def unpack(tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put what `pack` gave back into a network and an optimiser of the same make."""
    network.load_state_dict(
        {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    )
    parameters = dict(network.named_parameters())
    optimizer.state.clear()
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part != "optimizer":
            continue
        key, _, owner = rest.partition(".")
        parameter = parameters[owner]
        # As it was laid out in memory: another order of the same sums would end in other bits.
        value = torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
        optimizer.state[parameter][key] = value


def first_difference(wanted: Any, found: Any, name: str = "") -> str | None:
    """Where two JSON values first differ, in words; None where they do not."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in [*wanted, *(found.keys() - wanted.keys())]:
            place = f"{name}.{key}" if name else key
            if key not in wanted or key not in found:
                return f"{place} is only in {'this training' if key in wanted else 'the saved one'}"
            if difference := first_difference(wanted[key], found[key], place):
                return difference
        return None
    return None if wanted == found else f"{name} is {wanted!r} here and {found!r} in the saved one"


def _card(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:05d}.json"


def _cards(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.json"), reverse=True)


def _digest(card: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
