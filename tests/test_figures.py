"""A figure's files and record depend on what it shows and on nothing else."""

import base64
import io
import json

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from gatescope.atlas.figures import finish_notebook, save_figure
from gatescope.atlas.manifest import exact, trained
from gatescope.files import sha256_of


def draw(height=1.0):
    with plt.style.context("gatescope.pictures.style"):
        fig = Figure()
        axes = fig.subplots(1, 2)
        axes[0].plot([0, 1, 2], [0, height, 0], label="forget gate")
        axes[0].legend()
        axes[1].imshow([[0, 1], [2, 3]])
    return fig


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_same_numbers_give_the_same_bytes_and_others_do_not(in_folder):
    png, svg = in_folder / "figures/05-forget.png", in_folder / "figures/05-forget.svg"
    seen = []
    for height in (1.0, 1.0, 2.0):
        save_figure(draw(height), "05-forget", alt="a gate closes", data="none")
        seen.append((sha256_of(png), sha256_of(svg)))
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0]
    assert seen[0][1] != seen[2][1]


@pytest.mark.slow
def test_neither_date_nor_version_stands_in_a_file(in_folder):
    save_figure(draw(), "05-forget", alt="a gate closes", data="none")
    assert b"Software" not in (in_folder / "figures/05-forget.png").read_bytes()
    svg = (in_folder / "figures/05-forget.svg").read_text()
    assert "dc:date" not in svg
    assert matplotlib.__version__ not in svg.partition("<defs>")[0]


@pytest.mark.slow
def test_the_record_holds_what_made_the_figure(in_folder):
    weights = [in_folder / seed / "network.safetensors" for seed in ("a-0", "a-1")]
    for path in weights:
        path.parent.mkdir()
        path.write_bytes(b"weights")
    save_figure(
        draw(),
        "05-forget",
        alt="a gate closes",
        data="rendered gestures, valid, clip 3",
        seed=4,
        weights=weights,
        numbers={"steps": exact(16), "accuracy": trained(0.84)},
    )
    finish_notebook()
    record = json.loads((in_folder / "figures/finished.json").read_text())["05-forget"]
    files = {name: sha256_of(in_folder / "figures" / name) for name in ("05-forget.png", "05-forget.svg")}
    assert record == {
        "alt": "a gate closes",
        "data": "rendered gestures, valid, clip 3",
        "seed": 4,
        "weights": {f"{path.parent.name}/network.safetensors": sha256_of(path) for path in weights},
        "numbers": {
            "steps": {"value": 16, "kind": "exact"},
            "accuracy": {"value": 0.84, "kind": "trained"},
        },
        "files": files,
    }


def test_a_cell_shows_the_figure_once_with_its_text(in_folder):
    with plt.style.context("gatescope.pictures.style"):
        fig, ax = plt.subplots()
    ax.imshow(np.random.default_rng(0).random((20, 30)))
    shown, metadata = save_figure(fig, "05-forget", alt="a gate closes", data="none")._repr_mimebundle_()
    # Smaller than the file, and the same to the eye: 256 colours are chosen from those that are there.
    png = base64.b64decode(shown["image/png"])
    saved = in_folder / "figures/05-forget.png"
    with Image.open(io.BytesIO(png)) as seen, Image.open(saved) as kept:
        apart = np.abs(np.asarray(seen.convert("RGB"), int) - np.asarray(kept.convert("RGB"), int))
    assert apart.mean() < 0.5 and apart.max() < 40
    assert len(png) < saved.stat().st_size
    assert shown["text/plain"] == "a gate closes"
    assert metadata["image/png"] == {"alt": "a gate closes", "width": 672}
    assert plt.get_fignums() == []


def test_photos_are_shown_as_jpeg_and_kept_as_png_alone(in_folder):
    saved = save_figure(draw(), "05-frames", alt="frames", data="none", photos=True)
    shown, metadata = saved._repr_mimebundle_()
    assert base64.b64decode(shown["image/jpeg"]).startswith(b"\xff\xd8")
    assert metadata["image/jpeg"]["alt"] == "frames"
    finish_notebook()
    assert list(json.loads((in_folder / "figures/finished.json").read_text())["05-frames"]["files"]) == [
        "05-frames.png"
    ]


def test_a_figure_without_its_text_or_with_an_odd_name_is_refused(in_folder):
    with pytest.raises(ValueError, match="alternative text"):
        save_figure(draw(), "05-forget", alt=" ", data="none")
    for name in ("forget", "5-forget", "05_forget", "05-Forget", "../05-forget"):
        with pytest.raises(ValueError, match="05-forget-gate"):
            save_figure(draw(), name, alt="a gate closes", data="none")
    assert not (in_folder / "figures").exists()


def test_a_file_too_large_for_the_repository_is_refused(in_folder, monkeypatch):
    monkeypatch.setattr("gatescope.atlas.figures.MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="smaller"):
        save_figure(draw(), "05-forget", alt="a gate closes", data="none")
    assert list((in_folder / "figures").iterdir()) == []
