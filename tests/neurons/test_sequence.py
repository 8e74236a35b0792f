"""A sequence of the plain neuron as one operation does what the general layer does, to the last bit of its spikes."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from qlifq import QLIF, simulate
from qlifq.backends import DeviceNoise, get
from qlifq.backends.sampling import BatchShard
from qlifq.errors import ArgumentError
from qlifq.neurons import QLIFState, SeedStream, qlif
from qlifq.neurons import fused_lif as sequence

SETTINGS: dict[str, dict[str, Any]] = {
    "the default": {},
    "its own constants": {"tau": (3.0, 4.0, 5.0), "V_reset": -0.3, "q_scale": (2.0, 3.0, 5.0), "q_bias": 0.4, "V_th": 0.8},
    "a leak and a time step": {"quantum_leak": 0.3, "dt": 0.5, "tau": 2.0},
}


def step_by_step(layer: QLIF, current: Tensor, state: QLIFState | None) -> tuple[Tensor, QLIFState]:
    """What the layer does without the operation for whole sequences."""
    steps = list(layer.steps(current, state))
    return torch.stack([step.decided.spikes for step in steps]), steps[-1].state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_spikes_states_and_gradients_agree(settings: dict[str, Any], dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    current = 1 + 2 * torch.randn(30, 4, 3, generator=source, dtype=dtype)
    start = torch.randn(4, 3, generator=source, dtype=dtype)
    weights = torch.randn(30, 4, 3, generator=source, dtype=dtype), torch.randn(4, 3, generator=source, dtype=dtype)
    found = []
    for run in (step_by_step, QLIF.forward):
        layer = QLIF(3, seed=1, **settings).to(dtype)
        given, before = current.clone().requires_grad_(), start.clone().requires_grad_()
        spikes, state = run(layer, given, layer.initial_state(4)._replace(voltage=before))
        loss = (weights[0] * spikes).sum() + (weights[1] * state.voltage).sum()
        torch.autograd.backward(loss)
        found.append((spikes.detach(), state.voltage.detach(), given.grad, before.grad, layer.seeds.position))
    (spikes, voltage, *gradients, position), (its_spikes, its_voltage, *its_gradients, its_position) = found
    assert 0.02 < float(spikes.mean()) < 0.9
    assert torch.equal(spikes, its_spikes)
    assert torch.equal(voltage, its_voltage)
    assert position == its_position == 30 * 4
    for mine, its in zip(gradients, its_gradients, strict=True):
        assert mine is not None
        assert its is not None
        torch.testing.assert_close(
            its, mine, rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=1e-5 if dtype == torch.float32 else 1e-12
        )


def test_a_sequence_in_parts_and_a_share_of_a_batch() -> None:
    current = 3 * torch.rand(20, 6, 5)
    whole, end = QLIF(5, seed=2, tau=2.0)(current)
    layer = QLIF(5, seed=2, tau=2.0)
    first, state = layer(current[:7])
    nothing, state = layer(current[7:7], state)
    second, state = layer(current[7:], state)
    assert len(nothing) == 0
    assert torch.equal(torch.cat((first, second)), whole)
    assert torch.equal(state.voltage, end.voltage)
    part = QLIF(5, tau=2.0)
    part.seeds = SeedStream(2, BatchShard(2, 6))
    assert torch.equal(part(current[:, 2:5])[0], whole[:, 2:5])
    part.seeds = SeedStream(2, BatchShard(2, 6))
    assert torch.equal(simulate(part, current[:, 2:5], "potential").spikes, whole[:, 2:5])


PLAIN: list[dict[str, Any]] = [{}, {"tau": 3.0}, {"neuromod_mode": "off"}]
GENERAL: list[dict[str, Any]] = [
    {"backend": "lightning"},
    {"backend": get("analytic", noise=DeviceNoise(readout_p01=0.1))},
    {"shots": 1},
    {"gradient": "none"},
    {"gradient": "parameter-shift"},
    {"learnable_tau": True},
    {"learnable_qbias": True},
    {"decision": "expectation"},
    {"mapping": "tanh"},
    {"reset": "soft"},
    {"membrane": "quadratic"},
    {"noise_std": 0.1},
    {"refractory_period": 1},
    {"use_ahp": True},
    {"homeostasis_enabled": True},
    {"quantum_mode": False},
]


NAMES = ("voltage", "potential", "threshold", "gap", "angle", "probability")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_traces_agree(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], dtype: torch.dtype) -> None:
    """A `progress` that is called at every step asks for the general layer.

    To the last bit, but where a sine or an exponential is taken: of few numbers it is rounded otherwise than of many.
    """
    current = 1 + 2 * torch.randn(30, 7, 3, dtype=dtype)
    state = QLIF(3, seed=0).to(dtype).initial_state(7)._replace(voltage=torch.randn(7, 3, dtype=dtype))
    layer, other, done = QLIF(3, seed=1, **settings).to(dtype), QLIF(3, seed=1, **settings).to(dtype), []
    traced: list[Any] = []

    def noticed(*given: Any) -> Any:
        traced.append(given)
        return sequence.trace_plain(*given)

    monkeypatch.setattr(qlif, "trace_plain", noticed)
    whole = simulate(layer, current, NAMES, state=state)
    assert len(traced) == 1
    stepped = simulate(other, current, NAMES, state=state, progress=lambda *at: done.append(at))
    assert len(done) == 30
    assert len(traced) == 1
    assert whole.names == stepped.names == ("spikes", *NAMES)
    for name in ("spikes", "voltage", "potential", "threshold", "gap"):
        assert torch.equal(whole[name], stepped[name]), name
    for name in ("angle", "probability"):
        torch.testing.assert_close(whole[name], stepped[name], rtol=8 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps)
    for mine, its in zip(whole.state, stepped.state, strict=True):
        assert torch.equal(mine, its)
    assert whole.evaluations == stepped.evaluations == current.numel()
    assert layer.seeds.position == other.seeds.position


def test_traces_are_of_the_plain_neuron_and_without_gradients() -> None:
    current = torch.rand(3, 2, 2)
    assert QLIF(2, seed=0).traces(current) is not None
    nothing = QLIF(2, seed=0).traces(current[:0])
    assert nothing is not None
    assert nothing[0].angle.shape == (0, 2, 2)
    assert QLIF(2, seed=0).traces(current, modulation=torch.ones(3, 1, 1)) is None
    assert QLIF(2, seed=0).traces(current.requires_grad_()) is None
    with torch.no_grad():
        assert QLIF(2, seed=0).traces(current) is not None
    recording = simulate(QLIF(2, seed=0), current, "potential")
    assert recording["potential"].requires_grad
    for options in GENERAL:
        assert QLIF(2, seed=0, **options).traces(current.detach()) is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_forward_derivative_goes_through_a_simulation_as_through_its_steps() -> None:
    current = 1 + torch.rand(5, 2, 3)
    found = []
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(current, current)  # type: ignore[no-untyped-call]
        for progress in (None, lambda *_: None):
            potential = simulate(QLIF(3, seed=0), dual, "potential", progress=progress)["potential"]
            found.append(forward_ad.unpack_dual(potential).tangent)  # type: ignore[no-untyped-call]
    whole, stepped = found
    assert (whole != 0).all()
    assert torch.equal(whole, stepped)


def test_an_angle_that_is_none_is_refused_whichever_way_it_comes_up() -> None:
    huge = torch.tensor([3e38, -3e38, 3e38, -3e38, 1.0])[:, None, None]
    for progress, said in ((None, "`current` must keep the potential"), (lambda *_: None, "`angles` must be finite, but")):
        with pytest.raises(ArgumentError, match=said):
            simulate(QLIF(1, seed=1, tau=1.5), huge, "potential", progress=progress)


@pytest.mark.parametrize(("options", "plain"), [(each, True) for each in PLAIN] + [(each, False) for each in GENERAL])
def test_it_serves_the_plain_neuron_alone(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], plain: bool) -> None:
    called = []

    def noticed(*given: Any) -> Any:
        called.append(True)
        return run(*given)

    run = sequence.run_plain
    monkeypatch.setattr(qlif, "run_plain", noticed)
    QLIF(2, seed=0, **options)(torch.rand(3, 2, 2))
    assert bool(called) is plain


def test_modulation_is_for_the_general_layer() -> None:
    current = 2 * torch.rand(30, 2, 3)
    plain, _ = QLIF(3, seed=0, tau=2.0)(current)
    none, _ = QLIF(3, seed=0, tau=2.0)(current, modulation=torch.zeros(30, 1, 1))
    some, _ = QLIF(3, seed=0, tau=2.0)(current, modulation=torch.ones(30, 1, 1))
    assert torch.equal(plain, none)
    assert not torch.equal(plain, some)
