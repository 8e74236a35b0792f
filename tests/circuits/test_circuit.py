"""A circuit as data, its closed form against density matrices, and its gradient."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qlifq import QLIF
from qlifq.backends.reference import ReferenceBackend
from qlifq.circuits import CIRCUITS, BrandPetruccione, Gate, LeakySpike, NamedCircuit, RYSpike, Slot, SpikeCircuit
from qlifq.cli import main
from qlifq.dashboard.circuit.view import CircuitView, run_circuit
from qlifq.errors import ArgumentError, DtypeError, ShapeError

FINITE = st.floats(-20, 20)


def rotations_and_waits() -> st.SearchStrategy[SpikeCircuit]:
    """Gate lists of up to six gates, with constants, slots that are used twice, and delays."""

    def numbered(drawn: list[tuple[str, float | int]]) -> SpikeCircuit:
        used = sorted({value for _, value in drawn if isinstance(value, int)})
        gates = (
            Gate(name, Slot(used.index(value)))
            if isinstance(value, int)
            else Gate(name, abs(value) * 1e-5 if name == "Delay" else value)
            for name, value in drawn
        )
        return SpikeCircuit("Drawn", tuple(gates))

    gate = st.tuples(st.sampled_from(["RX", "RY", "RZ", "Delay"]), st.one_of(FINITE, st.integers(0, 3)))
    return st.lists(gate, min_size=1, max_size=6).map(numbered)


@given(rotations_and_waits(), st.lists(FINITE, min_size=4, max_size=4))
def test_the_closed_form_of_any_gate_list_is_that_of_density_matrices(circuit: SpikeCircuit, values: list[float]) -> None:
    angles = torch.tensor([[values[: circuit.num_angles]]], dtype=torch.float64).abs()
    truth = ReferenceBackend().run(circuit, angles, shots=None, seed=None).probability
    assert torch.allclose(circuit.probability(angles), truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, math.pi / 2, math.pi, -math.pi, 2 * math.pi, 7.3])
def test_the_library_has_the_formulas_that_it_states(angle: float) -> None:
    theta = torch.tensor([angle], dtype=torch.float64)
    pair = torch.tensor([angle, 0.4], dtype=torch.float64)
    assert RYSpike().probability(theta).item() == pytest.approx(math.sin(angle / 2) ** 2, abs=1e-15)
    assert LeakySpike().probability(pair).item() == pytest.approx(0.5 * (1 - math.cos(angle) * math.cos(0.4)), abs=1e-15)
    assert LeakySpike(0.4).probability(theta).item() == pytest.approx(LeakySpike().probability(pair).item(), abs=1e-15)
    assert BrandPetruccione().probability(pair).item() == pytest.approx(math.sin((angle + 0.4) / 2) ** 2, abs=1e-15)
    # A simulator without noise waits without effect.
    assert BrandPetruccione("delay").probability(pair).item() == pytest.approx(math.sin(angle / 2) ** 2, abs=1e-15)


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_circuit_of_the_library_bears_its_name(name: str) -> None:
    circuit = CIRCUITS[name].build()
    assert circuit.name == name
    assert CIRCUITS[name].formula.startswith("P(1) = ")
    assert circuit == CIRCUITS[name].build()
    assert hash(circuit) == hash(CIRCUITS[name].build())


def test_a_circuit_of_one_s_own_is_one_row_on_every_front(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It goes again with the test: other tests list what qlifq brings.
    monkeypatch.setattr(CIRCUITS, "_rows", dict(CIRCUITS))
    tilted = SpikeCircuit("Tilted", (Gate("RY", Slot(0)), Gate("RX", 0.5)))
    CIRCUITS.register("Tilted", NamedCircuit(lambda: tilted, "P(1) = ½(1 − cos θ0 cos 0.5)"))
    assert main(["circuits", "Tilted"]) == 0
    assert capsys.readouterr().out == "Tilted  |0⟩ ──RY(θ0)──RX(0.5)──M  P(1) = ½(1 − cos θ0 cos 0.5)\n"
    assert run_circuit(replace(CircuitView.of({}), circuit="Tilted")).circuit == tilted
    spikes, _ = QLIF(3, circuit=tilted, decision="expectation")(torch.ones(1, 2, 3))
    assert spikes.min() > (1 - math.cos(0.5)) / 2  # what its second gate alone gives


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0, 3), (4, 1, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("circuit", [RYSpike(), LeakySpike(), BrandPetruccione("delay")], ids=lambda circuit: circuit.draw())
def test_any_batch_shape_and_dtype_comes_back(circuit: SpikeCircuit, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    angles = torch.rand(*shape, circuit.num_angles, dtype=dtype, generator=torch.Generator().manual_seed(1))
    found = circuit.probability(angles)
    assert found.shape == shape
    assert found.dtype == dtype
    exact = circuit.probability(angles.double())
    assert torch.allclose(found.double(), exact, rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-6)


def test_a_circuit_of_constants_alone_has_one_probability() -> None:
    circuit = SpikeCircuit("Fixed", (Gate("RY", 1.0), Gate("RZ", 0.3), Gate("RX", -0.4)))
    assert circuit.num_angles == 0
    found = circuit.probability(torch.empty(2, 3, 0, dtype=torch.float64))
    assert found.shape == (2, 3)
    assert np.ptp(found.numpy()) == 0
    truth = ReferenceBackend().run(circuit, torch.empty(1, 1, 0, dtype=torch.float64), shots=None, seed=None).probability
    assert found[0, 0].item() == pytest.approx(truth.item(), abs=1e-12)


@given(rotations_and_waits(), st.lists(FINITE, min_size=4, max_size=4))
def test_the_closed_form_has_its_own_gradient(circuit: SpikeCircuit, values: list[float]) -> None:
    angles = torch.tensor([values[: circuit.num_angles]], dtype=torch.float64, requires_grad=True)
    if circuit.probability(angles).requires_grad:
        assert torch.autograd.gradcheck(circuit.probability, (angles,))


@pytest.mark.parametrize("angle", [0.0, math.pi, -math.pi, 2 * math.pi])
def test_the_gradient_is_right_where_p_is_0_or_1(angle: float) -> None:
    for circuit in (RYSpike(), LeakySpike(0.0), SpikeCircuit("Pair", (Gate("RX", Slot(0)), Gate("RX", Slot(0))))):
        angles = torch.tensor([[angle]], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(circuit.probability, (angles,))


def test_rotations_of_one_axis_add_up() -> None:
    first, second = torch.tensor([0.7], dtype=torch.float64), torch.tensor([1.1], dtype=torch.float64)
    both = SpikeCircuit("Both", (Gate("RY", Slot(0)), Gate("RY", Slot(1)))).probability(torch.cat((first, second)))
    assert both.item() == pytest.approx(RYSpike().probability(first + second).item(), abs=1e-15)


@pytest.mark.parametrize(
    ("circuit", "num_angles", "shiftable", "is_sinusoidal"),
    [
        (RYSpike(), 1, True, True),
        (LeakySpike(), 2, True, False),
        (LeakySpike(0.2), 1, True, True),
        (BrandPetruccione(), 2, True, False),
        (BrandPetruccione("delay"), 2, False, False),
        (SpikeCircuit("Twice", (Gate("RY", Slot(0)), Gate("RX", Slot(0)))), 1, False, False),
        (SpikeCircuit("Wait", (Gate("RX", 1.0), Gate("Delay", Slot(0)))), 1, False, False),
        (SpikeCircuit("Waits", (Gate("RX", Slot(0)), Gate("Delay", 1e-6))), 1, True, True),
    ],
    ids=lambda value: value.draw() if isinstance(value, SpikeCircuit) else "",
)
def test_a_circuit_knows_its_slots(circuit: SpikeCircuit, num_angles: int, shiftable: bool, is_sinusoidal: bool) -> None:
    assert (circuit.num_angles, circuit.shiftable, circuit.is_sinusoidal) == (num_angles, shiftable, is_sinusoidal)


def test_circuits_are_frozen_and_equal_by_content() -> None:
    assert SpikeCircuit("A", [Gate("RY", Slot(0))]) == SpikeCircuit("A", (Gate("RY", Slot(0)),))  # type: ignore[arg-type]
    assert SpikeCircuit("A", (Gate("RY", Slot(0)),)) != SpikeCircuit("A", (Gate("RX", Slot(0)),))
    with pytest.raises(FrozenInstanceError):
        RYSpike().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("two words", (Gate("RY", 1.0),)), ArgumentError, "`name` must be a Python identifier, but is 'two words'"),
        ((7, (Gate("RY", 1.0),)), ArgumentError, "`name` must be a Python identifier, but is 7"),
        (("A", ()), ArgumentError, "`gates` must hold at least one gate, but is empty"),
        (("A", ("RY",)), DtypeError, "`gates` must hold gates, but holds 'RY'"),
        (("A", (Gate("RY", Slot(1)),)), ArgumentError, r"without a gap, but uses \[1\]"),
        (("A", (Gate("RY", Slot(0)), Gate("RX", Slot(2)))), ArgumentError, r"without a gap, but uses \[0, 2\]"),
    ],
)
def test_a_bad_circuit_is_refused(arguments: tuple[object, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SpikeCircuit(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "angle", "error", "message"),
    [
        ("RW", 1.0, ArgumentError, "`name` of a gate must be one of RX, RY, RZ, Delay, but is 'RW'"),
        ("RX", math.nan, ArgumentError, "`angle` must be finite, but is nan"),
        ("RX", -math.inf, ArgumentError, "`angle` must be finite, but is -inf"),
        ("RX", "x", DtypeError, "`angle` of a gate must be a number or a Slot, but is 'x'"),
        ("RX", True, DtypeError, "`angle` of a gate must be a number or a Slot, but is True"),
        ("Delay", -1e-9, ArgumentError, "`angle` must be at least 0, but is -1e-09"),
    ],
)
def test_a_bad_gate_is_refused(name: str, angle: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Gate(name, angle)  # type: ignore[arg-type]


def test_bounds_of_gates_are_within() -> None:
    assert Gate("Delay", 0).angle == 0.0
    assert isinstance(Gate("RX", 2).angle, float)
    assert Slot(0).index == 0
    with pytest.raises(ArgumentError, match="`index` must be at least 0, but is -1"):
        Slot(-1)
    with pytest.raises(DtypeError, match=r"`index` must be an integer, but is 0\.5"):
        Slot(0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["RX", "RY", "Delay"])
def test_only_rz_is_virtual(name: str) -> None:
    assert not Gate(name, 1.0).is_virtual
    assert Gate("RZ", 1.0).is_virtual


def test_bad_options_of_the_library_are_refused() -> None:
    with pytest.raises(ArgumentError, match="`leak` must be one of rotation, delay, but is 'wait'"):
        BrandPetruccione("wait")
    with pytest.raises(ArgumentError, match="`leak` must be finite, but is inf"):
        LeakySpike(math.inf)


@pytest.mark.parametrize(
    ("angles", "error", "message"),
    [
        (torch.zeros(3, 2), ShapeError, r"`angles` must have shape \(..., 1\) for circuit RYSpike, but has shape \(3, 2\)"),
        (torch.tensor(1.0), ShapeError, r"for circuit RYSpike, but has shape \(\)"),
        (torch.zeros(3, 1, dtype=torch.int64), DtypeError, "`angles` must have dtype float32 or float64, but has int64"),
        (torch.zeros(3, 1, dtype=torch.float16), DtypeError, "must have dtype float32 or float64, but has float16"),
        ([[1.0]], DtypeError, "`angles` must be a torch tensor, but is list"),
    ],
)
def test_bad_angles_are_refused(angles: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RYSpike().probability(angles)  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_the_closed_form_stays_on_an_accelerator() -> None:
    angles = torch.rand(5, 3, 2, device="cuda")
    found = LeakySpike().probability(angles)
    assert found.device == angles.device
    assert torch.allclose(found.cpu(), LeakySpike().probability(angles.cpu()), atol=1e-6)
