"""Every reader of files, with what is a valid input, which errors it documents, and what its checksums promise."""

import hashlib
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clip_files import some_frames, write_depth, write_isogd, write_jester, write_jpegs, write_video

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Reader:
    """One way to read a folder with valid files, of which some will be spoilt."""

    make: Callable[[Path], object]  # writes the files
    read: Callable[[Path], object]  # returns what must not change where checksums promise it
    errors: Callable[[], tuple[type[Exception], ...]]  # documented
    spoilt: str = "*"  # pattern of the files to spoil
    promises: bool = field(default=False)  # what is read is what was written, or it is refused


def clip_errors():
    from gatescope.loaders import ClipError

    return (ClipError,)


def result_errors():
    return OSError, ValueError


def first(folder: Path) -> Path:
    return next(path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def video(suffix: str, codec: str) -> Reader:
    def read(folder):
        from gatescope.loaders import read_clip

        return read_clip(folder / f"clip.{suffix}")

    return Reader(lambda folder: write_video(folder / f"clip.{suffix}", some_frames(8), codec), read, clip_errors)


def pictures(make: Callable[[Path], object], unit: float | None = None) -> Reader:
    def read(folder):
        from gatescope.loaders import read_clip

        return read_clip(folder / "clip", depth_unit_mm=unit)

    return Reader(lambda folder: make(folder / "clip"), read, clip_errors)


def write_pngs(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for number, frame in enumerate(some_frames(3)):
        Image.fromarray(frame).save(folder / f"{number}.png")


def read_array(folder):
    """An array as a text describes it."""
    from gatescope.loaders import read_clip

    try:
        asked = json.loads((folder / "array.json").read_text())
        array, unit = np.zeros(asked["shape"], asked["type"]), asked["unit"]
    except (ValueError, LookupError, TypeError, MemoryError, RecursionError):
        return None  # no array to read
    return read_clip(array, depth_unit_mm=unit) if array.nbytes < 1 << 28 else None


def write_npy(folder: Path) -> None:
    np.save(folder / "clip.npy", some_frames(3))


def read_npy(folder):
    from gatescope.loaders import read_clip

    read_clip(folder / "clip.npy")


def write_pack(folder: Path) -> None:
    from gatescope.loaders.packing import pack

    write_jester(folder.parent / "packed jester", num_clips=3)
    list(pack(folder.parent / "packed jester", folder))


def write_wheel(folder: Path) -> None:
    from gatescope.loaders.hands.networks import FILES, LICENCE

    with zipfile.ZipFile(folder / "networks.whl", "w", zipfile.ZIP_DEFLATED) as file:
        for member in (*(each.member for each in FILES), LICENCE):
            file.writestr(member, bytes(5000))


def read_wheel(folder):
    """The whole of one is refused too: it holds other networks."""
    from gatescope.loaders.hands import HandNetworksError, fetch_networks

    try:
        fetch_networks(folder / "networks.whl", folder / "hands")
    except HandNetworksError as error:
        return str(error)


def killed(tree: Path) -> Path:
    """The list that a publish left which was killed when one of two files was new."""
    from gatescope.atlas.publish import LIST, _keep

    shutil.rmtree(tree, ignore_errors=True)
    (tree / "build").mkdir(parents=True)
    for name in ("a", "b"):
        (tree / name).write_text(f"old {name}")
        (tree / f"new {name}").write_text(f"new {name}")
    _keep({tree / name: tree / f"new {name}" for name in ("a", "b")}, tree / "build" / "undo")
    (tree / "a").write_text("new a")
    return tree / "build" / "undo" / LIST


def write_killed(folder: Path) -> None:
    killed(folder.parent / "killed").rename(folder / "list.json")


def recover(folder):
    from gatescope.atlas.publish import recover

    listed = killed(folder.parent / "killed")
    listed.unlink()
    listed.symlink_to(folder / "list.json")
    recover(listed.parent)


def write_bvh(folder: Path) -> None:
    from test_mocap import person_file

    person_file(folder / "motion.bvh")


def read_bvh(folder):
    from gatescope.loaders import read_bvh

    return read_bvh(folder / "motion.bvh", unit_mm=310).body()


def bvh_errors():
    return (*clip_errors(), LookupError, ValueError)  # of `body`: other names, no person's size


def jester(folder):
    from gatescope.loaders import JesterClips

    for strict in (False, True):
        list(JesterClips(folder, strict=strict))


def isogd(folder):
    from gatescope.loaders import IsoGDClips

    for modality in ("rgb", "depth"):
        list(IsoGDClips(folder, "train", modality, strict=False))


def write_isogd_frames(root: Path) -> None:
    for kind in ("rgb", "depth"):
        for number in (1, 2):
            write_jpegs(root / kind / str(number), some_frames(3), digits=6)
        (root / f"train_{kind}_list.txt").write_text(f"{kind}/1 3 0\n{kind}/2 3 248\n")


def write_human36m(root: Path) -> None:
    """A performance of each test person before four cameras."""
    arrays: dict[str, Any] = {}
    for subject in ("S9", "S11"):
        arrays[f"{subject}/cameras"] = np.tile(np.eye(4, 3), (4, 1, 1))
        arrays[f"{subject}/Eating/world"] = np.random.default_rng(0).normal(0, 300, (12, 17, 3)).astype(np.float32)
        arrays[f"{subject}/Eating/pixels"] = np.random.default_rng(1).uniform(20, 60, (4, 12, 17, 2)).astype(np.float32)
        (root / subject / "Videos").mkdir(parents=True)
        for camera in ("54138969", "55011271", "58860488", "60457274"):
            write_video(root / subject / "Videos" / f"Eating.{camera}.mp4", some_frames(14), "mpeg4", fps=50)
    np.savez(root / "poses.npz", **arrays)


def human36m(folder):
    from gatescope.loaders import Human36M

    clips = Human36M(folder, "test", size=32, num_frames=2, every=5, strict=False)
    return clips[0] if len(clips) else None


def copied(*names: str) -> Callable[[Path], None]:
    """What makes a copy of the repository's own files."""

    def make(folder):
        for name in names:
            shutil.copy(REPOSITORY / name, folder)

    return make


def load_network(folder):
    from gatescope.models import GestureNetwork

    network = GestureNetwork.load(folder / "network.safetensors")
    tensors = [(name, tensor.numpy().tobytes()) for name, tensor in network.state_dict().items()]
    return tensors, network.config.to_json(), network.card["data"]


def write_network(folder: Path) -> None:
    import torch

    from gatescope.models import GestureNetwork, NetworkConfig

    torch.manual_seed(0)
    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 64, size=6, num_frames=4))
    network.save(folder / "network.safetensors", data={"names": ["up", "down", "left"]}, metrics={"top1": 0.5})


def keras(folder):
    from gatescope.models import load_keras_weights

    load_keras_weights(folder / "gated_weights.h5")


def keras_errors():
    return (*result_errors(), LookupError)


TRAINING = [f"data/checkpoints/a-0/{name}" for name in ("network.json", "predictions.npz", "rows.json")]


def read_results(folder):
    from gatescope.trainings.results import read_results

    found = read_results(folder)
    return found.rows, [(each.logits.tobytes(), each.labels.tobytes()) for each in found.predictions.values()]


def read_answers(folder):
    from gatescope.trainings.evidence import read_answers

    answers, card = read_answers(folder)
    return [(name, each.tobytes()) for name, each in answers.predicted.items()], answers.labels.tobytes()


def read_description(folder):
    from gatescope.formats.facts import read_toml
    from gatescope.trainings.descriptions import described_run

    description = read_toml(folder / "ci.toml")
    described_run(description, cell="a", seed=0, cache=folder / "cache")


def description_errors():
    return ValueError, LookupError, TypeError, OSError


def write_notebook_tree(folder: Path) -> None:
    from site_trees import executed, picture, plotly, write_tree

    cells = ["# 00 · First\n\n**Does $a < b$ hold?**\n\n[Data](../data/README.md)", picture("noise"), [plotly("Gates")]]
    write_tree(folder, **{"00_first": executed(*cells)})


def write_site(folder):
    from gatescope.atlas import site

    site.reference = lambda: "# Reference\n\n## `Clip`"  # the library's own takes a second
    try:
        site.write_site(folder, folder / "build" / "site")
    finally:
        shutil.rmtree(folder / "build", ignore_errors=True)


def site_errors():
    from gatescope.atlas.site import SiteError

    return SiteError, OSError


def write_runnable(folder: Path) -> None:
    from throwaway import DRAW, FINISH, write_notebook

    write_notebook(folder, "07_line", DRAW, FINISH)
    (folder / "value").write_text("2.5")


def rebuild(folder):
    """The command up to the kernel's start; a sentence and an exit status are its way to refuse."""
    import papermill

    from gatescope.__main__ import main

    def stop(*_, **__):
        raise RuntimeError("it would run now")

    papermill.execute_notebook = stop
    value = (folder / "value").read_bytes().decode("utf-8", "surrogateescape")
    main(["rebuild", str(folder / "notebooks" / "07_line.ipynb"), "-p", "height", value])


def write_manifest(folder: Path) -> None:
    figures = json.loads((REPOSITORY / "figures" / "manifest.json").read_text("utf-8"))["figures"]
    some = dict(list(figures.items())[:2])
    (folder / "manifest.json").write_text(json.dumps({"figures": some}), "utf-8")


def read_manifest(folder):
    from gatescope.atlas.manifest import compare, load_manifest

    committed = load_manifest(REPOSITORY / "figures" / "manifest.json")
    compare(committed, load_manifest(folder / "manifest.json"))


def write_states(folder: Path) -> None:
    import torch

    from gatescope.trainings.saved_states import save_state

    for epoch in (1, 2):
        save_state(folder, epoch, {"network.weight": torch.arange(6.0) + epoch}, {"epoch": epoch, "rows": [1, 2]})


def read_states(folder):
    """The last state or, with a warning, the one before it, or none: each as it was written."""
    from gatescope.trainings.saved_states import load_state

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = load_state(folder)
    if found is None:
        return "none"
    tensors, facts = found
    wanted = [float(place + facts["epoch"]) for place in range(6)]
    good = facts["epoch"] in (1, 2) and facts["rows"] == [1, 2] and tensors["network.weight"].tolist() == wanted
    return "none" if good else (tensors, facts)  # one of the three that are right


def few_clips(folder: Path):
    from gatescope.loaders import CachedClips, Clip
    from gatescope.loaders.rendered.clips import RenderedClips

    class Few(RenderedClips):
        KIND = "few"

        def clip(self, index):
            return Clip(frames=np.full((2, 8, 8, 3), index, np.uint8), fps=12.0, source="made", label=0, name="one")

        def determined_by(self):
            return {"few": 1}

    return CachedClips(Few("train", 27, 8, 0, 2), folder=folder)


def read_cached(folder):
    clips = few_clips(folder)
    return [(clips[index].frames.tobytes(), clips[index].label) for index in (0, 26)]


def pack(folder):
    from gatescope.loaders import Clip
    from gatescope.pictures.packing import Group, pack

    try:
        asked = json.loads((folder / "packed.json").read_text())
        maps = {name: np.full(shape, asked["value"], asked["type"]) for name, shape in asked["maps"].items()}
        clip = Clip(frames=np.zeros(asked["frames"], np.uint8), fps=12.0, source="made")
        channels, size = int(asked["channels"]), sum(each.nbytes for each in maps.values())
    except (ValueError, LookupError, TypeError, AttributeError, MemoryError, OverflowError, RecursionError):
        return  # nothing to pack
    if size < 1 << 26:
        pack([Group("a", maps=maps)], clip, num_channels=channels)


PACKED = {"type": "float32", "value": 0.5, "frames": [4, 8, 8, 3], "channels": 2}
PACKED["maps"] = {"layer1.h": [4, 3, 5, 5], "layer1.i": [4, 3, 5, 5]}


def written(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content, "utf-8")


def value_error():
    return (ValueError,)


READERS = {
    "Matroska": video("mkv", "libx264"),
    "MP4": video("mp4", "libx264"),
    "AVI": video("avi", "mpeg4"),
    "WebM": video("webm", "libvpx-vp9"),
    "GIF": video("gif", "gif"),
    "JPEGs": pictures(lambda folder: write_jpegs(folder, some_frames(3))),
    "PNGs": pictures(write_pngs),
    "depth PNGs": pictures(lambda folder: write_depth(folder, np.full((3, 12, 16), 900)), unit=1.0),
    "array": Reader(
        written("array.json", '{"shape": [4, 8, 8, 3], "type": "uint8", "unit": null}'), read_array, value_error
    ),
    "BVH": Reader(write_bvh, read_bvh, bvh_errors),
    "Jester": Reader(lambda folder: write_jester(folder, num_clips=3), jester, clip_errors, "*.csv"),
    "IsoGD": Reader(lambda folder: write_isogd(folder, num_clips=2), isogd, clip_errors, "*.txt"),
    "IsoGD as frames": Reader(write_isogd_frames, isogd, clip_errors, "*.txt"),
    "npy": Reader(write_npy, read_npy, value_error),
    "pack": Reader(write_pack, jester, clip_errors),
    "hands": Reader(write_wheel, read_wheel, tuple),
    "killed run": Reader(write_killed, recover, value_error),
    "Human3.6M": Reader(write_human36m, human36m, clip_errors, "*.npz"),
    "weights and card": Reader(write_network, load_network, result_errors, promises=True),
    "Keras HDF5": Reader(copied("tests/reference/gated_weights.h5"), keras, keras_errors),
    "results": Reader(copied(*TRAINING), read_results, result_errors, promises=True),
    "answers": Reader(
        lambda folder: shutil.copytree(REPOSITORY / "data/evidence/seeds/a-0", folder, dirs_exist_ok=True),
        read_answers,
        result_errors,
        promises=True,
    ),
    "description": Reader(copied("data/trainings/ci.toml"), read_description, description_errors),
    "site": Reader(write_notebook_tree, write_site, site_errors, "*.ipynb"),
    "rebuild": Reader(write_runnable, rebuild, lambda: (SystemExit,)),
    "manifest": Reader(write_manifest, read_manifest, value_error),
    "saved states": Reader(write_states, read_states, tuple, promises=True),
    "cached clips": Reader(read_cached, read_cached, tuple, promises=True),
    "packing": Reader(written("packed.json", json.dumps(PACKED)), pack, value_error),
}


def digest(result: object) -> str:
    """A hash of a result that checksums promise."""
    return hashlib.sha256(repr(result).encode()).hexdigest()
