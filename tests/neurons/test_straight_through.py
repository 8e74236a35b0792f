"""The bias of the straight-through gradient: the enumeration of `benchmarks/straight_through.py` against closed forms."""

import pytest
import torch
from scipy import stats

from benchmarks.straight_through import (
    CASES,
    Case,
    along,
    cells,
    exact_gradient,
    expected_loss,
    mean_estimate,
    measure,
    sampled_estimates,
    trains,
)
from qlifq.circuits import excitation
from qlifq.neurons import MAPPINGS, integrate

BY_NAME = {case.name: case for case in CASES}
TWO_LAYERS = BY_NAME["two layers, 4 steps"]


def test_every_train_stands_in_the_enumeration_once() -> None:
    found = trains(TWO_LAYERS)
    assert found.shape == (4, 2**12, 3)
    assert len(set(map(tuple, found.transpose(0, 1).reshape(-1, 12).tolist()))) == 2**12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_exact_gradient_is_that_of_finite_differences(case: Case) -> None:
    """Central differences of the expected loss, with an error of the order of h²; what it misses would be a wrong formula."""
    middle, step = case.parameters().detach(), 1e-4
    for place, derivative in enumerate(exact_gradient(case)):
        ends = []
        for sign in (-1, 1):
            moved = middle.clone()
            moved[place] += sign * step
            ends.append(float(expected_loss(case, moved)))
        assert float(derivative) == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-9)


def test_the_probabilities_of_all_trains_add_up_to_1() -> None:
    for case in CASES:
        probability, _ = along(case, case.parameters().detach(), straight_through=False)
        assert float(probability.sum()) == pytest.approx(1.0, abs=1e-12)


def test_a_linear_loss_of_spikes_that_nothing_follows_has_no_bias() -> None:
    case = BY_NAME["one layer, one step"]
    assert mean_estimate(case).tolist() == pytest.approx(exact_gradient(case).tolist(), abs=1e-15)


def test_the_bias_of_a_squared_loss_is_the_one_of_the_closed_form() -> None:
    """Two neurons, one step, L = ((s₁ + s₂)/2 − c)²: the estimator has Σ (2 pᵢ − 1)/4 dpᵢ more than the exact gradient."""
    case = Case("two neurons", 2, 1, 1, 2.5, 0.0, target=0.4)
    (layer,), parameters = case.build(0), case.parameters()
    _, gap = integrate(
        layer.initial_state(1), parameters[0] * torch.tensor([[1.0, 1.3]], dtype=torch.float64), layer.dynamics()
    )
    p = excitation(MAPPINGS["sigmoid"].angle(gap, layer.q_scale, layer.q_bias, 0.0))
    (bias,) = torch.autograd.grad((((2 * p - 1) / 4).detach() * p).sum(), parameters)
    assert (mean_estimate(case) - exact_gradient(case)).tolist() == pytest.approx(bias.tolist(), abs=1e-14)
    assert abs(float(bias[0])) > 0.01


@pytest.mark.parametrize("name", ["one layer, 8 steps, squared loss", "two layers, 4 steps", "two layers, 4 steps, saturated"])
def test_sampled_gradients_of_a_layer_have_the_enumerated_mean(name: str) -> None:
    """Student's t of the means of rounds, false-fail rate 1e-9 over all; a bias of a tenth of the exact one would be seen."""
    case, rounds = BY_NAME[name], 60
    samples = sampled_estimates(case, rounds=rounds, batch=400)
    error = samples.std(dim=0) / rounds**0.5
    bound = float(stats.t.isf(0.5e-9 / 5, rounds - 1))
    assert ((samples.mean(dim=0) - mean_estimate(case)).abs() <= bound * error + 1e-12).all()
    # The power of this test: the gradient without any bias would fail it.
    assert ((samples.mean(dim=0) - exact_gradient(case)).abs() > bound * error)[0]


def test_the_table_names_the_bias() -> None:
    rows = measure([BY_NAME["one layer, one step"], TWO_LAYERS], rounds=30, batch=200)
    assert [(row.case, row.parameter) for row in rows] == [
        ("one layer, one step", "input gain"),
        ("two layers, 4 steps", "input gain"),
        ("two layers, 4 steps", "second layer's weight"),
    ]
    assert cells(rows[0])[-2:] == ["0 (0 to 0)", "+0.0 % (+0.0 to +0.0)"]
    assert rows[1].sampled.low > rows[1].exact
    assert cells(rows[1])[2] == f"{rows[1].exact:.5f}"
