"""Numbers that a dtype cannot hold, and potentials that are lost, are refused on every route."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from qlifq import QLIF, BrandPetruccione, simulate
from qlifq.backends import DeviceNoise, evaluate, get
from qlifq.circuits import BrandPetruccione as Rotations
from qlifq.errors import ArgumentError
from qlifq.neurons import Settings

LOST = (
    r"`current` must keep the potential within the range of float32, ±3\.4e\+38, but 1 of 2 potentials became infinite or NaN"
)
NAN_ANGLE = r"`angles` must be finite, but 1 of its 2 values are NaN"


def stepped(layer: QLIF, current: Tensor) -> None:
    for _ in layer.steps(current):
        pass


def one_by_one(layer: QLIF, current: Tensor) -> None:
    state = None
    for now in current:
        _, state = layer.step(now, state)


ROUTES: dict[str, Callable[[QLIF, Tensor], object]] = {
    "layer": lambda layer, current: layer(current),
    "with a gradient": lambda layer, current: layer(current.requires_grad_()),
    "steps": stepped,
    "simulate": lambda layer, current: simulate(layer, current, ("potential", "voltage")),
}
LAYERS: dict[str, dict[str, Any]] = {
    "fused": {},
    "general": {"use_ahp": True},
    "shots": {"shots": 3},
    "expectation": {"decision": "expectation"},
    "soft reset": {"reset": "soft"},
    "partial reset": {"reset": "partial"},
    "refractory": {"refractory_period": 2, "q_bias": -30.0},
    "quadratic": {"membrane": "quadratic", "R": 2.0},
    "classic": {"quantum_mode": False},
    "stochastic": {"quantum_mode": False, "stochastic": True},
    "lightning": {"backend": "lightning"},
}


@pytest.mark.parametrize("at", [0, 2, 6])
@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("run", ROUTES.values(), ids=ROUTES)
def test_a_potential_that_overflows_is_refused_wherever_it_does(
    run: Callable[[QLIF, Tensor], object], options: dict[str, Any], at: int
) -> None:
    """Finite currents from one end of the range to the other: early, so that much could be forgotten, or at the very end."""
    current = torch.full((8, 1, 2), 0.7)
    current[at : at + 2, 0, 1] = torch.tensor([-3.3e38, 3.3e38])
    with pytest.raises(ArgumentError, match=f"{LOST}|{NAN_ANGLE}"):
        run(QLIF(2, seed=4, tau=1.25, **options), current)


def test_an_overflow_step_by_step_is_refused_at_the_step() -> None:
    current = torch.tensor([-3.3e38, 3.3e38]).reshape(2, 1, 1).expand(2, 1, 2)
    with pytest.raises(ArgumentError, match=r"`current` must keep the potential .* but 2 of 2"):
        one_by_one(QLIF(2, seed=4, tau=1.25, quantum_mode=False), current)


def test_fused_and_general_refuse_the_same() -> None:
    """Random currents over the whole range of float32: an overflow that one of them missed would be an answer."""
    source = torch.Generator().manual_seed(11)
    refused = 0
    for trial in range(120):
        size = 10 ** (37.8 + 0.73 * torch.rand(6, 1, 2, generator=source, dtype=torch.float64))
        current = (size * (torch.rand(6, 1, 2, generator=source) - 0.5).sign()).float()
        said = []
        for run in (ROUTES["layer"], ROUTES["steps"]):
            try:
                run(QLIF(2, seed=trial, tau=1.3), current)
            except ArgumentError:
                said.append(True)
            else:
                said.append(False)
        assert said[0] == said[1]
        refused += said[0]
    assert 20 < refused < 100


def test_large_and_finite_is_no_error() -> None:
    current = torch.full((5, 1, 2), 1.6e38)
    spikes, state = QLIF(2, seed=1, tau=1.25)(current)
    assert spikes.all()
    assert not state.voltage.any()


REAL = [name for name, value in vars(Settings()).items() if isinstance(value, float)]


@pytest.mark.parametrize(("name", "value"), [("q_scale", 4e38), ("tau", 1e40), ("V_th", (1.0, 1e39)), ("q_bias", -5e38)])
def test_a_constant_that_overflows_the_default_dtype_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"`{name}` must neither overflow nor vanish in float32, but is -?\d"):
        QLIF(2, seed=1, **{name: value})
    with pytest.raises(ArgumentError, match=r"`q_scale` must neither overflow nor vanish in float32, but is 1e-60"):
        QLIF(2, seed=1, q_scale=1e-60)


@pytest.mark.parametrize(
    "options",
    [
        {"noise_std": 2e39},
        {"spike_increase": 2e39},
        {"neuromod_strength": -2e39},
        {"V_reset": -2e39},
        {"quantum_leak": 2e39},
        {"membrane": "quadratic", "a0": 2e39},
        {"quantum_mode": False, "alpha": 2e39},
        {"quantum_mode": False, "stochastic": True, "base_alpha": 2e39},
    ],
)
def test_a_number_that_overflows_the_dtype_of_the_layer_is_refused_and_in_a_wider_one_is_not(options: dict[str, Any]) -> None:
    *_, name = options
    layer = QLIF(2, seed=1, **options)
    with pytest.raises(ArgumentError, match=rf"`{name}` must neither overflow nor vanish in float32, but is -?2e\+39"):
        layer(torch.ones(1, 1, 2))
    layer.double()(torch.ones(1, 1, 2, dtype=torch.float64))


def test_every_number_of_the_settings_is_checked() -> None:
    layer = QLIF(2, seed=1)
    for name in REAL:
        if name not in layer.constants:
            object.__setattr__(layer.settings, name, 3e39)
            layer._suited.clear()
            with pytest.raises(ArgumentError, match=f"`{name}` must neither overflow"):
                layer(torch.ones(1, 1, 2))
            object.__setattr__(layer.settings, name, getattr(Settings(), name))


@pytest.mark.parametrize("how", ["converted", "loaded", "assigned", "trained away"])
def test_a_constant_that_becomes_infinite_later_is_refused(how: str) -> None:
    layer = QLIF(2, seed=1, q_scale=3.0, learnable_qscale=how == "trained away").double()
    if how == "assigned":
        with pytest.raises(ArgumentError, match=r"`q_scale` must neither overflow nor vanish in float32, but is 1e\+200"):
            layer.float().assign(q_scale=torch.full((2,), 1e200, dtype=torch.float64))
        return
    if how == "converted":
        layer.assign(q_scale=torch.full((2,), 1e200, dtype=torch.float64))
        layer(torch.ones(1, 1, 2, dtype=torch.float64))
        layer.float()
    elif how == "loaded":
        key = "constants.q_scale.value"
        layer.float().load_state_dict(layer.state_dict() | {key: torch.tensor([1.0, float("inf")])})
    else:
        with torch.no_grad():
            next(layer.float().parameters()).fill_(float("nan"))
    for run in (*ROUTES.values(), one_by_one):
        with torch.no_grad(), pytest.raises(ArgumentError, match=r"`q_scale` must be finite, but \d of its 2 values"):
            run(layer, torch.ones(1, 1, 2))


def test_halved_and_back_is_refused_too() -> None:
    layer = QLIF(2, seed=1, tau=1e5).half().float()
    with pytest.raises(ArgumentError, match="`tau` must be finite, but 2 of its 2 values"):
        layer(torch.ones(1, 1, 2))


def test_the_numbers_of_brand_and_petruccione() -> None:
    ones = torch.ones(2, 1, 3)
    for options, name in (({"t1": 1e40}, "t1"), ({"t1": 1e-50}, "t1"), ({"threshold": 1e-60}, "threshold")):
        with pytest.raises(ArgumentError, match=f"`{name}` must neither overflow nor vanish in float32, but is 1e"):
            BrandPetruccione(3, **options)(ones, ones, ones)  # type: ignore[arg-type]
        BrandPetruccione(3, **options)(*[ones.double()] * 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"`threshold` must be below 1, but is 1\.0"):
        BrandPetruccione(3, threshold=1 - 1e-12)(ones, ones, ones)
    with pytest.raises(ArgumentError, match=r"`delay_t1 / t1` must neither overflow nor vanish in float32, but is 1e\+40"):
        BrandPetruccione(3, t1=1e-10, delay_t1=1e30)(ones, ones, ones)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "noise",
    [DeviceNoise(t1=1e-42), DeviceNoise(t1=1e-42, gate_time=1e-3), DeviceNoise(gate_time=1e300), DeviceNoise(t1=5e-324)],
)
def test_noise_at_the_ends_of_the_range_gives_probabilities(noise: DeviceNoise, dtype: torch.dtype) -> None:
    """A relaxation time or a duration that float32 would round to 0 or infinity: nothing becomes NaN."""
    angles = torch.tensor([[[0.4, 1.1]]], dtype=dtype, requires_grad=True)
    for circuit in (Rotations(), Rotations("delay")):
        found = evaluate(get("analytic", noise=noise), circuit, angles, shots=None, seed=None).probability
        assert 0 <= float(found.detach()) <= 1
        assert found.dtype == dtype
    expected = get("reference", noise=noise).run(Rotations(), angles.detach(), shots=None, seed=None).probability
    torch.testing.assert_close(
        get("analytic", noise=noise).run(Rotations(), angles, shots=None, seed=None).probability.detach(), expected
    )
