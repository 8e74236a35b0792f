"""Half precision: what is given in it is computed in float32, and the answer is rounded to it once."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, BrandPetruccione, QLIFState, record, simulate
from qlifq.errors import ArgumentError, DtypeError
from qlifq.neurons import BrandPetruccioneState, LeakyIntegrator, Readout, Recurrent, SpikingSequential

STEPS, BATCH, NEURONS = 12, 3, 10
HALVES = pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
KERNELS = pytest.mark.parametrize("kernel", ["auto", "off"])
EVERYTHING: dict[str, Any] = {
    "use_adaptive_threshold": True,
    "homeostasis_enabled": True,
    "spike_increase": 0.3,
    "use_ahp": True,
    "depression_rate": 0.3,
    "noise_std": 0.2,
    "neuromod_strength": 0.5,
    "refractory_period": 2,
    "learnable": ("V_th", "tau", "q_scale", "adaptation_decay"),
}
MODES: dict[str, dict[str, Any]] = {
    "sample": {},
    "everything": EVERYTHING,
    "threshold": {"decision": "threshold"},
    "expectation": {"decision": "expectation"},
    "deterministic": {"quantum_mode": False},
    "shots": {"shots": 9, "decision": "threshold", "backend": "reference"},
    "parameter shift": {"shots": 3, "gradient": "parameter-shift"},
}


def layer_of(mode: str, kernel: str = "auto") -> QLIF:
    return QLIF(NEURONS, seed=1, tau=3.0, kernel=kernel, **MODES[mode])


def drive(half: torch.dtype) -> Tensor:
    """Numbers that the dtype holds."""
    return (1.5 + torch.randn(STEPS, BATCH, NEURONS, generator=torch.Generator().manual_seed(2))).to(half)


def run(layer: QLIF, current: Tensor) -> tuple[Tensor, QLIFState, Tensor]:
    """Spikes, state, and the gradient of the current."""
    current = current.detach().requires_grad_()
    modulated = layer.settings.neuromod_mode != "off"
    spikes, state = layer(current, modulation=current.detach()[:, :1] / 2 if modulated else None)
    # Weights that every dtype holds.
    weights = (1 + torch.arange(spikes.numel()) % 8).reshape(spikes.shape).to(spikes)
    ((weights * spikes).sum(dtype=torch.float32) + state.voltage.sum()).backward()
    assert current.grad is not None
    return spikes.detach(), state.detach(), current.grad


def same(one: QLIFState, other: QLIFState) -> bool:
    return all(torch.equal(first, second) and first.dtype == second.dtype for first, second in zip(one, other, strict=True))


@HALVES
@KERNELS
@pytest.mark.parametrize("mode", MODES)
def test_a_current_in_half_precision_is_computed_in_float32_and_answered_in_its_dtype(
    mode: str, kernel: str, half: torch.dtype
) -> None:
    """Bit for bit: spikes and gradient of the current are those of the same numbers in float32, rounded once."""
    layer, current = layer_of(mode, kernel), drive(half)
    twin = copy.deepcopy(layer)
    spikes, state, gradient = run(layer, current)
    expected, expected_state, expected_gradient = run(twin, current.float())
    assert spikes.dtype == gradient.dtype == half
    assert torch.equal(spikes, expected.to(half))
    assert same(state, expected_state)
    assert torch.equal(gradient, expected_gradient.to(half))
    assert 0 < spikes.float().mean() < 1
    for one, other in zip(layer.parameters(), twin.parameters(), strict=True):
        assert one.grad is not None
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@HALVES
@KERNELS
@pytest.mark.parametrize("mode", MODES)
def test_a_layer_cast_to_half_precision_computes_in_float32_with_its_rounded_constants(
    mode: str, kernel: str, half: torch.dtype
) -> None:
    layer, current = layer_of(mode, kernel).to(half), drive(half)
    twin = copy.deepcopy(layer).float()
    assert {value.dtype for value in layer.state_dict().values()} == {half}
    assert layer.tau.dtype == torch.float32
    assert torch.equal(layer.tau, twin.tau)
    spikes, state, gradient = run(layer, current)
    expected, expected_state, expected_gradient = run(twin, current.float())
    assert torch.equal(spikes, expected.to(half))
    assert same(state, expected_state)
    assert torch.equal(gradient, expected_gradient.to(half))
    for one, other in zip(layer.parameters(), twin.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad.to(half))


@HALVES
def test_a_loop_in_a_circuit(half: torch.dtype) -> None:
    layer = QLIF(NEURONS, seed=1, loop="circuit", reset="soft", mapping="linear", backend="reference").to(half)
    twin, current = copy.deepcopy(layer).float(), drive(half)[:4]
    for found, expected in zip(run(layer, current)[::2], run(twin, current.float())[::2], strict=True):
        assert torch.equal(found, expected.to(half))


@HALVES
def test_the_state_is_float32_and_goes_on(half: torch.dtype) -> None:
    layer, current = layer_of("sample").to(half), drive(half)
    twin = copy.deepcopy(layer)
    whole, after = layer(current)
    first, state = twin(current[:5])
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    second, end = twin(current[5:], torch.load(file))
    assert {value.dtype for value in (*state, *layer.initial_state(2))} == {torch.float32}
    assert torch.equal(whole, torch.cat((first, second)))
    assert same(after, end)
    one_by_one, state = [], None
    layer.seeds.position = 0
    for now in current:
        spikes, state = layer.step(now, state)
        one_by_one.append(spikes)
    assert torch.equal(whole, torch.stack(one_by_one))
    with pytest.raises(DtypeError, match=r"`state\.voltage` must be float32 on cpu, but is float16 on cpu"):
        layer(current, QLIFState(*(value.half() for value in after)))


def test_a_layer_in_float64_computes_in_it() -> None:
    layer = layer_of("expectation").double()
    current = drive(torch.bfloat16)
    spikes, state = layer(current)
    expected, _ = layer(current.double())
    assert state.voltage.dtype == torch.float64
    assert torch.equal(spikes, expected.to(torch.bfloat16))


def test_recordings_and_steps_are_float32() -> None:
    layer, current = layer_of("sample").bfloat16(), drive(torch.bfloat16)
    found = simulate(layer, current, ("voltage", "probability"))
    empty = simulate(layer, current[:0], "voltage")
    steps = list(layer.steps(current))
    with record(layer, "voltage") as recordings:
        layer(current)
    kept = [found.spikes, found["voltage"], found["probability"], empty.spikes, empty["voltage"], recordings[""].spikes]
    assert {value.dtype for value in (*kept, *(step.spikes for step in steps))} == {torch.float32}


def test_assigned_values_are_rounded_once() -> None:
    layer = QLIF(2, learnable=("tau", "V_th")).bfloat16()
    # 1.001 is 1 in bfloat16, the bound of tau.
    layer.assign(tau=torch.tensor([1.001, 30.0]), V_th=torch.tensor([0.7, 1.3]))
    torch.testing.assert_close(layer.tau, torch.tensor([1.001, 30.0]), rtol=1e-2, atol=0)
    assert (layer.tau > 1).all()
    assert torch.equal(layer.V_th, torch.tensor([0.7, 1.3]).bfloat16().float())


def test_constants_that_overflowed_are_refused() -> None:
    layer = QLIF(2, tau=1e5).half()
    with pytest.raises(ArgumentError, match="`tau` must be finite, but 2 of its 2 values"):
        layer(torch.ones(1, 1, 2).half())


@HALVES
def test_a_leaky_integrator(half: torch.dtype) -> None:
    layer, current = LeakyIntegrator(NEURONS, tau=3.0, learnable=("tau",)).to(half), drive(half)
    filtered, state = layer(current)
    expected, expected_state = copy.deepcopy(layer).float()(current.float())
    assert filtered.dtype == half
    assert torch.equal(filtered, expected.to(half))
    assert torch.equal(state.voltage, expected_state.voltage)
    assert torch.equal(torch.cat((layer(current[:5])[0], layer(current[5:], layer(current[:5])[1])[0])), filtered)


@HALVES
@KERNELS
@pytest.mark.parametrize("options", [{}, {"leak": "published", "gradient": "published"}, {"shots": 20, "seed": 3}])
def test_the_neuron_of_brand_and_petruccione(options: dict[str, Any], kernel: str, half: torch.dtype) -> None:
    weighted = torch.randn(STEPS, BATCH, 2 * NEURONS, generator=torch.Generator().manual_seed(4))
    theta, tau = (weighted.abs() * torch.tensor([1.0, 20.0]).repeat_interleave(NEURONS)).to(half).chunk(2, dim=2)
    x = (weighted[..., :NEURONS] > 0).to(half)
    layer = BrandPetruccione(NEURONS, kernel=kernel, **options)
    twin = copy.deepcopy(layer)
    found = []
    for one, dtype in ((layer, half), (twin, torch.float32)):
        angle = theta.detach().to(dtype).requires_grad_()
        populations, spikes, state = one.run(angle, tau.to(dtype), x.to(dtype))
        populations.sum(dtype=torch.float32).backward()  # type: ignore[no-untyped-call]
        assert angle.grad is not None
        found.append((populations.detach(), spikes.detach(), state, angle.grad))
    (populations, spikes, state, gradient), expected = found
    assert populations.dtype == spikes.dtype == half
    assert torch.equal(populations, expected[0].to(half))
    assert torch.equal(spikes, expected[1].to(half))
    assert spikes.any()
    assert isinstance(state, BrandPetruccioneState)
    assert torch.equal(state.population, expected[2].population)
    assert torch.equal(gradient, expected[3].to(half))
    assert layer.initial_state(theta).population.dtype == torch.float32
    layer(theta, tau, x, state)


@HALVES
def test_a_network_in_half_precision_trains(half: torch.dtype) -> None:
    torch.manual_seed(0)
    hidden = QLIF(32, seed=1, tau=2.0, learnable=("tau", "V_th"))
    network = SpikingSequential(nn.Linear(6, 32), hidden, nn.Linear(32, 2), Readout(2, tau=2.0)).to(half)
    inputs = 3 * torch.randn(1, 64, 6).expand(8, -1, -1).to(half)
    labels = (inputs[0, :, 0] > 0).long()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    losses = []
    for _ in range(40):
        answer, _ = network(inputs)
        loss = nn.functional.cross_entropy(answer, labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert answer.dtype == half
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@HALVES
def test_gradients_pass_recurrence_and_rotated_neurons(half: torch.dtype) -> None:
    torch.manual_seed(0)
    hidden = Recurrent(QLIF(8, seed=1, tau=2.0, learnable=("tau",)), nn.Linear(8, 8))
    network = SpikingSequential(nn.Linear(6, 8), hidden, nn.Linear(8, 10), BrandPetruccione(5), nn.Linear(5, 2)).to(half)
    output, _ = network(3 * torch.randn(8, 4, 6).to(half))
    assert output.dtype == half
    output.square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == half
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int32, torch.uint8])
def test_other_dtypes_are_refused(dtype: torch.dtype) -> None:
    current = torch.ones(2, 1, 3).to(dtype)
    name = str(dtype).removeprefix("torch.")
    accepted = "must have dtype float32 or float64 or float16 or bfloat16"
    with pytest.raises(DtypeError, match=f"`current` {accepted}, but has {name}"):
        QLIF(3)(current)
    with pytest.raises(DtypeError, match=f"`current` {accepted}, but has {name}"):
        LeakyIntegrator(3)(current)
    with pytest.raises(DtypeError, match=f"`theta` {accepted}, but has {name}"):
        BrandPetruccione(3)(current, current, current)


def test_a_layer_of_another_dtype_is_refused() -> None:
    for dtype in (torch.float32, torch.float16):
        with pytest.raises(DtypeError, match=r"A layer must have dtype .*, but its constants have float8_e4m3fn"):
            QLIF(3).to(torch.float8_e4m3fn)(torch.ones(2, 1, 3, dtype=dtype))
