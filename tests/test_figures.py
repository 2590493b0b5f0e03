"""A figure's files and record depend on what it shows and on nothing else."""

import base64
import io
import json

import matplotlib
import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from gatescope.atlas.figures import finish_notebook, save_figure
from gatescope.atlas.manifest import exact, trained
from gatescope.files import sha256_of
from gatescope.pictures.moving import moving, stepping


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


def test_a_moving_figure_is_a_film_on_pages_and_a_still_elsewhere(in_folder):
    fig = Figure(figsize=(2, 2))
    ax = fig.subplots()

    def show(t):
        ax.clear()
        ax.bar([0], [t + 1])
        ax.set_ylim(0, 3)

    film = moving(fig, show, 3, fps=2)
    saved = save_figure(fig, "05-frames", alt='a "bar" grows', data="none", photos=True, moving=film)
    with Image.open(in_folder / "figures/05-frames.webp") as kept:
        assert (kept.n_frames, kept.size, kept.info["loop"]) == (3, (200, 200), 0)
        means = []
        for moment in range(3):
            kept.seek(moment)
            means.append(np.asarray(kept.convert("L"), float).mean())
            assert kept.info["duration"] == 500
    assert means == sorted(means, reverse=True)
    shown, _ = saved._repr_mimebundle_()
    page = BeautifulSoup(shown["text/html"], "html.parser")
    assert (page.img["alt"], page.img["width"]) == ('a "bar" grows', "192")
    assert base64.b64decode(page.img["src"].partition(",")[2]) == film
    assert page.source["srcset"].partition(",")[2] == shown["image/jpeg"]
    finish_notebook()
    files = json.loads((in_folder / "figures/finished.json").read_text())["05-frames"]["files"]
    assert set(files) == {"05-frames.png", "05-frames.webp"}


def test_a_moving_figure_whose_size_changes_or_without_moments_is_refused():
    fig = Figure()
    with pytest.raises(ValueError, match="one moment at least"):
        moving(fig, lambda t: fig.set_size_inches(1 + t, 1), 2, fps=1)
    with pytest.raises(ValueError, match="one moment at least"):
        moving(fig, lambda t: None, 0, fps=1)


def test_a_step_shows_its_frame_its_maps_its_hand_and_the_scores_until_then():
    rng = np.random.default_rng(0)
    frames, hand = rng.integers(0, 256, (4, 8, 6, 3)).astype(np.uint8), np.zeros((4, 8, 6), bool)
    hand[2, 2:4, 2:4] = True
    maps = {"even": rng.random((4, 3, 3)), "signed": rng.normal(size=(4, 2, 2))}
    fig = Figure()
    show = stepping(fig, frames, maps, {"Stop Sign": np.linspace(0, 1, 4)}, hand)
    outlined = []
    for t in (2, 1, 3):
        show(t)
        first, even, signed, scores = fig.axes
        for ax, values in ((first, frames), (even, maps["even"]), (signed, maps["signed"])):
            np.testing.assert_array_equal(ax.images[0].get_array(), values[t])
        np.testing.assert_allclose(scores.lines[0].get_xydata(), [(k + 1, k / 3) for k in range(t + 1)])
        outlined.append([len(ax.collections) for ax in (first, even, signed)])
    assert outlined == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert even.images[0].get_clim()[0] == 0 and sum(signed.images[0].get_clim()) == 0


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
    assert not list(in_folder.rglob("*.*"))
