"""Answer the explorer's questions: recordings of a clip in one or two networks, without any widget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from gatescope.explorer.explanations import ATTRIBUTIONS, explain, offered, title_of
from gatescope.explorer.request_thread import Report
from gatescope.explorer.upload import printable
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
UNTRAINED = ", untrained"  # after a checkpoint's name: the same network before training
INTERMEDIATE = ("x_pooled", "h_pooled", "z")  # inputs of gates and attention: neither shown nor replaced
NUM_RENDERED = 100  # clips of a gesture that are offered; the renderer has no limit
MAX_CHANNELS, MAX_MAPS = 16, 1_000_000  # channels and bytes sent at once; other channels follow on request


@dataclass(frozen=True)
class Question:
    """Values of all controls."""

    checkpoint: str
    beside: str = ""  # a second checkpoint, for comparison
    kind: str = KINDS[0]
    path: str = ""
    gesture: str = ""
    number: int = 0  # of the clip, among the gesture's or those at the path, from 0
    layer: str = LAYERS[0]
    point: str = ""  # the hook point to replace, or all gates
    replacement: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """Groups to show, and the replacements that can be asked for next."""

    clip: Clip  # as the networks saw it
    groups: list[Group]
    packed: Packed
    words: str
    offered: Mapping[str, tuple[str, Sequence[str]]]  # titles and replacements by hook point
    num_clips: int  # at the clip's source


class Exploration:
    """The networks, clip and explanation that were opened last; not safe for several threads."""

    def __init__(self, checkpoints: Sequence[str]):
        self.names = checkpoint_names(checkpoints)
        self.own: Clip | None = None  # the reader's
        self.network = lru_cache(4)(self._network)
        self.opened = lru_cache(1)(self._opened)
        self._explained: tuple[object, Group | None] = (None, None)

    def gestures(self, checkpoint: str) -> tuple[str, ...]:
        """Return the names of the gestures rendered for a checkpoint's network."""
        return rendered(self.network(checkpoint), 1).names

    def classes(self, checkpoint: str) -> list[str]:
        """Return the names of a network's classes, from 0; none without a card."""
        return class_names(self.network(checkpoint))

    def answer(self, question: Question, report: Report) -> Answer:
        """Record the clip in each network, unchanged and, where asked for, with a replacement.

        A network without the hook point is shown unchanged only. Raises what loaders and recordings raise.
        """
        networks = self._networks(question, report)
        clip, num_clips = self._clip(question, report)
        classes = class_names(networks[question.checkpoint])
        groups, words, offers = [], [], []
        for name, network in networks.items():
            report(f"running {name} on the clip")
            seen = as_seen(clip, network.config.num_frames, network.config.size)
            x = to_batch(clip, **network.config.input)
            before = _without_intermediates(watch(network, x, f"{question.layer}.*"))
            changes = offered(before.recording, seen.hand_mask)
            offers.append({point: (title_of(point, before.recording), list(by)) for point, by in changes.items()})
            change = changes.get(question.point, {}).get(question.replacement)
            own = groups_of(name if change is None else f"{name} as it is,", before)
            words.append(f"{name} answers {_said(before, classes)}")
            if change is not None:
                what = f"{title_of(question.point, before.recording)} replaced by {question.replacement}"
                report(f"running {name} with {what}")
                with intervene(network, change):
                    after = _without_intermediates(watch(network, x, f"{question.layer}.*"))
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
        title = f"{printable(clip.name or Path(clip.source).name)}{', synthetic' * (question.kind == KINDS[0])}"
        sizes = [maps[:, 0].size for group in groups for maps in group.maps.values() if maps.shape[1] > 1]
        num_channels = min(max(MAX_MAPS // max(sum(sizes), 1), 1), MAX_CHANNELS)
        packed = pack(groups, seen, num_channels=num_channels, title=title, classes=classes)
        both = {point: by for point, by in offers[0].items() if all(point in each for each in offers)}
        return Answer(seen, groups, packed, ". ".join(words) + ".", both, num_clips)

    def explain(self, question: Question, method: str, label: int | None, report: Report) -> None:
        """Explain the score of class `label`, or of each network's own answer, by one of ATTRIBUTIONS.

        Later answers about the same clip, layer and networks show the maps too.
        """
        networks = self._networks(question, report)
        clip, _ = self._clip(question, report)
        names = class_names(networks[question.checkpoint])
        group = Group("explained")
        for name, network in networks.items():

            def heard(passes: int, name: str = name) -> None:
                report(f"{method} of {name}: {passes} passes through the recurrent layers so far")

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
            raise ValueError(f"{' and '.join(networks)} do not compare: they differ in input or number of classes")
        return networks

    def _network(self, name: str) -> GestureNetwork:
        if not name.endswith(UNTRAINED):
            return open_networks([name])[name]
        trained = self.network(name.removesuffix(UNTRAINED))
        # Whatever clip is shown later, its twin's norms know one clip of each gesture.
        clips = rendered(trained, len(rendered(trained, 1).names))
        x = torch.cat([to_batch(clip, **trained.config.input) for clip in clips])
        return untrained(trained.config, (trained.card or {}).get("seed") or 0, x)

    def _clip(self, question: Question, report: Report) -> tuple[Clip, int]:
        report("opening the clip")
        if question.kind == "own":
            if self.own is None:
                raise ValueError("there is no clip of your own yet: drop a video, or choose one with the button")
            return self.own, 1
        if question.kind == "path":
            return self.opened(None, question.path, question.number)
        return self.opened(question.checkpoint, question.gesture, question.number)

    def _opened(self, checkpoint: str | None, what: str, number: int) -> tuple[Clip, int]:
        """Open a clip, rendered as for a checkpoint or recorded, and count the clips at its source."""
        if checkpoint is None:
            if not what.strip():
                raise ValueError("a path is needed: of a video, a folder of frames or videos, or a data set")
            found = recorded(what)
            if not number < len(found):
                raise LookupError(f"{printable(what)} has {len(found)} clips, counted from 0, and no clip {number}")
            return found[number], len(found)
        gestures = rendered(self.network(checkpoint), 1)
        if what not in gestures.names:
            raise LookupError(f"{checkpoint} was not trained on {what!r}; choose one of {', '.join(gestures.names)}")
        label, each = gestures.names.index(what), len(gestures.names)
        # Every run of as many clips as there are classes holds each class once.
        run = range(number * each, (number + 1) * each)
        return gestures.clip(next(index for index in run if gestures.label(index) == label)), NUM_RENDERED


def read_dropped(files: Sequence[Path]) -> Clip:
    """Read the clip in a video, or in pictures in a folder of their own; its source is the file's name.

    Raises ClipError with the name that the reader knows, not the temporary path.
    """
    first, folder = files[0], files[0].parent
    pictures = all(file.suffix.lower() in IMAGE_SUFFIXES for file in files)
    name = f"{len(files)} pictures" if pictures else first.name
    if len(files) > 1 and not pictures:
        raise ClipError(f"{len(files)} files arrived: drop one video, or the pictures that make up one clip")
    try:
        return replace(read_clip(folder if pictures else first), source=name)
    except ClipError as error:
        where = Path(error.path or folder)
        reason = error.reason.replace(f"{folder}/", "").replace(str(folder), name)
        raise ClipError(f"{printable(name if where == folder else where.name)}: {printable(reason)}") from None


def _without_intermediates(watched: Watched) -> Watched:
    """Drop the inputs of gates and attention from a recording."""
    kept = {name: value for name, value in watched.recording.items() if name.rpartition(".")[2] not in INTERMEDIATE}
    return replace(watched, recording=kept)


def _said(watched: Watched, classes: Sequence[str], before: Watched | None = None) -> str:
    """Name the class with the highest final score, and the earlier one if it differs, with their probabilities."""
    chances = watched.logits[-1].softmax(0)
    best = [int(each.logits[-1].argmax()) for each in (watched, before) if each is not None]
    return ", ".join(f"{_class(classes, number)} {chances[number]:.0%}" for number in dict.fromkeys(best))


def _class(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else f"class {number}"


def _about(question: Question) -> object:
    """Return the part of a question that an explanation depends on."""
    return replace(question, point="", replacement="")
