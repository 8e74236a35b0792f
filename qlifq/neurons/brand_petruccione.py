"""The neuron of Brand and Petruccione, arXiv 2407.16398.

Its state is the excited population α of one qubit. A step re-prepares it with RX(φ), φ = 2 arcsin √α, and then rotates by θ at
an input spike, or leaks for an interval τ. It spikes when the new population exceeds the threshold, and is reset in the step
that follows.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq import circuits
from qlifq._transforms import refuse_tracing, trainable, transformed, uncompiled
from qlifq.backends import Backend, Plan, evaluate, get
from qlifq.backends.sampling import straight_through
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons import kernels
from qlifq.neurons.brand_petruccione_formula import ONCE, formula_of
from qlifq.neurons.inputs import FLOATING
from qlifq.neurons.precision import returned, widened
from qlifq.neurons.recorder import Recorder
from qlifq.neurons.surrogates import heaviside_spike
from qlifq.neurons.thresholds import comparable
from qlifq.random import SeedStream, philox

__all__ = ["BrandPetruccione", "BrandPetruccioneState", "rotations"]

LEAKS = ("relaxation", "published")
GRADIENTS = ("true", "published")
#: The longest leak per unit of weighted input, in the unit of T1 = 60.
_INTERVAL = 200.0

_ROTATION, _WAIT = circuits.BrandPetruccione(), circuits.BrandPetruccione("delay")


class BrandPetruccioneState(NamedTuple):
    """What the layer carries from one step to the next.

    Args:
        population: α, `(batch, num_neurons)`, within [0, 1].
    """

    population: Tensor

    def detach(self) -> "BrandPetruccioneState":
        """The same value, cut from the graph that made it."""
        return BrandPetruccioneState(self.population.detach())


torch.serialization.add_safe_globals([BrandPetruccioneState])
_Found = tuple[Tensor, Tensor, BrandPetruccioneState]


class BrandPetruccione(nn.Module):
    """A layer of the spiking neurons of arXiv 2407.16398.

    For an input x in {0, 1} and α below the threshold, else α' = 0:

        x = 1                     α' = sin²((φ + θ)/2),   φ = 2 arcsin √α
        x = 0, leak "published"   α' = sin²((φ + γ)/2),   γ = −2 arcsin √(α e^(−τ/T1))
        x = 0, leak "relaxation"  α' = α e^(−τ/T1)

    The published leak is that of the authors' released code. It runs backwards: a long interval leaves the population as it was
    and a short one empties it. "relaxation" is the decay of a qubit: as the rotation γ* = 2 arcsin √(α e^(−τ/T1)) − φ, or,
    where `delay_t1` is given, as a wait on a device that decays by itself.

    On a backend with shots α' is estimated from counts, as a device would give it, and compared with the threshold as counts
    are, the same in every dtype: exactly at the threshold it does not spike, but begins anew. Without shots α' is a number of
    the inputs' dtype, whose rounding decides there.

    Args:
        num_neurons: how many neurons, at least 1.
        backend: a name of `qlifq.backends.names()`, a `Backend`, or a backend, sampler or device object of Qiskit or PennyLane.
        shots: shots per neuron and step; None for exact populations.
        seed: root of the shot noise, 0 to 2⁶³ − 1; None takes one from torch's global generator. See `SeedStream`.
        threshold: population above which a neuron spikes, above 0 and below 1.
        t1: T1 of the leak, in the unit of τ.
        leak: "relaxation" or "published".
        gradient: "true" differentiates the recurrence and gives the spike the derivative 1 / (1 + (π(α' − threshold))²).
            "published" is that of the released code: the spike has none, so layers in front of one that is read through its
            spikes do not train, and what passes the population is scaled by 1 / (1 + (πα)²).
        delay_t1: T1 of the device in seconds. The leak is then a real delay of τ/t1 · delay_t1 seconds, which decays only on a
            backend with that noise; needs leak="relaxation".
        kernel: "auto" or "off", as for `qlifq.QLIF`.

    Raises:
        ArgumentError: for a value out of range, or an unknown name.
        DtypeError: for a value of another type.
        UnsupportedError: for an option that would be ignored.
        MissingPackageError: if the package that the backend needs is missing.

    Example:
        >>> layer = BrandPetruccione(1)
        >>> theta, tau = torch.full((3, 1, 1), 1.2), torch.zeros(3, 1, 1)
        >>> spikes, state = layer(theta, tau, torch.ones(3, 1, 1))
        >>> spikes.flatten().tolist(), state.population.shape
        ([0.0, 1.0, 0.0], torch.Size([1, 1]))
    """

    def __init__(
        self,
        num_neurons: int,
        *,
        backend: str | Backend = "analytic",
        shots: int | None = None,
        seed: int | None = None,
        threshold: float = 0.75,
        t1: float = 60.0,
        leak: str = "relaxation",
        gradient: str = "true",
        delay_t1: float | None = None,
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        self.num_neurons = check.integer("num_neurons", num_neurons, at_least=1)
        self.backend = backend if isinstance(backend, Backend) else get(backend)
        self.backend.check_size(0, num_neurons, shots)
        self.backend.check_bounded("BrandPetruccione, whose next step starts from what was measured")
        self.shots = shots
        self.seeds = SeedStream(seed)
        self.threshold = check.real("threshold", threshold, above=0.0, below=1.0)
        self.t1 = check.real("t1", t1, above=0.0)
        self.kernel = check.choice("kernel", kernel, kernels.CHOICES)
        #: What `qlifq.record` has set to be filled, if anything.
        self.recorder: Recorder | None = None
        self.leak = check.choice("leak", leak, LEAKS)
        self.gradient = check.choice("gradient", gradient, GRADIENTS)
        self.delay_t1 = None if delay_t1 is None else check.real("delay_t1", delay_t1, above=0.0)
        if delay_t1 is not None and leak != "relaxation":
            raise UnsupportedError(f"Argument `delay_t1` would be ignored: it needs leak='relaxation', but leak is {leak!r}.")

    def moved(self, backend: str | Backend, *, shots: int | None = None, seed: int | None = None) -> "BrandPetruccione":
        """The same layer on another backend, as a new one; arguments and errors as for the layer."""
        same = {name: getattr(self, name) for name in ("threshold", "t1", "leak", "gradient", "delay_t1", "kernel")}
        return BrandPetruccione(self.num_neurons, backend=backend, shots=shots, seed=seed, **same)

    @uncompiled
    def forward(
        self, theta: Tensor, tau: Tensor, x: Tensor, state: BrandPetruccioneState | None = None
    ) -> tuple[Tensor, BrandPetruccioneState]:
        """Run a sequence.

        Args:
            theta: rotation of an input spike, radians, `(time, batch, num_neurons)`; half precision as for `qlifq.QLIF`.
            tau: interval of a leak, at least 0, in the unit of `t1`, same shape and dtype.
            x: input spike, 0 or 1, same shape and dtype.
            state: the state to start from; None starts at population 0.

        Returns:
            The spikes, `(time, batch, num_neurons)`, in the dtype of `theta`, and the state after the last step.

        Raises:
            ShapeError: for an input of another shape.
            DtypeError: for one that is no tensor, or has another dtype or device than `theta`.
            ArgumentError: for one that is not finite, or a leak below 0 or an input spike that is neither 0 nor 1.
            BackendError: if the backend fails while it runs.
        """
        _, spikes, state = self.run(theta, tau, x, state)
        return spikes, state

    @uncompiled
    def run(
        self,
        theta: Tensor,
        tau: Tensor,
        x: Tensor,
        state: BrandPetruccioneState | None = None,
        *,
        steps: int | None = None,
    ) -> tuple[Tensor, Tensor, BrandPetruccioneState]:
        """As `forward`, and returns the populations of every step first, `(time, batch, num_neurons)`.

        With `steps` the inputs are `(1, batch, num_neurons)` and the same in each of this many steps.
        """
        self._check_inputs(theta, tau, x)
        given = theta
        theta, tau, x = (trainable(widened(value)) for value in (theta, tau, x))
        self._check_numbers(theta.dtype)
        if steps is not None:
            check.integer("steps", steps, at_least=1)
            check.shape_of("theta", theta, (1, *theta.shape[1:]))
        before = state
        state = self._check_state(self.initial_state(theta) if state is None else state, theta)
        if self.gradient == "published" and transformed(theta, tau, state.population):
            raise UnsupportedError(
                "Argument `gradient` must be 'true' for forward-mode differentiation and torch.func, but is 'published', which "
                "goes backward alone."
            )
        count = len(theta) if steps is None else steps
        threshold = comparable(self.threshold, self.shots, theta.dtype)
        if (found := self._in_one(theta, tau, x, state, threshold, count)) is not None:
            return self._recorded(found, before, given)
        if steps is not None:
            theta, tau, x = (value.expand(steps, -1, -1) for value in (theta, tau, x))
        populations, spikes = [], []
        for now in zip(theta, tau, x, strict=True):
            population = self._step(*now, state.population, threshold)
            populations.append(population)
            spikes.append(self._spike(population, threshold))
            state = BrandPetruccioneState(population)
        if not populations:
            return torch.zeros_like(given), torch.zeros_like(given), state
        return self._recorded((torch.stack(populations), torch.stack(spikes), state), before, given)

    def _recorded(self, found: _Found, before: BrandPetruccioneState | None, given: Tensor) -> _Found:
        """What a call returns, which a recorder is handed, too."""
        populations, spikes, after = found
        if self.recorder is not None:
            self.recorder.keep({"spikes": spikes, "population": populations, "probability": populations}, before, after)
        return returned(populations, given), returned(spikes, given), after

    def initial_state(self, like: Tensor) -> BrandPetruccioneState:
        """The empty population for inputs such as `like`, `(time, batch, num_neurons)`."""
        return BrandPetruccioneState(widened(like.new_zeros(like.shape[1:])))

    def plan(self, batch: int) -> Plan:
        """What one step of a batch costs on the backend, see `qlifq.backends.Plan`; spends nothing.

        With a real delay a step is two calls, one of each circuit, and each evaluation is in one of them: both are counted in
        full.
        """
        circuits = [_ROTATION] if self.delay_t1 is None else [_ROTATION, _WAIT]
        return Plan.total([self.backend.plan(circuit, batch, self.num_neurons, shots=self.shots) for circuit in circuits])

    def extra_repr(self) -> str:
        """The settings."""
        shots = "exact" if self.shots is None else str(self.shots)
        return (
            f"{self.num_neurons}, backend={self.backend.description}, shots={shots}, threshold={self.threshold}, t1={self.t1}, "
            f"leak={self.leak}, gradient={self.gradient}"
        )

    def why_stepwise(self) -> str | None:
        """The setting that keeps this layer from running a sequence as one operation; None where none does."""
        if self.kernel == "off":
            return "kernel='off'"
        if not self.backend.capabilities.ideal:
            return f"backend={self.backend.name!r}"
        if self.shots is not None:
            return f"shots={self.shots}"
        return None if self.delay_t1 is None else f"delay_t1={self.delay_t1:g}"

    def _in_one(
        self, theta: Tensor, tau: Tensor, x: Tensor, state: BrandPetruccioneState, threshold: float, steps: int
    ) -> _Found | None:
        """Populations, spikes and state of a whole sequence; None where it must be run step by step."""
        if self.why_stepwise() is not None or not steps * theta[0:1].numel() or transformed(theta, tau, state.population):
            return None
        numbers = {"threshold": threshold, "t1": self.t1, "margin": torch.finfo(theta.dtype).eps}
        prepared = kernels.prepare(
            formula_of(self.leak, self.gradient),
            state._asdict(),
            {"theta": theta, "tau": tau, "x": x.detach()},
            {name: torch.full((), value, dtype=theta.dtype, device=theta.device) for name, value in numbers.items()},
            steps,
        )
        if prepared is None:
            return None
        outputs, after, _ = prepared.run(philox.Place(0, 0, 0))
        return outputs["population"], outputs["spikes"], BrandPetruccioneState(**after)

    def _step(self, theta: Tensor, tau: Tensor, x: Tensor, before: Tensor, threshold: float) -> Tensor:
        """The population after one step, `(batch, num_neurons)`."""
        # An exact layer draws nothing, and runs in one operation or in steps depending on whether a gradient is needed.
        seeds: Sequence[int | None] = [None] * 4 if self.shots is None else self.seeds.next_seeds(4)
        drive_seeds, wait_seeds = seeds[:2], seeds[2:]
        phi = preparing_angle(before)
        below, driven = before < threshold, x > 0
        relaxed = before * (-tau / self.t1).exp()
        if self.delay_t1 is None:
            gamma = -preparing_angle(relaxed) if self.leak == "published" else preparing_angle(relaxed) - phi
            after = self._evaluate(_ROTATION, phi, torch.where(driven, theta, gamma), below, drive_seeds)
        else:
            # Two circuits: an angle cannot make a device wait instead of rotate.
            waited = self._wait(phi, tau * (self.delay_t1 / self.t1), relaxed, below & ~driven, wait_seeds)
            after = self._evaluate(_ROTATION, phi, theta, below & driven, drive_seeds) + waited
        if self.gradient == "published" and after.requires_grad:
            after = _Published.apply(after, before.detach())  # type: ignore[no-untyped-call]
        return after

    def _evaluate(
        self,
        circuit: circuits.SpikeCircuit,
        phi: Tensor,
        second: Tensor,
        where: Tensor,
        seeds: Sequence[int | None],
        gradient: str = "auto",
    ) -> Tensor:
        """The population that the backend measures, 0 where no circuit runs."""
        return evaluate(
            self.backend,
            circuit,
            torch.stack((phi, second), dim=-1),
            shots=self.shots,
            seed=seeds[0],
            where=where,
            gradient=gradient,
            gradient_seed=seeds[1],
        ).probability

    def _wait(self, phi: Tensor, seconds: Tensor, relaxed: Tensor, where: Tensor, seeds: Sequence[int | None]) -> Tensor:
        """The population after a delay on the backend."""
        if self.backend.capabilities.differentiable:
            return self._evaluate(_WAIT, phi, seconds, where, seeds)
        # No rotation can be shifted to differentiate a delay; its law is known, so its gradient is that of the law.
        measured = self._evaluate(_WAIT, phi, seconds, where, seeds, gradient="none")
        return straight_through(measured, relaxed * where)

    def _spike(self, population: Tensor, threshold: float) -> Tensor:
        if self.gradient == "published":
            population = population.detach()
        return heaviside_spike(population - threshold, "arctan", math.pi)

    def _check_inputs(self, theta: Tensor, tau: Tensor, x: Tensor) -> None:
        refuse_tracing()
        check.with_values("theta", check.tensor("theta", theta, dtypes=FLOATING))
        check.shape_of("theta", theta, ("time", "batch", self.num_neurons))
        for name, value in (("tau", tau), ("x", x)):
            check.shape_of(name, check.tensor(name, value, dtypes=(theta.dtype,)), tuple(theta.shape))
            if value.device != theta.device:
                raise DtypeError(f"Argument `{name}` must be on {theta.device} like `theta`, but is on {value.device}.")
        for name, value in (("theta", theta), ("tau", tau), ("x", x)):
            check.finite(name, value)
        if tau.numel() and float(tau.detach().min()) < 0:
            raise ArgumentError(f"Argument `tau` must be at least 0, but is {float(tau.detach().min()):g} somewhere.")
        if not bool(((x == 0) | (x == 1)).all()):
            wrong = x[(x != 0) & (x != 1)][0]
            raise ArgumentError(f"Argument `x` must be 0 or 1, but is {float(wrong):g} somewhere.")

    def _check_numbers(self, dtype: torch.dtype) -> None:
        """Refuse numbers of the layer that are no use in the dtype of its inputs."""
        numbers = {"threshold": self.threshold, "t1": self.t1}
        numbers |= {} if self.delay_t1 is None else {"delay_t1 / t1": self.delay_t1 / self.t1}
        for name, number in numbers.items():
            check.within(name, [number], dtype)
        check.real("threshold", torch.tensor(self.threshold, dtype=dtype, device="cpu").item(), below=1.0)

    def _check_state(self, state: object, theta: Tensor) -> BrandPetruccioneState:
        if not isinstance(state, BrandPetruccioneState):
            raise DtypeError(f"Argument `state` must be a BrandPetruccioneState or None, but is {type(state).__name__}.")
        population = check.tensor("state.population", state.population, dtypes=(theta.dtype,))
        check.shape_of("state.population", population, tuple(theta.shape[1:]))
        if population.device != theta.device:
            raise DtypeError(f"Argument `state.population` must be on {theta.device}, but is on {population.device}.")
        check.finite("state.population", population)
        if population.numel() and not 0 <= float(population.detach().min()) <= float(population.detach().max()) <= 1:
            wrong = population.detach()[(population < 0) | (population > 1)][0]
            raise ArgumentError(f"Argument `state.population` must be within [0, 1], but is {float(wrong):g} somewhere.")
        usable = trainable(population)
        return state if usable is population else BrandPetruccioneState(usable)


def preparing_angle(population: Tensor) -> Tensor:
    """φ = 2 arcsin √α, the rotation that prepares a population, radians.

    Its derivative 1/√(α (1 − α)) has no limit at α = 0 and 1; there it is taken as 0, where a reset leaves no gradient to carry
    and an infinite one would turn into NaN.
    """
    if not (torch.is_grad_enabled() and population.requires_grad) and not transformed(population):
        return population.sqrt().asin_().mul_(2)
    margin = torch.finfo(population.dtype).eps
    inside = (population > margin) & (population < 1 - margin)
    smooth = 2 * torch.where(inside, population, 0.5).sqrt().asin()
    return torch.where(inside, smooth, 2 * population.detach().sqrt().asin())


class _Published(torch.autograd.Function):
    """A population with the derivative of the released code: what passes it is scaled by that of the population before."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, after: Tensor, before: Tensor) -> Tensor:
        ctx.save_for_backward(before)
        return after.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise UnsupportedError(ONCE)
        (before,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0] / (1 + (math.pi * before).square()), None


def rotations(weighted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What drives the neurons where there are two weights per connection, W_q and W_t, as in the paper's networks.

        θ = π |W_q x|     τ = 200 |W_t x|     an input spike where W_q x > 0

    Args:
        weighted: W_q x and W_t x one after the other, `(time, batch, 2 units, ...)`, floating point.

    Returns:
        θ, τ and the input spikes, each `(time, batch, num_neurons)`, units and what follows them in one, in float32 at least.
    """
    rotation, interval = (part.flatten(2) for part in widened(weighted).chunk(2, dim=2))
    return math.pi * rotation.abs(), _INTERVAL * interval.abs(), (rotation.detach() > 0).to(rotation.dtype)
