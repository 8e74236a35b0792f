"""Integrators, readouts, recurrence, dropout over time, and the parts of a chain."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, BrandPetruccione, LeakyIntegrator, Readout, Recurrent, SpikingSequential, TimeDropout, detach
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons import TemporalModule, value_gradients


def noise(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("decay_input", [True, False])
def test_an_integrator_is_a_sum_of_decaying_inputs(decay_input: bool) -> None:
    """V[t] − V_rest = Σ (1 − dt/τ)^(t − s) f R I[s], with f = dt/τ or 1."""
    current, tau = noise(30, 2, 3), torch.tensor([2.0, 5.0, 20.0])
    layer = LeakyIntegrator(3, tau=tau, dt=0.5, V_rest=-0.2, R=1.5, decay_input=decay_input).double()
    voltages, state = layer(current)
    step = 0.5 / tau.double()
    steps = torch.arange(30.0)
    kernel = torch.tril(torch.ones(30, 30)).unsqueeze(-1) * (1 - step) ** (steps[:, None] - steps).clamp(min=0).unsqueeze(-1)
    expected = torch.einsum("tsn,sbn->tbn", kernel, 1.5 * current * (step if decay_input else 1.0)) - 0.2
    torch.testing.assert_close(voltages, expected)
    assert torch.equal(state.voltage, voltages[-1])


def test_an_integrator_is_the_membrane_of_a_neuron_that_never_spikes() -> None:
    current = noise(20, 2, 6).reshape(20, 2, 2, 3)
    tau = torch.tensor([[4.0], [9.0]])
    neuron = QLIF((2, 3), tau=tau, V_th=1e6, quantum_mode=False, V_rest=0.1).double()
    voltages, state = LeakyIntegrator((2, 3), tau=tau, V_rest=0.1).double()(current)
    _, expected = neuron(current)
    torch.testing.assert_close(state.voltage, expected.voltage)
    assert voltages.shape == current.shape


@pytest.mark.parametrize("over_time", ["mean", "last", "max"])
def test_a_readout_gives_one_answer_per_sequence(over_time: str) -> None:
    current = noise(15, 4, 3)
    voltages, _ = LeakyIntegrator(3, tau=4.0).double()(current)
    answer, state = Readout(3, over_time=over_time, tau=4.0).double()(current)
    reduced = {"mean": voltages.mean(0), "last": voltages[-1], "max": voltages.amax(0)}[over_time]
    assert torch.equal(answer, reduced)
    assert torch.equal(state.voltage, voltages[-1])


@pytest.mark.parametrize("over_time", ["mean", "last", "max"])
def test_a_readout_without_a_membrane_reads_its_input(over_time: str) -> None:
    current = noise(15, 4, 6).reshape(15, 4, 2, 3)
    answer, state = Readout((2, 3), over_time=over_time, tau=None)(current)
    # The membrane of τ = dt follows its input within one step.
    followed, after = Readout((2, 3), over_time=over_time, tau=1.0).double()(current)
    torch.testing.assert_close(answer, followed)
    torch.testing.assert_close(state.voltage, after.voltage)
    assert torch.equal(answer, {"mean": current.mean(0), "last": current[-1], "max": current.amax(0)}[over_time])
    with pytest.raises(ShapeError, match=r"`sequence` must have shape \(time, batch, 2, 3\)"):
        Readout((2, 3), tau=None)(noise(15, 4, 6))
    with pytest.raises(UnsupportedError, match="must have at least one step for a readout"):
        Readout(6, tau=None)(noise(0, 4, 6))


@pytest.mark.parametrize(
    ("name", "value"),
    [("dt", 0.5), ("V_rest", torch.ones(2)), ("R", (2.0, 1.0)), ("decay_input", False), ("learnable", ["tau"])],
)
def test_a_readout_without_a_membrane_refuses_what_shapes_one(name: str, value: object) -> None:
    with pytest.raises(UnsupportedError, match=f"Argument `{name}` would be ignored: it needs tau, but tau is None"):
        Readout(2, tau=None, **{name: value})  # type: ignore[arg-type]


class Noisy(nn.Linear):
    """A layer that draws, and so must see every step."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + torch.randn(len(input), 1)


def test_an_input_that_is_the_same_at_every_step_passes_once_what_draws_nothing() -> None:
    image = torch.rand(2, 4, generator=torch.Generator().manual_seed(1))
    rows = []
    torch.manual_seed(0)
    linear, last = nn.Linear(4, 6), nn.Linear(3, 2)
    for module in (linear, last):
        module.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    for neurons in (QLIF(6, seed=1), BrandPetruccione(3)):
        between = nn.Identity() if isinstance(neurons, BrandPetruccione) else nn.Linear(6, 3)
        chain = SpikingSequential(nn.Sequential(linear, nn.ReLU()), neurons, between, last)
        results, gradients = [], []
        for sequence in (image.expand(5, -1, -1), image.expand(5, -1, -1).clone()):
            if isinstance(neurons, QLIF):
                neurons.seeds.position = 0
            chain.zero_grad()
            output, _ = chain(sequence)
            output.square().sum().backward()
            results.append(output)
            assert linear.weight.grad is not None
            gradients.append(linear.weight.grad.clone())
        assert rows == [2, 10, 10, 10]
        rows.clear()
        torch.testing.assert_close(*results)
        torch.testing.assert_close(*gradients)
    for drawing in (nn.Dropout(0.5), Noisy(4, 4), nn.Sequential(nn.Linear(4, 4), Noisy(4, 4))):
        output, _ = SpikingSequential(drawing)(image.expand(5, -1, -1))
        assert not torch.equal(output[0], output[1])


def test_a_readout_learns_its_time_constant_and_stands_last_in_a_chain() -> None:
    network = SpikingSequential(nn.Linear(4, 3), QLIF(3, seed=0, tau=2.0), nn.Linear(3, 2), Readout(2, learnable=("tau",)))
    answer, states = network(3 * noise(12, 5, 4).float())
    assert answer.shape == (5, 2)
    assert len(states) == 2
    answer.square().sum().backward()
    assert (value_gradients(network)["chain.3.integrator.tau"] != 0).all()
    assert not network.keeps_time
    for chain in ([network, nn.Linear(2, 2)], [nn.Sequential(nn.Identity(), network), nn.ReLU()], [Readout(2), QLIF(2)]):
        with pytest.raises(UnsupportedError, match=r"must hold a .* last, whose output has no time, but one follows it"):
            SpikingSequential(*chain)
    with pytest.raises(UnsupportedError, match="must hold a Readout last"):
        Recurrent(Readout(2), nn.Linear(2, 2))


def test_bad_integrators_and_readouts_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"Argument `over_time` must be .*, but is 'sum'"):
        Readout(2, over_time="sum")
    with pytest.raises(ArgumentError, match="learnable parameter"):
        LeakyIntegrator(2, learnable=("V_th",))
    with pytest.raises(ArgumentError, match=r"`tau` must be at least dt = 1, but is 0.5"):
        LeakyIntegrator(2, tau=0.5)
    with pytest.raises(ShapeError, match=r"`current` must have shape \(time, batch, 2\)"):
        LeakyIntegrator(2)(torch.zeros(4, 2, 3))
    with pytest.raises(DtypeError, match="`state` must be a LeakyIntegratorState or None, but is Tensor"):
        LeakyIntegrator(2)(torch.zeros(4, 1, 2), torch.zeros(1, 2))
    with pytest.raises(ShapeError, match=r"`state.voltage` must have shape \(1, 2\), but has shape \(3, 2\)"):
        LeakyIntegrator(2)(torch.zeros(4, 1, 2), LeakyIntegrator(2)(torch.zeros(1, 3, 2))[1])
    with pytest.raises(UnsupportedError, match="must have at least one step for a readout, but has none"):
        Readout(2)(torch.zeros(0, 1, 2))


# Recurrence -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["auto", "off"])
def test_recurrence_is_the_loop_by_hand(kernel: str) -> None:
    torch.manual_seed(0)
    connection = nn.Linear(5, 5)
    current = 2 * torch.rand(20, 3, 5)
    spikes, state = Recurrent(QLIF(5, seed=1, tau=2.0, kernel=kernel), connection)(current)
    layer, before = QLIF(5, seed=1, tau=2.0, kernel=kernel), None
    expected: list[Tensor] = []
    for now in current:
        output, before = layer.step(now + connection(expected[-1]) if expected else now, before)
        expected.append(output)
    assert torch.equal(spikes, torch.stack(expected))
    assert 0.05 < spikes.mean() < 0.95
    assert before is not None
    assert torch.equal(state.layer[0].voltage, before.voltage)
    spikes.sum().backward()
    assert connection.weight.grad is not None


def recurrent(seed: int = 2) -> dict[str, tuple[Recurrent, int]]:
    """Recurrent layers of every kind, with the width of their input."""
    torch.manual_seed(seed)
    delayed = SpikingSequential(nn.Linear(4, 4), LeakyIntegrator(4, tau=3.0))
    maps = nn.Conv2d(2, 2, 3, padding=1)
    return {
        "plain": (Recurrent(QLIF(4, seed=1, tau=2.0), nn.Linear(4, 4)), 4),
        "a connection with a state": (Recurrent(QLIF(4, seed=1, tau=2.0), delayed), 4),
        "two layers": (Recurrent(SpikingSequential(QLIF(4, seed=1, tau=2.0), QLIF(4, seed=2, tau=1.0)), nn.Linear(4, 4)), 4),
        "rotated": (Recurrent(BrandPetruccione(4, seed=1), nn.Linear(4, 8)), 8),
        "maps": (Recurrent(SpikingSequential(QLIF((2, 3, 3), seed=1, tau=2.0)), maps), 18),
        "in a chain": (Recurrent(SpikingSequential(Recurrent(QLIF(4, seed=1, tau=2.0), nn.Linear(4, 4))), nn.Linear(4, 4)), 4),
    }


@pytest.mark.parametrize("kind", recurrent())
def test_the_state_of_a_recurrent_layer_carries_everything(kind: str) -> None:
    (whole, width), (parts, _) = recurrent()[kind], recurrent()[kind]
    current = 2 * noise(14, 2, width).float()
    if kind == "maps":
        current = current.reshape(14, 2, 2, 3, 3)
    expected, _ = whole(current)
    outputs, state = [], None
    for chunk in (current[:1], current[1:6], current[6:]):
        output, state = parts(chunk, detach(state))
        outputs.append(output)
    assert torch.equal(torch.cat(outputs), expected)
    assert expected.sum() > 3
    inner = SpikingSequential(nn.Identity(), whole)
    assert inner(current)[0].shape == expected.shape


def test_bad_recurrence_is_refused() -> None:
    with pytest.raises(DtypeError, match="`connection` must be a torch module, but is int"):
        Recurrent(QLIF(2), 3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"`connection` must return \(1, 3\) like the input, but returned \(1, 1\)"):
        Recurrent(QLIF(3), nn.Linear(3, 1))(torch.zeros(3, 1, 3))
    with pytest.raises(ShapeError, match="at least one step for a recurrent layer"):
        Recurrent(QLIF(3), nn.Linear(3, 3))(torch.zeros(0, 1, 3))
    with pytest.raises(DtypeError, match="`state` must be a RecurrentState or None, but is tuple"):
        Recurrent(QLIF(3), nn.Linear(3, 3))(torch.zeros(2, 1, 3), ())


# Dropout ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [False, True])
def test_dropout_over_time_drops_the_same_at_every_step(channels: bool) -> None:
    torch.manual_seed(0)
    layer = TimeDropout(0.25, channels=channels)
    ones = torch.ones(6, 50, 20, 3, 3)
    output, state = layer(ones)
    assert (output == output[:1]).all()
    assert sorted(set(output.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    assert ((output == output[..., :1, :1]).all() == channels).item()
    draws = 50 * 20 * (1 if channels else 9)
    rate = float((output[0] > 0).float().mean())
    # False-fail rate 1e-9: 6.1 standard deviations.
    assert abs(rate - 0.75) < 6.1 * (0.25 * 0.75 / draws) ** 0.5
    again, _ = layer(ones, state)
    assert torch.equal(again, output)
    assert torch.equal(layer.eval()(ones)[0], ones)


def test_bad_dropout_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"Argument `p` must be .* but is 1"):
        TimeDropout(1.0)
    with pytest.raises(DtypeError, match="`state` must be a DropoutState or None, but is int"):
        TimeDropout()(torch.ones(2, 3, 4), 3)
    with pytest.raises(ShapeError, match=r"`state.mask` must have shape \(3, 4\), but has shape \(2, 4\)"):
        TimeDropout()(torch.ones(2, 3, 4), TimeDropout()(torch.ones(2, 2, 4))[1])


def test_batch_normalisation_in_a_chain_averages_over_time_too() -> None:
    signal = 3 + 2 * noise(10, 8, 4).float()
    normalised, _ = SpikingSequential(nn.BatchNorm1d(4))(signal)
    torch.testing.assert_close(normalised.mean(dim=(0, 1)), torch.zeros(4), rtol=0, atol=1e-5)
    assert not torch.allclose(normalised.mean(dim=1), torch.zeros(10, 4), atol=0.1)


# Chains -----------------------------------------------------------------------------------------------------------------------


def test_a_chain_has_a_length_names_and_parts() -> None:
    weights, hidden, last = nn.Linear(3, 4), QLIF(4, seed=0), nn.Linear(4, 2)
    network = SpikingSequential({"weights": weights, "hidden": hidden, "last": last})
    assert len(network) == 3
    assert network[1] is network["hidden"] is hidden
    assert network[-1] is last
    assert list(network) == [weights, hidden, last]
    part = network[:2]
    assert isinstance(part, SpikingSequential)
    assert part["hidden"] is hidden
    assert {name.rsplit(".", 1)[0] for name in network.state_dict()} >= {
        "chain.weights",
        "chain.hidden.constants.tau",
        "chain.last",
    }
    plain = SpikingSequential(nn.Linear(3, 4), hidden)
    assert set(plain.state_dict()) >= {"chain.0.weight", "chain.1.constants.tau.value"}
    with pytest.raises(ArgumentError, match=r"hiden.*hidden"):
        network["hiden"]
    for name in ("a.b", "", "forward", 3):
        with pytest.raises(ArgumentError, match="`modules` must have names that torch allows"):
            SpikingSequential({name: hidden})  # type: ignore[dict-item]
    with pytest.raises(ArgumentError, match="must hold at least one module, but is empty"):
        SpikingSequential({})


class Delay(TemporalModule):
    """A module of one's own: the input of the step before."""

    def forward(self, sequence: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        before = torch.zeros_like(sequence[0]) if state is None else state["last"]
        return torch.cat((before.unsqueeze(0), sequence[:-1])), {"last": sequence[-1]}


def test_a_module_of_ones_own_stands_in_a_chain() -> None:
    network = SpikingSequential(Delay(), nn.Identity(), Delay())
    signal = noise(8, 2, 3)
    first, states = network(signal[:3])
    second, _ = network(signal[3:], detach(states))
    assert torch.equal(torch.cat((first, second))[2:], signal[:-2])


def test_detach_cuts_every_kind_of_state_and_keeps_its_form() -> None:
    grown = torch.ones(2, requires_grad=True) * 2
    _, state = QLIF(2)(grown.expand(3, 1, 2))
    found: Any = detach((state, [grown], {"mem": grown, "step": 3}, None))
    assert isinstance(found[0], type(state))
    assert torch.equal(found[0].voltage, state.voltage)
    assert not found[0].voltage.requires_grad
    assert not found[1][0].requires_grad
    assert not found[2]["mem"].requires_grad
    assert (found[2]["step"], found[3]) == (3, None)
    assert isinstance(found[1], list)


def test_truncated_backpropagation_has_the_gradients_of_each_chunk() -> None:
    """The sum over chunks of gradients that stop at their starts, which a detached state gives."""
    torch.manual_seed(1)
    network, state = Recurrent(QLIF(4, seed=3, tau=2.0), nn.Linear(4, 4)), None
    for chunk in 2 * torch.rand(4, 5, 2, 4):
        spikes, state = network(chunk, state)
        spikes.sum().backward()
        state = detach(state)
    assert all(parameter.grad is not None for parameter in network.parameters())
    with pytest.raises(QLIFError):
        network(torch.rand(5, 3, 4), state)
