"""Derivatives of a second order, forward ones, and those of torch.func: right on every route, or refused in one sentence."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, func
from torch.autograd import forward_ad

from qlifq import QLIF, BrandPetruccione, QLIFError, calibration, simulate
from qlifq.backends import DeviceNoise, get
from qlifq.errors import UnsupportedError
from qlifq.neurons import BrandPetruccioneState, SeedStream

# The first forward-mode derivative of a process makes torch script its own formulas.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")

Loss = Callable[[Tensor], Tensor]

STEPS, BATCH, NEURONS = 4, 2, 3
SOURCE = torch.Generator().manual_seed(5)
INPUT = 3 * torch.rand(STEPS, BATCH, NEURONS, generator=SOURCE, dtype=torch.float64)
DIRECTION = torch.randn(STEPS, BATCH, NEURONS, generator=SOURCE, dtype=torch.float64)
WEIGHTS = torch.rand(STEPS, BATCH, NEURONS, generator=SOURCE, dtype=torch.float64)
NOISE = DeviceNoise(t1=80e-6, gate_time=1e-6, readout_p01=0.04, readout_p10=0.07)
TWIN = get("twin", record=calibration.fit(get("analytic", noise=NOISE), neurons=NEURONS, shots=500, seed=2))


def weighed(spikes: Tensor) -> Tensor:
    return torch.sum(WEIGHTS * spikes)


def quantum(**options: Any) -> Loss:
    """A weighted sum of a layer's spikes and of its last potential, as a function of its input: each call draws the same."""

    layer = QLIF(NEURONS, tau=2.5, **options).double()

    def loss(current: Tensor) -> Tensor:
        layer.seeds = SeedStream(3)
        spikes, state = layer(current)
        return weighed(spikes) + torch.sum(state.voltage.square())

    return loss


def by_steps(current: Tensor) -> Tensor:
    steps = list(QLIF(NEURONS, seed=3, tau=2.5).double().steps(current))
    return weighed(torch.stack([step.spikes for step in steps])) + steps[-1].state.voltage.square().sum()


def rotated(**options: Any) -> Loss:
    """Alike for the neuron of Brand and Petruccione, as a function of its rotations and intervals."""

    def loss(given: Tensor) -> Tensor:
        state = BrandPetruccioneState(torch.full((BATCH, NEURONS), 0.3, dtype=given.dtype))
        drives = (INPUT > 0.8).to(given.dtype)
        whole = BrandPetruccione(NEURONS, seed=3, **options).run(given / 2, 4 * given, drives, state)
        return weighed(whole[1]) + weighed(whole[0].flip(0))

    return loss


RIGHT: dict[str, Loss] = {
    "fused": quantum(),
    "steps": by_steps,
    "trained": quantum(learnable_tau=True),
    "shots": quantum(shots=5),
    "one shot": quantum(shots=1),
    "threshold": quantum(shots=7, decision="threshold"),
    "expectation": quantum(decision="expectation", mapping="tanh"),
    "everything": quantum(
        backend=get("analytic", noise=NOISE),
        noise_std=0.1,
        refractory_period=1,
        use_ahp=True,
        use_adaptive_threshold=True,
        depression_rate=0.3,
        homeostasis_enabled=True,
    ),
    "twin": quantum(backend=TWIN),
    "twin with shots": quantum(backend=TWIN, shots=4),
    **{
        f"classic, {name}": quantum(quantum_mode=False, surrogate_gradient_function=name) for name in ("fast_sigmoid", "arctan")
    },
    "stochastic": quantum(quantum_mode=False, stochastic=True),
    "Brand and Petruccione, fused": rotated(),
    "Brand and Petruccione, published leak": rotated(leak="published"),
    "Brand and Petruccione, shots": rotated(shots=40),
    "Brand and Petruccione, noise": rotated(backend=get("analytic", noise=NOISE)),
}
MEASURED: dict[str, Loss] = {
    "lightning": quantum(backend="lightning"),
    "aer": quantum(backend="aer", shots=3),
    "shifted": quantum(gradient="parameter-shift"),
    "Brand and Petruccione, lightning": rotated(backend="lightning"),
}


def near(found: object, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def first(loss: Loss, *, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    given = INPUT.clone().requires_grad_()
    return torch.autograd.grad(loss(given), given, create_graph=create_graph)[0], given


def second(loss: Loss) -> Tensor:
    """The derivative of the gradient along `DIRECTION`."""
    gradient, given = first(loss, create_graph=True)
    return torch.autograd.grad((gradient * DIRECTION).sum(), given)[0]


def forward(loss: Loss) -> Tensor:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(INPUT, DIRECTION)  # type: ignore[no-untyped-call]
        tangent = forward_ad.unpack_dual(loss(dual)).tangent  # type: ignore[no-untyped-call]
    assert isinstance(tangent, Tensor)
    return tangent


@pytest.mark.parametrize("loss", RIGHT.values(), ids=RIGHT)
def test_every_kind_of_derivative_agrees(loss: Loss) -> None:
    gradient, _ = first(loss)
    assert gradient.abs().sum() > 0.1
    along = (gradient * DIRECTION).sum()
    near(first(loss, create_graph=True)[0], gradient)
    near(forward(loss), along)
    near(func.jvp(loss, (INPUT,), (DIRECTION,))[1], along)
    near(func.grad(loss)(INPUT), gradient)
    curved = second(loss)
    assert curved.abs().sum() > 0.1
    near(func.jvp(func.grad(loss), (INPUT,), (DIRECTION,))[1], curved)
    hessian = cast(Tensor, torch.autograd.functional.hessian(loss, INPUT))  # type: ignore[no-untyped-call]
    near((hessian * DIRECTION).sum((-3, -2, -1)), curved)
    near(func.hessian(loss)(INPUT), hessian)
    twice = func.jvp(lambda at: func.jvp(loss, (at,), (DIRECTION,))[1], (INPUT,), (DIRECTION,))[1]
    near(twice, (curved * DIRECTION).sum())


def test_the_second_derivative_is_that_of_the_steps_and_the_curvature_of_a_probability() -> None:
    torch.testing.assert_close(second(quantum()), second(by_steps), rtol=1e-12, atol=1e-12)
    # One step from rest with τ = dt: V = I, and p = sin²((π/2) σ(4 (I − 1))) in the loss p, by differences of its derivative.
    given = torch.tensor([[[1.3]]], dtype=torch.float64, requires_grad=True)

    def slope(at: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(QLIF(1, seed=1, tau=1.0).double()(at)[0].sum(), at, create_graph=True)
        return found

    (curved,) = torch.autograd.grad(slope(given).sum(), given)
    above, below = (slope((given.detach() + step).requires_grad_()) for step in (1e-5, -1e-5))
    torch.testing.assert_close(curved, (above - below).detach() / 2e-5, rtol=1e-7, atol=1e-7)
    assert float(curved) < -0.5


@pytest.mark.parametrize("loss", [quantum(), rotated()])
def test_many_gradients_at_once(loss: Loss) -> None:
    def pair(given: Tensor) -> Tensor:
        return torch.stack((loss(given), loss(given).square()))

    one, many = (torch.autograd.functional.jacobian(pair, INPUT, vectorize=at_once) for at_once in (False, True))  # type: ignore[no-untyped-call]
    near(many, one)


@pytest.mark.parametrize("loss", MEASURED.values(), ids=MEASURED)
def test_a_measured_derivative_goes_backward_once(loss: Loss) -> None:
    assert first(loss)[0].abs().sum() > 0.1
    with pytest.raises(UnsupportedError, match="has no further one: call `backward`"):
        first(loss, create_graph=True)
    for call in (forward, lambda each: func.grad(each)(INPUT), lambda each: func.jvp(each, (INPUT,), (DIRECTION,))):
        with pytest.raises(UnsupportedError, match=r"forward-mode differentiation or torch\.func|forward or by torch\.func"):
            call(loss)


def test_the_closed_form_gradient_of_a_measured_probability_has_every_derivative() -> None:
    loss, exact = quantum(backend="lightning", gradient="analytic"), quantum()
    near(second(loss), second(exact))
    near(forward(loss), forward(exact))
    with pytest.raises(UnsupportedError, match=r"Backend lightning runs outside torch and cannot be .* by torch\.func"):
        func.grad(loss)(INPUT)


def test_a_gradient_that_is_not_needed_is_none_forward_too() -> None:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(INPUT, DIRECTION)  # type: ignore[no-untyped-call]
        spikes, _ = QLIF(NEURONS, seed=3, gradient="none").double()(dual)
        tangent = forward_ad.unpack_dual(spikes).tangent  # type: ignore[no-untyped-call]
        assert tangent is None or not tangent.any()


def test_the_published_gradient_is_for_one_backward() -> None:
    def loss(given: Tensor) -> Tensor:
        return BrandPetruccione(NEURONS, gradient="published").run(given, given, (INPUT > 0.8).to(given))[0].sum()

    assert first(loss)[0].abs().sum() > 0.1
    with pytest.raises(UnsupportedError, match=r"`gradient` must be 'true' for a second derivative \(`create_graph`\), but is"):
        first(loss, create_graph=True)
    with pytest.raises(UnsupportedError, match=r"`gradient` must be 'true' for forward-mode differentiation and torch\.func"):
        forward(loss)


@pytest.mark.parametrize("loss", [quantum(), quantum(quantum_mode=False), rotated(), MEASURED["lightning"]])
def test_vmap_is_refused_and_the_batch_dimension_named(loss: Loss) -> None:
    for function in (func.vmap(loss), func.vmap(func.grad(loss))):
        with pytest.raises(QLIFError, match=r"`(current|theta)` must not be batched by torch\.vmap: stack the samples along"):
            function(INPUT[None])


@pytest.mark.parametrize("name", ["V_th", "tau", "q_scale", "q_bias"])
@pytest.mark.parametrize("learnable", [False, True])
def test_functional_call_differentiates_whatever_it_puts_in(name: str, learnable: bool) -> None:
    """A constant that is fixed in the layer too: it is no parameter, and yet may be differentiated."""
    flags = {"V_th": "learnable_threshold", "tau": "learnable_tau", "q_scale": "learnable_qscale", "q_bias": "learnable_qbias"}
    options: dict[str, Any] = {flags[name]: learnable}

    layer = QLIF(NEURONS, tau=2.5, **options).double()

    def loss(values: dict[str, Tensor]) -> Tensor:
        layer.seeds = SeedStream(3)
        spikes, _ = func.functional_call(layer, values, (INPUT,))
        return weighed(spikes)

    (key,) = (key for key in layer.state_dict() if f".{name}." in key)
    values = {key: layer.state_dict()[key].clone().requires_grad_()}
    (expected,) = torch.autograd.grad(loss(values), values[key])
    assert expected.abs().min() > 1e-6
    near(func.grad(loss)({key: values[key].detach()})[key], expected)


def test_traces_carry_forward_derivatives_of_every_level() -> None:
    def potential(given: Tensor) -> Tensor:
        return simulate(QLIF(NEURONS, seed=3, tau=2.5).double(), given, "potential")["potential"].square().sum()

    def outer(given: Tensor) -> Tensor:
        # The input of the inner derivative is another one: the layer's is carried by the outer level alone.
        return cast(Tensor, func.grad(lambda scale: scale * potential(given))(torch.ones((), dtype=torch.float64)))

    expected = func.jvp(potential, (INPUT,), (DIRECTION,))[1]
    assert expected.abs() > 0.1
    torch.testing.assert_close(func.jvp(outer, (INPUT,), (DIRECTION,))[1], expected)
