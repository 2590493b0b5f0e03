"""check: a dry run over a folder of recordings, in plain words, before a training of days is started on it."""

import math
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatescope.loaders import ClipError, JesterClips, VideoClips
from gatescope.loaders.datasets import RecordedClips, parts_at
from gatescope.loaders.lists import Entry
from gatescope.loaders.packed import PackedFrame
from gatescope.trainings.outlook import outlook
from gatescope.trainings.recorded_sets import lacking

LISTING_S, DECODING_S = 15, 10  # for looking into folders, and for decoding clips
_SHOWN = 3  # faults of one kind that are written out
_TIMED = 30  # good clips that are read as a training reads them

Split = str | None


@dataclass
class Report:
    """What was found, as lines of plain text, and why it cannot be trained on, if it cannot."""

    lines: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)

    def faults(self, what: str, found: list[tuple[str, str]]) -> None:
        """Add a line on faults that were found, with the first few."""
        if found:
            self.lines.append(f"{what}: {len(found):,}")
            self.lines += [f"    {where}: {reason}" for where, reason in found[:_SHOWN]]
            self.lines += [f"    and {len(found) - _SHOWN:,} more"] if len(found) > _SHOWN else []


def check(root: str | Path, *, every: bool = False, outside: bool = False) -> Report:
    """Return what lies at `root`: splits, classes, gaps, unreadable clips, and what a training on it would take.

    Lists are read whole. Folders of frames are looked into, and clips decoded, in random order for as long as
    LISTING_S and DECODING_S allow; or every one. The training is the one described for the data set in
    data/trainings, or fine-tuning; its time is that of one step on this machine.

    Raises FileNotFoundError if there is nothing at `root`, ClipError if no clip is.
    """
    root, report = Path(os.path.expanduser(root)), Report()
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; name a folder of recordings or a table of their paths")
    splits: dict[Split, RecordedClips] = {}
    for split, opened in parts_at(root, strict=False, outside=outside).items():
        try:
            splits[split] = opened()
        except ClipError as error:
            if str(error) not in report.obstacles:  # the splits share their labels
                report.obstacles.append(str(error))
    for split, clips in splits.items():
        report.lines.append(f"{clips.layout}: {_counts(split, clips)}")
        report.faults("  left out", clips.skipped)
    if not report.obstacles:
        _require(splits, report)
    looked = [(clips, entry) for clips in splits.values() for entry in clips.entries]
    random.Random(0).shuffle(looked)  # the next run looks at the same
    _look_into_folders(looked, math.inf if every else LISTING_S, report)
    good, bytes_per_clip = _decode(looked, math.inf if every else DECODING_S, report)
    if good and not report.obstacles:
        report.lines += outlook(root, [splits[split] for split in _parts_of_training(splits)], good, bytes_per_clip)
    return report


def _counts(split: Split, clips: RecordedClips) -> str:
    counts = Counter(entry.label for entry in clips.entries)
    unlabelled, num_clips = counts.pop(None, 0), len(clips)
    parts = [f"{num_clips:,} clips" + (f" for {split}" if split else "")]
    if counts:
        names = clips.labels or [str(label) for label in range(max(counts) + 1)]
        fewest, most = (choose(counts, key=lambda label: (counts[label], label)) for choose in (min, max))
        each = f"{counts[fewest]:,} ({names[fewest]}) to {counts[most]:,} ({names[most]}) clips each"
        if counts[fewest] == counts[most]:
            each = f"{counts[most]:,} clips each"
        parts.append(f"{len(counts)} of {len(names)} classes, {each}")
    if unlabelled:
        parts.append(f"{unlabelled:,} without a label")
    return "; ".join(parts)


def _require(splits: Mapping[Split, RecordedClips], report: Report) -> None:
    """Add what a training needs and these splits lack."""
    needed = _parts_of_training(splits)
    for split in needed:
        report.obstacles += lacking(split, splits.get(split, ()))
    if (
        None in splits
        and not report.obstacles
        and min(Counter(each.label for each in splits[None].entries).values()) < 2
    ):
        report.obstacles.append("a class has a single clip; it needs one to train on and one to validate on")
    if any(clips.skipped for clips in splits.values() if isinstance(clips, VideoClips)):
        report.obstacles.append("a training of one's own clips leaves none out; mend the lines above, or remove them")


def _parts_of_training(splits: Mapping[Split, RecordedClips]) -> list[Split]:
    if None in splits:
        return [None]
    own = all(isinstance(clips, VideoClips) for clips in splits.values())
    return ["train", "test" if own and "valid" not in splits else "valid"]


def _within(looked: list, seconds: float) -> Iterator:
    """Yield items until the time is over, ten at least."""
    end = time.perf_counter() + seconds
    for number, item in enumerate(looked):
        if number >= 10 and time.perf_counter() > end:
            return
        yield item


def _look_into_folders(looked: list[tuple[RecordedClips, Entry]], seconds: float, report: Report) -> None:
    counts, gaps, bad = {}, {}, {}  # by folder: two splits may name one
    of_frames = [each for each in looked if isinstance(each[0], JesterClips) or getattr(each[0], "decoded", False)]
    num_looked = 0
    for clips, entry in _within(of_frames, seconds):
        num_looked += 1
        try:
            numbered = clips.frames_of(entry)
            faults = clips.faults_of(entry, numbered)[1]
        except ClipError as error:
            bad[entry.path] = str(error.path), error.reason
            continue
        counts[entry.path] = len(numbered)
        if faults:
            gaps[entry.path] = str(entry.path), faults[0].reason
    if of_frames:
        report.lines.append(f"folders looked into: {num_looked:,} of {len(of_frames):,}")
    if counts:
        report.lines.append(
            f"  frames a clip: {_range(counts.values())}, {statistics.median_high(counts.values())} in the middle"
        )
        report.faults("  with gaps or too many frames (a training takes the frames that are there)", [*gaps.values()])
    report.faults("  without frames", [*bad.values()])
    if bad:
        report.obstacles.append("folders have no usable frames; fetch them again, or move them away to leave them out")


def _decode(
    looked: list[tuple[RecordedClips, Entry]], seconds: float, report: Report
) -> tuple[list[tuple[RecordedClips, Entry]], float]:
    """Decode some clips; return some that are good, and the bytes on disk that a clip takes."""
    sizes, bad, on_disk, taken, good = Counter(), [], [], 0.0, []
    for clips, entry in _within(looked, seconds):
        start = time.perf_counter()
        try:
            clip = clips.read(entry)
        except ClipError as error:
            bad.append((str(error.path), error.reason))
            continue
        taken += time.perf_counter() - start
        good.append((clips, entry))
        sizes[clip.frames.shape[1:3]] += 1
        on_disk.append(_bytes_of(clips, entry))
    num_good = sizes.total()
    report.lines.append(f"clips decoded: {num_good + len(bad):,} of {len(looked):,}")
    if num_good:
        heights, widths = zip(*sizes, strict=True)
        report.lines.append(
            f"  pictures {_range(widths)} px wide, {_range(heights)} px high; {num_good / taken:,.0f} clips/s read "
            "whole by one process"
        )
    report.faults("  unreadable", bad)
    if bad:
        report.obstacles.append(
            "a training stops at a clip that is unreadable; fetch those again, or move them away to leave them out "
            "(--all finds every one)"
        )
    return good[:_TIMED], statistics.mean(on_disk or [0])


def _range(values: Iterable[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _bytes_of(clips: RecordedClips, entry: Entry) -> int:
    if entry.path.is_file():
        return entry.path.stat().st_size
    frames = clips.frames_of(entry).values()
    return sum(len(each.content) if isinstance(each, PackedFrame) else each.stat().st_size for each in frames)
