"""What attacks on the finished state found, each with its whole kind: refused in words, read, or left alone."""

import base64
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from nbformat.v4 import new_output
from PIL import Image
from torch import Tensor

from clip_files import some_frames, write_isogd, write_jester, write_jpegs, write_video
from gatescope.atlas.manifest import compare, load_manifest, read_manifest
from gatescope.atlas.notebook_parameters import Parameter, ParameterError
from gatescope.atlas.publish import recover
from gatescope.atlas.run_folder import folder_of_a_run
from gatescope.explorer.own_gestures import add_clip
from gatescope.explorer.upload import Upload
from gatescope.formats.facts import write_card
from gatescope.loaders import (
    Clip,
    ClipError,
    IsoGDClips,
    JesterClips,
    SyntheticGestures,
    VideoClips,
    read_clip,
    to_batch,
)
from gatescope.loaders.clip import as_seen
from gatescope.loaders.errors import DamagedClipError, OversizedClipError
from gatescope.loaders.hands import HandNetworksError, fetch_networks
from gatescope.loaders.hands.networks import FILES, LICENCE
from gatescope.loaders.packed import Pack, index_file, read_index, shard_file
from gatescope.loaders.packing import pack
from gatescope.measures.estimates import estimate
from gatescope.models import GestureNetwork, NetworkConfig, RecurrentLayer, class_names
from gatescope.paths import CHECKPOINTS
from gatescope.pictures.scrubber import Scrubber
from gatescope.pictures.stepper import Stepper
from gatescope.recordings import find_gates, intervene, record
from gatescope.recordings.attribution import conductance, grad_cam, integrated_gradients
from gatescope.trainings.adaptation import adapt
from gatescope.trainings.evaluation import Predictions, load_predictions
from gatescope.trainings.evidence import read_answers, score_held_out
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.runs import run
from gatescope.trainings.train import Training, fit
from hostile_files import npy
from site_trees import executed, picture, write_tree
from small_training import noisy_clips

LIBRARY = Path(__file__).resolve().parent.parent / "lib"
HEADERS = {
    "nested": "-" * 9000 + "1",
    "long chain": "1" + "+1" * 4000,
    "attributes": "a" + ".a" * 4000,
    "open bracket": "{'descr': '<f4', 'shape': (1L,), 'fortran_order': False",
    "no integer of 64 bits": f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**30},)}}",
    "a truth value": "{'descr': '|b1', 'fortran_order': False, 'shape': (True,)}",
    "negative": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
}


def with_header(header):
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


@pytest.mark.parametrize("header", HEADERS)
def test_the_header_of_an_array_says_anything(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(with_header(HEADERS[header]))
    for read in (read_clip, read_index):
        with pytest.raises(ValueError) as raised:
            read(path)
        assert str(path) in str(raised.value) or type(raised.value) is ValueError


@pytest.mark.parametrize(("dtype", "size"), [("<f8", 8), ("<c32", 32), ("|S2000000000", 2_000_000_000)])
def test_an_array_of_another_type_is_refused_before_it_is_read(tmp_path, dtype, size):
    path = tmp_path / "a.npy"
    count = 1 if size > 99 else 178_000_000  # gigabytes, of which the disk holds none
    path.write_bytes(npy(f"({count},)", dtype=dtype))
    os.truncate(path, path.stat().st_size + count * size)
    with pytest.raises(ValueError, match="uint8"):
        read_clip(path)


def test_a_depth_in_the_other_byte_order_is_read_and_one_without_end_refused(tmp_path):
    depth = np.full((2, 8, 8), 900, ">u2")
    np.save(tmp_path / "depth.npy", depth)
    for given in (depth, tmp_path / "depth.npy"):
        assert (read_clip(given, 1.0).depth == 900).all()
    for unit in (float("inf"), float("nan"), 1e300):
        with pytest.raises(ClipError, match="millimetres"):
            read_clip(depth, unit)


def test_a_picture_takes_neither_time_nor_memory_beyond_its_size(tmp_path):
    (tmp_path / "clip").mkdir()
    whole = io.BytesIO()
    Image.new("RGB", (64, 64)).save(whole, "JPEG", progressive=True)
    jpeg = whole.getvalue()
    last = jpeg.rindex(b"\xff\xda")
    path = tmp_path / "clip" / "1.jpg"
    path.write_bytes(jpeg[:last] + jpeg[last:-2] * 20 + b"\xff\xd9")
    assert read_clip(tmp_path / "clip").frames.shape == (1, 64, 64, 3)
    path.write_bytes(jpeg[:last] + jpeg[last:-2] * 200 + b"\xff\xd9")
    with pytest.raises(OversizedClipError, match="more than 100 scans"):
        read_clip(tmp_path / "clip")
    os.truncate(path, 1 << 32)
    with pytest.raises(OversizedClipError, match="256 MiB"):
        read_clip(tmp_path / "clip")
    animation = tmp_path / "a.webp"
    animation.write_bytes(b"RIFF" + struct.pack("<I", 0xFFFFFFF0) + b"WEBP")
    os.truncate(animation, 0xFFFFFFF8)
    with pytest.raises(OversizedClipError, match="256 MiB"):
        read_clip(animation)


def test_a_video_of_a_million_empty_blocks_is_none(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, some_frames(4), "libx264")
    whole = path.read_bytes()
    path.write_bytes(whole + b"\xec\x80" * 1000)
    assert len(read_clip(path).frames) == 4
    path.write_bytes(whole + b"\xec\x80" * (1 << 20))
    with pytest.raises(DamagedClipError, match="which no clip has"):
        read_clip(path)


@pytest.mark.parametrize("suffix", ["tif", "png", "webp"])
def test_pictures_in_one_file_are_no_single_frame(tmp_path, suffix):
    first, *others = [Image.fromarray(frame) for frame in some_frames(3)]
    first.save(tmp_path / f"1.{suffix}", save_all=True, append_images=others)
    with pytest.raises(DamagedClipError, match="more than one picture"):
        read_clip(tmp_path)
    first.save(tmp_path / f"1.{suffix}")
    assert len(read_clip(tmp_path).frames) == 1


def test_numbers_of_frames_may_be_dates_and_a_list_may_state_any_count(tmp_path):
    write_jester(tmp_path, num_clips=2)
    folder = next(tmp_path.rglob("*.jpg")).parent
    frames = len(list(folder.iterdir()))
    (folder / "20210605123000.jpg").write_bytes((folder / "00001.jpg").read_bytes())
    clips = JesterClips(tmp_path, strict=False)
    assert sum(len(clip.frames) == frames + 1 for clip in clips) == 1
    (fault,) = clips.skipped
    assert fault[1].startswith(f"{20210605123000 - frames - 1} of 20210605123000 frames are missing")
    root = tmp_path / "isogd"
    write_jpegs(root / "rgb" / "1", some_frames(3), digits=6)
    (root / "train_rgb_list.txt").write_text("rgb/1 999999999 0\n")
    clips = IsoGDClips(root, "train", strict=False)
    assert [len(clip.frames) for clip in clips] == [3]
    assert "999999996 of 999999999 frames are missing, the first is" in clips.skipped[0][1]


@pytest.fixture
def packed(tmp_path):
    """A small pack, and the folder that it is of."""
    write_jester(tmp_path / "jester", num_clips=2)
    list(pack(tmp_path / "jester", tmp_path / "pack"))
    return tmp_path / "pack"


def seal(root):
    """Write the card as it would be for the files that are there."""
    card = json.loads((root / "pack.json").read_text())
    digest = hashlib.sha256(index_file(root, 0).read_bytes()).hexdigest()
    card["shards"][0] = {"bytes": shard_file(root, 0).stat().st_size, "index_sha256": digest}
    (root / "pack.json").write_text(json.dumps(card))


def test_a_frame_that_is_no_file_is_not_waited_for(packed, tmp_path):
    frame = next((tmp_path / "jester").rglob("00002.jpg"))
    for spoil, said in (
        (lambda: os.mkfifo(frame), "a pipe"),
        (lambda: frame.symlink_to("/dev/zero"), "a device"),
        (lambda: (frame.touch(), os.truncate(frame, 5 << 30)), "more than 268,"),
    ):
        frame.unlink()
        spoil()
        with pytest.raises(ValueError, match=said):
            list(pack(tmp_path / "jester", packed, outside=True))


def test_a_pack_says_anything_of_itself(packed):
    whole = (packed / "pack.json").read_text()
    for said in (whole.replace('"bytes": ', '"bytes": 1e999, "x": '), "[" * 100_000, '{"shards": 5}'):
        (packed / "pack.json").write_text(said)
        with pytest.raises(DamagedClipError, match="no card"):
            Pack(packed)
    (packed / "pack.json").write_text(whole)
    rows = read_index(index_file(packed, 0))
    nothing = rows.copy()
    nothing["size"] = nothing["crc"] = 0
    np.save(index_file(packed, 0), nothing)
    seal(packed)
    with pytest.raises(DamagedClipError, match="has no frame in it"):
        JesterClips(packed)[0]
    info = tarfile.TarInfo("1/00001.jpg")
    info.size = (1 << 30) - 512
    shard_file(packed, 0).write_bytes(info.tobuf(tarfile.USTAR_FORMAT))
    os.truncate(shard_file(packed, 0), 1 << 30)
    rows["start"], rows["size"] = 0, 1 << 30
    np.save(index_file(packed, 0), rows)
    seal(packed)
    with pytest.raises(DamagedClipError, match="256 MiB"):
        Pack(packed)
    header = f"{{'descr': {rows.dtype.descr!r}, 'fortran_order': False, 'shape': (100000000,)}}"
    index_file(packed, 0).write_bytes(with_header(header)[:-64])
    os.truncate(index_file(packed, 0), index_file(packed, 0).stat().st_size + 100_000_000 * rows.dtype.itemsize)
    with pytest.raises(DamagedClipError, match="which no shard's is"):
        Pack(packed)


def test_a_shard_that_a_wrong_clock_wrote_is_written_again(packed, tmp_path):
    future = 2_000_000_000 * 10**9
    os.utime(shard_file(packed, 0), ns=(future, future))
    frame = next((tmp_path / "jester").rglob("00002.jpg"))
    times, content = frame.stat(), bytearray(frame.read_bytes())
    content[-20] ^= 1
    frame.write_bytes(content)
    os.utime(frame, ns=(times.st_atime_ns, times.st_mtime_ns))
    list(pack(tmp_path / "jester", packed))
    held = shard_file(packed, 0).read_bytes()
    assert bytes(content) in held and shard_file(packed, 0).stat().st_mtime_ns < future


def test_folders_that_changed_their_names_with_each_other_are_packed_again(tmp_path):
    root, out = write_jester(tmp_path / "jester", num_clips=2), tmp_path / "pack"
    one, two, aside = (root / "20bn-jester-v1" / name for name in ("1", "2", "3"))
    for frame in two.iterdir():  # of the same sizes
        content = bytearray((one / frame.name).read_bytes())
        content[-20] ^= 1
        frame.write_bytes(content)
    list(pack(root, out))
    for before, after in ((one, aside), (two, one), (aside, two)):
        before.rename(after)
    list(pack(root, out))
    for packed, read in zip(JesterClips(out), JesterClips(root), strict=True):
        assert np.array_equal(packed.frames, read.frames)


def test_a_home_that_nobody_has_is_a_path_like_others(tmp_path):
    for read in (fetch_networks, VideoClips, read_clip):
        with pytest.raises(ValueError, match="^~nosuchuser/clips"):
            read(Path("~nosuchuser/clips"))
    write_video(tmp_path / "a.mp4", some_frames(4), "mpeg4")
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,up\n~nosuchuser/b.mp4,down\n")
    clips = VideoClips(tmp_path / "clips.csv", strict=False)
    assert len(clips) == 1 and "b.mp4" in clips.skipped[0][0]


def test_a_link_in_a_circle_is_no_clip(tmp_path):
    write_isogd(tmp_path, num_clips=2)
    video = next(tmp_path.rglob("M_*.avi"))
    video.unlink()
    video.symlink_to(video.name)
    with pytest.raises(ClipError, match=video.name):
        list(IsoGDClips(tmp_path, "train"))


def wheel(path, **about):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in (*(each.member for each in FILES), LICENCE):
            file.writestr(member, bytes(1000))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = content.find(signature)
        for name, value in about.items():
            field = place + offset + {"flags": 0, "method": 2}[name]
            content[field : field + 2] = struct.pack("<H", value)
    if not about:
        place = content.index(b"PK\x03\x04")
        start = place + 30 + struct.unpack("<H", content[place + 26 : place + 28])[0]
        content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "about", [{}, {"flags": 1}, *({"method": method} for method in (1, 9, 12, 14, 93, 99))], ids=str
)
def test_a_wheel_of_any_packing_is_refused(tmp_path, about):
    with pytest.raises(HandNetworksError, match="is not the wheel"):
        fetch_networks(wheel(tmp_path / "a.whl", **about), tmp_path / "hands")
    assert not (tmp_path / "hands").exists()


def test_a_pipe_is_no_network_of_hands(tmp_path):
    os.mkfifo(tmp_path / FILES[0].name)
    with pytest.raises(HandNetworksError, match="a pipe"):
        fetch_networks(tmp_path, tmp_path / "hands")


@pytest.mark.parametrize(
    "text", ["-" * 100_000 + "1", "1" + "+1" * 20_000, "{[]: 1}", "a" + ".a" * 5000, "[" + "-" * 3000]
)
@pytest.mark.parametrize("kind", ["int", "float", "list[int]"])
def test_a_value_that_is_nested_too_deeply_is_no_value(kind, text):
    with pytest.raises(ParameterError, match="must be"):
        Parameter("x", kind, 1).parse(text)
    with pytest.raises(ParameterError, match="must be a float"):
        Parameter("x", "float", 1.0).parse("1" + "0" * 400)


ENTRY = {
    "notebook": "05_gates",
    "files": {"05-a.svg": "abc"},
    "numbers": {"n": {"value": 1, "kind": "exact"}},
    "alt": "a gate",
}
ODD_ENTRIES = [
    {"numbers": {"n": 5}},
    {"numbers": [1]},
    {"numbers": {"n": {"value": 1, "kind": "guessed"}}},
    {"numbers": {"n": {"value": 1, "kind": [1]}}},
    {"numbers": {"n": {"value": "a", "kind": "exact"}}},
    {"numbers": {"n": {"value": 10**400, "kind": "exact"}}},
    {"numbers": {"n": {"value": 1, "kind": "exact", "more": 1}}},
    {"alt": 5},
    {"files": {"05-a.svg": 5}},
    {"notebook": [1]},
]


@pytest.mark.parametrize("odd", ODD_ENTRIES, ids=str)
def test_a_manifest_of_anything_else_is_none(odd):
    whole = read_manifest(json.dumps({"figures": {"05-a": ENTRY}}))
    assert compare(whole, whole) == []
    for entry in (
        ENTRY | odd,
        {name: value for name, value in ENTRY.items() if name not in odd or name == "alt"} | odd,
    ):
        with pytest.raises(ValueError, match="not a manifest"):
            read_manifest(json.dumps({"figures": {"05-a": entry}}))
    for name in ("notebook", "files", "numbers"):
        with pytest.raises(ValueError, match="not a manifest"):
            read_manifest(json.dumps({"figures": {"05-a": {each: ENTRY[each] for each in ENTRY if each != name}}}))


MINE = "mine"
MINE_SHA256 = hashlib.sha256(MINE.encode()).hexdigest()
TOKEN = "1" * 32


def steps(target, half=None, kept=None):
    half = str(Path(target).with_name(f".{Path(target).name}.{TOKEN}")) if half is None else half
    return json.dumps([{"target": target, "half": half, "kept": kept, "new": MINE_SHA256}])


LISTS = {
    "a target outside": lambda victim: steps(str(victim)),
    "a half outside": lambda victim: steps("../../index.html", str(victim)),
    "a half of another name": lambda victim: steps("../../index.html", "../../mine.txt"),
    "kept outside": lambda victim: steps("../../mine.txt", kept=f"../../../{victim.name}"),
    "a NUL": lambda victim: steps("../../a\0b"),
    "no JSON": lambda victim: "x",
    "deep": lambda victim: "[" * 100_000,
    "a number": lambda victim: "5",
    "no keys": lambda victim: "[{}]",
    "texts": lambda victim: '["a"]',
}


@pytest.fixture
def write_site(monkeypatch):
    from gatescope.atlas import site

    monkeypatch.setattr(site, "reference", lambda: "# Reference\n\n## `Clip`")
    return site.write_site


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", **{"00_a": executed("# 00 · A\n\n**Why?**", picture("noise"))})


@pytest.fixture
def others(tmp_path):
    """Files of a reader beside the tree, none of which may change."""
    folder = tmp_path / "others"
    for name in ("secret", "new/a", "undo/b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(MINE)
    yield folder
    assert all((folder / name).read_text() == MINE for name in ("secret", "new/a", "undo/b"))


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_a_killed_run_from_elsewhere_is_not_followed(tmp_path, others, kind):
    undo = tmp_path / "tree" / "build" / "undo"
    undo.mkdir(parents=True)
    (tmp_path / "tree" / "mine.txt").write_text(MINE)
    (undo / "list.json").write_text(LISTS[kind](others / "secret"))
    with pytest.raises(ValueError, match="look at it, then remove"):
        recover(undo)
    assert (tmp_path / "tree" / "mine.txt").read_text() == MINE and (undo / "list.json").exists()


def a_link_for_its_work(out, others):
    (out / ".gatescope-site").symlink_to(others)


def a_link_for_its_lock(out, others):
    (out / ".gatescope-site").mkdir()
    (out / ".gatescope-site" / "lock").symlink_to(others / "secret")


def a_link_for_new_pages(out, others):
    (out / ".gatescope-site").mkdir()
    (out / ".gatescope-site" / "new").symlink_to(others)


def a_list_of_a_killed_run(out, others):
    (out / "notebooks").symlink_to(others)
    (out / ".gatescope-site" / "undo").mkdir(parents=True)
    (out / ".gatescope-site" / "undo" / "list.json").write_text(steps("../../notebooks/secret"))


def a_deep_list(out, others):
    (out / "gatescope-site.json").write_text('{"files":' + "[" * 100_000)


def a_pipe_for_a_list(out, others):
    os.mkfifo(out / "gatescope-site.json")


def a_device_for_a_list(out, others):
    (out / "gatescope-site.json").symlink_to("/dev/zero")


def a_name_that_is_none(out, others):
    (out / "gatescope-site.json").write_text('{"files": {"a\\u0000b": "x"}}')


TRAPS = [a_link_for_its_work, a_link_for_its_lock, a_link_for_new_pages, a_list_of_a_killed_run]
TRAPS += [a_deep_list, a_pipe_for_a_list, a_device_for_a_list, a_name_that_is_none]


@pytest.mark.parametrize("trap", TRAPS)
def test_a_folder_for_a_site_may_come_from_others(write_site, tree, tmp_path, others, trap):
    from gatescope.atlas.site import SiteError

    out = tmp_path / "site"
    out.mkdir()
    trap(out, others)
    with pytest.raises(SiteError):
        write_site(tree, out)


def test_a_site_removes_nothing_behind_a_link(write_site, tree, tmp_path, others):
    out = tmp_path / "site"
    out.mkdir()
    (out / "sub").symlink_to(others)
    (out / "gatescope-site.json").write_text(json.dumps({"files": {"sub/secret": MINE_SHA256}}))
    write_site(tree, out)
    assert (out / "notebooks" / "00_a.html").is_file()


def test_a_site_takes_the_empty_folders_that_a_killed_run_left(write_site, tree, tmp_path):
    (tmp_path / "site" / "notebooks" / "deep").mkdir(parents=True)
    write_site(tree, tmp_path / "site")
    assert (tmp_path / "site" / "notebooks" / "00_a.html").is_file()


PLOTLY = "application/vnd.plotly.v1+json"
PNG = picture("noise")[0]["data"]["image/png"]


def output(data, about=None):
    return {"output_type": "display_data", "data": data, "metadata": about or {}}


ODD_OUTPUTS = {
    "a figure that is a list": output({PLOTLY: [1], "text/plain": "x"}),
    "a figure without a layout": output({PLOTLY: {"data": []}, "text/plain": "x"}),
    "a figure whose layout is a list": output({PLOTLY: {"data": [], "layout": []}, "text/plain": "x"}),
    "a figure whose title is a text": output({PLOTLY: {"data": [], "layout": {"title": "t"}}, "text/plain": "x"}),
    "an alternative text that is a list": output({"image/png": PNG}, {"image/png": {"alt": ["a"]}}),
    "a text about a picture": output({"image/png": PNG}, {"image/png": "a"}),
    "half a surrogate": output({"text/plain": "\ud800"}),
    "PostScript": output({"image/png": "JSFQUy1BZG9iZS0zLjA="}, {"image/png": {"alt": "a"}}),
}


def refused(write_site, tree, text="a", outputs=()):
    """What the site says of a notebook with a text and outputs, among the other files of its tree."""
    from gatescope.atlas.site import SiteError

    node = executed("# 00 · A\n\n**Why?**", text, [])
    node.cells[-1].outputs = list(outputs)
    (tree / "notebooks").mkdir(parents=True, exist_ok=True)
    (tree / "notebooks" / "00_a.ipynb").write_text(json.dumps(node))
    with pytest.raises((SiteError, OSError)) as raised:
        write_site(tree, tree / "site")
    return str(raised.value)


@pytest.mark.parametrize("odd", ODD_OUTPUTS)
def test_an_output_of_another_form_is_refused_with_its_notebook(write_site, tmp_path, odd):
    said = refused(write_site, tmp_path, outputs=[ODD_OUTPUTS[odd]])
    assert "00_a.ipynb" in said or odd == "half a surrogate"


def test_an_output_of_a_kind_that_no_page_shows_says_so(write_site, tmp_path):
    node = executed(
        "# 00 · A\n\n**Why?**", [new_output("display_data", {"image/<gif": "R0lG", "application/json": {}})]
    )
    write_site(write_tree(tmp_path / "tree", **{"00_a": node}), tmp_path / "site")
    page = (tmp_path / "site" / "notebooks" / "00_a.html").read_text()
    assert "(application/json, image/&lt;gif, which this page does not show)" in page


def test_a_large_picture_is_not_decoded(write_site, tmp_path):
    whole = bytearray(zlib.compress(b""))
    header = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", bytes(whole)), (b"IEND", b"")):
        png += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    data = output({"image/png": base64.b64encode(png).decode()}, {"image/png": {"alt": "a"}})
    assert "169000000 pixels" in refused(write_site, tmp_path, outputs=[data])


@pytest.mark.parametrize("opens", [r"\\(", r"\\[", r"\begin{a}"])
def test_a_text_of_formulas_that_do_not_end_is_refused(write_site, tmp_path, opens):
    assert "too many of" in refused(write_site, tmp_path, opens * 20_000)


def test_a_page_takes_no_time_that_grows_with_the_square_of_its_text(write_site, tmp_path):
    """A test that hangs here has found an expression that looks from every place to the end."""
    html = new_output("display_data", {"text/html": '</section><script type="module">' * 30_000, "text/plain": "x"})
    node = executed("# 00 · A\n\n**Why?**", "](a" * 60_000, [html])
    write_site(write_tree(tmp_path / "tree", **{"00_a": node}), tmp_path / "site")


def test_a_text_or_a_notebook_that_is_none_is_refused(write_site, tmp_path):
    (tmp_path / "x.md").write_bytes(b"# \xff")
    assert "x.md is no text of UTF-8" in refused(write_site, tmp_path, "[a](../x.md)")
    other = tmp_path / "notebooks" / "01_b.ipynb"
    other.touch()
    os.truncate(other, 3 << 30)
    assert "holds more than" in refused(write_site, tmp_path)
    other.unlink()
    other.symlink_to(other.name)
    assert "01_b.ipynb" in refused(write_site, tmp_path)


def test_a_folder_of_a_killed_run_goes_with_the_next_and_one_of_a_living_run_stays(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path; from gatescope.atlas.run_folder import folder_of_a_run\n"
        "with folder_of_a_run(Path(sys.argv[1]), '07_a-') as folder:\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    subprocess.run([sys.executable, "-c", script, tmp_path], env=environment, check=False)
    assert len(list(tmp_path.glob("07_a-*/half"))) == 1
    (tmp_path / "07_a-notes").mkdir()
    with folder_of_a_run(tmp_path, "07_a-") as one, folder_of_a_run(tmp_path, "07_a-") as two:
        assert one.is_dir() and two.is_dir() and one != two
        assert len(list(tmp_path.glob("07_a-????????"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["07_a-notes"]


@pytest.mark.parametrize("output", ["a closed pipe", "a full disk"])
def test_what_is_printed_may_have_no_place_to_go(tmp_path, output):
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", some_frames(4), "mpeg4")
    command = [sys.executable, "-W", "ignore", "-m", "gatescope", "doctor"]
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    if output == "a full disk":
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1 and done.stderr == "[Errno 28] No space left on device\n"
        return
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 1


def test_answers_that_are_none_count_as_right_nowhere(tmp_path):
    logits, labels = np.zeros((4, 3), np.float32), np.arange(4) % 3
    assert Predictions(logits, labels).accuracy().total == 4
    for spoilt, said in (
        ((logits * np.nan, labels), "not finite"),
        ((logits + np.inf, labels), "not finite"),
        ((logits, labels + 1), "0 to 2"),
        ((logits, labels - 1), "0 to 2"),
    ):
        np.savez(tmp_path / "predictions.npz", **{"logits/clips": spoilt[0], "labels/clips": spoilt[1]})
        with pytest.raises(ValueError, match=said):
            load_predictions(tmp_path / "predictions.npz")
    for odd in ({"labels": labels[:2]}, {"people": labels * 1.0}, {"predicted/a": labels[:, None]}):
        arrays = {"labels": labels, "people": labels, "predicted/a": labels} | odd
        np.savez(tmp_path / "answers.npz", **arrays)
        files = {"answers.npz": hashlib.sha256((tmp_path / "answers.npz").read_bytes()).hexdigest()}
        write_card(tmp_path / "card.json", {"files": files})
        with pytest.raises((ValueError, TypeError), match="one for each clip|Type-check"):
            read_answers(tmp_path)


def small_training():
    return Training(
        start=NetworkConfig.small("a", num_classes=3, width=1 / 64, size=6, num_frames=4),
        train_clips=noisy_clips(),
        valid_clips=noisy_clips(9),
        config=TrainConfig(epochs=1, batch_size=8),
    )


def test_a_training_leaves_nothing_of_the_writers_that_were_killed_before_it_and_all_of_others(tmp_path):
    killed = (
        ".rows.json.84f9d336.json",
        ".network.safetensors.84f9d336.safetensors",
        ".epoch-00001.json.84f9d336.json",
    )
    others = (".rows.json.swp", ".epoch-1", "epoch-notes.txt", "epoch-00001.png", "epoch-1/a")
    for name in (*killed, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(MINE)
    list(run(small_training(), tmp_path))
    found = files_of(tmp_path)
    assert all(found.pop(name) == MINE.encode() for name in others)
    assert set(found) == {".lock", "network.json", "network.safetensors", "predictions.npz", "rows.json"}


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


READERS_FILES = ("rows.json", "predictions.npz", "network.safetensors", "answers.npz", "parts/a", "features/b")
READERS_FILES += ("00000.npy", "00007.npy", "00001.tar", "00001.tar.gz", ".pack.json.swp")


@pytest.mark.parametrize("name", READERS_FILES)
def test_a_folder_with_files_of_the_readers_is_not_written_to(packed, tmp_path, name):
    """What a result would replace, or a command remove, was there before any command of ours was."""
    out, weights = tmp_path / "out", CHECKPOINTS / "a-0" / "network.safetensors"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text(MINE)
    begin = {
        "0": lambda: list(pack(tmp_path / "jester", out)),
        ".": lambda: list(pack(tmp_path / "jester", out)),
        "r": lambda: list(run(small_training(), out)),
        "n": lambda: list(run(small_training(), out)),
        "a": lambda: score_held_out(weights, out, 2, tmp_path),
        "p": lambda: list(adapt(weights, out, num_train=2, num_test=2, cache=tmp_path)),
        "f": lambda: list(adapt(weights, out, num_train=2, num_test=2, cache=tmp_path)),
    }["r" if name == "predictions.npz" else name[0]]
    with pytest.raises(ValueError, match=f"holds {name.partition('/')[0]}"):
        begin()
    assert files_of(out) == {name: MINE.encode()}


def test_a_card_replaces_no_file_that_is_none(tmp_path):
    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 64, size=16, num_frames=4))
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="is no card and would be replaced"):
        network.save(tmp_path / "config.safetensors")
    assert files_of(tmp_path) == {"config.json": b'{"mine": 1}'}
    for _ in range(2):
        network.save(tmp_path / "network.safetensors")


def test_one_process_answers_into_a_folder(tmp_path):
    weights = CHECKPOINTS / "a-0" / "network.safetensors"
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(RuntimeError, match="another process works in"):
        score_held_out(weights, tmp_path / "out", 2, tmp_path)


def test_an_example_of_a_gesture_replaces_none_that_another_kernel_adds(tmp_path, monkeypatch):
    clip = tmp_path / "a.mp4"
    clip.write_text("one")
    first = add_clip(clip, "wave", tmp_path / "own")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))  # as where the other file comes a moment later
    clip.write_text("two")
    second = add_clip(clip, "wave", tmp_path / "own")
    assert (first.read_text(), second.read_text()) == ("one", "two")
    clip.unlink()
    with pytest.raises(FileNotFoundError):
        add_clip(clip, "wave", tmp_path / "own")
    assert files_of(tmp_path / "own") == {"wave/001.mp4": b"one", "wave/002.mp4": b"two"}


FILE = {"name": "a.mp4", "size": 3}
DROP = {"what": "files", "id": "1", "drop": 0.5, "files": [FILE]}
PIECE = {"what": "piece", "id": "2", "drop": 0.5, "place": 0}
CHANNEL = {"what": "channel", "id": "1", "number": 1, "group": 0, "channel": 0}
ODD_MESSAGES = [
    *(
        (each,)
        for each in (None, 5, "x", [1], {}, {"what": None}, {"what": [1]}, {"what": "nothing"}, {"what": "lost"})
    ),
    *((CHANNEL | {name: odd},) for name in ("number", "group", "channel") for odd in (-1, "a", None, 1.5, True)),
    *(({name: CHANNEL[name] for name in CHANNEL if name != lost},) for lost in CHANNEL),
    *((DROP | {"files": odd},) for odd in (5, None, {"a": 1}, [5], [{"name": "a"}], [{"size": 3}])),
    *((DROP | {"files": [FILE | {"size": odd}]},) for odd in (-5, 1e999, "3", None, True)),
    *((DROP | {"files": [FILE | {"name": odd}]},) for odd in (None, 5, ["a"])),
    *((DROP | {"class": odd},) for odd in (5, ["x"], None)),
    *((DROP, PIECE | {"place": odd}) for odd in (-1, "x", None)),
    (DROP, {name: PIECE[name] for name in PIECE if name != "place"}),
    ({"what": "lost", "name": 5},),
    ({"what": "frame", "id": "1", "first": 1},),
]


@pytest.fixture
def page():
    """A scrubber with one group of three channels, and what it answers."""
    from gatescope.explorer.live_scrubber import LiveScrubber
    from gatescope.pictures.packing import Group
    from gatescope.pictures.packing import pack as packed_for_page

    picture = LiveScrubber(on_files=Upload.remove, on_cancel=lambda: None, on_frame=lambda frame, first: {"x": np.nan})
    groups = [Group("a", maps={"layer1.h": np.ones((2, 3, 4, 4), np.float32)})]
    picture.show(groups, packed_for_page(groups, None, num_channels=3))

    def hear(*messages):
        sent = []
        picture.send = lambda content, buffers: sent.append(buffers)
        for message in messages:
            needs = isinstance(message, dict) and message.get("what") in ("piece", "frame")
            picture._hear(picture, message, [memoryview(b"abc")] * needs)
        return picture.says["words"], sent

    return hear


@pytest.mark.parametrize("messages", ODD_MESSAGES, ids=str)
def test_a_message_of_another_form_is_told_to_the_reader(page, messages):
    assert page(*messages)[0].startswith("the page sent what this kernel does not know")


def test_a_message_may_ask_for_what_is_not_there(page):
    assert page(CHANNEL)[1] and not page(CHANNEL | {"group": 1})[1] and not page(CHANNEL | {"channel": 3})[1]
    assert "unknown file" in page(DROP, PIECE | {"place": 1})[0]
    assert "make up a clip" in page(DROP | {"files": [{"name": f"{n}.png", "size": 0} for n in range(40_000)]})[0]
    assert "rename it" in page(DROP | {"files": [FILE | {"name": "\ud800.mp4"}]})[0]
    words, sent = page({"what": "frame", "id": "1", "first": True})
    assert "JSON" in words and sent == [[b""]]


def test_a_live_picture_is_small():
    from gatescope.explorer.live_window import LiveWindow

    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 64, size=16, num_frames=4)).eval()
    for side, said in ((3000, "too large"), (14_000, "too large|bomb")):
        picture = io.BytesIO()
        Image.new("L", (side, side)).save(picture, "JPEG")
        with pytest.raises(ClipError, match=said):
            LiveWindow(network).look(picture.getvalue())
    for names in (5, "abc", {"a": 1}, [1, 2], [None]):
        network.card = {"data": {"names": names}}
        with pytest.raises(ValueError, match="a list of texts"):
            class_names(network)
    network.card = {"data": {"names": ["up", "down"]}}
    with pytest.raises(ValueError, match="names 2 classes, and it has 3"):
        class_names(network)


INPUT = {"num_frames": 4, "size": 16, "mean": (0, 0, 0)}
ODD_INPUTS = [{"num_frames": odd} for odd in (0, -1, 10**9, 2.5, "4", True, None)]
ODD_INPUTS += [{"size": odd} for odd in (0, -1, 10**6, 2.5, "4", True, None)]
ODD_INPUTS += [{"num_frames": 1 << 15, "size": 1 << 12}, {"mean": (float("nan"),) * 3}]


@pytest.mark.parametrize("odd", ODD_INPUTS, ids=str)
def test_an_input_that_no_network_has_is_refused_before_it_is_made(odd):
    clip = read_clip(some_frames(3))
    with pytest.raises((ValueError, TypeError), match="whole number|exceed|finite|Type-check"):
        to_batch(clip, **(INPUT | odd))
    if "mean" in odd:
        return
    asked = {name: INPUT[name] for name in ("num_frames", "size")} | odd
    with pytest.raises((ValueError, TypeError), match="whole number|exceed|Type-check"):
        as_seen(clip, **asked)
    with pytest.raises((ValueError, TypeError), match="whole number|exceed|Type-check"):
        SyntheticGestures("train", 1, asked["size"] or 0, num_frames=asked["num_frames"])


DESCRIPTION = {
    "clips": {"num_train": 2, "num_valid": 2, "size": 24},
    "network": {"size": 24, "width": 0.02, "num_frames": 4},
    "training": {"epochs": 1},
}
ODD_FIELDS = [
    *((table, odd) for table in DESCRIPTION for odd in (5, "a", [1])),
    *(({"clips": {"set": odd}}) for odd in (5, [1])),
    *(({"clips": {name: odd}}) for name in ("num_train", "size", "num_frames") for odd in (1.5, "4", True, [1])),
    *(({"clips": {"classes": odd}}) for odd in (5, "ab", ["x"])),
    *(({"clips": {name: 1}}) for name in ("foo", "split", "num_clips", "modalities")),
    *(({"network": {name: odd}}) for name, odd in (("size", "a"), ("cells", ["a"]), ("num_classes", 3), ("foo", 1))),
    *(({"training": {name: odd}}) for name, odd in (("seed", 3), ("transform", "single"), ("foo", 1))),
    {"clips": {"num_frames": 100_000_000}},
    {"network": {"num_frames": 2_000_000_000}},
    {"network": {"size": 100_000}},
]


@pytest.mark.parametrize("odd", ODD_FIELDS, ids=str)
def test_a_description_of_anything_else_is_refused_in_words(tmp_path, capsys, odd):
    from gatescope.__main__ import main

    no_table = isinstance(odd, tuple)
    described = f"{odd[0]} = {json.dumps(odd[1])}\n" if no_table else ""
    for name, fields in DESCRIPTION.items():
        if not no_table or name != odd[0]:
            known = fields | ({} if no_table else odd.get(name, {}))
            described += f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in known.items())
    file = tmp_path / "a.toml"
    file.write_text(described)
    for more in ([], ["--root", "x"], ["--modality", "depth"]) if no_table else ([],):
        assert main(["train", str(file), "--cell", "a", "--out", str(tmp_path / "out"), *more]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"{file}: {odd[0]} must be a table" if no_table else str(tmp_path))


@pytest.mark.parametrize("command", ["train", "clips"])
def test_clips_that_cannot_be_held_or_made_are_told_in_words(tmp_path, capsys, monkeypatch, command):
    from concurrent.futures.process import BrokenProcessPool

    from gatescope.__main__ import main
    from gatescope.loaders import CachedClips

    def asked(text, choice):
        (tmp_path / "a.toml").write_text(text)
        more = [*choice, "--out", str(tmp_path / "out")] if command == "train" else []
        assert main([command, str(tmp_path / "a.toml"), *more]) == 1
        return capsys.readouterr().err

    monkeypatch.setattr("gatescope.loaders.families.MAX_CLIP_BYTES", 1 << 60)  # as on a machine of less memory
    large = "num_train = 1200\nnum_valid = 12\nsize = 20000\nnum_frames = 1000\n"
    text = f'task = "neurons"\n[clips]\n{large}[network]\n[training]\n[variants.x]\n'
    assert "more memory than there is" in asked(text, ["--variant", "x"])

    def killed(self, processes=1):
        raise BrokenProcessPool

    monkeypatch.setattr(CachedClips, "fill", killed)
    text = "[clips]\nnum_train = 2\nnum_valid = 2\nsize = 16\n[network]\nsize = 16\n[training]\n"
    assert "was killed, perhaps for want of memory" in asked(text, ["--cell", "a"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command", ["check ", "train a.toml --cell a --out ", "pack a --out ", "site --out ", "clips "]
)
def test_an_empty_path_is_not_the_working_folder(capsys, command):
    from gatescope.__main__ import main

    with pytest.raises(SystemExit):
        main(command.split(" "))
    assert "a path is needed" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["1_0", "１", "0x1", " 1", "1\n"])
def test_a_number_is_written_in_plain_digits(capsys, given):
    from gatescope.__main__ import main

    with pytest.raises(SystemExit):
        main(["fine-tune", "a.safetensors", "clips", "--out", "out", "--epochs", given, "--rate", given])
    assert capsys.readouterr().err.count("must be a ") == 2


def test_a_path_holds_no_nul(capsys):
    from gatescope.__main__ import main

    with pytest.raises(SystemExit):
        main(["pack", "a\0b", "--out", "out"])
    assert "no path holds a NUL" in capsys.readouterr().err


@pytest.mark.parametrize("read", [load_manifest])
def test_a_manifest_that_is_no_file_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match="a pipe, a socket or a device"):
            read(tmp_path / name)


def test_what_names_or_replaces_a_value_is_told_if_it_cannot():
    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 64, size=16, num_frames=4)).eval()
    x, classes = torch.zeros(1, 3, 4, 16, 16), torch.tensor([0])
    for change in (0, np.zeros((1, 4)), torch.zeros(()), None, "x"):
        with (
            pytest.raises(TypeError, match="function, or a tensor|Type-check"),
            intervene(network, {"layer1.h": change}),
        ):
            pass
    for pattern in (["layer1.h"], 5, None, b"layer1.h"):
        with pytest.raises(TypeError, match="named by texts|Type-check"), record(network, pattern):
            pass
    for changes in (None, ["layer1.h"], "layer1.h"):
        with pytest.raises(TypeError, match="given by name|Type-check"), intervene(network, changes):
            pass
    for no_model in (None, lambda x: x):
        with pytest.raises(TypeError, match="module is needed|Type-check"):
            find_gates(no_model, x)
    for label in (3, -1):
        wrong = torch.tensor([label])
        with pytest.raises(ValueError, match="none of the network's 3"):
            integrated_gradients(network, x, x, wrong)
        with pytest.raises(ValueError, match="none of the network's 3"):
            grad_cam(network, x, wrong)
        with pytest.raises(ValueError, match="none of the network's 3"):
            conductance(network, network.encode(x), network.encode(x), wrong, ["layer1.h"])
    for settings in ({"num_pieces": 0}, {"num_pieces": 10**9}, {"tolerance": float("nan")}, {"tolerance": -1.0}):
        with pytest.raises(ValueError, match="num_pieces 1 to"):
            integrated_gradients(network, x, x, classes, **settings)
    with pytest.raises(ValueError, match="num_steps must be"):
        conductance(network, x, x, classes, ["layer1.h"], num_steps=0)


def test_a_scrubber_of_anything_else_is_refused():
    maps = torch.zeros(1, 2, 3, 4, 4)
    for odd in (maps.to("meta"), maps.to_sparse(), np.zeros(maps.shape, np.longdouble), np.float32(1), [1], "a", None):
        with pytest.raises((ValueError, TypeError)) as raised:
            Scrubber({"layer1.h": odd, "layer1.c": maps})
        assert "layer1.h" in str(raised.value) or "Type-check" in str(raised.value)
    with pytest.raises(ValueError, match="are shown"):
        Scrubber({"layer1.h": maps[:, :1, :1, :1, :1].expand(1, 4000, 1, 300, 300)})
    for num_channels in (0, -1):
        with pytest.raises(ValueError, match="num_channels must be"):
            Scrubber({"layer1.h": maps}, num_channels=num_channels)


def no_network(value):
    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x):
            return value

    return Other()


PAIR = torch.zeros(3, 4, 6, 6), 0
NO_TRAININGS = [
    (torch.nn.Flatten(), PAIR, "no weight that can be trained"),
    (no_network(1).to("meta"), PAIR, "no weight that can be trained"),
    (no_network(1).requires_grad_(False), PAIR, "no weight that can be trained"),
    (no_network((torch.zeros(2, 3), 1)), PAIR, "must return logits"),
    (no_network(None), PAIR, "must return logits"),
    (no_network(torch.zeros(2)), PAIR, "must return logits"),
    (no_network(torch.zeros(2, 3)), PAIR[0], "pairs of a tensor and a label"),
    (no_network(torch.zeros(2, 3)), (*PAIR, 1), "pairs of a tensor and a label"),
    (no_network(torch.zeros(2, 3)), ([1], 0), "pairs of a tensor and a label"),
    (no_network(torch.zeros(2, 3)), (PAIR[0], 1.5), "labels must be whole"),
]


@pytest.mark.parametrize(("network", "item", "said"), NO_TRAININGS)
def test_a_network_or_clips_of_another_form_are_not_trained_on(network, item, said):
    with pytest.raises((ValueError, TypeError), match=f"{said}|Type-check"):
        list(fit(network, [item] * 2, None, TrainConfig(epochs=1, batch_size=2)))


def test_values_that_no_picture_can_show_are_refused():
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    flow = np.full((3, 8, 8, 2), np.nan, np.float32)
    with pytest.raises(ValueError, match="not finite"):
        to_batch(Clip(frames=frames, fps=12.0, source="x", flow=flow), **INPUT, modality="flow")
    for parts in ({"frames": [1]}, {"frames": None}, {"times_s": [0, 1, 2, 3]}):
        with pytest.raises(TypeError, match="must be a NumPy array|Type-check"):
            Clip(**({"frames": frames, "fps": 12.0, "source": "x"} | parts))
    clip, layer, x = (
        Clip(frames=frames, fps=12.0, source="x"),
        RecurrentLayer("convlstm", 2, 3),
        torch.zeros(1, 2, 2, 4, 4),
    )
    for asked in ({"channel": 3}, {"channel": -1}, {"step": 2}, {"step": -1}, {"step": 1.5}):
        with pytest.raises((ValueError, TypeError), match="must be 0 to|Type-check"):
            Stepper(layer, x, clip, **asked)
    with pytest.raises(ValueError, match="not finite"):
        Stepper(layer, x * torch.nan, clip)
    with pytest.raises((ValueError, TypeError), match="seeds, clips|Type-check"):
        estimate(np.zeros(4))


class Unrolled(torch.nn.Module):
    """An LSTM written by hand, which returns what `made` makes of its last state."""

    def __init__(self, made):
        super().__init__()
        self.of_input, self.of_state, self.made = torch.nn.Linear(3, 16), torch.nn.Linear(4, 16), made

    def forward(self, x):
        h = c = x.new_zeros(len(x), 4)
        for step in x.unbind(1):
            i, f, o, g = (self.of_input(step) + self.of_state(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.made(h)


def in_a_circle(h):
    found = [h]
    found += [found, found]
    return found


@pytest.mark.parametrize("made", [Tensor.to_sparse, in_a_circle, lambda h: None, lambda h: {"a": [(h, {"b": h})]}])
def test_gates_are_found_whatever_a_model_returns(made):
    assert len(find_gates(Unrolled(made), torch.randn(2, 4, 3))) == 6


def test_gates_are_found_without_values():
    found = find_gates(Unrolled(lambda h: h).to("meta"), torch.randn(2, 4, 3, device="meta"))
    assert dict(found) == dict(find_gates(Unrolled(lambda h: h), torch.randn(2, 4, 3)))
