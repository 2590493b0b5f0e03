"""Weights on disk: a safetensors file, and beside it a JSON card that says what they are and holds their hash."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gatescope.files import atomic_write, code_digest
from gatescope.models.config_fields import Config

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


class SavedNetwork(nn.Module):
    """A network made from a config, which can be saved and loaded."""

    config_type: type[Config]

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.card: dict[str, Any] | None = None  # of the file that the weights were last saved to or loaded from

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take the weights of a state dict, also of a wrapped network, as torch does.

        Raises ValueError in one sentence, before any weight is taken, if one is missing, unknown or of another shape.
        """
        state = {unwrapped(name): value for name, value in state_dict.items()}
        own = self.state_dict()
        if strict:
            known = own | dict(self.named_parameters(remove_duplicate=False))
            state = {name: value for name, value in state.items() if name != "n_averaged"}  # of an AveragedModel
            misfits = [f"{name} is missing" for name in own if name not in state]
            misfits += [f"{name} is unknown" for name in state if name not in known]
            misfits += [
                f"{name} is {tuple(value.shape)}, not {tuple(known[name].shape)}"
                for name, value in state.items()
                if isinstance(value, Tensor)
                and isinstance(known.get(name), Tensor)
                and value.shape != known[name].shape
            ]
            if misfits:
                raise ValueError(
                    f"this state dict is not of this {type(self).__name__}: {misfits[0]}, and {len(misfits) - 1} more "
                    "misfits; take the state dict itself of a checkpoint, and the config that it was trained with"
                )
        return super().load_state_dict(state, strict, assign)

    def save(
        self, path: str | Path, *, data: Any = None, seed: int | None = None, metrics: Any = None, **facts: Any
    ) -> dict[str, Any]:
        """Write the weights to `path` (.safetensors) and their card beside it (.json); return the card.

        The card holds the config, a hash of the library's code, what is given here, and the weights' SHA-256. Each
        file is replaced whole or not at all, the weights first: a crash between the two leaves a pair that `load`
        refuses. Raises ValueError or TypeError, and writes nothing, if a fact cannot stand in JSON or has a name that
        the card uses.
        """
        own = {"config": self.config.to_json(), "code": code_digest()}
        if taken := facts.keys() & (own.keys() | {"weights_sha256"}):
            raise ValueError(f"the card has {', '.join(sorted(taken))} of its own; name these facts otherwise")
        card = {**own, "data": data, "seed": seed, "metrics": metrics, **facts}
        self.card = write_weights(Path(path), self.state_dict(), card)
        return self.card

    @classmethod
    def load(cls, path: str | Path, config: Config | None = None) -> "SavedNetwork":
        """Return the network saved at `path`, in eval mode, with its `card`.

        Given a `config`, the weights go into a network of that config instead, for instance of another stem stride.

        Raises FileNotFoundError without the weights or their card, ValueError if they do not belong together, are
        something else, or do not fit the config; the first tensor that does not fit is named, with both shapes.
        """
        tensors, card = read_weights(Path(path))
        try:
            network = cls(config or cls.config_type.from_json(card["config"]))
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"the card of {path} has no config of such a network: {error!r}") from None
        check_fit(Path(path), tensors, network.state_dict())
        network.to(next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()))
        network.load_state_dict(tensors)
        network.card = card
        return network.eval()


def unwrapped(name: str) -> str:
    """Return a tensor's name without what DataParallel, torch.compile, FSDP and checkpointing put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def card_path(path: Path) -> Path:
    """Return the path of the card of the weights at `path`; raises ValueError unless that ends in .safetensors."""
    if path.suffix != ".safetensors":
        raise ValueError(f"weights need a .safetensors file, which can hold no pickled code; got {path}")
    return path.with_suffix(".json")


def write_weights(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> dict[str, Any]:
    """Write the weights and a card with their SHA-256, with the errors of `SavedNetwork.save`; return the card."""
    # A file has neither devices nor memory layouts.
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
    """Return the tensors at `path` and their card.

    Raises FileNotFoundError without either file, ValueError for a damaged card or one written for other weights.
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
    # The bytes that are hashed are those that are read, even while another process writes.
    weights = path.read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    if found != digest:
        raise ValueError(
            f"{path} does not hold the weights that its card {beside.name} was written for: it is damaged, replaced, "
            f"or left by a save that was cut off. Save or copy both again. SHA-256 {found}; the card says {digest}"
        )
    try:
        return load(weights), card
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None


def check_fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError for the first tensor whose shape differs between the file and the network."""
    for name in (*wanted, *sorted(found)):
        in_file, in_network = (tuple(part[name].shape) if name in part else "missing" for part in (found, wanted))
        if in_file != in_network:
            raise ValueError(
                f"{path} does not fit this network: {name} is {in_file} in the file, {in_network} in the network"
            )
