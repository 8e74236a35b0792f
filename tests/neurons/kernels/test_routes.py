"""A kernel and the step loop are the same neuron: values, gradients, draws, and everything torch does with a layer."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from qlifq import QLIF, BrandPetruccione, simulate
from qlifq.backends import DeviceNoise, get
from qlifq.circuits import LeakySpike
from qlifq.neurons import formula, routes
from qlifq.neurons.dynamics import Dynamics, settle
from qlifq.neurons.mapping import MAPPINGS, AngleMapping
from qlifq.neurons.membrane import MEMBRANES, Membrane
from qlifq.neurons.state import QLIFState
from qlifq.neurons.surrogates import SURROGATES

NEURONS, BATCH, STEPS = 9, 3, 13
TRAINED: dict[str, Any] = {"learnable_threshold": True, "learnable_tau": True}
QUANTUM: dict[str, Any] = {**TRAINED, "learnable_qscale": True, "learnable_qbias": True}
EVERYTHING: dict[str, Any] = {
    "noise_std": 0.3,
    "use_adaptive_threshold": True,
    "learnable_eta": True,
    "homeostasis_enabled": True,
    "homeostasis_lr": 0.05,
    "spike_increase": 0.2,
    "use_ahp": True,
    "depression_rate": 0.2,
    "allow_dynamic_spike_probability": True,
    "refractory_period": 1,
}
GRADED = {name: value for name, value in EVERYTHING.items() if name != "refractory_period"}
CLASSIC = {name: value for name, value in EVERYTHING.items() if name != "allow_dynamic_spike_probability"}
NOISE = DeviceNoise(t1=90e-6, t2=60e-6, gate_time=2e-6, gate_error=0.01, readout_p01=0.03, readout_p10=0.06)

CASES: dict[str, dict[str, Any]] = {
    "nothing trained": {},
    "constants": QUANTUM,
    "everything": {**QUANTUM, **EVERYTHING},
    "gain": {**QUANTUM, **EVERYTHING, "neuromod_mode": "gain", "reset": "partial", "reset_fraction": 0.6},
    "threshold modulation": {**QUANTUM, **EVERYTHING, "neuromod_mode": "threshold", "reset": "soft"},
    "slope modulation": {**QUANTUM, **EVERYTHING, "neuromod_mode": "prob_slope", "mapping": "tanh", "theta_max": 2.0},
    "quadratic": {**QUANTUM, **EVERYTHING, "membrane": "quadratic", "mapping": "linear", "V_peak": 3.0},
    "threshold": {**QUANTUM, **EVERYTHING, "decision": "threshold"},
    "expectation": {**QUANTUM, **GRADED, "decision": "expectation", "membrane": "quadratic"},
    "stochastic": {**TRAINED, **EVERYTHING, "quantum_mode": False, "stochastic": True},
    **{
        name: {**TRAINED, **CLASSIC, "quantum_mode": False, "surrogate_gradient_function": name, "reset": "soft"}
        for name in SURROGATES
    },
    "another circuit": {**QUANTUM, "circuit": LeakySpike(0.4), "decision": "expectation"},
    "noise of the qubit": {**QUANTUM, **EVERYTHING, "backend": get("analytic", noise=NOISE)},
    "pooled": {**QUANTUM, "backend": get("analytic", noise=NOISE), "shots": 3, "quantum_wire": 2},
}


def layer_of(kernel: str, options: dict[str, Any]) -> QLIF:
    layer = QLIF(NEURONS, **{"seed": 3, "tau": 3.0, "kernel": kernel, **options}).double()
    # Within a block of four steps, whose draws are made at once.
    layer.seeds.position = 4 * 6
    return layer


def outcome(layer: QLIF, current: Tensor, modulation: Tensor | None) -> list[Tensor]:
    """Everything a sequence gives, and every gradient of a weighted sum of it."""
    source = torch.Generator().manual_seed(2)

    def weight(like: Tensor) -> Tensor:
        return torch.randn(like.shape, dtype=like.dtype, generator=source)

    current = current.detach().requires_grad_()
    modulation = None if modulation is None else modulation.detach().requires_grad_()
    start = layer.initial_state(BATCH)
    voltage = (0.3 * torch.rand(BATCH, NEURONS, dtype=torch.float64, generator=source)).requires_grad_()
    names = ["voltage", "potential", "threshold", "gap", "rate", *(["angle"] if layer.settings.quantum_mode else [])]
    found = simulate(layer, current, names, state=start._replace(voltage=voltage), modulation=modulation)
    values = [found.spikes, *(found[name] for name in names), found.state.voltage, found.state.adaptation]
    loss = torch.stack([(value * weight(value)).sum() for value in values]).sum()
    leaves = [current, voltage, *([] if modulation is None else [modulation]), *layer.parameters()]
    grads = torch.autograd.grad(loss, leaves, materialize_grads=True, allow_unused=True)
    return [value.detach() for value in (*values, *found.state, *grads)]


def inputs(options: dict[str, Any], seed: int = 1) -> tuple[Tensor, Tensor | None]:
    source = torch.Generator().manual_seed(seed)
    current = 2 + 2 * torch.randn(STEPS, BATCH, NEURONS, dtype=torch.float64, generator=source)
    modulated = "neuromod_mode" in options
    return current, torch.randn(STEPS, BATCH, NEURONS, dtype=torch.float64, generator=source) if modulated else None


def error(options: dict[str, Any], current: Tensor, modulation: Tensor | None) -> float:
    """The largest difference between the routes, of any value or gradient, relative to its size where that is above 1."""
    found = [outcome(layer_of(kernel, options), current, modulation) for kernel in ("auto", "off")]
    return max(float(((one - two) / two.abs().clamp(min=1)).abs().max()) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_step_loop(case: str) -> None:
    options = CASES[case]
    assert layer_of("auto", options).why_stepwise() is None
    assert error(options, *inputs(options)) < 1e-10


def test_inputs_that_are_repeated_shared_or_strided_have_their_gradients() -> None:
    options = CASES["gain"]
    current, modulation = inputs(options)
    assert modulation is not None
    # In memory the neurons lie apart.
    transposed = current.transpose(1, 2).contiguous().transpose(1, 2)
    for now, modulated in (
        (current[:1].expand(STEPS, -1, -1), modulation[:1].expand(STEPS, -1, -1)),
        (transposed, modulation[:, :1, :1]),
        (transposed, modulation[:, :, :1].expand(-1, -1, NEURONS)),
    ):
        assert error(options, now, modulated) < 1e-10


def test_an_input_of_one_step_for_all_has_the_sum_of_their_gradients() -> None:
    """As the neuron of Brand and Petruccione takes it."""
    theta = (1 + torch.rand(1, BATCH, NEURONS, dtype=torch.float64)).requires_grad_()
    tau, x = torch.zeros_like(theta).detach(), torch.ones_like(theta).detach()
    found = []
    for kernel in ("auto", "off"):
        populations, _, _ = BrandPetruccione(NEURONS, kernel=kernel).run(theta, tau, x, steps=9)
        found.append(torch.autograd.grad(populations.sum(), theta)[0])
    assert found[0].shape == theta.shape
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kept", [False, True])
def test_what_an_input_was_expanded_from_has_its_gradient(kept: bool) -> None:
    """As the first layer of a network that is shown one picture all the time."""
    found = []
    for kernel in ("auto", "off"):
        once = (
            1 + torch.rand(BATCH, NEURONS, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
        ).requires_grad_()
        every = (2 * once).expand(STEPS, -1, -1)
        if kept:
            every.retain_grad()
        layer_of(kernel, CASES["everything"])(every)[0].square().sum().backward()
        found.append([once.grad, *([every.grad] if kept else [])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["constants", "everything", "expectation"])
def test_a_loss_of_the_sum_over_time_has_its_gradient(name: str, weighted: bool) -> None:
    """Torch expands that of one step to all, and no state is differentiated but through the spikes."""
    found = []
    weight = torch.linspace(-1, 1, NEURONS, dtype=torch.float64)
    for kernel in ("auto", "off"):
        layer, given = layer_of(kernel, CASES[name]), inputs({})[0].requires_grad_()
        spikes = layer(given)[0]
        loss = (spikes.sum(0) * weight).sum() if weighted else spikes.sum()
        found.append(torch.autograd.grad(loss, [given, *layer.parameters()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 19, 20, 21, 41])
def test_a_sequence_of_any_length_and_its_parts(steps: int) -> None:
    """States are kept every twentieth step: the same gradients whatever the length, and cut in two."""
    options = CASES["everything"]
    current = inputs(options)[0].repeat(4, 1, 1)[:steps]
    assert error(options, current, None) < 1e-10
    layer, parts = layer_of("auto", options), layer_of("auto", options)
    whole = current.clone().requires_grad_()
    spikes, last = layer(whole)
    (spikes.sum() + last.voltage.sum()).backward()
    pieces = current.clone().requires_grad_()
    first, state = parts(pieces[: steps // 2])
    second, end = parts(pieces[steps // 2 :], state)
    (first.sum() + second.sum() + end.voltage.sum()).backward()
    assert torch.equal(spikes, torch.cat((first, second)))
    torch.testing.assert_close(whole.grad, pieces.grad, rtol=1e-12, atol=1e-12)
    for one, other in zip(layer.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("threads", "neurons"), [(1, 600), (2, 600)])
def test_threads_change_nothing(threads: int, neurons: int) -> None:
    """Chunks of 256 lanes go to the threads, and each adds up its own part of a gradient."""
    source = torch.Generator().manual_seed(5)
    current = 2 * torch.rand(40, 4, neurons, dtype=torch.float64, generator=source)
    found = []
    before = torch.get_num_threads()
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            layer = QLIF(neurons, seed=3, tau=3.0, **CASES["everything"]).double()
            spikes, _ = layer(current)
            spikes.sum().backward()
            found.append([spikes.detach(), *(value.grad for value in layer.parameters())])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("leak", ["relaxation", "published"])
@pytest.mark.parametrize("gradient", ["true", "published"])
def test_the_neuron_of_brand_and_petruccione_is_that_of_its_step_loop(leak: str, gradient: str) -> None:
    source = torch.Generator().manual_seed(6)
    theta, tau = torch.rand(2, 20, 4, NEURONS, dtype=torch.float64, generator=source)
    x = (torch.rand(20, 4, NEURONS, generator=source) < 0.6).double()
    found = []
    for kernel in ("auto", "off"):
        angle, interval = (2.0 * theta).requires_grad_(), (40.0 * tau).requires_grad_()
        layer = BrandPetruccione(NEURONS, leak=leak, gradient=gradient, kernel=kernel)
        populations, spikes, _ = layer.run(angle, interval, x)
        weights = torch.randn(populations.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
        grads = torch.autograd.grad((populations * weights).sum() + (spikes * weights.flip(0)).sum(), (angle, interval))
        found.append([populations.detach(), spikes.detach(), *grads])
    assert found[0][1].sum() > 10
    for one, other in zip(*found, strict=True):
        # A root near 0 or 1 loses half of the digits.
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_in_single_precision_hardly_a_spike_differs() -> None:
    """A draw that lies within the rounding of its probability falls on either side: measured, none of 80,000,000 spikes.

    Two probabilities differ by a unit in the last place or two, the spacing of the draws: once in 10⁷ at most, of which more
    than 8 of 4,000,000 come less often than once in 10⁹. Once a spike differs the two neurons have a history each, so one
    step at a time is compared from the same state.
    """
    current = 2 * torch.rand(200_000, generator=torch.Generator().manual_seed(1)).reshape(1, 20, 10_000)
    state, different, total = None, 0, 0
    layers = [QLIF(10_000, seed=3, kernel=kernel, spike_increase=0.2) for kernel in ("auto", "off")]
    with torch.no_grad():
        for _ in range(20):
            (ours, _), (theirs, after) = (layer(current, state) for layer in layers)
            different, total, state = different + int((ours != theirs).sum()), total + ours.numel(), after
    assert total == 4_000_000
    assert different <= 8


def test_a_second_derivative_is_that_of_the_step_loop() -> None:
    current, _ = inputs({})
    for options in (CASES["expectation"], CASES["everything"]):
        found = []
        for kernel in ("auto", "off"):
            layer, given = layer_of(kernel, options), current.clone().requires_grad_()
            leaves = [given, *layer.parameters()]
            spikes, state = layer(given)
            first = torch.autograd.grad((spikes.square().sum() + state.voltage.sum()), leaves, create_graph=True)
            again = torch.stack([grad.square().sum() for grad in first]).sum()
            found.append(torch.autograd.grad(again, leaves))
        for one, other in zip(*found, strict=True):
            assert other.abs().max() > 0
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))


def test_the_first_derivative_is_that_of_finite_differences() -> None:
    """`gradcheck`, where nothing is drawn and nothing jumps."""
    layer = QLIF(2, seed=1, tau=3.0, decision="expectation", membrane="quadratic", noise_std=0.1, **QUANTUM).double()
    values = {name: value.detach().clone().requires_grad_() for name, value in layer.named_parameters()}
    current = (1.5 * torch.rand(9, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))).requires_grad_()

    def function(current: Tensor, *given: Tensor) -> Tensor:
        layer.seeds.position = 0
        found: Tensor = torch.func.functional_call(layer, dict(zip(values, given, strict=True)), (current,))[0]
        return found

    assert layer.why_stepwise() is None
    assert torch.autograd.gradcheck(function, (current, *values.values()))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_draws_the_same_again(reentrant: bool) -> None:
    current, _ = inputs({})
    found = []
    for checkpointed in (False, True):
        layer, given = layer_of("auto", CASES["everything"]), current.clone().requires_grad_()
        spikes = (
            checkpoint(lambda x, layer=layer: layer(x)[0], given, use_reentrant=reentrant) if checkpointed else layer(given)[0]
        )
        spikes.sum().backward()
        found.append([spikes.detach(), given.grad, *(value.grad for value in layer.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_functional_transforms_run_step_by_step_with_the_same_numbers() -> None:
    current, _ = inputs({})
    layer, again = (layer_of("auto", {"decision": "expectation", "noise_std": 0.2}) for _ in range(2))
    gradient = torch.func.grad(lambda x: layer(x)[0].square().sum())(current)
    given = current.clone().requires_grad_()
    again(given)[0].square().sum().backward()
    torch.testing.assert_close(gradient, given.grad, rtol=1e-10, atol=1e-12)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's own membranes and mappings go with it."""
    for registry in (MEMBRANES, MAPPINGS):
        monkeypatch.setattr(registry, "_rows", dict(registry._rows))


@pytest.mark.usefixtures("rows")
def test_a_membrane_and_a_mapping_of_ones_own_have_a_kernel() -> None:
    MEMBRANES.register(
        "cubic",
        Membrane(
            formula="V ← V + (dt/τ) (I_eff − V³)",
            follow=lambda voltage, current, dynamics: voltage + dynamics.step * (current - voltage**3).clamp(-2, 2),
        ),
    )
    MAPPINGS.register(
        "arctan",
        AngleMapping(
            formula="θ = π/2 + arctan(q_scale Δ + q_bias − leak)",
            angle=lambda gap, q_scale, offset, theta_max: torch.pi / 2 + (gap * q_scale + offset).atan(),
            inverse=lambda angle, remainder, rate, theta_max: (rate, angle),
            gaps=lambda fraction, q_scale, offset: (fraction - offset) / q_scale,
            q_scale=2.0,
            q_bias=0.1,
            monotonic=True,
        ),
    )
    options = {**QUANTUM, **EVERYTHING, "membrane": "cubic", "mapping": "arctan"}
    layer = layer_of("auto", options)
    assert layer.sequence(inputs({})[0]) is not None
    assert error(options, *inputs({})) < 1e-10


def test_a_mechanism_that_is_written_into_the_step_has_a_kernel_and_its_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    """A facilitation of the synapse by spikes, and a voltage that leaks faster the more the neuron fires."""
    current, _ = inputs({})
    before = outcome(layer_of("auto", CASES["everything"]), current, None)

    def follow(state: QLIFState, spikes: Tensor, dynamics: Dynamics, *, modulation: Tensor | None = None) -> QLIFState:
        after = settle(state, spikes, dynamics, modulation=modulation)
        facilitated = after.efficiency + 0.2 * spikes * (1 - after.efficiency).exp()
        return after._replace(efficiency=facilitated, voltage=after.voltage * (1 - 0.3 * after.rate.tanh()))

    monkeypatch.setattr(formula, "settle", follow)
    # Formulas that kernels were made of before know nothing of it.
    monkeypatch.setattr(routes, "formula_of", formula.formula_of.__wrapped__)
    layer = layer_of("auto", CASES["everything"])
    assert layer.sequence(current) is not None
    assert error(CASES["everything"], current, None) < 1e-10
    after = outcome(layer_of("auto", CASES["everything"]), current, None)
    assert max(float((one - two).abs().max()) for one, two in zip(before, after, strict=True)) > 0.1


WEIGHTS = torch.linspace(0.5, 1.5, NEURONS, dtype=torch.float64)
COUPLED: dict[str, Callable[[Tensor, Tensor, Dynamics], Tensor]] = {
    "an operation that no kernel has": lambda v, i, d: torch.lerp(v, torch.special.gammaln(1 + i.abs()), d.step),
    "neurons that see each other": lambda v, i, d: torch.lerp(v, i - 0.1 * v.mean(dim=-1, keepdim=True), d.step),
    "a neuron that sees the first": lambda v, i, d: torch.lerp(v, i - 0.1 * v[..., :1], d.step),
    "a number that the host reads": lambda v, i, d: torch.lerp(v, i, d.step) if float(i.sum()) else v,
    "weights of its own": lambda v, i, d: torch.lerp(v, WEIGHTS * i, d.step),
}


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("name", COUPLED)
def test_a_membrane_that_no_kernel_can_follow_runs_step_by_step_with_one_warning(name: str) -> None:
    MEMBRANES.register("coupled", Membrane(formula=name, follow=COUPLED[name]))
    current, _ = inputs({})
    layer = layer_of("auto", {"membrane": "coupled"})
    with pytest.warns(RuntimeWarning, match="step by step, without a compiled kernel: "):
        spikes, _ = layer(current)
    # Said once: a second warning would be an error.
    layer_of("auto", {"membrane": "coupled"})(current)
    assert torch.equal(spikes, layer_of("off", {"membrane": "coupled"})(current)[0])


@pytest.mark.usefixtures("rows")
def test_a_trained_number_that_is_no_constant_of_the_layer_keeps_its_gradient() -> None:
    """What the kernel does not know of could not be differentiated: the layer runs step by step."""
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    MEMBRANES.register("weighted", Membrane(formula="", follow=lambda v, i, d: torch.lerp(v, weight * i, d.step)))
    with pytest.warns(RuntimeWarning, match="without a compiled kernel"):
        layer_of("auto", {"membrane": "weighted"})(inputs({})[0])[0].sum().backward()
    assert weight.grad is not None
    assert weight.grad != 0


def test_every_state_and_probability_can_be_kept() -> None:
    """Each name by itself, since a kernel writes what is kept and nothing else."""
    current, _ = inputs({})
    whole = simulate(layer_of("off", EVERYTHING), current, ("voltage", "ahp", "probability", "dynamic"))
    for names in itertools.combinations(("voltage", "ahp", "probability", "dynamic"), 2):
        found = simulate(layer_of("auto", EVERYTHING), current, names)
        assert tuple(found.traces) == names
        for name in names:
            torch.testing.assert_close(found[name], whole[name], rtol=1e-12, atol=1e-12)
