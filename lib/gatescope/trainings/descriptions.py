"""Trainings described in a file: from its tables to a `Training` that `gatescope.trainings.runs.run` takes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from gatescope.dependencies import training_digest
from gatescope.files import sha256_of
from gatescope.loaders import (
    CONFUSABLE,
    BodyClips,
    CachedClips,
    ClipTensors,
    GesturePairs,
    PermutationFamilies,
    PoseTensors,
    SyntheticGestures,
    read_bvh,
)
from gatescope.loaders.datasets import RecordedClips
from gatescope.loaders.families import FAMILY_OF
from gatescope.loaders.limits import is_whole
from gatescope.models import MEANS, DSTSConfig, GestureNetwork, NetworkConfig, RPSMConfig
from gatescope.paths import CACHE, CHECKPOINTS
from gatescope.trainings.features import FrozenFeatures
from gatescope.trainings.neurons import Specialisation
from gatescope.trainings.poses import PoseEstimation
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.recorded_sets import RECORDED, lists_digest, recorded_splits
from gatescope.trainings.tasks import CLASSIFICATION, Task
from gatescope.trainings.train import Training

RENDERED_ONLY = "These weights have seen rendered people only; what they make of real ones was not measured."
RENDERED = {"gestures": SyntheticGestures, "pairs": GesturePairs}
TABLES = ("clips", "network", "training")
MOST_CLIPS = 10_000_000  # of a split
TASKS = ("poses", "neurons")

Table = dict[str, Any]
Parts = tuple[Any, dict[str, Dataset], Table, Task]  # start, the clips of each split, facts on the data, task


def described_run(
    description: Mapping[str, Any],
    *,
    cell: str | None = None,
    variant: str | None = None,
    seed: int,
    transform: str | None = None,
    start: str | Path | None = None,
    cache: str | Path = CACHE,
) -> Training:
    """Return the training that a description's tables, a cell or a variant, and a seed define.

    Gestures (no `task`) take a `cell`. The table `clips` has `num_train`, `num_valid` and arguments of
    `SyntheticGestures`, or, with the `set` pairs, of `GesturePairs`; or the name of a recorded `set` (jester, isogd),
    its `root`, for IsoGD a `modality`, and `outside` where lists or links lead out of the root. `network` has settings
    of `NetworkConfig.small`; `training` has fields of `TrainConfig`, without `seed` and `transform`. With `start`, a
    checkpoint, training starts from its weights and a new head. Clips are rendered at the first access and cached;
    `training.train_clips.clips.fill()` renders them beforehand. `data` holds a hash of the code: a training of other
    code is neither resumed nor taken for finished. Of a recorded set it holds a digest of the clips' names and labels
    and not the root, so that a training goes on where its clips were moved or packed.

    Poses (`task = "poses"`) and specialised neurons (`task = "neurons"`) take a `variant`: one of the table
    `variants`, whose tables `clips`, `network` and `training` override the description's. Of poses, `clips` has
    `num_train`, `num_valid`, arguments of `BodyClips`, and `hidden` and `length` of `PoseTensors`; BVH files, listed
    as `train` and `valid`, replace the procedural gaits; `network` has fields of `RPSMConfig.small`. Of neurons,
    `clips` has `num_train`, `num_valid` and arguments of `PermutationFamilies`; or, with a `checkpoint`, of
    `SyntheticGestures`: the network then learns confusable gestures from that checkpoint's features, means over
    `pool` x `pool` places; `network` has fields of `DSTSConfig`; a variant's table `apart` has arguments of
    `UpstreamDownstream`, without it training is joint.

    Example:
        description = {
            "clips": {"num_train": 960, "num_valid": 600, "size": 48, "classes": MOTION_CLASSES},
            "network": {"size": 48, "stem_stride": 3, "clip_mean": 0.75},
            "training": {"epochs": 16},
        }
        rows = list(run(described_run(description, cell="a", seed=0), "runs/a-0"))

    Raises ValueError, LookupError or TypeError if a table or a field is missing, unknown, or has a wrong value, or the
    checkpoint does not fit; FileNotFoundError if a recorded set is not at its root, or the checkpoint is missing.
    """
    cache, task = Path(cache), description.get("task")
    if task is not None and task not in TASKS:
        raise LookupError(f"no task {task!r}; there are {', '.join(TASKS)}, or gestures without one")
    tables = TABLES if task is None else ("task", *TABLES, "variants")
    if set(description) != set(tables):
        needed = f"{', '.join(tables[:-1])} and {tables[-1]}"
        raise ValueError(f"such a description has the tables {needed}; got {', '.join(description) or 'none'}")
    check_tables(description)
    if task is None and (cell is None or variant is not None):
        raise ValueError(f"a training on gestures takes a cell and no variant; got {cell} and {variant}")
    if task is not None and (variant is None or any(other is not None for other in (cell, transform, start))):
        raise ValueError(f"a training on {task} takes a variant, and no cell, transform or start")
    if task is not None and variant not in description["variants"]:
        raise LookupError(f"no variant {variant!r}; there are {', '.join(description['variants'])}")
    own = {} if task is None else description["variants"][variant]
    clips, network, settings = ({**description[table], **own.get(table, {})} for table in TABLES)
    # TOML and JSON know only lists; configs hold tuples.
    network = {name: tuple(value) if isinstance(value, list) else value for name, value in network.items()}
    if task is None:
        made = _gestures(clips, network, seed, cache, cell, start)
    elif task == "poses":
        made = _poses(clips, network, seed, cache)
    else:
        made = _neurons(clips, network, cache, own.get("apart"))
    begun, tensors, data, learnt = made
    # Where recordings lie decides nothing; their lists do, by a digest.
    told = {**description, "clips": {name: each for name, each in description["clips"].items() if name != "root"}}
    return Training(
        start=begun,
        train_clips=tensors["train"],
        valid_clips=tensors["valid"],
        config=TrainConfig(**settings, transform=transform, seed=seed),
        data={**data, **({"variant": variant} if variant else {}), **told, "code": training_digest()},
        task=learnt,
    )


def check_tables(description: Mapping[str, Any]) -> None:
    """Raise ValueError unless what stands for a table in a description, or in one of its variants, is one."""
    variants = description.get("variants", {})
    variants = variants if isinstance(variants, Mapping) else {"variants": variants}
    tables = {name: description[name] for name in TABLES if name in description} | dict(variants)
    for variant, each in variants.items():
        tables |= {f"{variant}.{name}": own for name, own in each.items()} if isinstance(each, Mapping) else {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ValueError(f"{name} must be a table of fields; got {table!r:.80}")


def with_modality(description: Mapping[str, Any], modality: str) -> Table:
    """Return the description with another modality of its recorded set, and the authors' mean for it.

    Raises LookupError where they give none.
    """
    check_tables(description)
    name = description["clips"].get("set")
    if (name, modality) not in MEANS:
        raise LookupError(f"no {modality} of {name}; there are {', '.join(' '.join(pair) for pair in MEANS)}")
    seen = {"modality": modality, "mean": list(MEANS[name, modality])}
    return {
        **description,
        "clips": {**description["clips"], "modality": modality},
        "network": {**description["network"], **seen},
    }


def _gestures(clips: Table, network: Table, seed: int, cache: Path, cell: str, start: str | Path | None) -> Parts:
    rendered = clips.get("set", "gestures") in [*RENDERED]
    made, data = _rendered(clips, cache) if rendered else _recorded(clips)
    config = NetworkConfig.small(cell, num_classes=len(data["names"]), **network)
    begun = config if start is None else _pretrained(Path(start), config, seed)
    tensors = {
        split: ClipTensors(each, **config.input, train=split == "train", seed=seed) for split, each in made.items()
    }
    return begun, tensors, data, CLASSIFICATION


def _recorded(clips: Table) -> tuple[dict[str, RecordedClips], Table]:
    if not isinstance(clips["set"], str) or clips["set"] not in RECORDED:
        raise LookupError(
            f"no set {clips['set']!r}; there are {', '.join([*RECORDED, *RENDERED])}; gestures without one"
        )
    if not clips.get("root"):
        raise ValueError(f"{clips['set']} needs a root, the folder where it lies")
    made = recorded_splits(**clips)
    return made, {
        "source": clips["set"],
        "names": made["train"].labels,
        "listed_sha256": lists_digest(made),
        # The card says how many clips an incomplete copy lacks.
        "left_out": sum(len(each.skipped) for each in made.values()),
    }


def _rendered(clips: Table, cache: Path) -> tuple[dict[str, CachedClips], Table]:
    counts, name = _counts(clips), clips.pop("set", "gestures")
    # The network sees frames only: masks, depth and flow would be rendered for nothing.
    made = {
        split: CachedClips(RENDERED[name](split, count, **clips, modalities=()), folder=cache)
        for split, count in counts.items()
    }
    return made, {
        "source": "rendered gestures" if name == "gestures" else "rendered gesture pairs",
        "names": made["train"].clips.names,
        "warning": RENDERED_ONLY,
    }


def _pretrained(checkpoint: Path, config: NetworkConfig, seed: int) -> GestureNetwork:
    """Return a network of that config with a checkpoint's weights and a head drawn from the seed."""
    num_classes = GestureNetwork.load(checkpoint).config.num_classes
    before = GestureNetwork.load(checkpoint, replace(config, num_classes=num_classes))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return before.with_classes(config.num_classes)


def _poses(clips: Table, network: Table, seed: int, cache: Path) -> Parts:
    shown = {name: clips.pop(name) for name in ("hidden", "length") if name in clips}
    counts = _counts(clips)
    files = {split: clips.pop(split, ()) for split in counts}
    tensors = {}
    for split, count in counts.items():
        motions = [read_bvh(path).body() for path in files[split]] or None
        bodies = CachedClips(BodyClips(split, count, **clips, motions=motions), folder=cache)
        # Every seed is validated with the same boards.
        tensors[split] = PoseTensors(bodies, **shown, train=split == "train", seed=seed if split == "train" else 0)
    data = {"source": "rendered procedural gaits", "warning": RENDERED_ONLY}
    if named := [path for split in counts for path in files[split]]:
        data |= {"source": "rendered motion capture", "motions_sha256": [sha256_of(path) for path in named]}
    return RPSMConfig.small(**network), tensors, data, PoseEstimation()


def _neurons(clips: Table, network: Table, cache: Path, apart: Table | None) -> Parts:
    if "checkpoint" in clips:
        backbone = GestureNetwork.load(CHECKPOINTS / clips.pop("checkpoint") / "network.safetensors")
        pool = clips.pop("pool")
        family_of = {label: number for number, family in enumerate(CONFUSABLE.values()) for label in family}
        clips["classes"] = sorted(family_of)  # in the order of the clips' labels
        families = [family_of[label] for label in clips["classes"]]
        made, data = _rendered(clips, cache)
        data["checkpoint_sha256"] = backbone.card["weights_sha256"]
        tensors = {split: FrozenFeatures(backbone, each, pool=pool, folder=cache) for split, each in made.items()}
        network = {"backbone": "none", "channels": tensors["train"][0][0].shape[0], **network}
    else:
        counts = _counts(clips)
        tensors = {split: PermutationFamilies(split, count, **clips) for split, count in counts.items()}
        families = FAMILY_OF.tolist()
        data = {"source": "synthetic permutation families", "names": tensors["train"].names}
    task = Specialisation(families, tensors["train"], apart)
    return DSTSConfig(num_classes=len(families), **network), tensors, data, task


def _counts(clips: Table) -> dict[str, int]:
    """Take the number of clips of each split out of the table."""
    if missing := {"num_train", "num_valid"} - set(clips):
        raise ValueError(f"the table clips needs {' and '.join(sorted(missing))}")
    counts = {split: clips.pop(f"num_{split}") for split in ("train", "valid")}
    if odd := {f"num_{split}": count for split, count in counts.items() if not is_whole(count)}:
        raise ValueError(f"{next(iter(odd))} must be a whole number of clips; got {next(iter(odd.values()))!r:.80}")
    if beyond := [count for count in counts.values() if count > MOST_CLIPS]:
        raise ValueError(f"at most {MOST_CLIPS:,} clips are rendered for a split; got {beyond[0]:,}")
    return counts
