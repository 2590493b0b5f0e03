"""Two hundred damaged files: each ends in a typed error, a reported skip, or a clip of the right shape and label.

Decoders are C code that may crash or hang on damaged input, so the whole batch is read in a process of its own,
under a time limit: `python test_corrupted.py FOLDER` reads every variant below FOLDER and prints what came of it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from clip_files import some_frames, write_depth, write_jester, write_video

TIME_LIMIT_S = 120
DEPTH_UNIT_MM = 0.125


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """Undamaged files: real ones where they are found, small ones of our own elsewhere."""
    folder = tmp_path_factory.mktemp("whole")
    try:
        real = request.getfixturevalue("shared") / "realdata"
    except pytest.skip.Exception:  # this test does not need them
        real = None
    if real:
        videos = sorted((real / "intel_asl" / "asl_gestures").glob("*.mkv"), key=lambda path: path.stat().st_size)
        for path in videos[:3]:
            shutil.copy(path, folder)
        shutil.copytree(real / "intel_asl" / "jester_layout", folder / "jester")
        depth = sorted((real / "ladaondris_depth" / "datasets" / "custom").glob("2021*"))[0]
        (folder / "depth").mkdir()
        for file in sorted(depth.glob("*.png"))[:3]:
            shutil.copy(file, folder / "depth")
    else:
        for i in range(3):
            write_video(folder / f"{i}.mkv", some_frames(40, seed=i))
        write_jester(folder / "jester", labels=("wave", "clap", "point", "stop"), num_clips=4)
        write_depth(folder / "depth", np.random.default_rng(0).integers(1, 9000, (3, 120, 160)))
    write_video(folder / "small.mp4", some_frames(20))
    write_video(folder / "small.avi", some_frames(20), "mpeg4")
    write_video(folder / "small.gif", some_frames(20), "gif")
    return folder


def damage(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    if kind == "truncated":
        return content[: rng.integers(0, len(content))]
    if kind == "bits":
        for position in rng.integers(0, 8 * len(content), rng.integers(1, 9)):
            changed[position // 8] ^= 1 << position % 8
    elif kind == "header":
        for position in rng.integers(0, min(len(content), 600), 2):
            changed[position] = rng.integers(0, 256)
    elif kind == "hole":
        start = rng.integers(0, len(content))
        changed[start : start + 512] = bytes(len(changed[start : start + 512]))
    return bytes(changed)


def damage_list(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    if kind == "shuffled fields":
        lines = content.decode().splitlines()
        chosen = rng.integers(0, len(lines))
        lines[chosen] = ";".join(reversed(lines[chosen].split(";")))
        return "\n".join(lines).encode()
    if kind == "repeated line":
        lines = content.decode().splitlines()
        number, label = rng.integers(0, len(lines), 2)
        return content + f"{lines[number].split(';')[0]};{lines[label].split(';')[-1]}\n".encode()
    return damage(content, kind, rng)


def link_all_but(source: Path, target: Path, changed: Path) -> Path:
    """A copy of the tree `source` in `target`, all files linked but `changed`, whose place in the copy is given."""
    shutil.copytree(source, target, copy_function=os.link)
    place = target / changed.relative_to(source)
    place.unlink()
    return place


def make_variants(whole: Path, folder: Path, seed: int = 0) -> dict[str, dict]:
    """Two hundred damaged copies below `folder`, each with what a clip read from it must still be."""
    rng = np.random.default_rng(seed)
    expected = {}

    def variant(kind: str, **facts) -> Path:
        name = f"{len(expected):03d} {kind}"
        expected[name] = {"kind": kind, **facts}
        (folder / name).mkdir()
        return folder / name

    kinds = ["truncated", "bits", "header", "hole"]
    videos = [*sorted(whole.glob("*.mkv")), *sorted(whole.glob("small.*"))]
    for i in range(72):
        path = videos[i % len(videos)]
        target = variant(f"video {kinds[i // len(videos) % 4]}", original=str(path))
        (target / path.name).write_bytes(damage(path.read_bytes(), kinds[i // len(videos) % 4], rng))
    jester, clips = whole / "jester", sorted((whole / "jester" / "20bn-jester-v1").iterdir())
    for i in range(52):
        # Not the last frame, which Jester's layout does not know to be missing.
        frames = sorted(clips[i % len(clips)].iterdir())[:-1]
        changed = frames[rng.integers(0, len(frames))]
        kind = [*kinds, "missing"][i % 5]
        number = changed.parent.name
        target = variant(f"frame {kind}", original=str(changed.parent), number=number)
        place = link_all_but(changed.parent, target / "one" / "20bn-jester-v1" / number, changed)
        shutil.copy(jester / "jester-v1-labels.csv", target / "one")
        lines = (jester / "jester-v1-train.csv").read_text().splitlines()
        line = next(line for line in lines if line.startswith(f"{number};"))
        (target / "one" / "jester-v1-train.csv").write_text(line)
        if kind != "missing":
            place.write_bytes(damage(changed.read_bytes(), kind, rng))
    depth = sorted((whole / "depth").iterdir())
    for i in range(24):
        changed = depth[i % len(depth)]
        target = variant(f"depth {kinds[i % 4]}", original=str(whole / "depth"))
        place = link_all_but(whole / "depth", target / "depth", changed)
        place.write_bytes(damage(changed.read_bytes(), kinds[i % 4], rng))
    for i in range(52):
        changed = jester / ["jester-v1-train.csv", "jester-v1-labels.csv"][i % 2]
        kind = ["truncated", "bits", "hole", "header", "shuffled fields", "repeated line"][i // 2 % 6]
        target = variant(f"list {kind}", original=str(jester))
        place = target / "jester"
        place.mkdir()
        (place / "20bn-jester-v1").symlink_to(jester / "20bn-jester-v1")
        for file in jester.glob("*.csv"):
            content = file.read_bytes()
            (place / file.name).write_bytes(damage_list(content, kind, rng) if file == changed else content)
    return expected


def read_variant(folder: Path) -> dict:
    """What came of reading a variant: the error, or the shape or the labels it gave."""
    from gatescope.loaders import ClipError, JesterClips, read_clip

    (path,) = folder.iterdir()
    try:
        if path.name == "jester":
            clips = JesterClips(path, strict=False)
            return {"labels": {entry.path.name: (entry.label, entry.name) for entry in clips.entries},
                    "skipped": len(clips.skipped)}  # fmt: skip
        if path.name == "one":
            clip = JesterClips(path)[0]
        else:
            clip = read_clip(path, DEPTH_UNIT_MM if path.name == "depth" else None)
    except ClipError as error:
        named = error.path is not None and str(folder) in str(error.path)
        return {"error": type(error).__name__, "message": str(error), "named": named}
    return {"shape": clip.frames.shape, "label": (clip.label, clip.name),
            "depth": None if clip.depth is None else float(clip.depth.sum(dtype=np.float64))}  # fmt: skip


@pytest.mark.slow
def test_two_hundred_damaged_files_end_well(whole, tmp_path):
    expected = make_variants(whole, tmp_path)
    assert len(expected) == 200
    command = [sys.executable, "-W", "error", __file__, str(tmp_path)]
    library = Path(__file__).resolve().parents[1] / "lib"
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
    )
    outcomes = dict(json.loads(line) for line in done.stdout.splitlines())
    stopped_at = [name for name in expected if name not in outcomes][:1]
    assert done.returncode == 0, f"the process ended at {stopped_at}: {done.stderr[-2000:]}"
    assert outcomes.keys() == expected.keys()

    from gatescope.loaders import JesterClips, read_clip

    counts = Counter()
    labels = {entry.path.name: (entry.label, entry.name) for entry in JesterClips(whole / "jester").entries}
    originals = {}
    for name, facts in expected.items():
        outcome, original = outcomes[name], facts["original"]
        if "error" in outcome:
            assert outcome["named"], (name, outcome)
            counts[facts["kind"], outcome["error"]] += 1
        elif "labels" in outcome:
            found = {number: tuple(label) for number, label in outcome["labels"].items()}
            assert found.items() <= labels.items(), (name, "a label changed")
            # A list carries no checksum: lines lost off its end leave no trace, all else is reported.
            if len(found) < len(labels) and "truncated" not in name:
                assert outcome["skipped"] > 0, (name, "a clip was dropped without a word")
            counts[facts["kind"], "skip" if outcome["skipped"] else "whole list"] += 1
        else:
            if original not in originals:
                unit = DEPTH_UNIT_MM if Path(original).name == "depth" else None
                originals[original] = read_clip(original, unit)
            shape = list(originals[original].frames.shape)
            # A GIF states no number of frames: a changed length byte can let one image swallow the next. An MP4's index
            # has no checksum: a changed time can put a frame behind the end, where a player does not show it either.
            start = 1 if original.endswith((".gif", ".mp4")) and "bits" in name else 0
            assert outcome["shape"][start:] == shape[start:], (name, outcome)
            if "number" in facts:
                assert tuple(outcome["label"]) == labels[facts["number"]], (name, outcome)
            if "depth" in facts["kind"]:  # PNG has checksums: what is read is what was written
                assert outcome["depth"] == float(originals[original].depth.sum(dtype=np.float64)), name
            counts[facts["kind"], "clip of the right shape"] += 1
    assert not any(kind == "frame missing" and outcome != "MissingClipError" for kind, outcome in counts), counts
    assert sum(number for (_, outcome), number in counts.items() if outcome.endswith("Error")) > 90, counts


if __name__ == "__main__":
    for variant in sorted(Path(sys.argv[1]).iterdir()):
        print(json.dumps([variant.name, read_variant(variant)]), flush=True)
