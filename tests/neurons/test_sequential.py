"""Chains of layers carry the states of all of them."""

import copy

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, QLIFState, SpikingSequential
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
    for found, wanted in zip(states, (state, last), strict=True):
        assert isinstance(found, QLIFState)
        for value, other in zip(found, wanted, strict=True):
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
    nested = SpikingSequential(*inner.chain[:1], SpikingSequential(*inner.chain[1:3]), inner.chain[3])
    expected, _ = flat(sequence())
    first, states = nested(sequence()[:5])
    second, _ = nested(sequence()[5:], states)
    assert torch.equal(torch.cat((first, second)), expected)
    assert isinstance(states[0], tuple)
    assert isinstance(states[0][0], QLIFState)


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
    with pytest.raises(ShapeError, match="`states` must hold 2 states, one per spiking module, but holds 1"):
        network(sequence(), states[:1])
    with pytest.raises(ShapeError, match="`states` must hold 2 states, one per spiking module, but holds 3"):
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
