"""Interventions: replacements of all gates, computed beforehand, between which a page switches without a kernel."""

import hashlib
import html
from collections.abc import Sequence
from typing import Any

from gatescope.explorer.comparison import answers_of, compare, pack_compared, score_chart
from gatescope.explorer.explanations import GATES
from gatescope.loaders import Clip, to_batch
from gatescope.loaders.clip import as_seen
from gatescope.models import GestureNetwork
from gatescope.models.checkpoints import class_names
from gatescope.pictures.elements import bundle
from gatescope.pictures.scrubber import Scrubber
from gatescope.recordings import Watched, intervene, watch
from gatescope.recordings.replacements import replacement

LAYERS = ("layer1", "layer2")
LOOKS = (
    "font:13px/1.6 system-ui,sans-serif;border:1px solid #8886;border-radius:4px;margin:0;padding:4px 8px;"
    "position:sticky;top:0;z-index:4;background:Canvas;display:flex;flex-wrap:wrap;gap:0 16px"
)
MAX_DATA = 1_000_000  # characters of all scrubbers together; with film strips and code an output stays below 2 MB


class Interventions:
    """A scrubber with states and scores before and after each of a few interventions, and buttons that switch.

    As a cell's last line it shows itself; where scripts are removed the film strips stand one below the other.
    """

    def __init__(
        self,
        network: GestureNetwork,
        clip: Clip,
        by: Sequence[str] = ("space mean", "shifted", "time mean"),
        *patterns: str,
        num_channels: int = 4,
        title: str = "",
    ):
        """Replace all gates of both layers `by` each of these and record what matches `patterns` besides.

        Without patterns the first layer's gates and states are shown. At most `num_channels` are kept.

        Raises LookupError for a replacement that one of the gates does not have, such as a mean over space where
        a gate has no map.
        """
        config, classes = network.config, class_names(network)
        seen, x = as_seen(clip, config.num_frames, config.size), to_batch(clip, **config.input)
        names = [f"{layer}.{gate}" for layer in LAYERS for gate in GATES]
        gates = watch(network, x, *names).recording
        patterns = patterns or tuple(f"{LAYERS[0]}.{point}" for point in "ifogch")
        before = watch(network, x, *patterns)
        self.title = title
        self.scrubbers: dict[str, Scrubber] = {}
        for words in by:
            changes = {name: replacement(name, gates[name], words) for name in names}
            with intervene(network, changes):
                after = watch(network, x, *patterns)
            settings = {"title": f"{title}: {words}" if title else words, "num_channels": num_channels}
            label = f"{words} ({_scores(before, after, classes)})"
            self.scrubbers[label] = _scrubber(before, after, seen, classes, MAX_DATA // len(by), **settings)

    def html(self) -> str:
        """Return HTML that needs no other file: buttons, and the scrubbers of which one is seen."""
        pages = [scrubber.html() for scrubber in self.scrubbers.values()]
        name = f"gatescope-switch-{hashlib.sha256(''.join(pages).encode()).hexdigest()[:8]}"
        buttons, shown, rules = [], [], [f"#{name} > div {{ display: none; }}"]
        for place, (label, page) in enumerate(zip(self.scrubbers, pages, strict=True)):
            checked = " checked" * (place == 0)
            button = f'<input type="radio" name="{name}" id="{name}-{place}"{checked}>'
            buttons.append(f"<label>{button} {html.escape(label)}</label>")
            shown.append(f'<div class="page-{place}">{page}</div>')
            rules.append(f"#{name}:has(#{name}-{place}:checked) > .page-{place} {{ display: block; }}")
        legend = '<legend style="float:left;padding:0">All gates of both layers replaced by</legend>'
        fields = f'<fieldset data-lm-suppress-shortcuts="true" style="{LOOKS}">{legend}{"".join(buttons)}</fieldset>'
        style = f"<style>{' '.join(rules)}</style>"
        return f'<section class="gatescope-switch" id="{name}">{style}{fields}{"".join(shown)}</section>'

    @property
    def alt(self) -> str:
        """Description in words."""
        first = next(iter(self.scrubbers.values()))
        return f"{first.alt} All gates of both layers are replaced by {', '.join(self.scrubbers)}."

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        return bundle(self.html(), next(iter(self.scrubbers.values())).still, self.alt)


def _scrubber(
    before: Watched, after: Watched, seen: Clip, classes: Sequence[str], max_data: int, *, num_channels: int, title: str
) -> Scrubber:
    """Return a scrubber of a comparison with as many channels as fit in `max_data`."""
    chart, curves = score_chart(before, after, classes, answers_of(before, after))
    groups = [chart, *compare("", before, after)]
    for group in groups[1:]:
        group.link = next(iter(group.maps), "").partition(".")[0]
    scrubber = Scrubber(before, seen, num_channels=1, classes=curves, title=title)
    scrubber.groups = groups
    while True:
        scrubber.packed = pack_compared(groups, seen, num_channels=num_channels, title=title, classes=curves)
        if num_channels == 1 or len(scrubber.packed.deflated()) <= max_data:
            return scrubber
        num_channels = num_channels * 3 // 4


def _scores(before: Watched, after: Watched, classes: Sequence[str]) -> str:
    """Say what becomes of the score of the class that is answered without the intervention."""
    number = answers_of(before)[0]
    one, other = (float(each.logits[-1].softmax(0)[number]) for each in (before, after))
    return f"{classes[number] if number < len(classes) else f'class {number}'} {one:.2f} → {other:.2f}"
