"""A measured fraction and a threshold: counts decide, and ties do not depend on the dtype."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qlifq import QLIF, BrandPetruccione
from qlifq.backends import Backend, Call, Outcome
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.mitigation import ReadoutMitigated
from qlifq.neurons import BrandPetruccioneState
from qlifq.neurons.thresholds import comparable, just_above, largest_silent_count

DTYPES = (torch.float32, torch.float64)


class EveryCount(Backend):
    """Answers with counts that were laid down, whatever the angles: by default 0, 1, 2 … ones at site 0, 1, 2 …"""

    name = "every-count"
    capabilities = AnalyticBackend.capabilities

    def __init__(self, ones: Tensor | None = None) -> None:
        self.ones = ones
        self.where: list[Tensor | None] = []

    def _execute(self, call: Call) -> Outcome:
        assert call.shots is not None
        self.where.append(call.where)
        ones = torch.arange(call.sites).expand(call.angles.shape[:2]) if self.ones is None else self.ones
        ones = ones if call.where is None else ones * call.where
        return Outcome((ones.to(torch.float64) / call.shots).to(call.angles), ones, call.shots)


def angle_of(ones: int, shots: int) -> float:
    """The threshold angle whose probability is a fraction, as a user works it out."""
    return 2 * math.asin(math.sqrt(ones / shots))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shots", range(1, 20))
def test_as_many_ones_as_the_threshold_are_no_spike_in_any_dtype(shots: int, dtype: torch.dtype) -> None:
    for ones in range(shots + 1):
        layer = QLIF(
            shots + 1,
            backend=EveryCount(),
            shots=shots,
            decision="threshold",
            quantum_threshold=min(angle_of(ones, shots), math.pi),
        ).to(dtype)
        spikes, _ = layer(torch.ones(1, 1, shots + 1, dtype=dtype))
        assert torch.equal(spikes.flatten(), (torch.arange(shots + 1) > ones).to(dtype)), (ones, shots)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_counts_of_a_neurons_qubits_are_added_before_they_are_compared(dtype: torch.dtype) -> None:
    """Three qubits of 7 shots each: 9 of 21 is the threshold, 3/7, and the mean of three sevenths is not always 3/7."""
    ones = torch.tensor([[3, 3, 3, 0, 2, 7, 4, 4, 1, 3, 3, 4, 7, 2, 0, 2, 3, 3]])
    layer = QLIF(
        6, backend=EveryCount(ones), shots=7, quantum_wire=3, decision="threshold", quantum_threshold=angle_of(3, 7)
    ).to(dtype)
    spikes, _ = layer(torch.ones(1, 1, 6, dtype=dtype))
    assert spikes.flatten().tolist() == [0, 0, 0, 1, 0, 0]


@given(st.integers(1, 10**9), st.data())
def test_the_silent_count_is_that_of_rational_arithmetic(shots: int, data: st.DataObject) -> None:
    ones = data.draw(st.integers(0, shots))
    assert largest_silent_count(math.sin(angle_of(ones, shots) / 2) ** 2, shots) == ones
    ulps = data.draw(st.integers(-4, 4))
    assert largest_silent_count(ones / shots + ulps * math.ulp(ones / shots), shots) == ones
    threshold = data.draw(st.floats(0, 1))
    found = largest_silent_count(threshold, shots)
    assert Fraction(found, shots) <= Fraction(threshold) + Fraction(1, 10**14)
    assert Fraction(found + 1, shots) > Fraction(threshold)


@given(st.integers(1, 4_000_000), st.sampled_from(DTYPES), st.data())
def test_fractions_compare_as_their_counts(shots: int, dtype: torch.dtype, data: st.DataObject) -> None:
    """The threshold is drawn at a fraction, some ulp beside it, within float32's rounding of it, or anywhere."""
    near = data.draw(st.integers(0, shots)) / shots
    offset = data.draw(st.sampled_from([0.0, 1e-16, -1e-16, 3e-16, -3e-16, 3e-9, -3e-9]) | st.floats(-1, 1))
    threshold = min(max(near + offset, 0.0), 1.0)
    value = comparable(threshold, shots, dtype)
    centre = round(threshold * shots)
    counts = torch.arange(max(centre - 3, 0), min(centre + 4, shots + 1))
    fractions = (counts.to(torch.float64) / shots).to(dtype)
    silent = largest_silent_count(threshold, shots)
    assert torch.equal(fractions > value, counts > silent)
    tie = abs(silent / shots - threshold) < 1e-15
    assert torch.equal(fractions < value, counts < silent if tie else counts <= silent)


def test_a_threshold_without_shots_stays_what_it_is() -> None:
    assert comparable(0.7, None, torch.float32) == 0.7
    assert comparable(0.75, 7, torch.float64) == 0.75


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("threshold", "shots", "tie"), [(1 - 0.9, 10, 1), (0.1 + 0.2, 10, 3), (0.3 - 1e-9, 10, 2), (5 / 9, 9, 5)]
)
def test_measured_populations_compare_as_counts(threshold: float, shots: int, tie: int, dtype: torch.dtype) -> None:
    """What ties does not spike and begins anew; what is above spikes and begins anew; what is below goes on."""
    backend, neurons = EveryCount(), shots + 1
    layer = BrandPetruccione(neurons, backend=backend, shots=shots, threshold=threshold)
    inputs = torch.ones(2, 1, neurons, dtype=dtype)
    _, spikes, _ = layer.run(inputs, inputs, inputs)
    counts = torch.arange(neurons)
    assert torch.equal(spikes[0, 0], (counts > tie).to(dtype))
    where = backend.where[1]
    assert where is not None
    assert torch.equal(where[0], counts <= tie if threshold == 0.3 - 1e-9 else counts < tie)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_population_that_was_not_measured_compares_with_the_threshold_itself(dtype: torch.dtype) -> None:
    """0.55 and 0.65 lie beside a threshold of 0.6, though both are one of two shots when rounded to counts."""
    backend = EveryCount()
    layer = BrandPetruccione(2, backend=backend, shots=2, threshold=0.6)
    inputs = torch.ones(1, 1, 2, dtype=dtype)
    layer(inputs, inputs, inputs, BrandPetruccioneState(torch.tensor([[0.55, 0.65]], dtype=dtype)))
    assert backend.where[0] is not None
    assert backend.where[0].tolist() == [[True, False]]


@pytest.mark.parametrize("neurons", [1, 64])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_angle_that_is_the_threshold_does_not_spike_without_shots(dtype: torch.dtype, neurons: int) -> None:
    """θ = quantum_threshold, at 299 angles; an angle a thousandth beside it decides, whatever the dtype."""
    for step in range(1, 300):
        angle = math.pi * step / 300
        layer = QLIF(neurons, tau=1.0, mapping="linear", decision="threshold", quantum_threshold=angle).to(dtype)
        spikes = []
        for beside in (-1e-3, 0.0, 1e-3):
            layer.assign(q_bias=torch.full((neurons,), angle + beside, dtype=torch.float64))
            spikes.append(layer(torch.ones(1, 1, neurons, dtype=dtype))[0].unique().tolist())
        assert spikes == [[0.0], [0.0], [1.0]], angle


def test_estimates_that_are_no_fraction_of_the_shots_are_compared_as_they_are() -> None:
    """Half of the shots, corrected for symmetric readout errors, is one half: a tie, within rounding."""
    for dtype in DTYPES:
        backend = ReadoutMitigated(EveryCount(), 0.07, 0.07)
        layer = QLIF(11, backend=backend, shots=10, decision="threshold", quantum_threshold=math.pi / 2).to(dtype)
        spikes, _ = layer(torch.ones(1, 1, 11, dtype=dtype))
        assert torch.equal(spikes.flatten(), (torch.arange(11) > 5).to(dtype))


def test_no_threshold_is_widened_at_its_ends() -> None:
    assert just_above(0.0, torch.float32) == 0.0
    assert just_above(1.0, torch.float64) > 1.0
    layer = QLIF(2, tau=1.0, mapping="linear", q_bias=(1e-15, 0.0), decision="threshold", quantum_threshold=0.0)
    assert layer(torch.ones(1, 1, 2))[0].flatten().tolist() == [1.0, 0.0]
