"""Neurons as spike-train circuits: every train has the probability that the host loop's steps give it."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, get
from qlifq.circuits import LeakySpike, SpikeTrainCircuit
from qlifq.errors import ArgumentError, ShapeError, UnsupportedError
from qlifq.neurons import QLIF, SpikingSequential, compile_network, integrate, settle, simulate
from qlifq.neurons.formula import angle_of

STEPS = 8


def trains(steps: int) -> Tensor:
    """All trains, `(steps, 2**steps, 1)`, in the order of `SpikeTrainCircuit.distribution`."""
    return ((torch.arange(2**steps)[None, :] >> torch.arange(steps)[:, None]) & 1).double().unsqueeze(-1)


def by_the_steps(layer: QLIF, current: Tensor, modulation: Tensor | None = None) -> Tensor:
    """The probability of every train, `(2**steps, num_neurons)`, by the formulas of the host loop step by step."""
    steps, _, neurons = current.shape
    spikes = trains(steps).expand(-1, -1, neurons)
    state, dynamics, values = layer.initial_state(2**steps), layer.dynamics(), layer._values()
    chance = torch.ones(2**steps, neurons, dtype=torch.float64)
    for step in range(steps):
        m = None if modulation is None else modulation[step]
        active = state.refractory == 0
        state, gap = integrate(state, current[step].expand_as(state.voltage), dynamics, modulation=m)
        one = (angle_of(layer.settings, values, state, gap, dynamics, m) / 2).sin().square() * active
        chance = chance * torch.where(spikes[step] > 0, one, 1 - one)
        state = settle(state, spikes[step], dynamics, modulation=m)
    return chance


def random_neuron(kind: str, seed: int) -> tuple[QLIF, Tensor]:
    """A neuron of a kind with random parameters and input, in float64."""
    source = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> tuple[float, ...]:
        return tuple((low + (high - low) * torch.rand(3, generator=source, dtype=torch.float64)).tolist())

    parameters: dict[str, Any] = {"tau": uniform(1.5, 20.0), "V_th": uniform(0.6, 1.4), "q_scale": uniform(1.0, 6.0)}
    parameters |= {"q_bias": uniform(-0.5, 1.5), "quantum_leak": uniform(0.0, 0.3)}
    if kind == "additive":
        parameters |= {"reset": "soft", "mapping": "linear", "decay_input": bool(seed % 4)}
        if seed % 2:
            parameters |= {"spike_increase": uniform(0.05, 0.5), "adaptation_decay": uniform(0.5, 0.95)}
        if seed % 3 == 2:
            parameters |= {"reset_scale": uniform(0.3, 1.5)}
        if seed % 3 == 1:
            parameters |= {"use_ahp": True, "tau_ahp": uniform(2.0, 9.0), "ahp_jump": 0.2}
    else:
        parameters |= {"V_reset": uniform(-0.3, 0.3), "mapping": ("sigmoid", "linear", "tanh")[seed % 3]}
        parameters |= {"refractory_period": (0, 0, 2, 3, 9)[seed % 5]}
        if seed % 3 == 1 and not parameters["refractory_period"]:
            parameters |= {"use_adaptive_threshold": True, "eta": uniform(0.01, 0.1), "max_threshold": 9.0}
        elif seed % 4 == 3:
            parameters |= {"membrane": "quadratic", "V_rest": -0.5, "V_min": -1.0}
    layer = QLIF(3, **parameters).double()
    return layer, torch.rand(STEPS, 1, 3, generator=source, dtype=torch.float64) * 5


KINDS = ("additive", "renewal")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_every_train_has_the_probability_that_the_steps_give_it(kind: str, seed: int) -> None:
    layer, current = random_neuron(kind, seed)
    expected = by_the_steps(layer, current)
    exact = layer.train_circuit(current, tolerance=0.0)
    assert torch.allclose(exact.distribution()[:, 0], expected, rtol=0, atol=1e-13)
    # P(1) of each of 8 decisions is wrong by 1e-4 at most, and so is the distribution in total variation by 8e-4.
    usual = layer.train_circuit(current)
    assert usual.error <= 2e-4
    assert usual.conditionals <= exact.conditionals
    assert float((usual.distribution()[:, 0] - expected).abs().sum(0).max()) < 2 * STEPS * 1e-4


def test_an_additive_neuron_in_plain_python() -> None:
    """V ← V + a (I − V) with a soft reset, written once more."""
    inputs, tau, q_scale, q_bias, threshold = [2.0, 0.3, 1.7, 2.2, 0.9], 4.0, 1.5, 1.25, 0.75
    layer = QLIF(1, tau=tau, reset="soft", mapping="linear", q_scale=q_scale, q_bias=q_bias, V_th=threshold).double()
    found = layer.train_circuit(torch.tensor(inputs, dtype=torch.float64)[:, None, None], tolerance=0.0).distribution()
    for number, bits in enumerate(itertools.product((0, 1), repeat=5)):
        voltage, chance = 0.0, 1.0
        for given, bit in zip(inputs, bits[::-1], strict=True):
            voltage += (given - voltage) / tau
            one = math.sin((q_scale * (voltage - threshold) + q_bias) / 2) ** 2
            chance *= one if bit else 1 - one
            voltage -= bit * threshold
        # The last factor of a product turns fastest: bit t of the number is the spike at step t.
        assert float(found[number]) == pytest.approx(chance, abs=1e-14)


def test_the_default_neuron_in_plain_python() -> None:
    """The sigmoid of V with a hard reset and a refractory period, written once more."""
    inputs, tau, period = [6.0, 9.0, 7.5, 9.2, 5.9], 4.0, 1
    layer = QLIF(1, tau=tau, refractory_period=period).double()
    found = layer.train_circuit(torch.tensor(inputs, dtype=torch.float64)[:, None, None], tolerance=0.0).distribution()
    for number, bits in enumerate(itertools.product((0, 1), repeat=5)):
        voltage, chance, waiting = 0.0, 1.0, 0
        for given, bit in zip(inputs, bits[::-1], strict=True):
            voltage += 0.0 if waiting else (given - voltage) / tau
            angle = math.pi / (1 + math.exp(-4 * (voltage - 1)))
            one = 0.0 if waiting else math.sin(angle / 2) ** 2
            chance *= one if bit else 1 - one
            voltage = 0.0 if bit else voltage
            waiting = period if bit else max(waiting - 1, 0)
        assert float(found[number]) == pytest.approx(chance, abs=1e-14)


@pytest.mark.parametrize("mode", ["gain", "threshold", "prob_slope"])
@pytest.mark.parametrize("kind", KINDS)
def test_modulation_and_a_state_are_part_of_the_program(kind: str, mode: str) -> None:
    parameters: dict[str, Any] = {"reset": "soft", "mapping": "linear"} if kind == "additive" else {}
    layer = QLIF(3, neuromod_mode=mode, tau=4.0, **parameters).double()
    source = torch.Generator().manual_seed(4)
    current = torch.rand(STEPS, 1, 3, generator=source, dtype=torch.float64) * 3
    modulation = torch.rand(STEPS, 1, 1, generator=source, dtype=torch.float64)
    program = layer.train_circuit(current, modulation=modulation, tolerance=0.0)
    assert torch.allclose(program.distribution()[:, 0], by_the_steps(layer, current, modulation), rtol=0, atol=1e-13)
    # A sequence cut in two: the second half from the state after a silent first one is the silent branch of the whole.
    _, state = QLIF.forward(layer, current[:4] * 0)
    whole = layer.train_circuit(torch.cat((current[:4] * 0, current[4:])), tolerance=0.0)
    half = layer.train_circuit(current[4:], state=layer.initial_state(1)._replace(voltage=state.voltage * 0), tolerance=0.0)
    assert torch.allclose(whole.base[4:], half.base, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tolerance", [0.01, 0.1, 0.5])
def test_no_angle_is_further_off_than_the_error_that_is_stated(kind: str, tolerance: float) -> None:
    for seed in range(6):
        layer, current = random_neuron(kind, seed)
        exact, fewer = layer.train_circuit(current, tolerance=0.0), layer.train_circuit(current, tolerance=tolerance)
        bits = (trains(STEPS) > 0).permute(1, 0, 2).unsqueeze(-1).expand(-1, -1, 1, 3)
        worst = 0.0
        for step in range(STEPS):
            totals = []
            for program in (exact, fewer):
                total = program.base[step].expand(len(bits), -1, -1)
                for number in program.by_step[step]:
                    condition = program.conditions[number]
                    holds = bits[:, condition.first : condition.last + 1].any(1)
                    if condition.newest:
                        holds = holds & ~bits[:, condition.last + 1 : step].any(1)
                    total = total + holds * program.angles[number]
                totals.append(total)
            worst = max(worst, float((totals[0] - totals[1]).abs().max()))
        assert worst <= fewer.error + 1e-12
        assert fewer.error <= tolerance
        assert fewer.conditionals <= exact.conditionals


FAULTS: dict[str, Callable[[SpikeTrainCircuit], SpikeTrainCircuit]] = {
    "a wrong sign": lambda program: replace(program, angles=-program.angles),
    "the order of the bits swapped": lambda program: replace(
        program, conditions=tuple(replace(c, first=c.step - 1 - c.last, last=c.step - 1 - c.first) for c in program.conditions)
    ),
    "windows and weights one step too short": lambda program: replace(
        program, angles=program.angles * torch.tensor([c.first > 0 for c in program.conditions])[:, None, None]
    ),
    "no reset": lambda program: replace(program, reset=False),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_fault_is_seen_in_the_law(kind: str, fault: str) -> None:
    layer, current = random_neuron(kind, 2)
    wrong = FAULTS[fault](layer.train_circuit(current, tolerance=0.0))
    assert float((wrong.distribution()[:, 0] - by_the_steps(layer, current)).abs().sum(0).min()) > 0.02


def test_a_window_of_more_than_32_steps() -> None:
    """The default time constant remembers a spike for longer than an operand has bits: the law is that of the host loop."""
    layer = QLIF(1, tau=20.0).double()
    current = torch.full((60, 1, 1), 1.4, dtype=torch.float64)
    program = layer.train_circuit(current)
    assert max(condition.step - condition.first for condition in program.conditions) > 40
    assert program.error <= 2e-4
    rate = simulate(QLIF(1, tau=20.0, seed=5).double(), current.expand(-1, 40_000, -1)).spikes.mean(1)
    spread = (rate * (1 - rate) / 40_000).sqrt()
    # 60 two-sided tests at 1e-9 together.
    assert bool(((rate - program.moments().rate[:, 0]).abs() < 7.0 * spread + 1e-4).all())


class Once(Backend):
    """Measures a circuit once, at its end."""

    name = "once"
    capabilities = Capabilities(exact=True, shots=True, noisy=False, differentiable=False)

    def _execute(self, call: Call) -> Outcome:
        raise NotImplementedError


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"quantum_mode": False}, "`quantum_mode` must not be False .* no qubit decides"),
    ({"decision": "expectation"}, "`decision` must not be 'expectation'"),
    ({"decision": "threshold"}, "`decision` must not be 'threshold'"),
    ({"quantum_wire": 2, "shots": 1}, "`quantum_wire` must not be 2"),
    ({"noise_std": 0.1}, "`noise_std` must not be 0.1 .* drawn on the host"),
    ({"reset": "partial"}, "`reset` must not be 'partial'"),
    ({"allow_dynamic_spike_probability": True}, "`allow_dynamic_spike_probability` must not be True"),
    ({"homeostasis_enabled": True}, "`homeostasis_enabled` must not be True"),
    ({"depression_rate": 0.1}, "`depression_rate` must not be 0.1"),
    ({"reset": "soft"}, "`mapping` must not be 'sigmoid' .* with reset='soft' the angle must be a sum over the spikes"),
    ({"reset": "soft", "mapping": "tanh"}, "`mapping` must not be 'tanh'"),
    ({"reset": "soft", "mapping": "linear", "membrane": "quadratic"}, "`membrane` must not be 'quadratic'"),
    ({"reset": "soft", "mapping": "linear", "V_min": -1.0}, "`V_min` must not be -1.0"),
    ({"reset": "soft", "mapping": "linear", "refractory_period": 2}, "`refractory_period` must not be 2"),
    ({"reset": "soft", "mapping": "linear", "use_adaptive_threshold": True}, "`use_adaptive_threshold` .* with reset='soft'"),
    ({"spike_increase": 0.1}, "`spike_increase` must not be 0.1 .* follow the last spike alone"),
    ({"use_ahp": True}, "`use_ahp` must not be True"),
    ({"use_adaptive_threshold": True}, "`use_adaptive_threshold` must not be True .* mapping='linear' alone"),
    ({"use_adaptive_threshold": True, "mapping": "linear", "refractory_period": 1}, "`refractory_period` must not be 1"),
    ({"circuit": LeakySpike(0.3)}, r"`circuit` must be RYSpike .* but is \|0⟩ ──RY\(θ0\)──RX\(0.3\)──M"),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED)
def test_a_neuron_that_is_neither_is_refused_by_the_parameter_in_the_way(parameters: dict[str, Any], message: str) -> None:
    layer = QLIF(2, **parameters)
    with pytest.raises(UnsupportedError, match=message):
        layer.train_circuit(torch.zeros(3, 1, 2))
    with pytest.raises(UnsupportedError, match=message):
        QLIF(2, loop="circuit", **parameters)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda: QLIF(1, reset="soft", mapping="linear", use_ahp=True, ahp_jump=0.6).train_circuit(torch.zeros(9, 1, 1)),
            ArgumentError,
            "`ahp_jump` must keep H below 2 .* spikes at all 9 steps bring it to 4.6",
        ),
        (
            lambda: QLIF(1, mapping="linear", use_adaptive_threshold=True, eta=0.3).train_circuit(torch.zeros(9, 1, 1)),
            ArgumentError,
            "`max_threshold` must not be reached .* bring the threshold to 3.0",
        ),
        (
            lambda: QLIF(200).train_circuit(torch.zeros(1000, 1, 200)),
            ArgumentError,
            "at most 134,217,728 pairs of steps and neurons for one circuit, but has 200,200,000",
        ),
        (lambda: QLIF(1).train_circuit(torch.zeros(3, 1, 1), tolerance=-1.0), ArgumentError, "`tolerance` must be at least 0"),
        (lambda: QLIF(1, loop="device"), ArgumentError, "`loop` must be one of host, circuit, but is 'device'"),
        (lambda: QLIF(1, angle_tolerance=0.1), UnsupportedError, "`angle_tolerance` would be ignored"),
        (lambda: QLIF(1, loop="circuit", shots=5), UnsupportedError, "`shots` must be 1 with loop='circuit'.* but is 5"),
        (lambda: QLIF(1, loop="circuit", backend=Once()), UnsupportedError, "Backend once runs no spike trains"),
        (
            lambda: simulate(QLIF(1, backend=Once()), torch.zeros(3, 1, 1), mode="circuit"),
            UnsupportedError,
            "Backend once runs",
        ),
        (lambda: simulate(QLIF(1), torch.zeros(3, 1, 1), mode="device"), ArgumentError, "`mode` must be one of host, circuit"),
        (lambda: simulate(QLIF(1), torch.zeros(3, 1, 1), shots=5), UnsupportedError, "`shots` would be ignored"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(act: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act()


def test_the_circuit_loop_draws_from_the_host_loops_law() -> None:
    """Rate per step of 30,000 equal rows, which share one circuit, against the exact moments."""
    for kind in KINDS:
        layer, current = random_neuron(kind, 4)
        layer.loop = "circuit"
        spikes, _ = layer(current.expand(-1, 30_000, -1))
        rate = layer.train_circuit(current).moments().rate[:, 0]
        spread = (rate * (1 - rate) / 30_000).sqrt()
        # 24 two-sided tests at 1e-9 together.
        assert bool(((spikes.mean(1) - rate).abs() <= 6.9 * spread).all())


def test_equal_rows_share_a_circuit_and_different_ones_do_not() -> None:
    calls: list[tuple[int, int]] = []

    class Counting(type(get("analytic"))):  # type: ignore[misc]
        """Counts programs and shots."""

        def _execute_train(self, call: Any) -> Any:
            calls.append((call.train.batch, call.shots))
            return super()._execute_train(call)

    layer = QLIF(2, loop="circuit", backend=Counting(), seed=3)
    current = torch.tensor([15.0, 20.0, 15.0, 15.0, 30.0])[None, :, None].expand(30, -1, 2)
    spikes, state = layer(current)
    assert calls == [(3, 3)]
    assert spikes.shape == (30, 5, 2)
    assert not torch.equal(spikes[:, 0], spikes[:, 2])
    # The states differ now, and with them the programs of rows with the same input.
    layer(current, state)
    assert calls[1] == (5, 1)


@pytest.mark.parametrize("noise", [None, DeviceNoise(readout_p01=0.02, readout_p10=0.05, gate_error=0.01)])
@pytest.mark.parametrize("gradient", ["auto", "parameter-shift"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_host_loop_along_the_same_train(kind: str, gradient: str, noise: DeviceNoise | None) -> None:
    layer, current = random_neuron(kind, 3)
    parameters = {name: getattr(layer.settings, name) for name in ("tau", "V_th", "q_scale", "q_bias", "reset", "mapping")}
    circuit = QLIF(
        3,
        loop="circuit",
        backend=get("analytic", noise=noise),
        gradient=gradient,
        seed=7,
        learnable=("tau", "V_th", "q_scale", "q_bias"),
        **parameters,
    ).double()
    given = current.expand(-1, 4, -1).clone().requires_grad_()
    weights = torch.rand(STEPS, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    spikes, state = circuit(given)
    (spikes * weights).sum().backward()
    # The host loop with the uniform numbers replaced such that it draws the same train: by the steps of the formula.
    again = current.expand(-1, 4, -1).clone().requires_grad_()
    found = {name: parameter.grad.clone() for name, parameter in circuit.named_parameters() if parameter.grad is not None}
    circuit.zero_grad()
    expected, end = along(circuit, again, spikes.detach(), noise)
    torch.autograd.backward((expected * weights).sum())
    assert torch.equal(expected, spikes)
    assert given.grad is not None
    assert again.grad is not None
    assert torch.allclose(given.grad, again.grad, rtol=1e-9, atol=1e-12)
    assert len(found) == 4
    for name, parameter in circuit.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(found[name], parameter.grad, rtol=1e-9, atol=1e-12)
    assert all(torch.allclose(a, b) for a, b in zip(state, end, strict=True))


def along(layer: QLIF, current: Tensor, spikes: Tensor, noise: DeviceNoise | None) -> tuple[Tensor, Any]:
    """The host loop along given spikes: s carries the gradient of p, written here once more."""
    state, dynamics, values = layer.initial_state(current.shape[1]), layer.dynamics(), layer._values()
    backend, kept = get("analytic", noise=noise), []
    for step, now in enumerate(current):
        active = state.refractory == 0
        state, gap = integrate(state, now, dynamics)
        angle = angle_of(layer.settings, values, state, gap, dynamics, None)
        p = backend.run(layer.circuit, angle.unsqueeze(-1), shots=None, seed=None).probability * active
        kept.append(spikes[step] + (p - p.detach()))
        state = settle(state, kept[-1], dynamics)
    return torch.stack(kept), state


def test_simulate_keeps_every_shot() -> None:
    layer = QLIF(2, tau=4.0, seed=2)
    current = torch.rand(10, 3, 2, generator=torch.Generator().manual_seed(0)) * 3
    recording = simulate(layer, current, ("voltage", "probability"), mode="circuit", shots=50)
    assert recording.trains.shape == (50, 10, 3, 2)
    assert recording.spikes.shape == (10, 150, 2)
    assert torch.equal(recording.trains[7, :, 2], recording.spikes[:, 7 * 3 + 2])
    # What was recorded is the host loop along that train: a spike takes V to 0.
    assert bool((recording["voltage"][recording.spikes > 0] == 0).all())
    assert "50 shots" in str(recording)
    assert layer.loop == "host"
    again = simulate(QLIF(2, tau=4.0, seed=2, loop="circuit"), current)
    assert again.spikes.shape == (10, 3, 2)


def test_a_seed_replays_a_circuit_loop_and_a_layer_goes_on() -> None:
    current = torch.full((12, 4, 2), 1.5)
    first, again = (QLIF(2, loop="circuit", seed=9) for _ in range(2))
    assert torch.equal(first(current)[0], again(current)[0])
    assert not torch.equal(first(current)[0], QLIF(2, loop="circuit", seed=9)(current)[0])


def test_a_layer_with_a_shape_and_an_empty_batch() -> None:
    layer = QLIF((2, 3), loop="circuit", seed=1)
    spikes, state = layer(torch.full((5, 2, 2, 3), 2.0))
    assert spikes.shape == (5, 2, 2, 3)
    assert state.voltage.shape == (2, 2, 3)
    empty, _ = layer(torch.zeros(5, 0, 2, 3))
    assert empty.shape == (5, 0, 2, 3)
    assert layer.train_circuit(torch.zeros(5, 0, 2, 3)).base.shape == (5, 0, 6)


def test_a_spike_that_was_read_wrongly_begins_the_refractory_period_again() -> None:
    layer = QLIF(1, loop="circuit", refractory_period=3, backend=get("analytic", noise=DeviceNoise(readout_p01=0.9)), seed=1)
    spikes, state = layer(torch.full((6, 20, 1), 1.5))
    assert float(spikes.sum()) > 60
    assert float(state.refractory.max()) <= 3


def a_network(hidden: dict[str, Any], seed: int = 0) -> SpikingSequential:
    """Two inputs, two hidden neurons, two neurons that they drive."""
    source = torch.Generator().manual_seed(seed)
    additive = {"reset": "soft", "mapping": "linear", "tau": 3.0, "q_scale": 2.0, "q_bias": 1.3}
    last = {**additive, "spike_increase": 0.2}
    network = SpikingSequential(nn.Linear(2, 2), QLIF(2, **hidden), nn.Linear(2, 2), QLIF(2, **last)).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in [*network[0].parameters(), *network[2].parameters()]:
            parameter.copy_(torch.randn(parameter.shape, generator=source, dtype=torch.float64) * 2)
    return network


NETWORKS: dict[str, dict[str, Any]] = {
    "additive": {"reset": "soft", "mapping": "linear", "tau": 4.0},
    "renewal": {"tau": 3.0, "refractory_period": 1},
}


@pytest.mark.parametrize("hidden", NETWORKS.values(), ids=NETWORKS)
def test_a_network_in_one_circuit_has_the_joint_law_of_its_steps(hidden: dict[str, Any]) -> None:
    """All 2^12 trains of four neurons over three steps, driven through the host loop's formulas layer by layer."""
    steps, network = 3, a_network(hidden)
    sequence = torch.rand(steps, 1, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 3
    circuit = compile_network(network, sequence, tolerance=0.0)
    joint = trains(4 * steps)[:, :, 0].T.reshape(-1, steps, 4)
    expected = torch.ones(len(joint), dtype=torch.float64)
    spikes = network[0](sequence).detach()
    for part, place in ((1, slice(0, 2)), (3, slice(2, 4))):
        layer = network[part]
        assert isinstance(layer, QLIF)
        given = spikes.expand(-1, len(joint), -1) if part == 1 else network[2](joint[..., :2].transpose(0, 1)).detach()
        state, dynamics, values = layer.initial_state(len(joint)), layer.dynamics(), layer._values()
        for step in range(steps):
            active = state.refractory == 0
            state, gap = integrate(state, given[step], dynamics)
            one = (angle_of(layer.settings, values, state, gap, dynamics, None) / 2).sin().square() * active
            bit = joint[:, step, place]
            expected = expected * torch.where(bit > 0, one, 1 - one).prod(-1).detach()
            state = settle(state, bit, dynamics)
    found = circuit.train.probability((joint > 0).unsqueeze(2)).prod(-1)[:, 0]
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)
    assert float(found.sum()) == pytest.approx(1.0)


def test_a_network_in_one_circuit_spikes_as_it_does_layer_by_layer() -> None:
    network = a_network(NETWORKS["renewal"])
    sequence = torch.rand(10, 1, 2, generator=torch.Generator().manual_seed(6), dtype=torch.float64) * 3
    circuit = compile_network(network, sequence)
    assert circuit.train.error <= 2e-4
    backend = get("analytic")
    plan = backend.plan_train(circuit.train, shots=20_000)
    assert plan.evaluations == 40
    assert plan.conditionals == circuit.train.conditionals > 100
    last = circuit.spikes(backend.run_train(circuit.train, shots=20_000, seed=2))[1].double().mean(0)[:, 0]
    host = network(sequence.expand(-1, 20_000, -1))[0].detach().mean(1)
    # 20 two-sided tests of a difference at 1e-9 together.
    assert bool(((last - host).abs() < 6.9 * (2 * 0.25 / 20_000) ** 0.5).all())
    reference = circuit.spikes(get("reference").run_train(circuit.train, shots=4_000, seed=2))[1].double().mean(0)[:, 0]
    assert bool(((reference - host).abs() < 6.9 * (0.25 / 4_000 + 0.25 / 20_000) ** 0.5).all())


ADDITIVE: dict[str, Any] = {"reset": "soft", "mapping": "linear"}


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.Linear(2, 2), QLIF(2), nn.Linear(2, 2), QLIF(2)], "`reset` must be 'soft' .* drive each other, but is 'hard'"),
        ([nn.Linear(2, 2), QLIF(2), nn.ReLU(), QLIF(2)], "but holds ReLU where Linear must be"),
        ([nn.Linear(2, 2), QLIF(2), nn.Linear(2, 2)], "must end with a QLIF layer"),
        ([nn.Linear(2, 2)], "must end with a QLIF layer"),
        ([QLIF(2), nn.Linear(2, 2), nn.Linear(2, 2), QLIF(2), QLIF(2)], "but holds Linear where QLIF must be"),
        ([QLIF(2, noise_std=0.1)], "`noise_std` must not be 0.1"),
    ],
)
def test_a_network_beyond_one_circuit_is_refused(modules: list[nn.Module], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        compile_network(SpikingSequential(*modules), torch.zeros(3, 1, 2))


def test_a_network_that_is_too_large_or_does_not_fit_is_refused() -> None:
    wide = SpikingSequential(QLIF(2), nn.Linear(2, 400), QLIF(400, **ADDITIVE))
    with pytest.raises(ArgumentError, match=r"at most 33,554,432 rotations .* needs up to 48,000,000 for 2 and 400 neurons"):
        compile_network(wide, torch.zeros(200, 1, 2))
    with pytest.raises(ShapeError, match="a Linear of 2 to 3 between these layers, but has one of 2 to 4"):
        compile_network(SpikingSequential(QLIF(2), nn.Linear(2, 4), QLIF(3, **ADDITIVE)), torch.zeros(3, 1, 2))


def test_the_derivatives_of_a_whole_train_are_one_call() -> None:
    """On a backend without autograd: one train, and one submission of shifted evaluations when the backward pass begins."""
    calls: list[str] = []

    class Counting(type(get("reference"))):  # type: ignore[misc]
        """Counts what it runs."""

        def _execute(self, call: Any) -> Any:
            calls.append("evaluations")
            return super()._execute(call)

        def _execute_train(self, call: Any) -> Any:
            calls.append("train")
            return super()._execute_train(call)

    current = torch.full((6, 2, 2), 5.0, dtype=torch.float64, requires_grad=True)
    layer = QLIF(2, tau=4.0, loop="circuit", backend=Counting(), seed=1).double()
    spikes, _ = layer(current)
    assert calls == ["train"]
    spikes.sum().backward()
    assert calls == ["train", "evaluations"]
    assert current.grad is not None
    again = current.detach().requires_grad_()
    torch.autograd.backward(along(layer, again, spikes.detach(), None)[0].sum())
    assert again.grad is not None
    assert torch.allclose(current.grad, again.grad, rtol=1e-9, atol=1e-12)
