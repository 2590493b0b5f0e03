"""What the explorer is asked and what it answers: clips as networks see them, without any widget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from gatescope.explorer.explanations import ATTRIBUTIONS, ON_THE_WAY, called, explain, offered
from gatescope.explorer.request_thread import Report
from gatescope.explorer.upload import shown
from gatescope.loaders import Clip, ClipError, read_clip, to_batch
from gatescope.loaders.clip import as_seen
from gatescope.loaders.datasets import recorded
from gatescope.loaders.reading import IMAGE_SUFFIXES
from gatescope.measures.sample import rendered
from gatescope.models import GestureNetwork
from gatescope.models.checkpoints import checkpoint_names, class_names, open_networks, untrained
from gatescope.pictures.packing import Group, Packed, pack
from gatescope.pictures.scrubber import groups_of
from gatescope.recordings import Watched, intervene, watch

KINDS = ("rendered", "path", "own")  # of clips
LAYERS = ("layer1", "layer2")
UNTRAINED = ", untrained"  # after a checkpoint's name: its network as training found it
NUM_RENDERED = 100  # clips of a gesture; there are as many as one likes
MAX_CHANNELS, MAX_MAPS = 16, 1_000_000  # that travel at once, and bytes of them; other channels follow when asked for


@dataclass(frozen=True)
class Question:
    """All that the controls say."""

    checkpoint: str
    beside: str = ""  # another, to be compared
    kind: str = KINDS[0]
    path: str = ""
    gesture: str = ""
    number: int = 0  # of the gesture's clips, or of those at the path
    layer: str = LAYERS[0]
    point: str = ""  # a hook point that is replaced, or all gates
    replacement: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """What there is to see, and what else could be asked."""

    clip: Clip  # as the networks saw it
    groups: list[Group]
    packed: Packed
    words: str
    offered: Mapping[str, tuple[str, Sequence[str]]]  # what each hook point is called, and by what it can be replaced
    num_clips: int  # where the clip comes from


class Exploration:
    """Networks and clips that were opened last, and what explained them; for one thread at a time."""

    def __init__(self, checkpoints: Sequence[str]):
        self.names = checkpoint_names(checkpoints)
        self.own: Clip | None = None  # the reader's
        self.network = lru_cache(4)(self._network)
        self.opened = lru_cache(1)(self._opened)
        self._explained: tuple[object, Group | None] = (None, None)

    def gestures(self, checkpoint: str) -> tuple[str, ...]:
        """The names of those that are rendered for a checkpoint's network."""
        return rendered(self.network(checkpoint), 1).names

    def classes(self, checkpoint: str) -> list[str]:
        """The names of a network's classes, from 0; none without a card."""
        return class_names(self.network(checkpoint))

    def answer(self, question: Question, report: Report) -> Answer:
        """What the networks make of the clip, each as it is and, where one is asked for, with a change.

        A change that not all of them can undergo is left out. Raises whatever loaders and recordings do.
        """
        networks = self._networks(question, report)
        clip, num_clips = self._clip(question, report)
        classes = class_names(networks[question.checkpoint])
        groups, words, offers = [], [], []
        for name, network in networks.items():
            report(f"{name} looks at the clip")
            seen, x = (
                as_seen(clip, network.config.num_frames, network.config.size),
                to_batch(clip, **network.config.input),
            )
            before = _shown_of(watch(network, x, f"{question.layer}.*"))
            changes = offered(before.recording, seen.hand_mask)
            offers.append({point: (called(point, before.recording), list(by)) for point, by in changes.items()})
            change = changes.get(question.point, {}).get(question.replacement)
            own = groups_of(name if change is None else f"{name} as it is,", before)
            words.append(f"{name} says {_said(before, classes)}")
            if change is not None:
                what = f"{called(question.point, before.recording)} replaced by {question.replacement}"
                report(f"{name} looks again, {what}")
                with intervene(network, change):
                    after = _shown_of(watch(network, x, f"{question.layer}.*"))
                words[-1] += f"; {what}: {_said(after, classes, before)}"
                changed = groups_of(f"{name}, {what},", after)
                for first, second in zip(own, changed, strict=True):
                    second.orders = first.orders
                own += changed
            for group in own:
                group.link = f"{name}, {group.num_channels}"
            groups += own
        about, explained = self._explained
        groups += [explained] if about == _about(question) else []
        report("packing")
        title = f"{shown(clip.name or Path(clip.source).name)}{', synthetic' * (question.kind == KINDS[0])}"
        packed = pack(groups, seen, num_channels=_num_channels(groups), title=title, classes=classes)
        both = {point: by for point, by in offers[0].items() if all(point in each for each in offers)}
        return Answer(seen, groups, packed, ". ".join(words) + ".", both, num_clips)

    def explain(self, question: Question, method: str, label: int | None, report: Report) -> None:
        """Explain the score of class `label`, or of each network's own answer, by one of ATTRIBUTIONS.

        Every answer about the same clip, layer and networks shows the maps from then on.
        """
        networks = self._networks(question, report)
        clip, _ = self._clip(question, report)
        names = class_names(networks[question.checkpoint])
        group = Group("explained")
        for name, network in networks.items():

            def heard(passes: int, name: str = name) -> None:
                report(f"{method} of {name}: {passes} passes through its recurrent layers so far")

            x = to_batch(clip, **network.config.input)
            number, maps = explain(network, x, label, method, question.layer, heard)
            title = f"{method} for {_class(names, number)}, {name}"
            group.maps[title] = maps[:, None]
            group.about[title] = ATTRIBUTIONS[method]._replace(title=title)
        self._explained = _about(question), group

    def _networks(self, question: Question, report: Report) -> dict[str, GestureNetwork]:
        networks = {}
        for name in dict.fromkeys([question.checkpoint, question.beside or question.checkpoint]):
            report(f"opening {name}")
            networks[name] = self.network(name)
        configs = [network.config for network in networks.values()]
        if len({str((config.input, config.num_classes)) for config in configs}) > 1:
            raise ValueError(f"{' and '.join(networks)} do not compare: they take another input or tell other classes")
        return networks

    def _network(self, name: str) -> GestureNetwork:
        if name.endswith(UNTRAINED):
            return untrained(self.network(name.removesuffix(UNTRAINED)).config)
        return open_networks([name])[name]

    def _clip(self, question: Question, report: Report) -> tuple[Clip, int]:
        report("opening the clip")
        if question.kind == "own":
            if self.own is None:
                raise ValueError("there is no clip of your own yet: drop a video, or choose one by the button")
            return self.own, 1
        if question.kind == "path":
            return self.opened(None, question.path, question.number)
        return self.opened(question.checkpoint, question.gesture, question.number)

    def _opened(self, checkpoint: str | None, what: str, number: int) -> tuple[Clip, int]:
        """A clip rendered as it was for a checkpoint, or recorded, and how many there are of the kind."""
        if checkpoint is None:
            if not what.strip():
                raise ValueError("a path is needed: of a video, a folder of frames or videos, or a data set")
            found = recorded(what)
            if not number < len(found):
                raise LookupError(f"{shown(what)} has {len(found)} clips, counted from 0; there is no clip {number}")
            return found[number], len(found)
        gestures = rendered(self.network(checkpoint), 1)
        if what not in gestures.names:
            raise LookupError(f"{checkpoint} was not trained on {what!r}; choose one of {', '.join(gestures.names)}")
        label, each = gestures.names.index(what), len(gestures.names)
        # In every run of as many clips as there are classes each class comes once.
        run = range(number * each, (number + 1) * each)
        return gestures.clip(next(index for index in run if gestures.label(index) == label)), NUM_RENDERED


def read_dropped(files: Sequence[Path]) -> Clip:
    """The clip in a video, or in pictures that lie in a folder of their own; its source is the file's name.

    Raises ClipError with the name that the reader knows, not where the file lies for the moment.
    """
    first, folder = files[0], files[0].parent
    pictures = all(file.suffix.lower() in IMAGE_SUFFIXES for file in files)
    name = f"{len(files)} pictures" if pictures else first.name
    if len(files) > 1 and not pictures:
        raise ClipError(f"{len(files)} files came: drop one video, or the pictures that make up one clip")
    try:
        return replace(read_clip(folder if pictures else first), source=name)
    except ClipError as error:
        where = Path(error.path or folder)
        reason = error.reason.replace(f"{folder}/", "").replace(str(folder), name)
        raise ClipError(f"{shown(name if where == folder else where.name)}: {shown(reason)}") from None


def _shown_of(watched: Watched) -> Watched:
    """What is shown of a layer."""
    kept = {name: value for name, value in watched.recording.items() if name.rpartition(".")[2] not in ON_THE_WAY}
    return replace(watched, recording=kept)


def _said(watched: Watched, classes: Sequence[str], before: Watched | None = None) -> str:
    """The class with the highest score in the end, and that of before if it was another."""
    chances = watched.logits[-1].softmax(0)
    best = [int(each.logits[-1].argmax()) for each in (watched, before) if each is not None]
    return ", ".join(f"{_class(classes, number)} {chances[number]:.0%}" for number in dict.fromkeys(best))


def _class(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else f"class {number}"


def _about(question: Question) -> object:
    """What an explanation is of."""
    return replace(question, point="", replacement="")


def _num_channels(groups: Sequence[Group]) -> int:
    sizes = [maps[:, 0].size for group in groups for maps in group.maps.values() if maps.shape[1] > 1]
    return int(np.clip(MAX_MAPS // max(sum(sizes), 1), 1, MAX_CHANNELS))
