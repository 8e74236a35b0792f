"""A layer that has nothing to learn from says so once, with what to change."""

import warnings

import pytest
import torch

from qlifq import QLIF


def batch(value: float, steps: int = 20) -> torch.Tensor:
    return torch.full((steps, 16, 16), value, requires_grad=True)


def test_a_silent_layer_says_so_once_and_names_the_scale_of_its_input() -> None:
    layer = QLIF(16, seed=0, tau=20.0)
    expected = (
        r"A layer of 16 neurons stayed silent over a whole training batch \(0\.\d\d% of its decisions were spikes\), so that "
        r"it has little to learn from: dt/tau = 0\.05 scales its input; use decay_input=False to add it as it is, a smaller "
        r"tau, larger weights or a lower V_th\."
    )
    with pytest.warns(RuntimeWarning, match=expected):
        layer(batch(0.0))
    # Once: a second warning would be an error here.
    layer(batch(0.0))


def test_an_input_that_is_added_as_it_is_is_not_blamed_on_its_scale() -> None:
    with pytest.warns(RuntimeWarning, match=r"stayed silent .* learn from: use larger weights or a lower V_th\."):
        QLIF(16, seed=0, decay_input=False, quantum_mode=False)(batch(0.01))


def test_a_layer_that_fires_without_pause_says_so() -> None:
    with pytest.warns(
        RuntimeWarning, match=r"fired without pause .*\(\d+\.\d\d% of .*: use smaller weights or a negative bias"
    ):
        QLIF(16, seed=0, quantum_mode=False, tau=1.0)(batch(3.0))


@pytest.mark.parametrize("kernel", ["auto", "off"])
def test_a_layer_that_falls_silent_later_says_so_at_batch_four(kernel: str) -> None:
    layer = QLIF(16, quantum_mode=False, tau=2.0, kernel=kernel)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (1.5, 1.5, 0.1):
            layer(batch(value))
    with pytest.warns(RuntimeWarning, match="stayed silent"):
        layer(batch(0.1))


def test_what_is_no_training_batch_is_not_watched() -> None:
    silent = QLIF(16, quantum_mode=False)
    silent(batch(0.1).detach())
    silent(batch(0.1, steps=1))
    silent.eval()(batch(0.1))
    QLIF(16, decision="expectation", q_bias=-9.0)(batch(0.1))
    with torch.no_grad():
        silent.train()(batch(0.1))


def test_a_healthy_layer_is_silent_about_it() -> None:
    QLIF(16, seed=0, decay_input=False, tau=5.0)(batch(0.4))
