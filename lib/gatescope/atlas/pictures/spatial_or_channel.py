"""Draw gates: their values, the parts of their variance, and the effect of replacing them."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage

from gatescope.measures.estimates import Estimate, simultaneous
from gatescope.measures.gate_kinds import ROWS
from gatescope.pictures.intervals import Colours, Interval, Looks, interval_rows, name_rows
from gatescope.pictures.plots import matrix

GREY, DOT = "#777777", "#0072B2"
KIND_COLOURS = {"conv": "#56B4E9", "pooled": "#E69F00", "attention": "#009E73"}


def ridges(
    ax: Axes, rows: Mapping[str, tuple[Int[np.ndarray, "seeds bins"], Int[np.ndarray, "others bins"]]], colours: Colours
) -> list[Artist]:
    """Draw the distribution of a gate, 0 to 1, as a ridge for each row: filled when trained, a line when untrained.

    Each is the mean over seeds, scaled to its largest bin: areas do not compare.
    """
    drawn: list[Artist] = []
    for level, (name, (trained, untrained)) in enumerate(reversed(rows.items())):
        edges = np.linspace(0, 1, trained.shape[1] + 1)
        for counts, looks in (
            (trained.mean(0), {"fill": True, "color": colours[name], "alpha": 0.75}),
            (untrained.mean(0), {"fill": False, "color": "black", "linewidth": 0.9}),
        ):
            heights = 0.85 * counts / counts.max() + level
            drawn.append(ax.stairs(heights, edges, baseline=level, **looks))
    ax.set_yticks(np.arange(len(rows)) + 0.3, list(reversed(rows)))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlim=(0, 1), ylim=(-0.05, len(rows)), xticks=(0, 0.5, 1))
    return drawn


def channel_spread(
    ax: Axes, channels: Float[np.ndarray, "channel 4"], order: Int[np.ndarray, " channel"], colour: str
) -> list[Artist]:
    """Draw each channel's mean and the range of 90 % of its values, as in `Summary.channels`, in `order`."""
    mean, low, high, _ = channels[order].T
    places = np.arange(len(order))
    drawn: list[Artist] = [ax.vlines(places, low, high, color=colour, alpha=0.45, linewidth=3)]
    drawn += ax.plot(places, mean, "o", color=colour, markersize=3)
    ax.set(ylim=(0, 1), xticks=(), yticks=(0, 0.5, 1))
    return drawn


def replacement_rows(
    ax: Axes, replacements: Sequence[str], found: Mapping[tuple[str, str, str], Interval], looks: Looks
) -> list[Artist]:
    """Draw found[cell, "all", replacement], all gates replaced together: a row for each replacement, its cells within.

    Where a replacement does not apply to a cell, there is no mark.
    """
    rows = {
        name: {cell: found[cell, "all", name] for cell in looks if (cell, "all", name) in found}
        for name in replacements
    }
    line = ax.axvline(0, color=GREY, linewidth=0.8)
    return [line, *interval_rows(ax, rows, looks)]


def hover_replacements(
    found: Mapping[tuple[str, str, str], Interval],
    gates: Sequence[str],
    replacements: Sequence[str],
    colours: Colours,
    xlabel: str,
) -> go.Figure:
    """Draw found[cell, gate, replacement] for a replacement that the reader chooses, each interval under the mouse."""
    fig = go.Figure()
    shown = [name for name in replacements if any(key[2] == name for key in found)]
    of_trace = []
    for name in shown:
        for place, (cell, colour) in enumerate(colours.items()):
            known = [gate for gate in gates if (cell, gate, name) in found]
            if not known:
                continue
            value, low, high = np.array([found[cell, gate, name][:3] for gate in known]).T.round(3)
            fig.add_scatter(
                x=value.tolist(),
                y=[gates.index(gate) + (place - (len(colours) - 1) / 2) * 0.15 for gate in known],
                error_x={"array": (high - value).tolist(), "arrayminus": (value - low).tolist(), "width": 0}
                | {"type": "data", "symmetric": False},
                customdata=list(zip(known, low.tolist(), high.tolist(), strict=True)),
                hovertemplate="%{customdata[0]}: %{x:+.3~f} [%{customdata[1]:+.3~f}, %{customdata[2]:+.3~f}]",
                mode="markers",
                marker={"color": colour, "size": 7},
                name=cell,
                visible=name == shown[0],
            )
            of_trace.append(name)
    choices = [
        {"label": name, "method": "update", "args": [{"visible": [other == name for other in of_trace]}]}
        for name in shown
    ]
    menu = {"buttons": choices, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    fig.update_layout(
        title={"text": "Gate by gate: choose a replacement, hover for intervals", "font": {"size": 14}, "x": 0.01},
        template="none",
        height=520,
        margin={"l": 70, "r": 20, "t": 110, "b": 50},
        updatemenus=[menu],
    )
    ends = [end for each in found.values() for end in each[1:3]]
    fig.update_xaxes(title_text=xlabel, range=[min(0, *ends), max(0, *ends)], zerolinecolor="#777777")
    fig.update_yaxes(
        tickvals=list(range(len(gates))), ticktext=list(gates), range=[len(gates) - 0.5, -0.5], zeroline=False
    )
    return fig


def change_by_class(
    ax: Axes, changes: Float[np.ndarray, "classes columns"], names: Sequence[str], columns: Sequence[str], reach: float
) -> AxesImage:
    """Draw each class's loss (red) or gain (blue), in points up to `reach`."""
    shown = matrix(ax, changes, names, columns, cmap="RdBu", vmin=-reach, vmax=reach)
    ax.tick_params(labelsize=7)
    ax.tick_params(axis="x", rotation=90)
    return shown


def hover_by_class(
    changes: Float[np.ndarray, "classes columns"], names: Sequence[str], columns: Sequence[str], reach: float
) -> go.Figure:
    """Draw the same with the class, the replacement and the change in points under the mouse."""
    hover = "%{y}<br>%{x}: %{z:+.0f} points<extra></extra>"
    looks = {"zmin": -reach, "zmax": reach, "colorscale": "RdBu", "hovertemplate": hover, "showscale": False}
    fig = go.Figure(go.Heatmap(z=changes.round(1).tolist(), x=list(columns), y=list(names), **looks))
    fig.update_layout(
        title={"text": "Class by class: point at a tile", "font": {"size": 14}, "x": 0.01},
        template="none",
        height=230 + 17 * len(names),
        margin={"l": 190, "r": 20, "t": 60, "b": 130},
    )
    fig.update_xaxes(tickangle=-60, tickfont={"size": 10}, dtick=1)
    fig.update_yaxes(autorange="reversed", tickfont={"size": 10}, dtick=1)
    return fig


def dots_of_rows(fig: FigureBase, accuracies: Mapping[str, Interval]) -> list[Axes]:
    """Draw the accuracy of 27 rows in percent with their intervals: a panel for each kind of f, rows for i and o.

    A dotted line is the mean of all rows that are given.
    """
    kinds = list(dict.fromkeys(kind for row in ROWS.values() for kind in row))
    mean = float(np.mean([each[0] for each in accuracies.values()]))
    axes = fig.subplots(1, 3, sharex=True, sharey=True)
    for ax, of_f in zip(axes, kinds, strict=True):
        ax.axvline(mean, color=GREY, linewidth=0.8, linestyle=":")
        for place, (i, o) in enumerate(product(kinds, kinds)):
            value, low, high = accuracies.get(f"{i}_{of_f}_{o}", (np.nan,) * 3)[:3]
            ax.plot((low, high), (place, place), color=DOT, linewidth=1.6)
            ax.plot(value, place, "o", color=DOT)
            if np.isnan(value):
                ax.text(mean, place, " not trained", va="center", fontsize=8, color=GREY)
        name_rows(ax, [f"{i}, {o}" for i, o in product(kinds, kinds)])
        ax.set_title(f"f: {of_f}")
    axes[0].set_ylabel("kinds of i and o")
    axes[1].set_xlabel("% right")
    return list(axes)


def kind_effects(fig: FigureBase, effects: Mapping[tuple[str, str], Estimate], margin: float) -> list[Axes]:
    """Draw the effects of each gate's kinds in points: its own interval thick, thin the ones that all hold together.

    Effects nearer to zero than `margin` lie in the shaded band.
    """
    axes = fig.subplots(1, 3, sharex=True, sharey=True)
    for ax, gate in zip(axes, "ifo", strict=True):
        ax.axvspan(-margin, margin, color="#eeeeee", zorder=0)
        ax.axvline(0, color=GREY, linewidth=0.8)
        for place, (kind, colour) in enumerate(KIND_COLOURS.items()):
            found = effects[gate, kind]
            ax.plot(found.at(simultaneous(len(effects)))[1:], (place, place), color=colour, linewidth=1)
            ax.plot(found[1:], (place, place), color=colour, linewidth=4, alpha=0.6)
            ax.plot(found.value, place, "o", color=colour, markersize=5)
        name_rows(ax, list(KIND_COLOURS))
        ax.set_title(gate)
    axes[1].set_xlabel("points above the mean of all rows")
    return list(axes)
