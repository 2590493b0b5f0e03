"""Stacked bars of the parts of gates' variance."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.container import BarContainer

from gatescope.measures.gate_variance import PARTS

PART_COLOURS = dict(zip(PARTS, ("#c6dbef", "#6baed6", "#08519c", "#fdbe85", "#d94801"), strict=True))


def stacked_parts(
    ax: Axes, gates: Mapping[str, Sequence[Mapping[str, float]]], control: Mapping[str, Sequence[Mapping[str, float]]]
) -> list[BarContainer]:
    """Draw the parts of each gate's variance as stacked bars, side by side for the seeds, the `control`'s in pale."""
    drawn = []
    for place, name in enumerate(gates):
        bars = [(found, 1.0) for found in gates[name]] + [(found, 0.35) for found in control.get(name, ())]
        width = 0.84 / len(bars)
        for number, (found, alpha) in enumerate(bars):
            at = place - 0.42 + (number + 0.5) * width + (0.02 if alpha < 1 else -0.02)
            below = 0.0
            for part, share in found.items():
                colour = to_rgba(PART_COLOURS[part], alpha)
                drawn.append(ax.bar(at, share, 0.9 * width, bottom=below, color=colour, label=part))
                below += share
    ax.set_xticks(range(len(gates)), list(gates))
    ax.set(xlim=(-0.55, len(gates) - 0.45), ylim=(0, 1))
    ax.tick_params(axis="x", length=0)
    return drawn
