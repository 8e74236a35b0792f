"""Chains of layers carry the states of all of them."""

import copy
import warnings
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, BrandPetruccione, QLIFState, SpikingSequential
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError


def chain() -> SpikingSequential:
    torch.manual_seed(1)
    return SpikingSequential(nn.Linear(4, 6), QLIF(6, seed=1, tau=3.0), nn.Linear(6, 2), QLIF(2, seed=2, tau=3.0))


def sequence(steps: int = 12, batch: int = 3) -> Tensor:
    return 3 * torch.randn(steps, batch, 4, generator=torch.Generator().manual_seed(2))


def test_a_chain_is_its_modules_one_after_the_other() -> None:
    network, parts = chain(), chain()
    output, states = network(sequence())
    linear, first, readout, second = parts.chain
    spikes, state = first(linear(sequence()))
    expected, last = second(readout(spikes))
    torch.testing.assert_close(output, expected)
    assert len(states) == 2
    for found, expected in zip(states, (state, last), strict=True):
        assert isinstance(found, QLIFState)
        for value, other in zip(found, expected, strict=True):
            torch.testing.assert_close(value, other)


@pytest.mark.parametrize("cut", [0, 5, 12])
def test_states_are_carried(cut: int) -> None:
    whole, parts = chain(), chain()
    expected, after = whole(sequence())
    first, between = parts(sequence()[:cut])
    second, states = parts(sequence()[cut:], between)
    assert torch.equal(torch.cat((first, second)), expected)
    assert all(torch.equal(one.voltage, other.voltage) for one, other in zip(states, after, strict=True))


def test_chains_nest() -> None:
    flat, inner = chain(), chain()
    nested = SpikingSequential(*inner[:1], SpikingSequential(*inner[1:3]), inner[3])
    expected, _ = flat(sequence())
    first, states = nested(sequence()[:5])
    second, _ = nested(sequence()[5:], states)
    assert torch.equal(torch.cat((first, second)), expected)
    assert isinstance(states[0], tuple)
    assert isinstance(states[0][0], QLIFState)


@pytest.mark.parametrize("shots", [None, 20])
@pytest.mark.parametrize("cut", [0, 4])
def test_neurons_of_brand_and_petruccione_are_driven_by_two_weighted_inputs(cut: int, shots: int | None) -> None:
    """θ = π |W_q x|, τ = 200 |W_t x| and a spike where W_q x > 0, with their state, in a chain and by hand."""
    torch.manual_seed(4)
    weights, neurons = nn.Linear(4, 10), BrandPetruccione(5, seed=3, shots=shots)
    network, by_hand = SpikingSequential(weights, neurons, nn.Linear(5, 2)), BrandPetruccione(5, seed=3, shots=shots)
    first, states = network(sequence()[:cut])
    second, after = network(sequence()[cut:], states)
    rotation, interval = weights(sequence()).split(5, dim=2)
    spikes, state = by_hand(torch.pi * rotation.abs(), 200 * interval.abs(), (rotation > 0).float())
    assert spikes.sum() > 5
    torch.testing.assert_close(torch.cat((first, second)), network.chain[2](spikes))
    torch.testing.assert_close(after, (state,))
    second.sum().backward()
    assert weights.weight.grad is not None


def test_an_input_of_another_width_than_two_per_neuron_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"BrandPetruccione of 5 neurons .* \(time, batch, 10\), .* shape \(12, 3, 5\)"):
        SpikingSequential(nn.Linear(4, 5), BrandPetruccione(5))(sequence())


def test_a_sequential_of_torch_with_spiking_modules_is_run_as_a_chain() -> None:
    flat, inner = chain(), chain()
    nested = SpikingSequential(nn.Sequential(inner.chain[0], nn.Sequential(inner.chain[1])), nn.Sequential(*inner[2:]))
    expected, _ = flat(sequence())
    first, states = nested(sequence()[:5])
    second, _ = nested(sequence()[5:], states)
    assert torch.equal(torch.cat((first, second)), expected)
    assert isinstance(states[0][0][0], QLIFState)
    with pytest.raises(ShapeError, match="`states` must hold 1 states, one per module with a state, but holds 2"):
        nested(sequence(), ((None, None), None))


@torch.no_grad()
def test_wrapped_and_compiled_modules_are_what_they_were() -> None:
    torch.manual_seed(2)
    linear = nn.Linear(4, 3)
    with warnings.catch_warnings():
        # torch calls its scripts deprecated.
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(linear)
    wrapped = (
        linear,
        nn.DataParallel(linear),
        torch.compile(linear, backend="eager"),
        torch.fx.symbolic_trace(linear),
        scripted,
    )
    outputs = [SpikingSequential(cast(nn.Module, module))(sequence())[0] for module in wrapped]
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])
    cell = nn.GRUCell(4, 3)
    output, (state,) = SpikingSequential(cast(nn.Module, torch.compile(cell, backend="eager")))(sequence())
    torch.testing.assert_close((output, state), (SpikingSequential(cell)(sequence())[0], output[-1]))


@pytest.mark.parametrize(("steps", "batch"), [(5, 2), (0, 2), (5, 0)])
def test_ordinary_modules_see_time_and_batch_as_one(steps: int, batch: int) -> None:
    torch.manual_seed(3)
    convolution, readout = nn.Conv2d(1, 2, 3), nn.Linear(2 * 4 * 4, 5)
    network = SpikingSequential(convolution, nn.ReLU(), nn.Flatten(), readout, QLIF(5, seed=1), nn.Linear(5, 2))
    images = torch.rand(steps, batch, 1, 6, 6)
    output, states = network(images)
    assert output.shape == (steps, batch, 2)
    assert isinstance(states[0], QLIFState)
    assert states[0].voltage.shape == (batch, 5)
    if steps and batch:
        one = readout(convolution(images[3]).relu().flatten(1))
        current = SpikingSequential(convolution, nn.ReLU(), nn.Flatten(), readout)(images)[0]
        torch.testing.assert_close(current[3], one)


def test_a_chain_copies_converts_and_saves() -> None:
    network = chain()
    _, states = network(sequence())
    twin = copy.deepcopy(network)
    assert torch.equal(twin(sequence(), states)[0], network(sequence(), states)[0])
    fresh = chain()
    fresh.load_state_dict(network.state_dict())
    assert network.double()(sequence().double())[0].dtype == torch.float64


def test_a_chain_without_spiking_modules_has_no_states() -> None:
    output, states = SpikingSequential(nn.Identity())(sequence())
    assert torch.equal(output, sequence())
    assert states == ()


def test_bad_chains_are_refused() -> None:
    with pytest.raises(ArgumentError, match="`modules` must hold at least one module, but is empty"):
        SpikingSequential()
    with pytest.raises(DtypeError, match="`modules` must hold torch modules, but holds int"):
        SpikingSequential(nn.Linear(2, 2), 3)  # type: ignore[arg-type]


def test_a_wrong_number_of_states_is_refused() -> None:
    network = chain()
    _, states = network(sequence())
    with pytest.raises(ShapeError, match="`states` must hold 2 states, one per module with a state, but holds 1"):
        network(sequence(), states[:1])
    with pytest.raises(ShapeError, match="`states` must hold 2 states, one per module with a state, but holds 3"):
        network(sequence(), (*states, states[0]))


@pytest.mark.parametrize("states", [5, "ab"])
def test_states_of_a_wrong_type_are_refused(states: object) -> None:
    with pytest.raises(QLIFError, match=r"`states?` must .*, but (is|holds)"):
        chain()(sequence(), states)


def test_states_in_the_wrong_order_are_refused() -> None:
    network = chain()
    _, states = network(sequence())
    with pytest.raises(ShapeError, match=r"`state.voltage` must have shape \(3, 6\), but has shape \(3, 2\)"):
        network(sequence(), states[::-1])


@pytest.mark.parametrize("value", [torch.ones(4), torch.tensor(1.0), [[1.0]]])
def test_a_sequence_without_time_and_batch_is_refused(value: object) -> None:
    with pytest.raises(QLIFError, match="`sequence` must"):
        chain()(value)
