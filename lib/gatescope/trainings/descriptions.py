"""Trainings described in a file: its tables as the arguments of `gatescope.trainings.runs.run`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gatescope.dependencies import training_digest
from gatescope.loaders import (
    CONFUSABLE,
    BodyClips,
    CachedClips,
    ClipTensors,
    IsoGDClips,
    JesterClips,
    PermutationFamilies,
    PoseTensors,
    SyntheticGestures,
    read_bvh,
)
from gatescope.loaders.families import FAMILY_OF
from gatescope.models import DSTSConfig, GestureNetwork, NetworkConfig, RPSMConfig
from gatescope.paths import CHECKPOINTS
from gatescope.trainings.features import FrozenFeatures
from gatescope.trainings.neurons import Specialisation
from gatescope.trainings.poses import PoseEstimation
from gatescope.trainings.recipes import TrainConfig

RENDERED_ONLY = "These weights have seen rendered people only; what they make of real ones was not measured."
SETS = {"jester": JesterClips, "isogd": IsoGDClips}


def described_run(
    description: Mapping[str, Any],
    *,
    cell: str,
    seed: int,
    transform: str | None = None,
    start: str | Path | None = None,
    cache: str | Path | None = None,
) -> dict[str, Any]:
    """The arguments of `run`, all but the folder, for a training on rendered gestures, Jester, IsoGD or whole bodies.

    `description` has three tables: `clips`, which are `num_train`, `num_valid` and what else `SyntheticGestures`
    takes, or else the name of a `set`, jester or isogd, its `root`, and for IsoGD perhaps a `modality`; `network`,
    settings of `NetworkConfig.small`; `training`, fields of `TrainConfig` but for `seed` and `transform`. With a
    checkpoint to `start` from, its weights are taken, but for the head. Rendered clips are made where they are asked
    for and kept in the cache; `train_clips.clips.fill()` renders them beforehand. Among the `data` is a hash of the
    code: under another no training goes on, and none is taken for finished.

    With `task = "poses"` an `RPSM` learns where the joints are: `clips` are `num_train`, `num_valid`, what else
    `BodyClips` takes, and the `hidden` and `length` of `PoseTensors`; BVH files, listed as `train` and `valid`, take
    the place of procedural gaits; `network` has fields of `RPSMConfig.small`; `cell` names one of the `variants`, each
    with such tables of what it has otherwise.

    With `task = "neurons"` a `SpecialisedNetwork` of these `variants` learns classes: of `PermutationFamilies`, of
    which `clips` are the arguments, `num_train` and `num_valid`; or, where `clips` name a `checkpoint`, confusable
    gestures by what its backbone makes of them, means over `pool` x `pool` places. `network` has fields of
    `DSTSConfig`; a variant's table `apart` has arguments of `UpstreamDownstream`, without which all learns together.

    Example:
        description = {
            "clips": {"num_train": 960, "num_valid": 600, "size": 48, "classes": MOTION_CLASSES},
            "network": {"size": 48, "stem_stride": 3, "clip_mean": 0.75},
            "training": {"epochs": 16},
        }
        rows = list(run(**described_run(description, cell="a", seed=0), folder=Path("runs/a-0")))

    Raises:
        ValueError, LookupError, TypeError: if a table or a field is missing, unknown, or has a value that cannot be,
            or the checkpoint does not fit.
        FileNotFoundError: if a recorded set is not at its root, or the checkpoint is missing.
    """
    if description.get("task") in VARIED:
        return VARIED[description["task"]](description, variant=cell, seed=seed, cache=cache)
    if set(description) != {"clips", "network", "training"}:
        raise ValueError(f"a run has the tables clips, network and training; got {', '.join(description) or 'none'}")
    facts = dict(description["clips"])
    train, valid, about = _recorded(**facts) if "set" in facts else _rendered(cache, **facts)
    config = NetworkConfig.small(cell, num_classes=len(about["names"]), **_with_tuples(description["network"]))
    return {
        "start": config if start is None else _begin(Path(start), config, seed),
        "train_clips": ClipTensors(train, **config.input, train=True, seed=seed),
        "valid_clips": ClipTensors(valid, **config.input),
        "config": TrainConfig(**description["training"], transform=transform, seed=seed),
        "data": {**about, **description, "code": training_digest()},
    }


def _rendered(cache: str | Path | None, **facts: Any) -> tuple[CachedClips, CachedClips, dict[str, Any]]:
    if missing := {"num_train", "num_valid"} - set(facts):
        raise ValueError(f"the table clips needs {' and '.join(sorted(missing))}")
    counts = {split: facts.pop(f"num_{split}") for split in ("train", "valid")}
    where = {} if cache is None else {"folder": Path(cache)}
    # The network sees frames alone: masks, depth and flow would be rendered for nothing.
    train, valid = (
        CachedClips(SyntheticGestures(split, count, **facts, modalities=()), **where) for split, count in counts.items()
    )
    return train, valid, {"source": "rendered gestures", "names": train.clips.names, "warning": RENDERED_ONLY}


def _poses(description: Mapping[str, Any], *, variant: str, seed: int, cache: str | Path | None) -> dict[str, Any]:
    clips, network, training = _tables(description, variant)
    shown = {name: clips.pop(name) for name in ("hidden", "length") if name in clips}
    where = {} if cache is None else {"folder": Path(cache)}
    counts = {split: clips.pop(f"num_{split}") for split in ("train", "valid")}
    files = {split: clips.pop(split, ()) for split in counts}
    tensors = {}
    for split, count in counts.items():
        motions = [read_bvh(path).body() for path in files[split]] or None
        bodies = CachedClips(BodyClips(split, count, **clips, motions=motions), **where)
        # Every seed is judged behind the same boards.
        tensors[split] = PoseTensors(bodies, **shown, train=split == "train", seed=seed if split == "train" else 0)
    source = "rendered motion capture" if files["train"] else "rendered procedural gaits"
    about = {"source": source, "variant": variant, "warning": RENDERED_ONLY}
    return {
        "start": RPSMConfig.small(**_with_tuples(network)),
        "train_clips": tensors["train"],
        "valid_clips": tensors["valid"],
        "config": TrainConfig(**training, seed=seed),
        "data": {**about, **description, "code": training_digest()},
        "task": PoseEstimation(),
    }


def _neurons(description: Mapping[str, Any], *, variant: str, seed: int, cache: str | Path | None) -> dict[str, Any]:
    clips, network, training = _tables(description, variant)
    apart = description["variants"][variant].get("apart")
    counts = {split: clips.pop(f"num_{split}") for split in ("train", "valid")}
    if "checkpoint" in clips:
        backbone = GestureNetwork.load(CHECKPOINTS / clips.pop("checkpoint") / "network.safetensors")
        pool, where = clips.pop("pool"), {} if cache is None else {"folder": Path(cache)}
        family_of = {label: number for number, family in enumerate(CONFUSABLE.values()) for label in family}
        clips["classes"] = sorted(family_of)  # as the labels of the clips are
        families = [family_of[label] for label in clips["classes"]]
        tensors = {}
        for split, count in counts.items():
            gestures = SyntheticGestures(split, count, **clips, modalities=())
            tensors[split] = FrozenFeatures(backbone, CachedClips(gestures, **where), pool=pool, **where)
        about = {"source": "rendered gestures", "names": list(gestures.names), "warning": RENDERED_ONLY}
        network = {"backbone": "none", "channels": tensors["train"][0][0].shape[0], **network}
    else:
        tensors = {split: PermutationFamilies(split, count, **clips) for split, count in counts.items()}
        families = FAMILY_OF.tolist()
        about = {"source": "synthetic permutation families", "names": list(tensors["train"].names)}
    return {
        "start": DSTSConfig(num_classes=len(families), **network),
        "train_clips": tensors["train"],
        "valid_clips": tensors["valid"],
        "config": TrainConfig(**training, seed=seed),
        "data": {**about, "variant": variant, **description, "code": training_digest()},
        "task": Specialisation(families, tensors["train"], apart),
    }


VARIED = {"poses": _poses, "neurons": _neurons}


def _tables(description: Mapping[str, Any], variant: str) -> list[dict[str, Any]]:
    """The tables clips, network and training of a variant."""
    tables = ("clips", "network", "training")
    if missing := {*tables, "variants"} - set(description):
        raise ValueError(f"such a run has the tables clips, network, training and variants; no {sorted(missing)}")
    variants = description["variants"]
    if variant not in variants:
        raise LookupError(f"no variant {variant!r}; there are {', '.join(variants)}")
    return [{**description[table], **variants[variant].get(table, {})} for table in tables]


def _with_tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a config has them: TOML and JSON know lists alone."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def _recorded(*, set: str, root: str, **settings: Any) -> tuple[Any, Any, dict[str, Any]]:
    if set not in SETS:
        raise LookupError(f"no set {set!r}; there are {', '.join(SETS)}, or rendered gestures without one")
    # What is left out of a copy with gaps is said in the card.
    train, valid = (SETS[set](root, split, **settings, strict=False) for split in ("train", "valid"))
    names = train.labels if isinstance(train, JesterClips) else tuple(str(label) for label in range(1, 250))
    return train, valid, {"source": set, "names": names, "left_out": len(train.skipped) + len(valid.skipped)}


def _begin(checkpoint: Path, config: NetworkConfig, seed: int) -> GestureNetwork:
    """A network of that config with a checkpoint's weights and a head drawn from the seed."""
    num_classes = GestureNetwork.load(checkpoint).config.num_classes
    before = GestureNetwork.load(checkpoint, replace(config, num_classes=num_classes))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return before.with_classes(config.num_classes)
