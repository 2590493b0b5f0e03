"""Draw a skeleton that turns under the mouse, with its frames and maps on one slider."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, UInt8
from plotly.subplots import make_subplots

from gatescope.atlas.pictures.pose_machine.skeletons import COLOURS, PARTS, TRUTH, Pose, Poses, strokes
from gatescope.pictures.packing import jpeg
from rendered_people.skeleton import JOINT_NAMES

PLAY_MS = 400  # per frame: slow enough to see at any frame rate of the clip
AT_ONCE = {"mode": "immediate", "transition": {"duration": 0}}
# Positions of the eye in the scene's axes: across, away and up.
EYES = {
    "from the camera": (0.0, -2.2, 0.0),
    "from its right": (2.2, 0.0, 0.0),
    "from above": (0.0, -0.01, 2.2),
    "turned": (1.1, -1.75, 0.55),
}
HEIGHT = 2.1  # of the scene, in its own units, so that the body fills it
AXES = ("x: right", "y: down", "z: away")  # the camera's
SYMBOLS = ("circle", "square", "diamond")  # of joints, by skeleton, from the last one back
ARROW_MM = 250


def turning_skeleton(
    truth: Poses,
    predicted: Mapping[str, Poses],
    *,
    frames: UInt8[np.ndarray, "time height width 3"],
    maps: Mapping[str, Float[np.ndarray, "time rows columns"]],
    times: Sequence[str],
    title: str,
) -> go.Figure:
    """Draw the true and `predicted` poses in 3-D beside the frame and the `maps`, at each of the `times`.

    A name in the legend shows or hides its skeleton; at first the truth and the last prediction are shown. Hovering a
    joint tells its distance from the true one. Poses are in mm from the pelvis, in camera axes, rounded to mm. It
    needs scripts and WebGL: show a static picture beside it.
    """
    rows = 1 + len(maps)
    specs = [[{}, {"type": "scene", "rowspan": rows} if row == 0 else None] for row in range(rows)]
    place = {"column_widths": [0.22, 0.78], "horizontal_spacing": 0.02, "vertical_spacing": 0.28 / rows}
    fig = make_subplots(rows, 2, specs=specs, subplot_titles=["the frame", "", *maps], **place)
    for row, (trace, looks) in enumerate(zip(_pictures(0, frames, maps), _looks_of_pictures(maps), strict=True), 1):
        fig.add_trace(trace.update(looks), row=row, col=1)
        fig.update_yaxes(scaleanchor=f"x{row if row > 1 else ''}", row=row, col=1)
    poses = {"truth": truth, **predicted}
    last = len(predicted)
    for number, (name, own) in enumerate(poses.items()):
        shown = number in (0, last)
        for trace, looks in zip(_skeleton(own[0], truth[0]), _looks_of_skeleton(name, last - number), strict=True):
            fig.add_trace(trace.update(looks, visible=shown or "legendonly"), row=1, col=2)
    moving = len(fig.data)
    fig.add_trace(_camera_axes(truth), row=1, col=2)
    for t, when in enumerate(times):
        skeletons = [trace for own in poses.values() for trace in _skeleton(own[t], truth[t])]
        fig.frames += (go.Frame(name=when, data=_pictures(t, frames, maps) + skeletons, traces=list(range(moving))),)
    fig.update_xaxes(visible=False, constrain="domain")
    fig.update_yaxes(visible=False, autorange="reversed")
    fig.update_annotations(font_size=11)
    fig.update_layout(_layout(list(poses.values()), times, title))
    return fig


def _pictures(t: int, frames: np.ndarray, maps: Mapping[str, np.ndarray]) -> list[Any]:
    """Return a frame and its maps as traces."""
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg(frames[t])).decode()}"
    return [go.Image(source=source), *(go.Heatmap(z=own[t].round(3).tolist()) for own in maps.values())]


def _looks_of_pictures(maps: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return the properties of these traces that stay over time."""
    same = {"zmin": 0, "showscale": False, "colorscale": "Viridis", "hovertemplate": "%{z:.3f}<extra></extra>"}
    return [{"hoverinfo": "skip"}, *(same | {"zmax": float(own.max()) or 1.0} for own in maps.values())]


def _skeleton(pose: Pose, truth: Pose) -> list[go.Scatter3d]:
    """Return a line for each of PARTS, and the joints with their distances from the true ones."""
    off = np.linalg.norm(pose - truth, axis=1).round().astype(int).tolist()
    lines = [go.Scatter3d(_points(strokes(pose, part))) for part in PARTS]
    return [*lines, go.Scatter3d(_points(pose), customdata=off)]


def _looks_of_skeleton(name: str, from_last: int) -> list[dict[str, Any]]:
    """Return the properties of these traces that stay over time."""
    truth = name == "truth"
    looks = {"name": name, "legendgroup": name, "opacity": 0.6 if truth else 1.0}
    line = {"mode": "lines", "showlegend": False, "hoverinfo": "skip"}
    width = 10 if truth else 6
    marker = {"size": 3.5, "symbol": SYMBOLS[from_last % len(SYMBOLS)], "color": TRUTH if truth else "#333333"}
    hover = "%{text}: %{customdata} mm off<extra>%{fullData.name}</extra>"
    return [
        *(looks | line | {"line": {"color": TRUTH if truth else own, "width": width}} for own in COLOURS.values()),
        looks | {"mode": "markers", "text": JOINT_NAMES, "hovertemplate": hover, "marker": marker},
    ]


def _points(camera: Float[np.ndarray, "points 3"]) -> dict[str, list[int | None]]:
    """Return points in the scene's axes, whole mm: the camera's z points to the back, its y down."""
    across, away, up = (camera[:, axis] * sign for axis, sign in ((0, 1), (2, 1), (1, -1)))
    whole = ([None if np.isnan(value) else round(float(value)) for value in axis] for axis in (across, away, up))
    return dict(zip("xyz", whole, strict=True))


def _camera_axes(truth: Poses) -> go.Scatter3d:
    """Return the camera's three directions as named lines, away from the limbs."""
    corner = np.array([truth[..., 0].min(), truth[..., 1].max(), truth[..., 2].min()]) - (ARROW_MM, 0, ARROW_MM)
    ends = corner + ARROW_MM * np.eye(3)
    lines = np.stack([np.broadcast_to(corner, ends.shape), ends, np.full_like(ends, np.nan)], axis=1)
    looks = {"line": {"color": "#555555", "width": 3}, "textfont": {"size": 10, "color": "#555555"}}
    looks |= {"mode": "lines+text", "name": "the camera's axes", "hoverinfo": "skip"}
    return go.Scatter3d(_points(lines.reshape(-1, 3)), text=[text for name in AXES for text in ("", name, "")], **looks)


def _layout(poses: Sequence[Poses], times: Sequence[str], title: str) -> dict[str, Any]:
    every = np.concatenate([pose.reshape(-1, 3) for pose in poses])[:, [0, 2, 1]] * (1, 1, -1)
    low, high = every.min(0) - 1.2 * ARROW_MM, every.max(0) + 0.4 * ARROW_MM
    names = dict(zip("xyz", ("right, mm", "away, mm", "up, mm"), strict=True))
    axes = {
        f"{axis}axis": {"title": {"text": name, "font": {"size": 11}}, "range": [round(bottom), round(top)]}
        | {"dtick": 500, "tickfont": {"size": 10}}
        for (axis, name), bottom, top in zip(names.items(), low.tolist(), high.tolist(), strict=True)
    }
    ratio = dict(zip("xyz", (HEIGHT * (high - low) / (high - low).max()).round(3).tolist(), strict=True))
    key = ", ".join(f'<span style="color:{colour}">{part}</span>' for part, colour in COLOURS.items())
    scene = axes | {"aspectmode": "manual", "aspectratio": ratio, "camera": _camera("turned")}
    at_once = AT_ONCE | {"frame": {"duration": 0, "redraw": True}}
    steps = [{"label": when, "method": "animate", "args": [[when], at_once]} for when in times]
    play = AT_ONCE | {"frame": {"duration": PLAY_MS, "redraw": True}, "fromcurrent": True}
    ways = [{"label": name, "method": "relayout", "args": [{"scene.camera": _camera(name)}]} for name in EYES]
    orders = {"play": [None, play], "stop": [[None], at_once]}
    moves = [{"label": label, "method": "animate", "args": args} for label, args in orders.items()]
    row = {"type": "buttons", "direction": "left", "showactive": False, "xanchor": "left", "font": {"size": 11}}
    return {
        "title": {"text": f"{title}<br><sup>{key}</sup>", "font": {"size": 14}, "x": 0.01, "y": 0.97},
        "template": "none",
        "height": 680,
        "margin": {"l": 10, "r": 10, "t": 110, "b": 90},
        "uirevision": "kept",  # keep the view and hidden skeletons over time
        "legend": {"x": 1, "xanchor": "right", "y": 1, "font": {"size": 11}}
        | {"itemsizing": "constant", "itemdoubleclick": False},
        "scene": scene,
        "sliders": [{"active": 0, "steps": steps, "currentvalue": {"prefix": "time: "}, "x": 0.18, "len": 0.82}],
        "updatemenus": [
            row | {"x": 0.0, "y": -0.04, "yanchor": "top", "buttons": moves},
            row | {"x": 0.24, "y": 1.07, "yanchor": "middle", "buttons": ways},
        ],
    }


def _camera(name: str) -> dict[str, Any]:
    # Without perspective, so that a mm has the same length everywhere, as in the static pictures.
    return {"eye": dict(zip("xyz", EYES[name], strict=True)), "projection": {"type": "orthographic"}}
