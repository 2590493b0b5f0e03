"""Weights on disk: a safetensors file, and beside it a JSON card that says what they are and holds their hash."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gatescope.files import atomic_write, code_digest, read_bytes, regular_file
from gatescope.formats.facts import DIGEST, read_card, read_json, with_digest, write_card
from gatescope.models.config_fields import Config

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)  # types that a network's weights may have
MAX_BYTES = 1 << 30  # of a file of weights; it is held in memory twice while it is read
_MAX_HEADER_BYTES = 1 << 20  # of a safetensors file: thousands of tensors
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

        The card holds the config, a hash of the library's code, what is given here, the weights' SHA-256 and that of
        all these facts. Each file is replaced whole or not at all, the weights first: a crash between the two leaves a
        pair that `load` refuses. Raises ValueError or TypeError, and writes nothing, if a fact cannot stand in JSON or
        has a name that the card uses, or if a JSON file that is no card stands in the card's place.
        """
        own = {"config": self.config.to_json(), "code": code_digest()}
        if taken := facts.keys() & (own.keys() | {"weights_sha256", DIGEST}):
            raise ValueError(f"the card has {', '.join(sorted(taken))} of its own; name these facts otherwise")
        _check_free(card_path(Path(path)))
        card = {**own, "data": data, "seed": seed, "metrics": metrics, **facts}
        self.card = write_weights(Path(path), self.state_dict(), card)
        return self.card

    @classmethod
    def load(cls, path: str | Path, config: Config | None = None) -> "SavedNetwork":
        """Return the network saved at `path`, in eval mode, with its `card`.

        Given a `config`, the weights go into a network of that config instead, for instance of another stem stride.

        Raises FileNotFoundError without the weights or their card, ValueError if they do not belong together, the card
        was changed, they are something else, do not fit the config, or hold a value that is not finite; the first
        tensor at fault is named.
        """
        path = Path(path)
        tensors, card = read_weights(path)
        try:
            config = config or cls.config_type.from_json(card["config"])
            wanted = state_without_values(cls, config)
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise ValueError(f"the card of {path} has no config of such a network: {error!r}") from None
        check_fit(path, tensors, wanted)
        network = cls(config)
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


def _check_free(beside: Path) -> None:
    try:
        found = read_json(beside)
    except (OSError, ValueError):  # none, or what is left of one
        return
    if not (isinstance(found, dict) and DIGEST in found):
        raise ValueError(f"{beside} is no card and would be replaced by one: name the weights otherwise, or move it")


def write_weights(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> dict[str, Any]:
    """Write the weights and a card with their SHA-256, with the errors of `SavedNetwork.save`; return the card."""
    # A file has neither devices nor memory layouts.
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    card = with_digest({**card, "weights_sha256": hashlib.sha256(weights).hexdigest()})
    beside = card_path(path)
    with atomic_write(path) as temporary:
        temporary.write_bytes(weights)
    return write_card(beside, card)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors at `path` and their card.

    Raises FileNotFoundError without either file, ValueError for a damaged or changed card, or one written for other
    weights.
    """
    beside = card_path(path)
    for needed, what in ((path, "weights"), (beside, "card")):
        try:
            regular_file(needed)
        except (FileNotFoundError, IsADirectoryError) as error:
            reason = f"{needed}, the {what}, is missing ({error.strerror})"
            raise FileNotFoundError(f"{reason}; network.save writes weights and card together") from error
    card = read_card(beside)
    if "weights_sha256" not in card:
        raise ValueError(f"{beside} is not a card that network.save wrote: it has no weights_sha256")
    # The bytes that are hashed are those that are read, even while another process writes.
    weights = read_bytes(path, MAX_BYTES)
    found = hashlib.sha256(weights).hexdigest()
    if found != card["weights_sha256"]:
        raise ValueError(
            f"{path} does not hold the weights that its card {beside.name} was written for: it is damaged, replaced, "
            f"or left by a save that was cut off. Save or copy both again. SHA-256 {found}; the card says "
            f"{str(card['weights_sha256'])[:64]}"
        )
    try:
        if int.from_bytes(weights[:8], "little") > _MAX_HEADER_BYTES:
            raise SafetensorError(f"its list of tensors is longer than {_MAX_HEADER_BYTES:,} bytes")
        return load(weights), card
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None


class _WithoutValues(TorchFunctionMode):
    """Parameters stay as they are allocated: on the meta device there are no values to draw, and it takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def state_without_values(network_type: type[SavedNetwork], config: Config) -> dict[str, Tensor]:
    """Return the state dict of a network without its memory: a file can ask for any size, before it has to fit."""
    with torch.device("meta"), _WithoutValues():
        return network_type(config).state_dict()


def check_fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError for the first tensor that the network cannot take: of another shape or type, or not finite.

    Weights may have any of the types FLOATS, but all the same one; a variance is 0 or more.
    """
    for name in (*wanted, *sorted(found)):
        in_file, in_network = (tuple(part[name].shape) if name in part else "missing" for part in (found, wanted))
        if in_file != in_network:
            raise ValueError(
                f"{path} does not fit this network: {name} is {in_file} in the file, {in_network} in the network"
            )
    floating = [name for name, tensor in wanted.items() if tensor.is_floating_point()]
    taken = found[floating[0]].dtype
    for name, tensor in wanted.items():
        dtype = found[name].dtype
        if name in floating and (dtype not in FLOATS or dtype != taken):
            known = ", ".join(str(each).removeprefix("torch.") for each in FLOATS)
            reason = f"{name} is {dtype}, {floating[0]} is {taken}; weights are all of one type among {known}"
            raise ValueError(f"{path} does not fit this network: {reason}")
        if name not in floating and dtype != tensor.dtype:
            raise ValueError(f"{path} does not fit this network: {name} is {dtype}, {tensor.dtype} is needed")
        if not torch.isfinite(found[name]).all():
            raise ValueError(f"{path} holds a value in {name} that is not finite; train or save it again")
        if name.endswith("running_var") and (found[name] < 0).any():  # a norm would make NaN of every clip
            raise ValueError(f"{path} holds a negative variance in {name}; train or save it again")
