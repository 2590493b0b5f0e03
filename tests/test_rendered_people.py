"""The renderer as a package of its own: its README's examples run, and nothing of gatescope is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "lib" / "rendered_people"
EXAMPLES = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)


def run(code):
    """What the code prints in an interpreter of its own that cannot import gatescope."""
    alone = f"import sys\nsys.modules['gatescope'] = None\n{code}"
    environment = {"PYTHONPATH": str(FOLDER.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", alone], env=environment, capture_output=True, text=True, check=True
    ).stdout.split("\n")


@pytest.mark.slow
def test_one_gesture_of_one_person():
    gesture = EXAMPLES[0]
    assert len([line for line in gesture.splitlines() if line]) <= 10
    parts = "frames", "hand_mask", "depth", "flow", "joints_2d", "joints_3d"
    shown = run(
        f"{gesture}\nfor name in {parts}:\n    part = getattr(images, name)\n    print(part.shape, part.dtype)\n"
        "print(2.2 <= 16 / fps <= 3.4, images.hand_mask.any(), abs(images.flow[images.hand_mask[:-1]]).max() > 2)"
    )
    stated = re.findall(r"# (\(\d.*?\) \w+)", gesture)
    assert shown[:4] == stated[:4] and len(stated) == 4
    assert shown[4:7] == ["(16, 27, 2) float32", "(16, 27, 3) float32", "True True True"]


@pytest.mark.slow
def test_a_whole_body_walking():
    shown = run(f"{EXAMPLES[1]}\nprint(images.frames.shape, images.depth.shape, images.joints_3d.shape)")
    assert shown[0] == "(10, 112, 112, 3) (10, 112, 112) (10, 17, 3)"


@pytest.mark.slow
def test_one_clip_with_one_change():
    shown = run(
        f"{EXAMPLES[2]}\nprint(frozen.regions.shape, (own.images.frames != frozen.images.frames).any(-1).mean() < 0.5)"
    )
    assert shown[0] == "(16, 112, 112) True"


def test_importing_it_loads_nothing_heavy():
    shown = run("import rendered_people\nprint({'numba', 'scipy', 'numpy', 'cv2'} & set(sys.modules))")
    assert shown[0] == "set()"


def test_every_public_name_is_there():
    import rendered_people

    assert all(getattr(rendered_people, name) is not None for name in rendered_people.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nobody'"):
        rendered_people.nobody  # noqa: B018, the look-up is what raises
