"""What else torch does with a layer: inference mode before training, meta tensors, compiling, tracing, looking, saving."""

import copy
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, BrandPetruccione, QLIFError, SpikingSequential, calibration, simulate
from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.circuits import BrandPetruccione as Rotations
from qlifq.circuits import RYSpike
from qlifq.errors import ArgumentError, DtypeError, MissingConstantError, UnsupportedError
from qlifq.neurons.steps import Step

NOISE = DeviceNoise(t1=90e-6, gate_time=1e-6, readout_p01=0.03)
CALIBRATED = calibration.fit(get("analytic", noise=NOISE), neurons=3, shots=500, seed=4)

Make = Callable[[], nn.Module]


class Rotating(nn.Module):
    """A layer of Brand and Petruccione with one input, as the other layers have."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layer = BrandPetruccione(3, seed=2, **options)

    def forward(self, current: Tensor, state: Any = None) -> Any:
        return self.layer(current, current.detach(), (current.detach() > 1.4).to(current), state)


def layer(**options: Any) -> Make:
    return lambda: QLIF(3, seed=2, tau=3.0, **options)


def network() -> nn.Module:
    torch.manual_seed(5)
    modules = [nn.Linear(3, 3), QLIF(3, seed=2), nn.Linear(3, 3), QLIF(3, seed=3, use_ahp=True), QLIF(3, seed=4, backend="aer")]
    return SpikingSequential(*modules)


ROUTES: dict[str, Make] = {
    "fused": layer(),
    "trained": layer(learnable_tau=True, learnable_qscale=True, noise_std=0.1),
    "refractory": layer(refractory_period=2, use_adaptive_threshold=True),
    "shots": layer(shots=4),
    "noise": layer(backend=get("analytic", noise=NOISE)),
    "lightning": layer(backend="lightning"),
    "aer": layer(backend="aer"),
    "classic": layer(quantum_mode=False),
    "Brand and Petruccione": Rotating,
    "Brand and Petruccione with noise": lambda: Rotating(backend=get("analytic", noise=NOISE)),
    "network": network,
}


def twin() -> nn.Module:
    return QLIF(3, seed=2, backend=get("twin", record=CALIBRATED))


def currents(seed: int) -> Tensor:
    return 3 * torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make", [*ROUTES.values(), twin], ids=[*ROUTES, "twin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inference_mode_before_training(make: Make, dtype: torch.dtype) -> None:
    """What the first call keeps for later ones, and the state that it returns, take part in training."""
    module = make().to(dtype)
    with torch.inference_mode():
        _, state = module(currents(1).to(dtype))
    for before in (None, state):
        current = currents(2).to(dtype).requires_grad_()
        module(current, before)[0].sum().backward()
        assert current.grad is not None
        assert current.grad.any()


def test_a_calibration_in_inference_mode_is_the_same_calibration() -> None:
    backend = get("analytic", noise=NOISE)
    with torch.inference_mode():
        found = calibration.fit(backend, neurons=3, shots=500, seed=4)
        inside = [found.correct(p0=0.4, slope=0.7), found.correct(p0=0.4, slope=0.7, span=(-1.0, 1.0))]
        answering = get("twin", record=found)
    for correction, span in zip(inside, (None, (-1.0, 1.0)), strict=True):
        expected = CALIBRATED.correct(p0=0.4, slope=0.7, span=span)
        torch.testing.assert_close(correction.q_scale, expected.q_scale)
        torch.testing.assert_close(correction.standard_error, expected.standard_error)
        assert not correction.q_scale.requires_grad
    current = currents(3).requires_grad_()
    QLIF(3, seed=2, backend=answering)(current)[0].sum().backward()
    assert current.grad is not None


def test_what_torch_func_makes_is_not_kept() -> None:
    backend = get("analytic", noise=NOISE)
    module = QLIF(3, seed=2, backend=backend)
    current = currents(3)
    torch.func.grad(lambda given: module(given)[0].sum())(current)
    assert not backend._laws  # type: ignore[attr-defined]
    module(current)
    assert len(backend._laws) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", ROUTES.values(), ids=ROUTES)
def test_a_layer_is_built_on_meta_and_refuses_to_run_there(make: Make) -> None:
    with torch.device("meta"):
        module = make()
        assert QLIF(2).seeds.root >= 0
    with pytest.raises(QLIFError, match=r"`(current|theta)` must hold values, but is on the device meta, which has none"):
        module(currents(1).to("meta"))
    module.to_empty(device="cpu").load_state_dict(make().state_dict())
    current = currents(1)
    with torch.device("meta"):
        spikes, _ = module(current)
    assert torch.equal(spikes, make()(current)[0])


def test_backends_on_meta(tmp_path: Path) -> None:
    calibration.save(CALIBRATED, tmp_path / "record.json")
    with torch.device("meta"):
        answering = get("twin", record=tmp_path / "record.json")
    for backend in (answering, get("analytic"), get("lightning")):
        with pytest.raises(DtypeError, match="`angles` must hold values, but is on the device meta"):
            backend.run(RYSpike(), torch.rand(2, 3, 1, device="meta"), shots=None, seed=None)
    assert answering.run(RYSpike(), torch.rand(2, 3, 1), shots=None, seed=None).probability.device.type == "cpu"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch.compile looks at it
@pytest.mark.parametrize("make", [*ROUTES.values(), twin], ids=[*ROUTES, "twin"])
def test_torch_compile_round_a_layer_changes_nothing(make: Make) -> None:
    torch._dynamo.reset()
    plain, module = make(), make()
    compiled = torch.compile(module, backend="eager")
    state = its_state = None
    for call in range(3):
        current, same = (currents(call).requires_grad_() for _ in range(2))
        (spikes, state), (its_spikes, its_state) = plain(current, state), compiled(same, its_state)
        assert torch.equal(its_spikes, spikes)
        for outcome in (spikes, its_spikes):
            outcome.sum().backward(retain_graph=True)
        assert torch.equal(same.grad, current.grad)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
def test_torch_compile_round_the_snapshot_of_a_device() -> None:
    torch._dynamo.reset()
    found = []
    for wrap in (lambda module: module, lambda module: torch.compile(module, backend="eager")):
        module = QLIF(2, seed=1, tau=2.0, backend=get("ibm", device="fake_torino"))
        found.append(wrap(module)(currents(1)[:2, :1, :2])[0])
    assert torch.equal(*found)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("make", [layer(), layer(quantum_mode=False), Rotating])
def test_a_trace_would_repeat_its_noise(make: Make) -> None:
    with pytest.raises(UnsupportedError, match=r"torch\.jit\.trace would record the spikes of one call and repeat them"):
        torch.jit.trace(make(), currents(1))  # type: ignore[no-untyped-call]


def test_what_a_layer_has_not_is_no_attribute_and_says_why() -> None:
    plain, adaptive, classic = QLIF(2, seed=1), QLIF(2, seed=1, use_adaptive_threshold=True), QLIF(2, quantum_mode=False)
    assert not hasattr(plain, "eta")
    assert hasattr(adaptive, "eta")
    assert getattr(classic, "q_bias", None) is None
    assert dict(inspect.getmembers(plain))["q_scale"].tolist() == [4.0, 4.0]
    for read in (lambda: plain.eta, lambda: getattr(plain, "eta")):  # noqa: B009
        with pytest.raises(MissingConstantError, match="has no `eta`: it needs use_adaptive_threshold=True") as raised:
            read()
        assert isinstance(raised.value, AttributeError)
        assert isinstance(raised.value, ArgumentError)
    with pytest.raises(AttributeError, match="'QLIF' object has no attribute 'etta'"):
        plain.etta  # noqa: B018


LOADING = """
import sys
import torch
import qlifq

known = qlifq.QLIFState, qlifq.BrandPetruccione
saved = torch.load(sys.argv[1], weights_only=True)
qlifq.QLIF(3, seed=9, tau=3.0)(torch.ones(2, 2, 3), saved[0])
print([type(item).__name__ for item in saved], type(saved[2][0]).__name__)
"""


def test_what_a_user_saves_is_loaded_as_weights_alone(tmp_path: Path) -> None:
    """In a process of its own that has imported nothing but the package."""
    module, rotating, current = QLIF(3, seed=2, tau=3.0), BrandPetruccione(3), currents(1)
    outcome = get("analytic", noise=NOISE).run(Rotations(), torch.rand(2, 3, 2), shots=20, seed=1)
    saved = (
        module(current)[1],
        rotating(current, current, (current > 1).float())[1],
        network()(current)[1],
        simulate(module, current, ("gap", "refractory")),
        outcome,
        next(iter(module.steps(current))),
        CALIBRATED.response,
    )
    torch.save(saved, tmp_path / "saved.pt")
    here = torch.load(tmp_path / "saved.pt", weights_only=True)
    assert [type(item) for item in here] == [type(item) for item in saved]
    assert torch.equal(here[0].voltage, saved[0].voltage)
    assert torch.equal(here[3]["gap"], saved[3]["gap"])
    assert here[4].metadata == outcome.metadata == copy.deepcopy(outcome).metadata
    torch.save(CALIBRATED.correct(), tmp_path / "correction.pt")
    assert torch.load(tmp_path / "correction.pt", weights_only=True).target.mapping == "sigmoid"
    assert isinstance(copy.deepcopy(Outcome(torch.zeros(1, 1))), Outcome)
    ran = subprocess.run(
        [sys.executable, "-c", LOADING, str(tmp_path / "saved.pt")], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    kinds = "['QLIFState', 'BrandPetruccioneState', 'tuple', 'Recording', 'Outcome', 'Step', 'SinusoidalResponse']"
    assert ran.stdout == f"{kinds} QLIFState\n"


def test_a_step_that_was_saved_under_its_earlier_name_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = next(iter(QLIF(3, seed=2).steps(currents(1))))
    with monkeypatch.context() as earlier:
        earlier.setattr(Step, "__module__", "qlifq.neurons.qlif")
        torch.save(step, tmp_path / "step.pt")
    assert b"qlifq.neurons.qlif\nStep" in (tmp_path / "step.pt").read_bytes()
    for weights_only in (True, False):
        again = torch.load(tmp_path / "step.pt", weights_only=weights_only)
        assert type(again) is Step
        assert torch.equal(again.gap, step.gap)
