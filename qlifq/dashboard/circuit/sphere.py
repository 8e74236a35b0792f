"""The Bloch sphere as a chart: its axes, the way of the vector from |0⟩, and where it ends."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qlifq.dashboard.charts import COLOURS, Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["sphere"]

Points = npt.NDArray[np.float64]

#: The viewpoint, radians: x and y both point to the right, so that their ends lie beside the sphere and not in front of it.
_AZIMUTH, _ELEVATION = math.radians(-45), math.radians(20)
#: How long the axes are drawn, in radii, and where their names stand: beyond the outline, which nothing else reaches.
_AXES: dict[str, tuple[tuple[float, float, float], float]] = {
    "x": ((1.45, 0.0, 0.0), 1.12),
    "y": ((0.0, 1.45, 0.0), 1.12),
    "z, |0⟩": ((0.0, 0.0, 1.18), 1.10),
    "|1⟩": ((0.0, 0.0, -1.06), 1.14),
}
_EDGE = 1.45
_SIZE = 330
#: What is drawn, from back to front: colour and width.
_STYLES = {"axis": (COLOURS["grey"], 1.2), "way": (COLOURS["orange"], 2.5), "vector": (COLOURS["red"], 3.0)}
_THIN = (COLOURS["grey"], 0.6)


def sphere(path: Points) -> Chart:
    """The sphere seen from the side.

    Args:
        path: the Bloch vector as the gates turn it, `(points, 3)`, from |0⟩.
    """
    rows = _parts(path)
    points = np.concatenate(list(rows.values()))
    names = np.concatenate([np.full(len(part), name) for name, part in rows.items()])
    columns = {"u": points[:, 0], "w": points[:, 1], "part": names, "order": np.arange(len(points))}
    hidden = {"axis": None, "scale": {"domain": [-_EDGE, _EDGE]}}
    base = {
        "x": {"field": "u", "type": "quantitative", **hidden},
        "y": {"field": "w", "type": "quantitative", **hidden},
    }
    layers: list[dict[str, Any]] = []
    for name in rows:
        colour, width = _style(name)
        layers.append(
            {
                "transform": [{"filter": {"field": "part", "equal": name}}],
                "mark": {"type": "line", "strokeWidth": width, "color": colour},
                # Without an order the browser draws a line from left to right.
                "encoding": {**base, "order": {"field": "order", "type": "quantitative"}},
            }
        )
    u, w = rows["vector"][-1].tolist()
    layers.append(_single({"type": "point", "filled": True, "size": 80, "opacity": 1, "color": COLOURS["red"]}, u, w, base))
    for name, (u, w) in _labels().items():
        layers.append(_single({"type": "text", "text": name, "fontSize": 15, "color": COLOURS["grey"]}, u, w, base))

    def sketch(axes: "Axes") -> None:
        for name, part in rows.items():
            colour, width = _style(name)
            axes.plot(part[:, 0], part[:, 1], color=colour, linewidth=width)
        axes.plot(*rows["vector"][-1], "o", color=COLOURS["red"])
        for name, (u, w) in _labels().items():
            axes.text(u, w, name, ha="center", va="center")
        axes.set(aspect="equal", xlim=(-_EDGE, _EDGE), ylim=(-_EDGE, _EDGE))
        axes.set_axis_off()

    title = "Bloch vector (red) and its way from |0⟩ (orange curve)"
    return Chart("sphere", title, columns, {"height": _SIZE, "width": _SIZE, "layer": layers}, sketch)


def _parts(path: Points) -> dict[str, Points]:
    """What is drawn, by name, as it is seen: `(points, 2)` each."""
    turn = np.linspace(0.0, 2 * np.pi, 73)
    flat = np.zeros_like(turn)
    solid = {
        "equator": np.stack([np.cos(turn), np.sin(turn), flat], axis=-1),
        "x–z": np.stack([np.sin(turn), flat, np.cos(turn)], axis=-1),
        # One line through all ends, by way of the middle.
        "axis": np.array([point for end, _ in _AXES.values() for point in ((0.0, 0.0, 0.0), end, (0.0, 0.0, 0.0))]),
        "way": path,
        "vector": np.stack([np.zeros(3), path[-1]]),
    }
    return {"outline": np.stack([np.cos(turn), np.sin(turn)], axis=-1), **{name: _seen(part) for name, part in solid.items()}}


def _labels() -> dict[str, tuple[float, float]]:
    """Where the names of the axes stand: beyond their ends."""
    found = {}
    for name, (end, beyond) in _AXES.items():
        u, w = (beyond * _seen(np.array([end]))[0]).tolist()
        found[name] = (u, w)
    return found


def _style(name: str) -> tuple[str, float]:
    return _STYLES.get(name, _THIN)


def _single(mark: dict[str, Any], u: float, w: float, base: dict[str, Any]) -> dict[str, Any]:
    """A layer of one mark."""
    return {"data": {"values": [{"u": u, "w": w}]}, "mark": mark, "encoding": base}


def _seen(points: Points) -> Points:
    """Points `(n, 3)` as they are seen, `(n, 2)`: to the right and upwards."""
    x, y, z = points.T
    right = -math.sin(_AZIMUTH) * x + math.cos(_AZIMUTH) * y
    depth = math.cos(_AZIMUTH) * x + math.sin(_AZIMUTH) * y
    return np.stack([right, math.cos(_ELEVATION) * z - math.sin(_ELEVATION) * depth], axis=-1)
