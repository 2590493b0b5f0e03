"""Weights on disk: a safetensors file, and beside it the JSON card that says what they are and vouches for them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gatescope.files import atomic_write, code_digest


def save_network(network: nn.Module, path: str | Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The card as written beside the weights of a network with a `config`: that, `facts`, and a hash of the code.

    Raises:
        ValueError, TypeError: if a fact cannot stand in JSON or has a name that the card uses; nothing is written then.
    """
    own = {"config": network.config.to_json(), "code": code_digest()}
    if taken := facts.keys() & (own.keys() | {"weights_sha256"}):
        raise ValueError(f"the card has {', '.join(sorted(taken))} of its own; name these facts otherwise")
    network.card = write_weights(Path(path), network.state_dict(), {**own, **facts})
    return network.card


def load_network(path: str | Path, make: Callable[[Mapping[str, Any]], nn.Module]) -> nn.Module:
    """The network that `make` builds of the config in the card, with the weights at `path`, in its evaluation mode.

    Raises:
        FileNotFoundError: if the weights or their card are missing.
        ValueError: if they do not belong together, are something else, or do not fit the network; the first tensor
            that does not is named, with both shapes.
    """
    tensors, card = read_weights(Path(path))
    try:
        network = make(card["config"])
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the card of {path} has no config of such a network: {error!r}") from None
    check_fit(Path(path), tensors, network.state_dict())
    network.to(next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()))
    network.load_state_dict(tensors)
    network.card = card
    return network.eval()


def card_path(path: Path) -> Path:
    """Where the card of the weights at `path` stands; raises ValueError unless that ends in .safetensors."""
    if path.suffix != ".safetensors":
        raise ValueError(f"weights stand in a .safetensors file, which nothing pickled ever does; got {path}")
    return path.with_suffix(".json")


def write_weights(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> dict[str, Any]:
    """The card as written beside the weights, with the SHA-256 that holds the two together.

    A crash between the two leaves the old card beside new weights, which `read_weights` refuses.

    Raises:
        ValueError, TypeError: if the card cannot stand in JSON; nothing is written then.
    """
    # A file knows neither devices nor memory layouts.
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    card = {**card, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    text = json.dumps(card, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    beside = card_path(path)
    with atomic_write(path) as temporary:
        temporary.write_bytes(weights)
    with atomic_write(beside) as temporary:
        temporary.write_text(text)
    return json.loads(text)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors at `path` and their card.

    Raises:
        FileNotFoundError: if either of the two files is missing.
        ValueError: if the card is none, or the weights are not those it was written for.
    """
    beside = card_path(path)
    for needed, what in ((path, "weights"), (beside, "card")):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed}, the {what}, is missing; network.save writes weights and card together")
    try:
        card = json.loads(beside.read_text())
        digest = card["weights_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{beside} is not a card that network.save wrote: {error!r}") from None
    # Hashed and read are the same bytes, also while somebody writes anew.
    weights = path.read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    if found != digest:
        raise ValueError(
            f"{path} has not the weights that its card {beside.name} was written for: damaged, replaced, or left by "
            f"a save that was cut off. Save or copy both anew. SHA-256 {found}; the card says {digest}"
        )
    try:
        return load(weights), card
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None


def check_fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError that names the first of the `wanted` tensors which the file has not, or has otherwise."""
    for name, tensor in wanted.items():
        if name not in found:
            raise ValueError(f"{path} does not fit this network, which has {name} {_shape(tensor)}; the file has none")
        if found[name].shape != tensor.shape:
            raise ValueError(
                f"{path} does not fit this network: {name} is {_shape(found[name])} in the file, "
                f"{_shape(tensor)} in the network"
            )
    for name in sorted(found.keys() - wanted.keys()):
        raise ValueError(f"{path} does not fit this network, which has no {name}; the file's is {_shape(found[name])}")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
