"""The page of the circuit: its view, the numbers that it solves, and its charts."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
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

__all__ = ["CLOSED_FORM", "CircuitRun", "CircuitView", "circuit_charts", "circuit_code", "run_circuit"]

_TWO_SLOTS = Need("a circuit of two angles", lambda view: CIRCUITS[view.circuit].build().num_angles > 1)
_THETA_MAX = Need("mapping='tanh'", lambda view: "theta_max" in MAPPINGS[view.mapping].parameters)
_POINTS = 201
#: Who gives the numbers of this page.
CLOSED_FORM = "closed form of the circuit, exact"


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
    # The gap that is shown is always on the axis.
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
    # On the nearest point of the grid, so that both panels have one column of gaps.
    at = int(np.abs(gaps - run.view.gap).argmin())
    here = np.full(len(gaps), np.nan)
    here[at] = run.p
    columns = {"gap": gaps, "p": run.probability.numpy(), "here": here}
    drawn = [Line("p", "P(1)", COLOURS["purple"])]
    if run.solved:
        tangent = run.view.p0 + run.view.slope * gaps
        # It would stretch the axis beyond the probabilities.
        tangent[(tangent < 0) | (tangent > 1)] = np.nan
        columns["tangent"] = tangent
        drawn.append(Line("tangent", "target at gap 0", COLOURS["grey"], dash=True))
    ends = (float(gaps[0]), float(gaps[-1]))
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
        x_domain=ends,
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
        x_domain=ends,
    )
    return [response, angle]


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
