"""The twin gives the response that was measured, on torch tensors, and nothing else."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor

import qlifq
from qlifq.backends import DeviceNoise, get
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.conformance import check
from qlifq.backends.reference import ReferenceBackend
from qlifq.calibration import fit, save
from qlifq.calibration.twin import TwinBackend
from qlifq.circuits import LeakySpike, RYSpike, SinusoidalResponse, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, FileFormatError, QLIFError, ShapeError, UnsupportedError

NOISE = DeviceNoise(
    t1=(80e-6, 30e-6, 200e-6),
    t2=(60e-6, 50e-6, 90e-6),
    gate_time=5e-7,
    gate_error=(0.01, 0.0, 0.03),
    readout_p01=(0.02, 0.1, 0.0),
    readout_p10=(0.05, 0.2, 0.0),
)


class Measured(NamedTuple):
    """A calibration as far as the twin needs it, with a response of one's own."""

    circuit: SpikeCircuit
    response: SinusoidalResponse
    source: str = "a response of one's own"


def twin_of(*response: list[float]) -> TwinBackend:
    return TwinBackend(Measured(RYSpike(), SinusoidalResponse(*(torch.tensor(part, dtype=torch.float64) for part in response))))


def exact_law() -> SinusoidalResponse:
    return AnalyticBackend(NOISE).law(RYSpike(), torch.device("cpu"))


def angles_of(batch: int, sites: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.linspace(-7.0, 7.0, batch * sites, dtype=dtype).reshape(batch, sites, 1)


def test_it_conforms() -> None:
    check(TwinBackend(Measured(RYSpike(), exact_law())), oracle=ReferenceBackend(NOISE), sites=3).raise_for_failure()


def test_it_agrees_with_the_law_it_was_given() -> None:
    twin, angles = TwinBackend(Measured(RYSpike(), exact_law())), angles_of(50, 3)
    ours = twin.run(RYSpike(), angles, shots=None, seed=None).probability
    theirs = AnalyticBackend(NOISE).run(RYSpike(), angles, shots=None, seed=None).probability
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


@given(
    st.floats(0.0, 1.0), st.floats(0.0, 0.5), st.floats(-3.2, 3.2), st.floats(-20, 20), st.sampled_from(["float32", "float64"])
)
def test_any_response_stays_within_0_and_1(middle: float, swing: float, phase: float, theta: float, dtype: str) -> None:
    phi = torch.tensor([phase], dtype=torch.float64)
    measured = SinusoidalResponse(torch.tensor([middle], dtype=torch.float64), -swing * phi.cos(), -swing * phi.sin())
    twin = TwinBackend(Measured(RYSpike(), measured))
    angles = torch.tensor([[[theta]], [[phase]], [[phase + torch.pi]]], dtype=getattr(torch, dtype))
    probability = twin.run(RYSpike(), angles, shots=None, seed=None).probability
    assert probability.dtype == angles.dtype
    assert 0.0 <= float(probability.min()) <= float(probability.max()) <= 1.0
    if middle - swing >= 0.0 and middle + swing <= 1.0:
        truth = measured.a + measured.b * angles.double().cos()[..., 0] + measured.c * angles.double().sin()[..., 0]
        torch.testing.assert_close(probability.double(), truth, rtol=0, atol=1e-13 if dtype == "float64" else 3e-6)


def test_its_gradient_is_that_of_the_response() -> None:
    twin = TwinBackend(Measured(RYSpike(), exact_law()))
    angles = angles_of(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda value: twin.run(RYSpike(), value, shots=None, seed=None).probability, (angles,))


def test_counts_follow_its_response_and_where_is_respected() -> None:
    twin = twin_of([0.5, 0.4], [-0.45, -0.3], [0.05, 0.0])
    angles = torch.full((1, 2, 1), 1.0, dtype=torch.float64)
    exact = twin.run(RYSpike(), angles, shots=None, seed=None).probability[0].tolist()
    ones = twin.run(RYSpike(), angles, shots=100_000, seed=4).ones
    assert ones is not None
    for count, chance in zip(ones[0].tolist(), exact, strict=True):
        # Sees a bias of 0.015; false-fail 1e-9 over both sites.
        assert binomtest(count, 100_000, chance).pvalue > 5e-10
    where = torch.tensor([[True, False]])
    assert twin.run(RYSpike(), angles, shots=None, seed=None, where=where).probability[0].tolist() == [exact[0], 0.0]
    assert twin.run(RYSpike(), angles, shots=10, seed=1, where=where).probability[0, 1] == 0


def test_one_site_and_an_empty_batch() -> None:
    twin = twin_of([0.5], [-0.5], [0.0])
    assert twin.run(RYSpike(), torch.zeros(0, 1, 1), shots=None, seed=None).probability.shape == (0, 1)
    edges = torch.tensor([[[0.0]], [[torch.pi]]], dtype=torch.float64)
    assert twin.run(RYSpike(), edges, shots=None, seed=None).probability.flatten().tolist() == [0.0, 1.0]
    assert twin.run(RYSpike(), edges, shots=7, seed=1).ones.flatten().tolist() == [0, 7]  # type: ignore[union-attr]


def test_a_calibration_its_file_and_its_path_make_the_same_twin(tmp_path: Path) -> None:
    calibration = fit(get("analytic", noise=NOISE), neurons=3, shots=1000, seed=1)
    save(calibration, tmp_path / "cal.json")
    answers = [
        get("twin", record=record).run(RYSpike(), angles_of(5, 3), shots=None, seed=None).probability
        for record in (calibration, tmp_path / "cal.json", str(tmp_path / "cal.json"))
    ]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_a_layer_trains_on_it() -> None:
    twin = twin_of([0.5] * 4, [-0.45] * 4, [0.02] * 4)
    layer = qlifq.QLIF(4, backend=twin, learnable_qscale=True, decision="expectation")
    spikes, _ = layer(torch.full((5, 2, 4), 1.5))
    spikes.sum().backward()
    (gradient,) = (parameter.grad for parameter in layer.parameters())
    assert gradient is not None
    assert bool((gradient != 0).all())


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        (None, ArgumentError, "`record` must be a calibration or the path of its file for backend twin, but is None"),
        (3, DtypeError, "`record` must be a calibration or the path of its file, but is int"),
        ("nowhere.json", FileFormatError, "File nowhere.json cannot be read: no such file or directory"),
        (
            Measured(RYSpike(), SinusoidalResponse(*torch.tensor([[0.5, torch.nan], [-0.5, -0.5], [0.0, 0.0]]))),
            ArgumentError,
            "must hold the response of every site, but 1 lack theirs, first 1",
        ),
    ],
)
def test_what_is_no_record_is_refused(record: object, error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        get("twin", record=record)


def test_another_circuit_and_another_number_of_sites_are_refused() -> None:
    twin = twin_of([0.5, 0.5], [-0.5, -0.5], [0.0, 0.0])
    with pytest.raises(
        UnsupportedError, match=re.escape("must be what was calibrated, |0⟩ ──RY(θ0)──M, but is |0⟩ ──RY(θ0)──RX(0.5)")
    ):
        twin.run(LeakySpike(0.5), torch.zeros(1, 2, 1), shots=None, seed=None)
    with pytest.raises(ShapeError, match="`angles` must have 2 sites for backend twin, but has 3"):
        twin.run(RYSpike(), torch.zeros(1, 3, 1), shots=None, seed=None)
    with pytest.raises(UnsupportedError, match="must be what was calibrated"):
        twin.plan(LeakySpike(0.5), 1, 2, shots=None)
    with pytest.raises(ShapeError, match="`angles` must have 2 sites for backend twin, but has 3"):
        twin.plan(RYSpike(), 1, 3, shots=None)
    assert twin.plan(RYSpike(), 5, 2, shots=None).evaluations == 10
    with pytest.raises(ArgumentError, match="Backend twin has no option `noise`: its options are record"):
        get("twin", noise=NOISE)
