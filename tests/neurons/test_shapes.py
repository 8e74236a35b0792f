"""A layer with a shape is the layer of as many neurons in a row, seen in that shape."""

import io
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qlifq import QLIF, QLIFState, SpikingSequential, integrate, settle, simulate
from qlifq.backends import DeviceNoise, get
from qlifq.calibration import fit
from qlifq.errors import DtypeError, ShapeError
from qlifq.neurons import RECORDABLE, value_gradients

SHAPE = (2, 3, 4)
COUNT = 24
CHANNELS = torch.tensor([3.0, 9.0]).reshape(2, 1, 1)


def current(steps: int = 12, batch: int = 2) -> Tensor:
    return 2 * torch.rand(steps, batch, *SHAPE, generator=torch.Generator().manual_seed(1))


ROUTES: dict[str, dict[str, Any]] = {
    "kernel": {},
    "steps": {"kernel": "off"},
    "lightning": {"backend": "lightning", "shots": 3},
    "aer": {"backend": "aer", "quantum_wire": 2},
    "noise per site": {"backend": get("analytic", noise=DeviceNoise(readout_p01=np.linspace(0.01, 0.2, COUNT)))},
    "classic": {"quantum_mode": False},
    "all": {
        "refractory_period": 2,
        "noise_std": 0.2,
        "spike_increase": 0.1,
        "use_adaptive_threshold": True,
        "allow_dynamic_spike_probability": True,
    },
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_shape_changes_no_spike_no_state_and_no_gradient(route: str) -> None:
    tau = CHANNELS.expand(SHAPE)
    shaped = QLIF(SHAPE, seed=3, tau=CHANNELS, learnable_threshold=True, **ROUTES[route])
    flat = QLIF(COUNT, seed=3, tau=tau.flatten(), learnable_threshold=True, **ROUTES[route])
    found: list[Any] = []
    expected: list[Any] = []
    for layer, outcome, sizes in ((shaped, found, SHAPE), (flat, expected, (COUNT,))):
        given = current().reshape(12, 2, *sizes).requires_grad_()
        spikes, state = layer(given[:8])
        more, state = layer.step(given[8], state)
        (spikes.sum() + more.sum() + state.voltage.square().sum()).backward()
        outcome += [spikes, more, *state, given.grad, *(parameter.grad for parameter in layer.parameters())]
    assert found[0].shape == (8, 2, *SHAPE)
    assert found[2].shape == (2, *SHAPE)
    for one, other in zip(found[: 2 + len(QLIFState._fields)], expected, strict=False):
        assert torch.equal(one.flatten(), other.flatten())
    # Autograd adds up in another order.
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.flatten(), other.flatten(), rtol=1e-4, atol=1e-5)


def test_a_recording_has_the_shape() -> None:
    names = tuple(name for name in RECORDABLE if name != "efficiency")
    for kernel in ("auto", "off"):
        recording = simulate(QLIF(SHAPE, seed=1, kernel=kernel), current(), names)
        flat = simulate(QLIF(COUNT, seed=1, kernel=kernel), current().flatten(2), names)
        for name in recording.names:
            assert recording[name].shape == (12, 2, *SHAPE)
            assert torch.equal(recording[name].flatten(2), flat[name])
        assert recording.evaluations == flat.evaluations == 12 * 2 * COUNT
    assert "neurons 2 × 3 × 4" in str(recording)


def test_a_trained_number_per_channel_is_one_parameter_per_channel() -> None:
    layer = QLIF(SHAPE, tau=CHANNELS, V_th=np.full((4,), 0.9), learnable=("tau",), decision="expectation").double()
    assert [tuple(value.shape) for value in layer.parameters()] == [(2, 1, 1)]
    assert layer.tau.shape == layer.V_th.shape == layer.q_scale.shape == SHAPE
    assert layer.tau[:, 1, 2].tolist() == pytest.approx([3.0, 9.0])
    layer(current().double())[0].sum().backward()
    # The derivative by a channel's τ is the sum of those by its neurons' own.
    flat = QLIF(COUNT, tau=CHANNELS.expand(SHAPE).flatten(), V_th=0.9, learnable=("tau",), decision="expectation").double()
    flat(current().double().flatten(2))[0].sum().backward()
    expected = value_gradients(flat)["tau"].reshape(SHAPE).sum(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(value_gradients(layer)["tau"], expected)


@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4), data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_shape_broadcasts_as_torch_does(sizes: list[int], data: st.DataObject) -> None:
    kept = [data.draw(st.sampled_from([1, size])) for size in sizes][data.draw(st.integers(0, len(sizes) - 1)) :]
    if len(sizes) == 1:
        kept = sizes
    values = 1 + torch.rand(kept)
    layer = QLIF(tuple(sizes), tau=values, kernel="off")
    torch.testing.assert_close(layer.tau, values.expand(sizes))
    assert layer.initial_state(2).voltage.shape == (2, *sizes)
    assert layer(torch.zeros(3, 2, *sizes))[0].shape == (3, 2, *sizes)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1, 1), SHAPE, (1, 3, 1)])
def test_modulation_broadcasts_with_the_shape(sizes: tuple[int, ...]) -> None:
    modulation = torch.rand(12, 1, *sizes, generator=torch.Generator().manual_seed(2))
    spikes, _ = QLIF(SHAPE, seed=1)(current(), modulation=modulation)
    expected, _ = QLIF(COUNT, seed=1)(current().flatten(2), modulation=modulation.expand(12, 1, *SHAPE).flatten(2))
    assert torch.equal(spikes.flatten(2), expected)
    with pytest.raises(ShapeError, match=r"\(12, 2 or 1, 2 or 1, 3 or 1, 4 or 1\), but has shape \(12, 1, 2\)"):
        QLIF(SHAPE)(current(), modulation=modulation[..., 0, 0].expand(12, 1, 2))


def test_dynamics_and_states_of_a_shape_fit_together() -> None:
    layer = QLIF(SHAPE, tau=CHANNELS)
    state, gap = integrate(layer.initial_state(2), current()[0], layer.dynamics())
    torch.testing.assert_close(gap, current()[0] / CHANNELS - 1)
    assert settle(state, (gap > -0.9).to(gap), layer.dynamics()).voltage.shape == (2, *SHAPE)
    kinds = {step.spikes.shape for step in layer.steps(current())} | {step.angle.shape for step in layer.steps(current())}  # type: ignore[union-attr]
    assert kinds == {(2, *SHAPE)}


def test_maps_need_no_flattening_in_a_chain() -> None:
    network = SpikingSequential(torch.nn.Conv2d(1, 2, 3, padding=1), QLIF((2, 6, 6), tau=2.0, seed=0), torch.nn.MaxPool2d(2))
    assert network(torch.rand(5, 3, 1, 6, 6))[0].shape == (5, 3, 2, 3, 3)


def test_a_checkpoint_and_a_saved_state_keep_the_shape() -> None:
    layer, other = QLIF(SHAPE, tau=CHANNELS, seed=1), QLIF(SHAPE, tau=1 + CHANNELS, seed=1)
    _, state = layer(current())
    file = io.BytesIO()
    torch.save({"layer": layer.state_dict(), "state": state}, file)
    file.seek(0)
    saved = torch.load(file)
    other.load_state_dict(saved["layer"])
    assert torch.equal(other.tau, layer.tau)
    other.seeds.position = layer.seeds.position
    assert torch.equal(other(current(), saved["state"])[0], layer(current(), state)[0])


def test_a_calibration_corrects_a_layer_with_a_shape() -> None:
    backend = get("analytic", noise=DeviceNoise(readout_p01=np.linspace(0.01, 0.1, COUNT)))
    record = fit(backend, neurons=COUNT, shots=2000, seed=1)
    layers = QLIF(SHAPE, backend=backend), QLIF(COUNT, backend=backend)
    for layer in layers:
        record.apply_to(layer)
    assert layers[0].q_bias.shape == SHAPE
    assert len(set(layers[0].q_bias.flatten().tolist())) > 20
    assert torch.equal(layers[0].q_bias.flatten(), layers[1].q_bias)


def test_the_plan_counts_every_neuron_of_a_shape() -> None:
    assert QLIF(SHAPE, backend="aer").plan(5).evaluations == 5 * COUNT


def test_a_layer_with_a_shape_prints_it() -> None:
    assert repr(QLIF(SHAPE, tau=CHANNELS)).startswith(
        "QLIF(\n  (2, 3, 4), backend=analytic, shots=exact, tau=values of shape (2, 1, 1)"
    )


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"num_neurons": ()}, ShapeError, "`num_neurons` must have at least one dimension, but is ()"),
        ({"num_neurons": (3, 0)}, Exception, "`num_neurons` must be at least 1, but is 0"),
        (
            {"num_neurons": SHAPE, "tau": (2.0, 3.0)},
            ShapeError,
            "`tau` must be one number or broadcast with (2, 3, 4), but has shape (2,)",
        ),
        (
            {"num_neurons": SHAPE, "V_th": [[1.0], [1.0, 2.0]]},
            DtypeError,
            "`V_th` must hold numbers, but is [[1.0], [1.0, 2.0]]",
        ),
        ({"num_neurons": SHAPE, "tau": torch.full((1, 3, 1), -1.0)}, Exception, "`tau` must be above 0, but is -1.0"),
    ],
)
def test_a_shape_that_cannot_be_used_is_refused(parameters: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        QLIF(**parameters)


def test_inputs_of_another_shape_are_refused() -> None:
    layer = QLIF(SHAPE)
    with pytest.raises(ShapeError, match=r"`current` must have shape \(time, batch, 2, 3, 4\), but has shape \(12, 2, 24\)"):
        layer(current().flatten(2))
    with pytest.raises(ShapeError, match=r"`state.voltage` must have shape \(2, 2, 3, 4\), but has shape \(2, 24\)"):
        layer(current(), QLIFState(*(value.flatten(1) for value in layer.initial_state(2))))
    with pytest.raises(ShapeError, match=r"`q_bias` must have shape \(2, 3, 4\), but has shape \(24,\)"):
        layer.assign(q_bias=torch.zeros(24))
    layer.assign(q_bias=torch.arange(24.0).reshape(SHAPE))
    assert layer.q_bias[1, 2, 3] == 23
