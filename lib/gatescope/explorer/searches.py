"""Searches among the clips that a network was validated on, asked and answered in the explorer's words."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from gatescope.explorer.answers import BOTH, KINDS, LAYERS, UNTRAINED, Answer, Exploration, Question
from gatescope.explorer.explanations import GATES, TOGETHER
from gatescope.explorer.request_thread import Report
from gatescope.loaders import Clip, to_batch
from gatescope.measures.distance import NEAREST
from gatescope.measures.sample import is_rendered_only


def finding(exploration: Exploration, question: Question, report: Report) -> tuple[Question, str]:
    """Return the question of the validation clip that a replacement costs most, and what it does to all of them.

    All gates of both layers are replaced. Raises LookupError for gates that have no such replacement.
    """
    library = exploration.library(question.checkpoint, report)
    layers = [name for name in LAYERS if name != BOTH]
    names = [f"{layer}.{gate}" for layer in layers for gate in GATES]
    found = library.finding(names, question.replacement, report)
    gestures = exploration.gestures(question.checkpoint)
    label = int(library.sample.labels[found.index])
    asked = replace(question, kind=KINDS[0], layer=BOTH, point=TOGETHER, beside="")
    asked = replace(asked, gesture=gestures[label], number=found.index // len(gestures))
    words = f"Of {found.of} validation clips {question.checkpoint} answers {found.before} right, and {found.after} "
    words += f"with all gates of both layers replaced by {question.replacement}. Shown is the clip that loses most."
    return asked, words


@dataclass(frozen=True, eq=False)
class Like:
    """A clip whose channel takes a similar course."""

    gesture: str
    number: int
    correlation: float
    clip: Clip  # as the network sees it
    course: Float[np.ndarray, " step"]


def alike(
    exploration: Exploration,
    question: Question,
    answer: Answer,
    name: str,
    channel: int,
    steps: tuple[int, int],
    report: Report,
) -> list[Like]:
    """Return validation clips other than the question's, the most alike first.

    Compared is the course of a channel of the quantity `name`, see `Library.alike`, which also says what is raised.
    """
    library = exploration.library(question.checkpoint, report)
    report("comparing courses")
    gestures, sample = exploration.gestures(question.checkpoint), library.sample
    itself = (question.gesture, question.number) if question.kind == KINDS[0] else None
    found = []
    for place, correlation in library.alike(name, channel, answer.courses[name][1][:, channel], steps):
        where = gestures[int(sample.labels[place])], place // len(gestures)
        if where != itself:
            found.append(Like(*where, correlation, sample.clips[place], library.courses(name)[place, :, channel]))
    return found


def distance(exploration: Exploration, question: Question, report: Report) -> str:
    """Return in words how far a recorded clip lies from the rendered ones that its networks were trained on."""
    words = []
    for name, network in exploration.networks(question, report).items():
        if question.kind == KINDS[0] or not is_rendered_only(network) or name.endswith(UNTRAINED):
            continue
        clip, _ = exploration.clip(question, report)
        library = exploration.library(name, report)
        with torch.inference_mode():
            features = network.encode(to_batch(clip, **network.config.input))
        found = library.distance(features, report)
        num_gestures, valid = len(exploration.gestures(name)), found.valid
        words.append(
            f"{name} knows only {num_gestures} rendered gestures and names one of them, whatever a clip shows. In mean "
            f"Res3D features, in standard deviations, this clip lies {found.own:.1f} from its {NEAREST} nearest of "
            f"{library.num_training} training clips, farther than {found.percentile:.0%} of {len(valid)} validation "
            f"clips (their median is {np.median(valid):.1f}). A clip may lie near and not be understood."
        )
    return " ".join(words)
