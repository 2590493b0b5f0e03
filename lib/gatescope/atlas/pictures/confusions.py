"""Draw confusion matrices under the mouse: of one cell, or of all together, as the reader chooses."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int

TOGETHER = "all together"


def hover_confusions(
    counts: Mapping[str, Int[np.ndarray, "classes classes"]], names: Sequence[str], title: str
) -> go.Figure:
    """Draw the answers (column) for clips of each class (row), as parts of the row; a menu chooses whose.

    Under the mouse stand both classes, the part and the number of answers.
    """
    every = {TOGETHER: sum(counts.values()), **counts}
    fig = go.Figure()
    for place, own in enumerate(every.values()):
        parts = own / np.maximum(own.sum(1, keepdims=True), 1)
        fig.add_heatmap(
            z=parts.round(3).tolist(),
            x=list(names),
            y=list(names),
            customdata=own.tolist(),
            hovertemplate="%{y}<br>taken for %{x}: %{z:.1%}, %{customdata} answers<extra></extra>",
            colorscale="Viridis",
            zmin=0,
            zmax=1,
            showscale=False,
            visible=place == 0,
        )
    choices = [
        {"label": name, "method": "update", "args": [{"visible": [name == other for other in every]}]} for name in every
    ]
    fig.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0.01},
        template="none",
        height=280 + 17 * len(names),
        margin={"l": 190, "r": 20, "t": 100, "b": 180},
        updatemenus=[{"buttons": choices, "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom"}],
    )
    fig.update_xaxes(tickangle=-60, tickfont={"size": 10}, dtick=1)
    fig.update_yaxes(autorange="reversed", tickfont={"size": 10}, dtick=1)
    return fig
