"""What `fit` measures and refuses, when it stops, and what it cannot identify."""

import math
import re
from dataclasses import replace

import pytest
import torch

from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, Plan, get
from qlifq.backends.analytic import AnalyticBackend
from qlifq.calibration import fit, shots_for
from qlifq.calibration.design import CalibrationDesign
from qlifq.calibration.likelihood import Binomial, Model, information, maximise
from qlifq.calibration.models import NEURON, neuron_units, response_model
from qlifq.circuits import Gate, LeakySpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, BackendError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS

TURNED = SpikeCircuit("Turned", (Gate("RY", 0.3), Gate("RX", 0.4), Gate("RY", Slot(0)), Gate("RX", 0.5)))
DEVICE = get("analytic", noise=DeviceNoise(readout_p01=0.03, readout_p10=0.06))


class Recording(Backend):
    """Keeps the calls that it gets, and returns what the closed form gives."""

    name = "recording"
    capabilities = Capabilities(exact=False, shots=True, noisy=False, differentiable=False)

    def __init__(self) -> None:
        self.calls: list[tuple[torch.Tensor, int | None, int | None]] = []

    def _execute(self, call: Call) -> Outcome:
        self.calls.append((call.angles, call.shots, call.seed))
        return self.answer(AnalyticBackend().run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where))

    def answer(self, outcome: Outcome) -> Outcome:
        return outcome

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return Plan(batch * sites, 1, 1, 1, batch * sites * (shots or 0))


class Countless(Recording):
    """Draws shots and keeps the counts to itself."""

    def answer(self, outcome: Outcome) -> Outcome:
        return replace(outcome, ones=None)


@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
def test_the_model_has_the_derivatives_of_autograd(mapping: str) -> None:
    design = CalibrationDesign(mapping, 2, quantum_leak=0.1)
    at = torch.tensor([[1.3, 0.2, 0.04, 0.11], [0.7, -0.3, 0.0, 0.02]], dtype=torch.float64)
    models: list[tuple[Model, torch.Tensor]] = [
        (design.neuron_model(), at),
        (CalibrationDesign(mapping, 2, circuit=LeakySpike(0.7)).neuron_model(), at),
        (CalibrationDesign(mapping, 2, circuit=TURNED).neuron_model(), at),
        (response_model(design.angles.T), at[:, :3]),
    ]
    for model, values in models:
        leaf = values.clone().requires_grad_()
        probability = model(leaf)[0]
        rows = [torch.autograd.grad(cell.sum(), leaf, retain_graph=True)[0] for cell in probability.unbind(-1)]
        torch.testing.assert_close(model(values)[1], torch.stack(rows, dim=1), rtol=1e-12, atol=1e-12)


def test_what_ran_is_what_is_recorded() -> None:
    backend = Recording()
    calibration = fit(backend, neurons=3, shots=101, rounds=2, seed=9)
    measured, counts = calibration.measurement, calibration.measurement.counts
    assert [shots for _, shots, _ in backend.calls] == [51, 50] == counts.shots[:, 5, 1].tolist()
    assert counts.order is not None
    assert len({seed for _, _, seed in backend.calls}) == 2
    for (angles, _, _), order in zip(backend.calls, counts.order, strict=True):
        # Cell by cell, what ran at that moment was the angle of the design.
        torch.testing.assert_close(angles[..., 0].gather(0, order), measured.design.angles, rtol=0, atol=0)
    # On a qubit without errors the corners are certain: row 0 is |0⟩ and row 1 is |1⟩.
    assert counts.ones[:, 0].tolist() == [[0] * 3] * 2
    assert counts.ones[:, 1].tolist() == [[51] * 3, [50] * 3]


def test_the_same_seed_gives_the_same_calibration_and_another_seed_another() -> None:
    one, same, other = (fit(DEVICE, neurons=2, shots=100, seed=seed).measurement.counts.ones for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_one_neuron_one_round_one_shot() -> None:
    calibration = fit(DEVICE, neurons=1, shots=1, rounds=1, seed=1)
    assert calibration.measurement.counts.ones.shape == (1, 12, 1)
    assert bool(calibration.analysis.drift_p_value.isnan().all())
    assert bool(calibration.analysis.crosstalk_p_value.isnan().all())
    assert "drift none · crosstalk none" in str(calibration)


@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
def test_the_default_gaps_are_as_informative_as_the_best_even_grid(mapping: str) -> None:
    """By the size of the confidence region: the eighth root of its volume squared is a mean standard error."""

    def size(gaps: torch.Tensor | None) -> float:
        design = CalibrationDesign(mapping, 1, gaps=gaps)
        at = torch.tensor([[MAPPINGS[mapping].q_scale, MAPPINGS[mapping].q_bias, 0.02, 0.02]], dtype=torch.float64)
        planned = Binomial(torch.zeros_like(design.angles.T), torch.full_like(design.angles.T, 1e6))
        return float(information(design.neuron_model(), at, planned, neuron_units(design.gaps.T))[0].det() ** 0.125)

    # Up to one turn of `linear`: beyond it an even grid identifies more, and may be one period off.
    widths = (0.25, 0.5, 1.0) if mapping == "linear" else (0.25, 0.5, 1.0, 2.0, 4.0)
    even = [size(torch.linspace(-width, width, 10, dtype=torch.float64)) for width in widths]
    assert size(None) < 1.05 * min(even)
    # A grid that does not know the scale of the neuron can be far worse.
    assert size(None) < 0.85 * max(even)


@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
@pytest.mark.parametrize("parameter", NEURON)
def test_the_shots_that_are_announced_give_the_standard_error(mapping: str, parameter: str) -> None:
    target = 0.01 * (MAPPINGS[mapping].q_scale if parameter == "q_scale" else 1.0)
    shots = shots_for(target, parameter=parameter, mapping=mapping, readout_p01=0.03, readout_p10=0.06)
    found = fit(DEVICE, neurons=200, mapping=mapping, shots=max(shots, 2), seed=3).analysis.neuron
    reached = found.standard_error[:, NEURON.index(parameter)].mean()
    assert float(reached) == pytest.approx(target, rel=0.1)


def test_it_stops_when_the_standard_error_is_reached() -> None:
    seen: list[tuple[int, int]] = []
    calibration = fit(
        DEVICE,
        neurons=4,
        shots=500,
        seed=3,
        standard_error=0.01,
        parameter="q_bias",
        max_shots=100_000,
        progress=lambda *done: seen.append(done),
    )
    spent = int(calibration.measurement.counts.total_shots.max())
    assert float(calibration.analysis.neuron.standard_error[:, 1].max()) <= 0.01
    # Not far beyond what the Fisher information asks for.
    assert spent < 1.3 * shots_for(0.01, parameter="q_bias", readout_p01=0.03, readout_p10=0.06)
    assert seen[-1] == (calibration.measurement.data.rounds, spent)


def test_it_stops_at_the_most_shots_too() -> None:
    calibration = fit(DEVICE, neurons=2, shots=500, seed=3, standard_error=1e-4, parameter="readout_p01", max_shots=3000)
    assert int(calibration.measurement.counts.total_shots.max()) == 3000
    assert float(calibration.analysis.neuron.standard_error[:, 2].max()) > 1e-4


@pytest.mark.parametrize(
    ("gaps", "mapping", "lost", "kept"),
    [
        # One gap: q_scale and q_bias move its angle in the same way.
        ([0.2], "linear", ("q_scale", "q_bias"), ("readout_p01", "readout_p10", "a", "b", "c")),
        ([0.0], "linear", ("q_scale",), ("q_bias", "readout_p01", "readout_p10", "c")),
        # All gaps where the sigmoid is flat: every angle is 0 or π.
        ([-9.0, -8.0, 8.0, 9.0], "sigmoid", ("q_scale", "q_bias", "c"), ("readout_p01", "readout_p10", "a", "b")),
    ],
)
def test_what_the_gaps_do_not_identify_gets_no_number(
    gaps: list[float], mapping: str, lost: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    calibration = fit(DEVICE, neurons=1, mapping=mapping, gaps=torch.tensor(gaps), shots=4000, seed=1)
    fits = {**dict(zip("abc", calibration.analysis.response.value[0].tolist(), strict=True))}
    fits |= dict(zip(NEURON, calibration.analysis.neuron.value[0].tolist(), strict=True))
    for name in lost:
        assert math.isnan(fits[name]), name
        assert f"{name} of site 0 cannot be identified: " in str(calibration.unidentified_reason(name, 0))
    for name in kept:
        assert math.isfinite(fits[name]), name
        assert calibration.unidentified_reason(name, 0) is None
    assert "unidentified" in str(calibration)


def test_too_few_shots_are_reported() -> None:
    calibration = fit(DEVICE, neurons=1, shots=2, seed=4)
    assert calibration.unidentified_reason("q_scale", 0) is not None
    with pytest.raises(
        ArgumentError,
        match=re.escape("`parameter` must be one of a, b, c, q_scale, q_bias, readout_p01, readout_p10, but is 'd'"),
    ):
        calibration.unidentified_reason("d", 0)
    with pytest.raises(ArgumentError, match="`site` must be at least 0 and at most 0, but is 1"):
        calibration.unidentified_reason("a", 1)


def test_a_flat_direction_does_not_stop_the_others() -> None:
    angles = torch.tensor([[0.0, 0.0, math.pi, math.pi]], dtype=torch.float64)
    ones = torch.tensor([[20.0, 30.0, 950.0, 960.0]], dtype=torch.float64)
    start, units = torch.full((1, 3), 0.1, dtype=torch.float64), torch.full((1, 3), 0.25, dtype=torch.float64)
    found = maximise(response_model(angles), start, Binomial(ones, torch.full_like(ones, 1000.0)), units)
    assert bool(found.converged.all())
    assert found.value[0, 0].item() == pytest.approx(0.49, abs=1e-6)
    assert found.value[0, 1].item() == pytest.approx(-0.465, abs=1e-6)
    assert math.isnan(found.value[0, 2])
    # Var a = ¼ (p₀q₀ + p₁q₁)/2000 by hand.
    by_hand = math.sqrt((0.025 * 0.975 + 0.955 * 0.045) / 2000) / 2
    assert found.standard_error[0, 0].item() == pytest.approx(by_hand, rel=1e-6)
    assert found.correlation[0, 0, 0].item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "aer"}, DtypeError, "`backend` must be a Backend, but is str"),
        ({"neurons": 0}, ArgumentError, "`neurons` must be at least 1, but is 0"),
        ({"mapping": "cubic"}, ArgumentError, "`mapping` must be one of sigmoid, linear, tanh, but is 'cubic'"),
        ({"q_scale": 0.0}, ArgumentError, "`q_scale` must not be 0"),
        ({"q_scale": math.inf}, ArgumentError, "`q_scale` must be finite, but is inf"),
        ({"q_bias": torch.zeros(3)}, ShapeError, "`q_bias` must have shape (2,), but has shape (3,)"),
        ({"quantum_leak": math.nan}, ArgumentError, "`quantum_leak` must be finite, but is nan"),
        ({"theta_max": 1.0}, UnsupportedError, "`theta_max` would be ignored: it needs mapping='tanh', but that is 'sigmoid'"),
        ({"gaps": torch.zeros(4, 3)}, ShapeError, "`gaps` must have shape (points,) or (points, 2), but has shape (4, 3)"),
        ({"gaps": torch.zeros(0)}, ShapeError, "`gaps` must have shape (points,) or (points, 2), but has shape (0,)"),
        ({"gaps": [0.0]}, DtypeError, "`gaps` must be a torch tensor, but is list"),
        ({"gaps": torch.tensor([math.nan])}, ArgumentError, "`gaps` must be finite, but 1 of its 1 values are NaN"),
        ({"shots": 1}, ArgumentError, "`shots` must be at least 2, but is 1"),
        ({"rounds": 0}, ArgumentError, "`rounds` must be at least 1, but is 0"),
        ({"seed": -1}, ArgumentError, "`seed` must be at least 0 and at most"),
        (
            {"standard_error": 0.1},
            ArgumentError,
            "`standard_error`, `parameter`, `max_shots` go together, but parameter is None",
        ),
        (
            {"standard_error": 0.1, "parameter": "readout_p01", "max_shots": 5},
            ArgumentError,
            "`max_shots` must be at least 4096, but is 5",
        ),
        (
            {"standard_error": 0.0, "parameter": "readout_p01", "max_shots": 5000},
            ArgumentError,
            "`standard_error` must be above 0, but is 0",
        ),
        (
            {"standard_error": 0.1, "parameter": "a", "max_shots": 5000},
            ArgumentError,
            "`parameter` must be one of q_scale, q_bias, readout_p01, readout_p10, but is 'a'",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_runs(options: dict[str, object], error: type[QLIFError], message: str) -> None:
    backend = Recording()
    with pytest.raises(error, match=re.escape(message)):
        fit(**({"backend": backend, "neurons": 2} | options))  # type: ignore[arg-type]
    assert not backend.calls


def test_a_backend_without_counts_is_refused() -> None:
    with pytest.raises(BackendError, match="Backend recording was run with 2048 shots, but gave no counts"):
        fit(Countless(), neurons=1)

    class Exact(Recording):
        capabilities = Capabilities(exact=True, shots=False, noisy=False, differentiable=False)

    with pytest.raises(UnsupportedError, match="`backend` must give counts, but recording has no shots"):
        fit(Exact(), neurons=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"standard_error": -1.0}, "`standard_error` must be above 0, but is -1"),
        (
            {"standard_error": 0.1, "parameter": "a"},
            "`parameter` must be one of q_scale, q_bias, readout_p01, readout_p10, but is 'a'",
        ),
        ({"standard_error": 0.1, "readout_p01": 0.5}, "`readout_p01` must be at least 0 and below 0.5, but is 0.5"),
        ({"standard_error": 0.1, "gaps": torch.tensor([0.1])}, "`gaps` must identify `q_bias`, but no number of shots would"),
    ],
)
def test_shots_for_refuses_what_it_cannot_answer(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        shots_for(**options)  # type: ignore[arg-type]
