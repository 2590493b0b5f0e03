"""The words that a page of the site explains where they stand: one list, and the marks in its prose."""

import re
from itertools import count

from markupsafe import Markup, escape

# What is looked for, and what it means: first the longer of two that begin alike.
TERMS = {
    r"ConvLSTM": "An LSTM of maps: convolutions compute its gates, each with a value for every channel and place.",
    r"\(a\)": "Variant (a), pooled gates: each gate is one number a channel, from means over space.",
    r"\(b\)": "Variant (b), input attention: pooled gates, and one map that weighs the places of the input.",
    r"\(c\)": "Variant (c), input-gate attention: pooled gates, but the input gate weighs places by maps.",
    r"\(d\)": "Variant (d), output-gate attention: pooled gates, but the output gate weighs places by maps.",
    r"E/A": "The share of a map on the hand, over the share of the picture that the hand covers: 1 for an even map.",
    r"pointing game": "The share of steps in which the highest place of a map lies on the hand, or close to it.",
    r"input gates?": "How much of the candidate is written to the cell state, from 0 to 1.",
    r"forget gates?": "How much of the old cell state is kept, from 0 to 1.",
    r"output gates?": "How much of the cell state is passed on as hidden state, from 0 to 1.",
    r"gates?": "Values from 0 to 1 that decide what a memory takes in, keeps and passes on.",
    r"cell states?": "The memory C of a recurrent layer: what its forget gate kept, and what its input gate let in.",
    r"hidden states?": "What a recurrent layer passes on, H: to the next layer, and to its own next step.",
    r"candidates?": "New values, from −1 to 1, that may enter the cell state.",
    r"half-li(?:fe|ves)": "The number of steps in which a memory loses half of what it held.",
    # Not those of a training.
    r"(?<!three )(?<!stream )(?<!further )(?:time )?steps?": "One turn of the recurrence: the layer reads one input, "
    "such as the features of a few neighbouring frames, and renews its states.",
    r"Res3D": "The 3-D convolutions before the recurrent layers. They mix neighbouring frames.",
    r"logits?": "A network's scores of the classes before they become probabilities.",
    r"untrained twins?": "The same network with the weights it had before training.",
    r"Grad-CAM": "A map of what speaks for a class: the activations, weighed by the gradient of its score.",
}
_ANY = re.compile("|".join(rf"(?<![\w/-])({pattern})(?![\w/-])" for pattern in TERMS), re.IGNORECASE)
_MEANINGS = list(TERMS.values())


class Marks:
    """The marks of one page: a term is explained where it first stands in a section."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.new_section()

    def new_section(self) -> None:
        """Explain every term once more."""
        self._said: set[int | None] = set()

    def mark(self, text: str) -> str:
        """Return text as HTML, a term that is new here with its meaning, which shows to pointer, keyboard and tap."""
        parts, done = [], 0
        for found in _ANY.finditer(text):
            if found.lastindex not in self._said:
                self._said.add(found.lastindex)
                parts += [escape(text[done : found.start()]), self._explained(found)]
                done = found.end()
        return str(Markup("").join([*parts, escape(text[done:])]))

    def _explained(self, found: re.Match) -> Markup:
        name = f"term-{next(self._numbers)}"
        meaning = _MEANINGS[found.lastindex - 1]
        return Markup(
            '<span class="term" tabindex="0" aria-describedby="{}">{}<span class="meaning" role="tooltip" id="{}">{}'
            "</span></span>"
        ).format(name, found[0], name, meaning)
