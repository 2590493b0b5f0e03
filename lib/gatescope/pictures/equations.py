"""Draw the equations of the cells with maps in the place of their symbols."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from gatescope.pictures.plots import bare, film_strip

Map = Float[np.ndarray, "height width"]  # 1 x 1 where one value holds for all positions
Maps = Float[np.ndarray, "channel _ _"]
Photo = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Scale:
    """Colour scale that all maps of one quantity share."""

    label: str
    low: float
    high: float
    colours: str

    @classmethod
    def signed(cls, label: str, *maps: np.ndarray) -> "Scale":
        """Return a diverging scale, white at 0, up to the largest absolute value in the maps."""
        reach = max(float(np.abs(values).max()) for values in maps) or 1.0
        return cls(label, -reach, reach, "RdBu_r")

    @classmethod
    def gate(cls, label: str) -> "Scale":
        """Return a scale from 0 (closed) to 1 (open)."""
        return cls(label, 0.0, 1.0, "viridis")


@dataclass(frozen=True)
class Term:
    """One symbol of an equation: its map, and the signs before and after it."""

    symbol: str
    value: Map | Photo
    scale: Scale | None  # None for a photo
    before: str = ""
    after: str = ""


def picture(ax: Axes, value: Map, scale: Scale) -> AxesImage:
    """Draw a map in its scale's colours; one value for all positions becomes a tile with its number."""
    shown = ax.imshow(value, cmap=scale.colours, vmin=scale.low, vmax=scale.high)
    if value.size == 1:
        red, green, blue, _ = shown.to_rgba(value)[0, 0]
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # as bright as it looks, ITU-R BT.601
        number = f"{value.item():.2f}".replace("-", "\N{MINUS SIGN}")
        ax.text(0, 0, number, color="white" if dark else "black", ha="center", va="center")
    bare(ax)
    return shown


def picture_equations(fig: Figure, rows: Sequence[Sequence[Term]]) -> list[Axes]:
    """Draw rows of terms as pictures with signs between them, and below a colour bar for each scale."""
    fig.set_layout_engine("none")  # which would make room for the signs, and space the columns unevenly
    place = {"left": 0.01, "right": 0.94, "wspace": 0.65, "hspace": 0.35, "top": 0.91, "bottom": 0.14}
    axes = fig.add_gridspec(len(rows), max(map(len, rows)), **place).subplots(squeeze=False)
    shown = {}
    for line, terms in zip(axes, rows, strict=True):
        for ax, term in zip(line, terms, strict=False):
            if term.scale is None:
                film_strip(ax, term.value[None])
            else:
                shown[term.scale] = picture(ax, term.value, term.scale)
            ax.set_title(term.symbol, loc="center", fontsize=9, pad=3)
            for sign, x, side in ((term.before, -0.04, "right"), (term.after, 1.04, "left")):
                ax.text(x, 0.5, sign, transform=ax.transAxes, ha=side, va="center", fontsize=11)
        for ax in line[len(terms) :]:
            ax.set_axis_off()
    bars = fig.add_gridspec(1, len(shown), left=0.03, right=0.97, top=0.075, bottom=0.06, wspace=0.2)
    for ax, (scale, image) in zip(bars.subplots(squeeze=False)[0], shown.items(), strict=True):
        _colour_bar(ax, image, scale)
    return list(axes.flat)


def picture_table(fig: Figure, rows: Mapping[str, Sequence[Term | None]]) -> list[Axes]:
    """Draw labelled rows of pictures, columns headed by their symbols, and a colour bar below each scale's columns."""
    fig.set_layout_engine("none")
    place = {"left": 0.1, "right": 0.99, "wspace": 0.08, "hspace": 0.06}
    columns = max(map(len, rows.values()))
    axes = fig.add_gridspec(len(rows), columns, top=0.92, bottom=0.12, **place).subplots(squeeze=False)
    shown, spans = {}, {}
    for line, (label, terms) in zip(axes, rows.items(), strict=True):
        for ax in line:
            bare(ax)
            ax.set_box_aspect(1)  # also where nothing is drawn, so that the labels stand in one line
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for column, term in enumerate(terms):
            if term is not None:
                shown[term.scale] = picture(line[column], term.value, term.scale)
                spans.setdefault(term.scale, []).append(column)
                axes[0, column].set_title(term.symbol, loc="center")
    below = fig.add_gridspec(1, columns, top=0.085, bottom=0.07, **place)
    for scale, image in shown.items():
        span = below[0, min(spans[scale]) : max(spans[scale]) + 1]
        _colour_bar(fig.add_subplot(span), image, scale)
    return list(axes.flat)


def strongest(maps: Maps, count: int) -> list[int]:
    """Return the channels with the largest sums of absolute values, the largest first.

    Fig. 3 of Zhang et al. 2018 picks one channel by this rule, "the largest activation sum".
    """
    return np.abs(maps).sum((1, 2)).argsort(stable=True)[::-1][:count].tolist()


def step_equations(q: Mapping[str, Maps], channel: int, frame: Photo) -> list[list[Term]]:
    """Return the rows of `picture_equations` for one channel of one step of ConvLSTM or (a), pooled gates.

    `q` holds the maps (channel, height, width) of `x`, `h_before`, `c_before`, `i`, `f`, `o`, `g`, `c`, `h`, and for
    each of i, f, o, g the input's and the state's terms before the activation: `x_i`, `h_i` and so on. A gate with
    one value per channel is 1 x 1.
    """
    one = {name: maps[channel] for name, maps in q.items() if name != "x"}
    pooled = one["i"].size == 1
    numbers = dict(zip("ifogch", range(10, 16) if pooled else range(1, 7), strict=True))
    given = Scale.signed("$X_t$", q["x"])
    totals = Scale.signed("before activation", *(one[f"{of}_{name}"] for of in "xh" for name in "ifog"))
    gate = Scale.gate("gates $i_t, f_t, o_t$")
    candidate = Scale.signed("$G_t$", one["g"])
    kept, written = one["f"] * one["c_before"], one["i"] * one["g"]
    memory = Scale.signed("$C$, its parts, $\\tanh C$", one["c_before"], one["c"], kept, written)
    hidden = Scale.signed("$H$", one["h_before"], one["h"])

    def activation(name: str) -> list[Term]:
        letter, squash, scale = ("c", "\\tanh", candidate) if name == "g" else (name, "\\sigma", gate)
        times, bar = ("", "\\bar") if pooled and name != "g" else (" *", "")
        number = f"$)$   ({numbers[name]})"
        return [
            Term(f"${'G' if name == 'g' else name}_t$", one[name], scale),
            Term(f"$W_{{x{letter}}}{times} {bar}{{X}}_t + b_{letter}$", one[f"x_{name}"], totals, f"$={squash}($"),
            Term(f"$W_{{h{letter}}}{times} {bar}{{H}}_{{t-1}}$", one[f"h_{name}"], totals, "$+$", number),
        ]

    return [
        [
            Term("frame", frame, None),
            *(Term(f"$X_t$, channel {n}", q["x"][n], given) for n in strongest(q["x"], 3)),
            Term("$H_{t-1}$", one["h_before"], hidden),
            Term("$C_{t-1}$", one["c_before"], memory),
        ],
        [*activation("i"), *activation("f")],
        [*activation("o"), *activation("g")],
        [
            Term("$C_t$", one["c"], memory),
            Term("$f_t$", one["f"], gate, "$=$"),
            Term("$C_{t-1}$", one["c_before"], memory, "$\\circ$"),
            Term("$i_t$", one["i"], gate, "$+$"),
            Term("$G_t$", one["g"], candidate, "$\\circ$", f"   ({numbers['c']})"),
        ],
        [
            Term("$C_t$", one["c"], memory),
            Term("$f_t \\circ C_{t-1}$", kept, memory, "$=$"),
            Term("$i_t \\circ G_t$", written, memory, "$+$", f"   ({numbers['c']})"),
            Term("$H_t$", one["h"], hidden),
            Term("$o_t$", one["o"], gate, "$=$"),
            Term("$\\tanh C_t$", np.tanh(one["c"]), memory, "$\\circ$", f"   ({numbers['h']})"),
        ],
    ]


def _colour_bar(ax: Axes, image: AxesImage, scale: Scale) -> None:
    ax.figure.colorbar(image, cax=ax, orientation="horizontal")
    ax.set_xlabel(scale.label, fontsize=8)
    ax.tick_params(labelsize=7)
