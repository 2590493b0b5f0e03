"""Answer the explorer's questions: recordings of a clip in one or two networks, without any widget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.explorer.comparison import Shown, answers_of, groups_of_all, pack_compared
from gatescope.explorer.explanations import ATTRIBUTIONS, explain, offered, title_of
from gatescope.explorer.hands import hands_of, is_measurable, said, seen_with
from gatescope.explorer.library import Library
from gatescope.explorer.reading import is_depth, read_depth, waited_for
from gatescope.explorer.request_thread import Report
from gatescope.explorer.upload import printable
from gatescope.loaders import Clip, MeasuredHands, to_batch
from gatescope.loaders.clip import as_seen
from gatescope.loaders.datasets import recorded
from gatescope.measures.sample import rendered
from gatescope.models import GestureNetwork
from gatescope.models.checkpoints import checkpoint_names, class_names, open_networks, untrained
from gatescope.paths import CACHE, ROOT
from gatescope.pictures.packing import Group, Packed
from gatescope.recordings import Watched, intervene, watch

KINDS = ("rendered", "path", "own")  # of clips
BOTH = "layer?"  # both layers, as a pattern of hook points
LAYERS = ("layer1", "layer2", BOTH)
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
    point: str = ""  # the hook point to replace, or gates together
    replacement: str = ""
    depth_unit_mm: float = 1.0  # of a clip of 16-bit frames


@dataclass(frozen=True, eq=False)
class Answer:
    """Groups to show, and the replacements that can be asked for next."""

    clip: Clip  # as the networks saw it
    original: Clip  # as it was read or rendered
    groups: list[Group]
    packed: Packed
    words: str
    predicted: list[str]  # the class that each network answers without a change
    offered: Mapping[str, tuple[str, Sequence[str]]]  # titles and replacements by hook point
    courses: Mapping[str, tuple[str, Float[np.ndarray, "step channel"]]]  # titles and means over positions, by name
    num_clips: int  # at the clip's source


class Exploration:
    """The networks, clip and explanation that were opened last; not safe for several threads."""

    def __init__(self, checkpoints: Sequence[str], cache: Path = CACHE):
        self.names = checkpoint_names(checkpoints)
        self.own: Clip | None = None  # the reader's
        self.network = lru_cache(4)(self._network)
        self.opened = lru_cache(1)(self._opened)
        self._cache = cache
        self._libraries: dict[str, Library] = {}
        self._explained: tuple[object, Group | None] = (None, None)
        self._measured: tuple[Clip | None, MeasuredHands | None] = (None, None)  # of which clip

    def gestures(self, checkpoint: str) -> tuple[str, ...]:
        """Return the names of the gestures rendered for a checkpoint's network."""
        return rendered(self.network(checkpoint), 1).names

    def classes(self, checkpoint: str) -> list[str]:
        """Return the names of a network's classes, from 0; none without a card."""
        return class_names(self.network(checkpoint))

    def library(self, checkpoint: str, report: Report) -> Library:
        """Return the rendered validation clips of a checkpoint's network, encoded."""
        if checkpoint not in self._libraries:
            self._libraries[checkpoint] = Library(self.network(checkpoint), self._cache, report)
        return self._libraries[checkpoint]

    def answer(self, question: Question, report: Report) -> Answer:
        """Record the clip in each network, unchanged and, where asked for, with a replacement.

        A network without the hook point is shown unchanged only. Raises what loaders and recordings raise.
        """
        networks = self.networks(question, report)
        original, num_clips = self.clip(question, report)
        first = networks[question.checkpoint]
        classes, config = class_names(first), first.config
        at = config.num_frames, config.size
        hands = self._measured[1] if self._measured[0] is original else None
        seen = as_seen(original, *at) if hands is None else seen_with(original, hands, *at)
        shown = [self._shown(name, each, original, seen, question, report) for name, each in networks.items()]
        groups, curves = groups_of_all(shown, classes)
        about, explained = self._explained
        groups += [explained] if about == _about(question) else []
        report("packing")
        title = f"{printable(original.name or Path(original.source).name)}{', synthetic' * (question.kind == KINDS[0])}"
        title += ", measured hand" * (seen.hand_source == "measured")
        sizes = [maps[:, 0].size for group in groups for maps in group.maps.values() if maps.shape[1] > 1]
        num_channels = min(max(MAX_MAPS // max(sum(sizes), 1), 1), MAX_CHANNELS)
        packed = pack_compared(groups, seen, num_channels=num_channels, title=title, classes=curves)
        recording = shown[0].before.recording
        titles = {point: title_of(point, recording) for point in shown[0].offers}
        both = {point: by for point, by in shown[0].offers.items() if all(point in each.offers for each in shown)}
        return Answer(
            seen,
            original,
            groups,
            packed,
            " ".join([*(f"{each.words}." for each in shown), *([] if hands is None else [said(hands, seen)])]),
            [_class(classes, answers_of(each.before)[0]) for each in shown],
            {point: (titles[point], list(by)) for point, by in both.items()},
            {name: (title_of(name, recording), _course(values)) for name, values in recording.items()},
            num_clips,
        )

    def _shown(
        self, name: str, network: GestureNetwork, clip: Clip, seen: Clip, question: Question, report: Report
    ) -> Shown:
        report(f"running {name} on the clip")
        classes = class_names(network)
        x = to_batch(clip, **network.config.input)
        before = _without_intermediates(watch(network, x, f"{question.layer}.*"))
        offers = offered(before.recording, seen.hand_mask)
        words, after = f"{name} answers {_said(before, classes)}", None
        change = offers.get(question.point, {}).get(question.replacement)
        if change is not None:
            what = f"{title_of(question.point, before.recording)} replaced by {question.replacement}"
            report(f"running {name} with {what}")
            with intervene(network, change):
                after = _without_intermediates(watch(network, x, f"{question.layer}.*"))
            words += f"; {what}: {_said(after, classes, before)}"
        return Shown(name, before, after, offers, words)

    def explain(self, question: Question, method: str, label: int | None, report: Report) -> None:
        """Explain the score of class `label`, or of each network's own answer, by one of ATTRIBUTIONS.

        Later answers about the same clip, layer and networks show the maps too.
        """
        networks = self.networks(question, report)
        clip, _ = self.clip(question, report)
        names = class_names(networks[question.checkpoint])
        # A map needs one layer: the one that the scores come from.
        layer = LAYERS[1] if question.layer == BOTH else question.layer
        group = Group("explained" + ", layer 2" * (question.layer == BOTH))
        for name, network in networks.items():

            def heard(passes: int, name: str = name) -> None:
                report(f"{method} of {name}: {passes} passes through the recurrent layers so far")

            x = to_batch(clip, **network.config.input)
            number, maps = explain(network, x, label, method, layer, heard)
            title = f"{method} for {_class(names, number)}, {name}"
            group.maps[title] = maps[:, None]
            group.about[title] = ATTRIBUTIONS[method]._replace(title=title)
        self._explained = _about(question), group

    def measure_hands(self, question: Question, report: Callable[[str], None]) -> bool:
        """Measure the hands of a question's clip for later answers; return whether that gives them something new.

        Raises HandNetworksError if the networks are other files than they should be, and what `report` raises.
        """
        clip, _ = self.clip(question, report)
        if self._measured[0] is clip or not is_measurable(clip):
            return False
        self._measured = clip, hands_of(clip, report)
        return True

    def networks(self, question: Question, report: Report) -> dict[str, GestureNetwork]:
        """Return the networks of a question by name; raises ValueError where they do not compare."""
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

    def clip(self, question: Question, report: Callable[[str], None]) -> tuple[Clip, int]:
        """Return a question's clip as it was read or rendered, and how many clips there are at its source."""
        report("opening the clip")
        if question.kind == "own" and self.own is None:
            raise ValueError("there is no clip of your own yet: drop a video, or choose one with the button")
        if question.kind == "own":
            clip, num_clips = self.own, 1
        elif question.kind == "path":
            clip, num_clips = waited_for(lambda: self.opened(None, question.path, question.number), report)
        else:
            clip, num_clips = self.opened(question.checkpoint, question.gesture, question.number)
        if clip.depth is not None:
            clip = replace(clip, depth=clip.depth * np.float32(question.depth_unit_mm))
        return clip, num_clips

    def _opened(self, checkpoint: str | None, what: str, number: int) -> tuple[Clip, int]:
        """Open a clip, rendered as for a checkpoint or recorded, and count the clips at its source."""
        if checkpoint is None:
            if not what.strip():
                raise ValueError("a path is needed: of a video, a folder of frames or videos, or a data set")
            if is_depth(ROOT / Path(what).expanduser()):
                return read_depth(ROOT / Path(what).expanduser()), 1
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


def _course(values: Float[Tensor, "1 step channel *space"]) -> Float[np.ndarray, "step channel"]:
    return values[0].flatten(2).mean(2).numpy() if values.ndim > 3 else values[0].numpy()


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
