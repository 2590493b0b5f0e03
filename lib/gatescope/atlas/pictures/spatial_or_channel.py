"""Draw gates: their values, the parts of their variance, and the effect of replacing them."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage
from plotly.subplots import make_subplots

from gatescope.measures.estimates import Estimate, simultaneous
from gatescope.measures.gate_kinds import ROWS
from gatescope.pictures.intervals import Colours, Interval, Looks, interval_rows, name_rows
from gatescope.pictures.plots import matrix

GREY = "#777777"
# Parts that a pooled gate can have are blue, those that need a map are orange.
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


def hover_channels(panels: Mapping[tuple[str, str], Float[np.ndarray, "channel 4"]], colours: Colours) -> go.Figure:
    """Draw the same by (cell, gate) with each channel's number, mean, spread and share under the mouse."""
    cells, gates = (list(dict.fromkeys(names)) for names in zip(*panels, strict=True))
    fig = make_subplots(len(cells), len(gates), subplot_titles=gates, shared_yaxes=True, row_titles=cells)
    for (cell, gate), channels in panels.items():
        order = channels[:, 0].argsort()
        mean, low, high, share = channels[order].round(4).T
        fig.add_scatter(
            x=np.arange(len(order)),
            y=mean,
            error_y={"type": "data", "symmetric": False, "array": high - mean, "arrayminus": mean - low, "width": 0},
            customdata=np.stack([order, low, high, 100 * share], axis=1),
            hovertemplate="channel %{customdata[0]}: mean %{y:.2f}, 90 % within %{customdata[1]:.2f} and "
            "%{customdata[2]:.2f}<br>%{customdata[3]:.0f} % of its variance over positions<extra></extra>",
            mode="markers",
            marker={"color": colours[cell], "size": 5},
            row=cells.index(cell) + 1,
            col=gates.index(gate) + 1,
        )
    title = {"text": "Gates channel by channel, to hover over", "font": {"size": 14}}
    margin = {"l": 50, "r": 40, "t": 80, "b": 30}
    fig.update_layout(title=title, template="none", showlegend=False, height=240 * len(cells) + 100, margin=margin)
    fig.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    fig.update_yaxes(range=[0, 1])
    return fig


def replacement_panels(
    fig: FigureBase,
    rows: Sequence[str],
    replacements: Sequence[str],
    found: Mapping[tuple[str, str, str], Interval],
    looks: Looks,
    xlabel: str,
) -> list[Axes]:
    """Draw found[cell, gate, replacement]: a panel for each replacement, a row for each gate, its cells within."""
    axes = fig.subplots(2, -(-len(replacements) // 2), sharex=True, sharey=True, squeeze=False)
    handles: dict[str, Artist] = {}
    for place, ax in enumerate(axes.flat[len(replacements) :], len(replacements)):
        ax.set_axis_off()
        axes.flat[place - axes.shape[1]].tick_params(labelbottom=True)
    for ax, name in zip(axes.flat, replacements, strict=False):
        shown = {row: {cell: each for (cell, *at), each in found.items() if at == [row, name]} for row in rows}
        ax.axvline(0, color=GREY, linewidth=0.8)
        interval_rows(ax, shown, looks)
        handles |= {text: handle for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
        ax.set_title(name)
    axes[-1, axes.shape[1] // 2].set_xlabel(xlabel)  # once: it is wider than a panel
    cells = [cell for cell in looks if cell in handles]
    fig.legend([handles[cell] for cell in cells], cells, loc="outside lower center", ncols=len(looks))
    return list(axes.flat)[: len(replacements)]


def change_by_class(
    ax: Axes, changes: Float[np.ndarray, "classes columns"], names: Sequence[str], columns: Sequence[str], reach: float
) -> AxesImage:
    """Draw each class's loss (red) or gain (blue), in points up to `reach`."""
    shown = matrix(ax, changes, names, columns, cmap="RdBu", vmin=-reach, vmax=reach)
    ax.tick_params(labelsize=7)
    ax.tick_params(axis="x", rotation=90)
    return shown


def tiles_of_rows(fig: FigureBase, accuracies: Mapping[str, Interval], limits: tuple[float, float]) -> list[Axes]:
    """Draw the accuracy of 27 rows as three squares, one for each kind of f: down the kind of i, across that of o.

    Accuracies, 0 to 1, are written in percent with their interval; `limits` are those of the colours.
    """
    kinds = list(dict.fromkeys(kind for row in ROWS.values() for kind in row))
    axes = fig.subplots(1, 3, sharey=True)
    for ax, of_f in zip(axes, kinds, strict=True):
        found = np.array([[accuracies.get(f"{i}_{of_f}_{o}", (np.nan,) * 3) for o in kinds] for i in kinds])
        matrix(ax, found[..., 0], kinds, kinds, vmin=limits[0], vmax=limits[1], aspect="equal")
        for (row, column), value in np.ndenumerate(found[..., 0]):
            if np.isnan(value):
                ax.text(column, row, "not\ntrained", ha="center", va="center", fontsize=7, color=GREY)
                continue
            low, high = 100 * found[row, column, 1:]
            colour = "black" if value > sum(limits) / 2 else "white"
            ax.text(column, row - 0.1, f"{100 * value:.1f}", ha="center", va="center", color=colour)
            ax.text(column, row + 0.22, f"{low:.0f} to {high:.0f}", ha="center", va="center", fontsize=7, color=colour)
        ax.set(title=f"f: {of_f}", xlabel="o")
    axes[0].set_ylabel("i")
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
