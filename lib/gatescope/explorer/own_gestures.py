"""OwnGestures: clips that a reader recorded, in a folder for each class, and trainings on them."""

import itertools
import shutil
import unicodedata
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import ipywidgets as widgets

from gatescope.explorer.controls import button
from gatescope.explorer.request_thread import Report, RequestThread
from gatescope.files import atomic_write, is_plain_name
from gatescope.loaders import ClipError
from gatescope.loaders.folders import CLIP_SUFFIXES
from gatescope.loaders.layouts import SPLITS
from gatescope.models.checkpoints import WEIGHTS, checkpoint
from gatescope.paths import OWN, OWN_RUNS, ROOT

LONGEST_NAME = 60  # characters
SCALE = 2  # short side of what a training reads, in sides of what its network gets


def class_name(name: str) -> str:
    """Return the name as a folder and a class have it; raises ClipError for one that neither can have."""
    name = unicodedata.normalize("NFC", name).strip()
    taken = {alias for aliases in SPLITS.values() for alias in aliases}
    if (
        not is_plain_name(name)
        or not name.isprintable()
        or name.startswith(".")
        or len(name) > LONGEST_NAME
        or "\\" in name
    ):
        raise ClipError(f"a class needs a plain name of 1 to {LONGEST_NAME} letters, such as wave; choose another")
    if name.lower() in taken:
        raise ClipError(f"{name} would be read as a part of the data; choose another name for the class")
    return name


def add_clip(file: Path, name: str, folder: Path = OWN) -> Path:
    """Copy a clip into the folder of the class `name` as its next one; return its path.

    Raises ClipError as `class_name` does.
    """
    inside = folder / class_name(name)
    numbers = [int(path.stem) for path in inside.glob("*") if path.stem.isdecimal()] if inside.is_dir() else []
    inside.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(max(numbers, default=0) + 1):
        path = inside / f"{number:03d}{file.suffix.lower()}"
        with suppress(FileExistsError):  # another kernel may have taken the number
            path.touch(exist_ok=False)
            break
    try:
        with atomic_write(path) as temporary:
            shutil.copyfile(file, temporary)
    except BaseException:
        path.unlink()
        raise
    return path


def num_clips(folder: Path = OWN) -> dict[str, int]:
    """Return the number of clips of each class, by name; empty without the folder."""
    if not folder.is_dir():
        return {}
    classes = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    return {each.name: sum(path.suffix.lower() in CLIP_SUFFIXES for path in each.iterdir()) for each in classes}


class OwnGestures:
    """A line that lists what is there, a button that trains on it, a bar of its progress, and a button that ends it.

    A training starts from the weights that `chosen` names; `opened` hears the name of those that it leaves.
    """

    def __init__(
        self, chosen: Callable[[], str], opened: Callable[[str], None], folder: Path = OWN, runs: Path = OWN_RUNS
    ):
        self.folder, self.runs = folder, runs
        self._chosen, self._opened = chosen, opened
        self._added: list[Path] = []
        self.listed, self.words = widgets.Label(), widgets.Label()
        for label in (self.listed, self.words):
            label.add_class("gatescope-words")  # which wrap
        self.train = button(
            "Train on them", "the chosen network goes on from its weights, with a class for each folder"
        )
        self.undo = button("Remove the last one", "deletes the file of the example that was added last")
        self.cancel = button("Cancel the training", "at the end of its epoch; nothing of it is kept")
        self.bar = widgets.IntProgress(layout=widgets.Layout(width="9em"))
        self.work = RequestThread(self._say, self._fail)
        self.train.on_click(lambda _: self._begin())
        self.undo.on_click(lambda _: self._remove())
        self.cancel.on_click(lambda _: self._end())
        wrap = widgets.Layout(flex_flow="row wrap")
        going = widgets.HBox([self.bar, self.cancel, self.words], layout=wrap)
        self.box = widgets.VBox([widgets.HBox([self.listed, self.undo, self.train], layout=wrap), going])
        self._rest()

    def add(self, file: Path, name: str) -> None:
        """Keep a clip as one of a class; raises ClipError for a name that none can have."""
        self._added.append(add_clip(file, name, self.folder))
        self._list()

    def _remove(self) -> None:
        path = self._added.pop()
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
        self._list()

    def _list(self) -> None:
        counts = num_clips(self.folder)
        there = ", ".join(f"{name} {count}" for name, count in counts.items())
        self.listed.value = f"Your gestures: {there or 'none yet'}"
        self.undo.layout.display = None if self._added else "none"
        is_training = self.bar.layout.display != "none"
        self.train.disabled = is_training or len(counts) < 2 or min(counts.values()) < 2

    def _rest(self, words: str = "two classes with two clips each, or more, can be trained on") -> None:
        self.words.value, self.bar.value = words, 0
        self.bar.layout.display = self.cancel.layout.display = "none"
        self._list()

    def _say(self, words: str) -> None:
        self.words.value = words

    def _fail(self, error: Exception) -> None:
        self._rest(f"The training ended: {error}")

    def _begin(self) -> None:
        name = self._chosen()
        self.train.disabled = True
        self.bar.layout.display = self.cancel.layout.display = None
        self._say("reading your clips")
        self.work.ask(lambda report: self._fit(name, report))

    def _end(self) -> None:
        self.work.cancel()
        self._rest("The training is cancelled.")

    def _fit(self, name: str, report: Report) -> None:
        # Takes two seconds, and most readers train nothing.
        from gatescope.trainings.results import read_card
        from gatescope.trainings.runs import FINE_TUNING, fine_tune

        start, self.bar.max = checkpoint(name), FINE_TUNING.epochs
        number = 1 + max((int(each.name) for each in self.runs.glob("*") if each.name.isdecimal()), default=0)
        run = self.runs / f"{number}"
        run.mkdir(parents=True)
        try:
            with closing(fine_tune(start, self.folder, run, scale=SCALE)) as rows:
                for row in rows:
                    left_s = row.seconds * (self.bar.max - row.epoch)
                    report(f"{row.valid_accuracy:.0%} of the clips held out are named right; {left_s:.0f} s left")
                    self.bar.value = row.epoch
        except BaseException:
            shutil.rmtree(run, ignore_errors=True)
            raise
        found = read_card(run)["metrics"]["clips"]
        right = round(found["top1"] * found["clips"])
        weights = run / WEIGHTS
        self._rest(
            f"Trained: {right} of {found['clips']} clips held out are named right. It is chosen as the checkpoint."
        )
        self._opened(weights.relative_to(ROOT).as_posix() if weights.is_relative_to(ROOT) else str(weights))
