"""The QLIF layer."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq._transforms import constant, transformed, uncompiled
from qlifq.backends import Backend, Plan, get
from qlifq.backends.gradients import check_gradient
from qlifq.backends.sampling import shared
from qlifq.circuits import RYSpike
from qlifq.errors import MissingConstantError, UnsupportedError
from qlifq.neurons.decision import Decided, QuantumDecision, classic
from qlifq.neurons.dynamics import Dynamics, initial_state
from qlifq.neurons.fused_lif import Constants, Traces, run_plain, trace_plain
from qlifq.neurons.inputs import check_constants, checked_current, checked_end, checked_modulation
from qlifq.neurons.mapping import MAPPINGS
from qlifq.neurons.parameters import PER_NEURON, Need, PerNeuron, Settings, spec_of
from qlifq.neurons.per_neuron import PerNeuronValue
from qlifq.neurons.state import QLIFState, check_state
from qlifq.neurons.step_functions import MappingParameters, step_functions
from qlifq.random.streams import SeedStream

__all__ = ["QLIF", "Step"]


#: What a plain neuron may have its own value of; trained constants apart, which are looked at as they are.
_PLAIN = {"V_th", "V_reset", "tau", "dt", "q_scale", "q_bias", "quantum_leak", "neuromod_mode", "neuromod_strength"}
_PARAMETERS = {item.name: item for item in fields(Settings)}


class Step(NamedTuple):
    """What one step produced.

    Args:
        state: the state after the step.
        gap: Δ at the decision, `(batch, num_neurons)`.
        potential: V at the decision, before any reset, `(batch, num_neurons)`.
        decided: spikes, probability and angle.
        active: bool, the neurons that were asked; None where all were.
    """

    state: QLIFState
    gap: Tensor
    potential: Tensor
    decided: Decided
    active: Tensor | None


torch.serialization.add_safe_globals([Step, Decided])


class QLIF(nn.Module):
    """A layer of quantum leaky integrate-and-fire neurons.

    Each step integrates the input into the membrane potential V, turns the gap Δ = V − V_th into an angle θ, asks a qubit
    P(|1⟩) = sin²(θ/2) through the backend, makes spikes of the answer, and settles reset and adaptation.

    With `decision="sample"` a neuron spikes with probability p, and one shot is one spike: more shots change nothing in the
    law of the spikes, since a Bernoulli draw of an unbiased estimate of p is a Bernoulli(p) draw; they only cost. With
    `decision="threshold"` it spikes where the estimate p̂ exceeds sin²(quantum_threshold/2): here shot noise flips decisions,
    and shots matter. What equals the threshold does not exceed it, in any dtype: counts, those of a neuron's qubits added up,
    are compared as integers, and an estimate without counts must exceed it by more than its rounding. `decision="expectation"`
    emits p̂ itself.

    Spikes carry the straight-through gradient of p.

    What a layer draws follows from its stream `layer.seeds`, see `qlifq.neurons.SeedStream`, which every call moves on; torch's
    generators are left alone. `torch.utils.checkpoint` replays it. Threads, forked processes and the workers of a `DataLoader`
    share no noise. Two layers with one seed do, and so do a layer with a seed and its copy: give each layer a seed of its own.
    A `state_dict` does not hold the stream, and a layer that loads one goes on with its own noise; to continue the noise as
    well, keep `layer.seeds.root` and `layer.seeds.position`, and set `layer.seeds = SeedStream(root)` and its `position`.

    Args:
        num_neurons: how many neurons, at least 1.
        backend: a name of `qlifq.backends.names()`, or a `Backend`.
        shots: shots per qubit and step. None is exact where the backend can be, else 1 for `decision="sample"`.
        seed: root of the layer's noise, 0 to 2⁶³ − 1; None takes one from torch's global generator. See `SeedStream`.
        decision: "sample", "threshold" or "expectation".
        gradient: "auto", "analytic", "parameter-shift" or "none", see `qlifq.backends.evaluate`.
        gradient_shots: shots of the shifted evaluations of "parameter-shift"; None for `shots`.
        membrane: "leaky" or "quadratic".
        mapping: "sigmoid", "linear" or "tanh".
        compile: whether the elementwise parts of a step are compiled by `torch.compile`, which takes some seconds at the first
            call and a C++ compiler; the results agree with the uncompiled ones to rounding.
        **parameters: the neuron's parameters, see `qlifq.neurons.Settings`.

    Raises:
        QLIFError: for a bad value, an unknown name, or an option that would be ignored.

    Example:
        >>> layer = QLIF(3, seed=1)
        >>> spikes, state = layer(torch.full((50, 2, 3), 1.5))
        >>> spikes.shape, state.voltage.shape
        (torch.Size([50, 2, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        num_neurons: int,
        *,
        backend: str | Backend = "analytic",
        shots: int | None = None,
        seed: int | None = None,
        decision: str = "sample",
        gradient: str = "auto",
        gradient_shots: int | None = None,
        membrane: str = "leaky",
        mapping: str = "sigmoid",
        compile: bool = False,
        **parameters: object,
    ) -> None:
        super().__init__()
        self.num_neurons = check.integer("num_neurons", num_neurons, at_least=1)
        for name in parameters:
            if name not in _PARAMETERS:
                raise check.unknown("parameter", name, list(_PARAMETERS))
        self.settings = Settings(decision=decision, membrane=membrane, mapping=mapping, **parameters)  # type: ignore[arg-type]
        self.backend = backend if isinstance(backend, Backend) else get(backend)
        self.gradient = gradient
        self.gradient_shots = gradient_shots
        self.shots = self._shots(shots)
        if self.settings.quantum_mode:
            check_gradient(self.backend, RYSpike(), gradient, gradient_shots)
        self.seeds = SeedStream(seed)
        #: The dtypes in which the settings were found to be finite.
        self._suited: set[torch.dtype] = set()
        self.compiled = check.flag("compile", compile)
        step_functions(compiled=self.compiled)
        self.constants = self._constants()

    @uncompiled
    def forward(
        self, current: Tensor, state: QLIFState | None = None, modulation: Tensor | None = None
    ) -> tuple[Tensor, QLIFState]:
        """Run a sequence.

        Args:
            current: input I, `(time, batch, num_neurons)`, in the layer's dtype and on its device, finite.
            state: the state to start from; None starts at rest. A sequence cut in two and carried over equals the whole.
            modulation: neuromodulation, `(time, 1 or batch, 1 or num_neurons)`; None has exactly no effect.

        Returns:
            The spikes, `(time, batch, num_neurons)`, and the state after the last step.

        Raises:
            QLIFError: if an input cannot be used.
        """
        if modulation is None and self._can_fuse(current, _voltage(state)):
            current, state, _ = self._checked(current, state, None, sizes=("time", "batch", self.num_neurons), look=True)
            if not len(current):
                return torch.zeros_like(current), state
            emitted, voltage = run_plain(current, state.voltage, self._plain_constants(), self.seeds)
            return emitted, checked_end(state._replace(voltage=voltage))
        spikes = []
        for step in self.steps(current, state, modulation):
            spikes.append(step.decided.spikes)
            state = step.state
        if state is None:
            state = self.initial_state(current.shape[1])
        return (torch.stack(spikes) if spikes else torch.zeros_like(current)), state

    @uncompiled
    def step(
        self, current: Tensor, state: QLIFState | None = None, modulation: Tensor | None = None
    ) -> tuple[Tensor, QLIFState]:
        """Run one step: as `forward` without the dimension of time.

        On an accelerator the values of the input are not looked at, since that would wait for the device at every step.
        """
        look = isinstance(current, Tensor) and current.device.type == "cpu"
        current, state, modulation = self._checked(current, state, modulation, sizes=("batch", self.num_neurons), look=look)
        with_time = None if modulation is None else modulation.unsqueeze(0)
        (step,) = self._run(current.unsqueeze(0), state, with_time)
        return step.decided.spikes, step.state

    @uncompiled
    def steps(self, current: Tensor, state: QLIFState | None = None, modulation: Tensor | None = None) -> Iterator[Step]:
        """Run a sequence step by step and yield what each one produced; arguments as for `forward`.

        The inputs are checked before the first step, not in each.
        """
        return self._run(*self._checked(current, state, modulation, sizes=("time", "batch", self.num_neurons), look=True))

    @uncompiled
    def traces(
        self, current: Tensor, state: QLIFState | None = None, modulation: Tensor | None = None
    ) -> tuple[Traces, QLIFState] | None:
        """What happens in a sequence, faster than by `steps`; arguments as for `forward`.

        Returns:
            The traces and the state after the last step; None where only `steps` can tell: for anything but a plain neuron,
            with modulation, and where a derivative is asked for.

        Raises:
            QLIFError: if an input cannot be used, or leads to an angle that is NaN.
        """
        voltage = _voltage(state)
        derived = any(isinstance(value, Tensor) and value.requires_grad for value in (current, voltage))
        if modulation is not None or not self._can_fuse(current, voltage) or (derived and torch.is_grad_enabled()):
            return None
        current, state, _ = self._checked(current, state, None, sizes=("time", "batch", self.num_neurons), look=True)
        traces, voltage = trace_plain(current, state.voltage, self._plain_constants(), self.seeds)
        return traces, checked_end(state._replace(voltage=voltage))

    def initial_state(self, batch: int) -> QLIFState:
        """The state at rest for a batch, on the layer's device and in its dtype."""
        return initial_state(self.settings, check.integer("batch", batch, at_least=0), self.num_neurons, self.V_th)

    def plan(self, batch: int) -> Plan:
        """What one step of a batch costs on the backend, see `qlifq.backends.Plan`; spends nothing."""
        if not self.settings.quantum_mode:
            return Plan(evaluations=0, circuits=0, qubits=0, jobs=0, executions=0)
        return self.backend.plan(RYSpike(), batch, self.num_neurons * self.settings.quantum_wire, shots=self.shots)

    def assign(self, **values: Tensor) -> None:
        """Set constants per neuron in place, such as a calibration's q_scale and q_bias.

        Args:
            **values: `(num_neurons,)` tensors by name: V_th, tau, eta, q_scale or q_bias.

        Raises:
            QLIFError: for a name this layer does not have, a wrong shape, or a value out of range.
        """
        for name, value in values.items():
            if name not in self.constants:
                raise check.unknown("constant", name, list(self.constants))
            check.shape_of(name, check.finite(name, check.tensor(name, value)), (self.num_neurons,))
        # The settings know what the values must be, by themselves and to each other; nothing is set before all are right.
        replace(self.settings, **{name: tuple(value.tolist()) for name, value in values.items()})  # type: ignore[arg-type]
        kept = self._kept()
        stored = {name: kept[name].stored_from(value) for name, value in values.items()}
        for name, value in stored.items():
            kept[name].assign(value)

    def extra_repr(self) -> str:
        """The settings that differ from their defaults."""
        values = {name: getattr(self.settings, name) for name in _PARAMETERS}
        changed = [f"{name}={value!r}" for name, value in values.items() if value != _PARAMETERS[name].default]
        shots = "exact" if self.shots is None else str(self.shots)
        return ", ".join([str(self.num_neurons), f"backend={self.backend.description}", f"shots={shots}", *changed])

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        # Where a property raises an AttributeError, Python asks here, and what it said would be lost.
        return self._constant(name) if name in PER_NEURON else super().__getattr__(name)

    @property
    def mapping(self) -> str:
        """The name of the mapping from gap to angle."""
        return self.settings.mapping

    @property
    def V_th(self) -> Tensor:
        """The threshold at rest, `(num_neurons,)`."""
        return self._constant("V_th")

    @property
    def tau(self) -> Tensor:
        """The membrane time constant, `(num_neurons,)`."""
        return self._constant("tau")

    @property
    def eta(self) -> Tensor:
        """The rise of the adaptive threshold at a spike, `(num_neurons,)`."""
        return self._constant("eta")

    @property
    def q_scale(self) -> Tensor:
        """The slope of the mapping, `(num_neurons,)`."""
        return self._constant("q_scale")

    @property
    def q_bias(self) -> Tensor:
        """The offset of the mapping, `(num_neurons,)`."""
        return self._constant("q_bias")

    def _checked(
        self, current: Tensor, state: QLIFState | None, modulation: Tensor | None, *, sizes: tuple[int | str, ...], look: bool
    ) -> tuple[Tensor, QLIFState, Tensor | None]:
        """What a sequence or a step is run with, once nothing is wrong with it."""
        current = checked_current(current, sizes, self.V_th, look=look)
        check_constants(self.settings, {name: kept.stored for name, kept in self._kept().items()}, current, self._suited)
        batch = current.shape[-2]
        if state is not None:
            state = check_state(state, batch, self.num_neurons, current, look=look)
        modulation = checked_modulation(modulation, self.settings, current, look=look)
        return current, self.initial_state(batch) if state is None else state, modulation

    def _run(self, current: Tensor, state: QLIFState, modulation: Tensor | None) -> Iterator[Step]:
        settings, step = self.settings, step_functions(compiled=self.compiled)
        dynamics, mapping_parameters = self.dynamics(), self._mapping_parameters()
        decision = QuantumDecision(settings, self.backend, self.shots, self.gradient, self.gradient_shots)
        for time, now in enumerate(current):
            m = None if modulation is None else modulation[time]
            # As many whatever is drawn, so that the next step's do not depend on this one's options.
            noise_seed, *seeds = self.seeds.next_seeds(4 if settings.quantum_mode else 2)
            shard = self.seeds.shard
            noise = constant(now, partial(shared, torch.randn, seed=noise_seed, shard=shard)) if settings.noise_std else None
            active = state.refractory.bool().logical_not() if settings.refractory_period else None
            state, gap, angle = step.pre_spike(state, now, dynamics, mapping_parameters, modulation=m, noise=noise)
            if angle is None:
                decided = classic(settings, gap, state.dynamic, m, active, seeds[0], shard)
            else:
                decided = decision.decide(angle, active, seeds, shard)
            potential = state.voltage
            state = step.settle(state, decided.spikes, dynamics, modulation=m)
            yield Step(state, gap, potential, decided, active)
        checked_end(state)

    def dynamics(self) -> Dynamics:
        """The constants of the dynamics as they are now, for `integrate` and `settle`."""
        return Dynamics.of(self.settings, self.V_th, self.tau, self.eta if "eta" in self.constants else None)

    def _mapping_parameters(self) -> MappingParameters | None:
        settings = self.settings
        if not settings.quantum_mode:
            return None
        return MappingParameters(self.q_scale, self.q_bias - settings.quantum_leak if settings.quantum_leak else self.q_bias)

    def _can_fuse(self, *inputs: object) -> bool:
        """Whether `run_plain` does what this layer does: nothing differs from the plain neuron, and no constant is trained.

        It has no derivative but the one that goes backward, to the input and the voltage.
        """
        if not self.backend.ideal or self.shots is not None or self.gradient not in {"auto", "analytic"} or self.compiled:
            return False
        constants = [kept.stored for kept in self._kept().values()]
        if any(value.requires_grad for value in constants) or transformed(*inputs, *constants):
            return False
        plain = Settings()
        return all(getattr(self.settings, name) == getattr(plain, name) for name in _PARAMETERS if name not in _PLAIN)

    def _plain_constants(self) -> Constants:
        mapping_parameters = cast(MappingParameters, self._mapping_parameters())
        step = (self.settings.dt / self.tau).detach()
        reset = step.new_tensor(self.settings.V_reset)
        return Constants(
            step, mapping_parameters.q_scale.detach(), mapping_parameters.offset.detach(), self.V_th.detach(), reset
        )

    def _constant(self, name: str) -> Tensor:
        if name not in self.constants:
            raise MissingConstantError(
                f"This layer has no `{name}`: it needs {cast(Need, spec_of(_PARAMETERS[name]).need).words}."
            )
        return cast(Tensor, self.constants[name]())

    def _kept(self) -> Mapping[str, PerNeuronValue]:
        return cast(Mapping[str, PerNeuronValue], self.constants)

    def _constants(self) -> nn.ModuleDict:
        """The values per neuron that this layer uses, trained ones as parameters."""
        settings = self.settings
        mapping = MAPPINGS[settings.mapping]
        used: dict[str, tuple[PerNeuron, bool, float | None]] = {
            "V_th": (settings.V_th, settings.learnable_threshold, None),
            "tau": (settings.tau, settings.learnable_tau, settings.dt),
        }
        if settings.use_adaptive_threshold:
            used["eta"] = (settings.eta, settings.learnable_eta, 0.0)
        if settings.quantum_mode:
            q_scale = mapping.q_scale if settings.q_scale is None else settings.q_scale
            q_bias = mapping.q_bias if settings.q_bias is None else settings.q_bias
            used["q_scale"] = (q_scale, settings.learnable_qscale, 0.0)
            used["q_bias"] = (q_bias, settings.learnable_qbias, None)
        return nn.ModuleDict(
            {
                name: PerNeuronValue(name, value, self.num_neurons, learnable=learnable, above=above)
                for name, (value, learnable, above) in used.items()
            }
        )

    def _shots(self, shots: int | None) -> int | None:
        """The shots a step uses, or the reason why it cannot."""
        settings, can = self.settings, self.backend.capabilities
        if not settings.quantum_mode:
            given: dict[str, object] = {
                "shots": shots,
                "gradient_shots": self.gradient_shots,
                "backend": None if self.backend.name == "analytic" else self.backend.name,
                "gradient": None if self.gradient == "auto" else self.gradient,
            }
            for name, value in given.items():
                if value is not None:
                    raise UnsupportedError(f"Argument `{name}` would be ignored: it needs quantum_mode=True, but is {value!r}.")
            return None
        if settings.decision == "sample":
            self.backend.check_bounded("decision='sample'")
        if shots is None and not can.exact:
            if settings.decision != "sample":
                raise UnsupportedError(
                    f"Argument `shots` must be an integer for decision={settings.decision!r} on backend {self.backend.name}, "
                    "which has no exact mode."
                )
            shots = 1
        self.backend.check_size(0, self.num_neurons * settings.quantum_wire, shots)
        if settings.quantum_wire > 1 and shots is None:
            raise UnsupportedError(
                f"Argument `quantum_wire` would be ignored: pooling qubits needs shots, but is {settings.quantum_wire} without."
            )
        return shots


def _voltage(state: object) -> Tensor | None:
    return state.voltage if isinstance(state, QLIFState) else None
