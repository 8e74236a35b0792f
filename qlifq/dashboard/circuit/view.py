"""The page of the circuit: its view, the numbers that it solves, and its charts."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq.calibration import solve
from qlifq.circuits import CIRCUITS, SpikeCircuit, bloch
from qlifq.dashboard.charts import COLOURS, Chart, Line, lines
from qlifq.dashboard.controls import control
from qlifq.dashboard.view import View
from qlifq.neurons import MAPPINGS
from qlifq.neurons.mapping import THETA_MAX
from qlifq.neurons.parameters import Need

__all__ = ["CLOSED_FORM", "CircuitRun", "CircuitView", "circuit_charts", "circuit_code", "run_circuit", "sphere"]

_TWO_SLOTS = Need("a circuit of two angles", lambda view: CIRCUITS[view.circuit].build().num_angles > 1)  # type: ignore[attr-defined]
_THETA_MAX = Need("mapping='tanh'", lambda view: "theta_max" in MAPPINGS[view.mapping].parameters)
_POINTS = 201
#: Who gives the numbers of this page.
CLOSED_FORM = "closed form of the circuit, exact"
#: The viewpoint of the sphere, radians.
_AZIMUTH, _ELEVATION = math.radians(-55), math.radians(20)


@dataclass(frozen=True, kw_only=True)
class CircuitView(View):
    """What the page of the circuit shows."""

    circuit: str = control(
        "RYSpike", "choice", "circuit", "the circuit that runs on the qubit", options=tuple(CIRCUITS), label="Circuit"
    )
    second: float = control(
        0.5,
        "real",
        "circuit",
        "second angle, radians",
        need=_TWO_SLOTS,
        at_least=-math.pi,
        at_most=math.pi,
        label="Second angle (radians)",
    )
    mapping: str = control(
        "sigmoid", "choice", "response", "from the gap to the first angle", options=tuple(MAPPINGS), label="Mapping"
    )
    p0: float = control(
        0.3, "real", "response", "target P(1) at the threshold, gap 0", above=0.0, below=1.0, label="Target P(1) at gap 0"
    )
    slope: float = control(
        1.5, "real", "response", "target slope dP(1)/dΔ there", above=0.0, label="Target slope at gap 0 (per unit of gap)"
    )
    leak: float = control(
        0.0, "real", "response", "quantum_leak of the layer, taken off q_bias", label="Quantum leak (radians)"
    )
    theta_max: float = control(
        THETA_MAX,
        "real",
        "response",
        "span of the tanh mapping, radians",
        need=_THETA_MAX,
        above=0.0,
        at_most=math.pi,
        label="Span θ_max (radians)",
    )
    gap: float = control(
        0.25, "real", "response", "gap Δ = V − threshold whose angle and probability are shown", label="Gap Δ (dimensionless)"
    )


class CircuitRun(NamedTuple):
    """A view that was worked out.

    Args:
        view: the view.
        circuit: its circuit.
        q_scale: the mapping's slope that gives the target response.
        q_bias: same shape.
        gaps: Δ, `(points,)` float64.
        angle: θ there.
        probability: P(1) there, of the circuit.
        at: the angles at the gap that is shown, `(num_angles,)`.
        path: the Bloch vector as the gates turn it, `(points, 3)`, from |0⟩.
        p: P(1) at its end.
    """

    view: CircuitView
    circuit: SpikeCircuit
    q_scale: float
    q_bias: float
    gaps: Tensor
    angle: Tensor
    probability: Tensor
    at: Tensor
    path: Tensor
    p: float

    @property
    def solved(self) -> bool:
        """Whether the response has the target probability and slope: they are solved for a circuit of one angle."""
        return self.circuit.num_angles == 1


def run_circuit(view: CircuitView) -> CircuitRun:
    """Solve the mapping and turn the qubit.

    Raises:
        QLIFError: if nothing gives the target response.
    """
    circuit = CIRCUITS[view.circuit].build()
    mapping = MAPPINGS[view.mapping]
    q_scale, q_bias = solve(view.mapping, view.p0, view.slope, quantum_leak=view.leak, **mapping.own(view))
    reach = max(1.0, 1.1 * abs(view.gap))
    gaps = torch.linspace(-reach, reach, _POINTS, dtype=torch.float64)
    offset = torch.tensor(q_bias - view.leak, dtype=torch.float64)

    def angles(gap: Tensor) -> Tensor:
        theta = mapping.angle(gap, q_scale, offset, view.theta_max)
        return torch.stack([theta, *[torch.full_like(theta, view.second)] * (circuit.num_angles - 1)], dim=-1)

    at = angles(torch.tensor(view.gap, dtype=torch.float64))
    everywhere = angles(gaps)
    return CircuitRun(
        view,
        circuit,
        q_scale,
        q_bias,
        gaps,
        everywhere[:, 0],
        circuit.probability(everywhere),
        at,
        _path(circuit, at),
        float(circuit.probability(at)),
    )


def _path(circuit: SpikeCircuit, at: Tensor) -> Tensor:
    """The Bloch vector while one gate after the other turns it."""
    shares = torch.linspace(0.0, 1.0, 41, dtype=torch.float64)
    parts = [torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)]
    for turned in range(len(circuit.gates)):
        # The slots are numbered as the gates that hold them.
        angles = torch.stack(
            [at[k] * (shares if k == turned else torch.full_like(shares, float(k < turned))) for k in range(len(at))], dim=-1
        )
        x, y, z = (
            torch.as_tensor(part, dtype=torch.float64).expand(len(shares)) for part in bloch.vector(circuit.gates, angles)
        )
        parts.append(torch.stack([x, y, z], dim=-1)[1:])
    return torch.cat(parts)


def circuit_charts(run: CircuitRun) -> list[Chart]:
    """The response with its target, and the angle."""
    gaps = run.gaps.numpy()
    at = int(np.abs(gaps - run.view.gap).argmin())
    here = np.full(len(gaps), np.nan)
    here[at] = run.p
    columns = {"gap": gaps, "p": run.probability.numpy(), "here": here}
    drawn = [Line("p", "P(1)", COLOURS["purple"])]
    if run.solved:
        tangent = run.view.p0 + run.view.slope * gaps
        tangent[(tangent < 0) | (tangent > 1)] = np.nan
        columns["tangent"] = tangent
        drawn.append(Line("tangent", "target at gap 0", COLOURS["grey"], dash=True))
    over = ("gap", "gap Δ = V − threshold (dimensionless)")
    response = lines(
        "response",
        "Response of the neuron",
        columns,
        drawn,
        y_title="P(1)",
        y_domain=(0.0, 1.0),
        marks=[Line("here", "at the gap", COLOURS["red"])],
        height=210,
        across=over,
    )
    there = np.full(len(gaps), np.nan)
    there[at] = float(run.at[0])
    angle = lines(
        "angle",
        "Angle of the first gate",
        {"gap": gaps, "angle": run.angle.numpy(), "there": there},
        [Line("angle", "θ0", COLOURS["blue"])],
        y_title="θ0 (radians)",
        marks=[Line("there", "at the gap", COLOURS["red"])],
        height=150,
        across=over,
    )
    return [response, angle]


def sphere(run: CircuitRun) -> Chart:
    """The Bloch sphere seen from the side: the way of the vector from |0⟩, and where it ends."""
    turn = np.linspace(0.0, 2 * np.pi, 73)
    flat = np.zeros_like(turn)
    parts: dict[str, npt.NDArray[np.float64]] = {
        "equator": np.stack([np.cos(turn), np.sin(turn), flat], axis=-1),
        "x–z": np.stack([np.sin(turn), flat, np.cos(turn)], axis=-1),
        "way": run.path.numpy(),
        "vector": np.stack([np.zeros(3), run.path[-1].numpy()]),
    }
    rows = {name: _projected(points) for name, points in parts.items()}
    rows["outline"] = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    points = np.concatenate(list(rows.values()))
    names = np.concatenate([np.full(len(part), name) for name, part in rows.items()])
    columns = {"u": points[:, 0], "w": points[:, 1], "part": names, "order": np.arange(len(points))}
    hidden = {"axis": None, "scale": {"domain": [-1.35, 1.35]}}
    base = {
        "x": {"field": "u", "type": "quantitative", **hidden},
        "y": {"field": "w", "type": "quantitative", **hidden},
    }
    styles = {"way": (COLOURS["orange"], 2.5), "vector": (COLOURS["red"], 3.0)}
    layers: list[dict[str, object]] = []
    for name in rows:
        colour, width = styles.get(name, (COLOURS["grey"], 0.8))
        layers.append(
            {
                "transform": [{"filter": {"field": "part", "equal": name}}],
                "mark": {"type": "line", "strokeWidth": width, "color": colour},
                "encoding": {**base, "order": {"field": "order", "type": "quantitative"}},
            }
        )
    for text, place in {"|0⟩": (0, 0, 1.18), "|1⟩": (0, 0, -1.18), "x": (1.2, 0, 0), "y": (0, 1.2, 0)}.items():
        u, w = _projected(np.array([place], dtype=np.float64))[0].tolist()
        layers.append(
            {
                "data": {"values": [{"u": u, "w": w}]},
                "mark": {"type": "text", "text": text, "fontSize": 15, "color": COLOURS["grey"]},
                "encoding": base,
            }
        )
    spec = {"height": 320, "width": 320, "layer": layers}

    def sketch(axes: object) -> None:
        for name, part in rows.items():
            axes.plot(part[:, 0], part[:, 1], color=styles.get(name, (COLOURS["grey"], 0.8))[0])  # type: ignore[attr-defined]
        axes.set_aspect("equal")  # type: ignore[attr-defined]
        axes.set_axis_off()  # type: ignore[attr-defined]

    return Chart("sphere", "Bloch vector (red) and its way from |0⟩ (orange)", columns, spec, sketch)


def _projected(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points `(n, 3)` as they are seen, `(n, 2)`: to the right and upwards."""
    x, y, z = points.T
    right = -math.sin(_AZIMUTH) * x + math.cos(_AZIMUTH) * y
    depth = math.cos(_AZIMUTH) * x + math.sin(_AZIMUTH) * y
    return np.stack([right, math.cos(_ELEVATION) * z - math.sin(_ELEVATION) * depth], axis=-1)


def circuit_code(view: CircuitView) -> str:
    """The lines that give what the page shows, ready to run."""
    own = "".join(f", {name}={value!r}" for name, value in MAPPINGS[view.mapping].own(view).items())
    width = CIRCUITS[view.circuit].build().num_angles
    angles = f"[angle, {view.second!r}]" if width > 1 else "[angle]"
    return (
        "\n".join(
            [
                "import torch",
                "",
                "from qlifq.calibration import solve",
                "from qlifq.circuits import CIRCUITS",
                "from qlifq.neurons import MAPPINGS",
                "",
                f"q_scale, q_bias = solve({view.mapping!r}, {view.p0!r}, {view.slope!r}, quantum_leak={view.leak!r}{own})",
                f"gap, offset = torch.tensor([{view.gap!r}, q_bias - {view.leak!r}], dtype=torch.float64)",
                f"angle = float(MAPPINGS[{view.mapping!r}].angle(gap, q_scale, offset, {view.theta_max!r}))",
                f"circuit = CIRCUITS[{view.circuit!r}].build()",
                f"probability = float(circuit.probability(torch.tensor({angles}, dtype=torch.float64)))",
                'print(circuit.draw(), f"q_scale {q_scale:.6g}, q_bias {q_bias:.6g}, P(1) {probability:.6g}")',
            ]
        )
        + "\n"
    )
