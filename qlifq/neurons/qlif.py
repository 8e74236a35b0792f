"""The QLIF layer."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import NamedTuple, Unpack, cast

import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq._transforms import constant, transformed, uncompiled
from qlifq.backends import Backend, Plan, get
from qlifq.backends.gradients import check_gradient
from qlifq.circuits import RYSpike, SpikeCircuit, SpikeTrainCircuit
from qlifq.errors import ArgumentError, DtypeError, MissingConstantError, UnsupportedError
from qlifq.neurons import kernels
from qlifq.neurons.activity import ActivityMonitor
from qlifq.neurons.closed_form import ClosedForm, Obstacle, closed_form
from qlifq.neurons.decision import QuantumDecision
from qlifq.neurons.dynamics import Dynamics, initial_state, integrate, settle, threshold
from qlifq.neurons.formula import angle_of, formula_of
from qlifq.neurons.inputs import check_constants, checked_current, checked_end, checked_modulation
from qlifq.neurons.keywords import NeuronParameters
from qlifq.neurons.parameters import PER_NEURON, Need, Settings, spec_of
from qlifq.neurons.per_neuron import PerNeuronValue
from qlifq.neurons.recorder import Recorder
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.shapes import given_per_neuron, reduced, shape_of_layer
from qlifq.neurons.state import QLIFState, check_state
from qlifq.neurons.temporal import TemporalModule
from qlifq.neurons.trains.compiler import TOLERANCE, Neuron, compile_train
from qlifq.neurons.trains.loop import LOOPS, DrawnTrains, drawn_trains
from qlifq.neurons.trains.obstacles import check_trainable
from qlifq.random import MAX_SEED, SeedStream, philox

__all__ = ["QLIF", "Sequence", "Step"]
_PARAMETERS = {item.name: item for item in fields(Settings)}
#: The numbers that a layer keeps per neuron even where all neurons share one.
_KEPT = ("V_th", "tau", "eta", "q_scale", "q_bias")


class Sequence(NamedTuple):
    """What a sequence produced.

    Args:
        outputs: what was kept of every step by name, `(time, batch, num_neurons)` each; the spikes among them.
        state: the state after the last step.
    """

    outputs: Mapping[str, Tensor]
    state: QLIFState


class Step(NamedTuple):
    """What one step produced.

    Args:
        state: the state after the step.
        spikes: s, `(batch, num_neurons)`.
        gap: Δ at the decision, same shape.
        potential: V at the decision, before any reset, same shape.
        threshold: what V was compared with, same shape.
        angle: θ, radians, same shape; None for the classic neuron.
        probability: P(1), or its estimate, same shape; None for the classic deterministic neuron.
        active: 1 for the neurons that decided, 0 for those in their refractory period; None where all decided.
    """

    state: QLIFState
    spikes: Tensor
    gap: Tensor
    potential: Tensor
    threshold: Tensor
    angle: Tensor | None
    probability: Tensor | None
    active: Tensor | None


torch.serialization.add_safe_globals([Step])


class QLIF(TemporalModule):
    """A layer of quantum leaky integrate-and-fire neurons.

    Each step integrates the input into the membrane potential V, turns the gap Δ = V − V_th into an angle θ, asks a qubit
    P(|1⟩) = sin²(θ/2) through the backend, makes spikes of the answer, and settles reset and adaptation.

    With `decision="sample"` a neuron spikes with probability p, and one shot is one spike: more shots change nothing in the
    distribution of the spikes, since a Bernoulli draw of an unbiased estimate of p is a Bernoulli(p) draw; they only cost. With
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
        num_neurons: how many neurons, at least 1, or their shape, such as `(32, 14, 14)` for maps: then everything that is
            `(..., num_neurons)` here is `(..., *shape)`, and what is given per neuron broadcasts with the shape.
        backend: a name of `qlifq.backends.names()`, a `Backend`, or a backend, sampler or device object of Qiskit or PennyLane.
        shots: shots per qubit and step. None is exact where the backend can be, else 1 for `decision="sample"`.
        seed: root of the layer's noise, 0 to 2⁶³ − 1; None takes one from torch's global generator. See `SeedStream`.
        decision: "sample", "threshold" or "expectation".
        gradient: "auto", "analytic", "parameter-shift" or "none", see `qlifq.backends.evaluate`.
        gradient_shots: shots of the shifted evaluations of "parameter-shift"; None for `shots`.
        membrane: "leaky" or "quadratic".
        mapping: "sigmoid", "linear" or "tanh".
        circuit: what a decision runs, a circuit of one angle; None for `RYSpike`.
        kernel: "auto" runs a sequence as one compiled operation where the decision has a closed form and a kernel can be built,
            which takes a second when a layer of its kind runs for the first time on a machine; "off" runs it step by step. The
            spikes are the same, up to ties at rounding.
        loop: "host" decides step by step. "circuit" submits a sequence as one spike-train circuit, see `train_circuit`: one
            shot is one whole train, and rows of a batch with the same input and state are shots of one circuit. It is the
            same neuron; a device runs one job instead of one per step.
        angle_tolerance: the largest error of an angle with loop="circuit", radians, as for `train_circuit`; None for 2e-4.
        **parameters: the neuron's parameters, see `qlifq.neurons.Settings`. Numbers may be given per neuron, all but `dt` and
            `quantum_threshold`. Those named in `learnable` are trained, each within its own range.

    Raises:
        ArgumentError: for a value out of range, or an unknown name.
        DtypeError: for a value of another type.
        ShapeError: for a parameter per neuron with another number of values than `num_neurons`, or that does not broadcast
            with the shape.
        UnsupportedError: for an option that would be ignored, or that the backend does not have.
        MissingPackageError: if the package that the backend needs is missing.

    Example:
        >>> layer = QLIF(3, seed=1)
        >>> spikes, state = layer(torch.full((50, 2, 3), 1.5))
        >>> spikes.shape, state.voltage.shape
        (torch.Size([50, 2, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        num_neurons: int | tuple[int, ...],
        *,
        backend: str | Backend = "analytic",
        shots: int | None = None,
        seed: int | None = None,
        decision: str = "sample",
        gradient: str = "auto",
        gradient_shots: int | None = None,
        membrane: str = "leaky",
        mapping: str = "sigmoid",
        circuit: SpikeCircuit | None = None,
        kernel: str = "auto",
        loop: str = "host",
        angle_tolerance: float | None = None,
        **parameters: Unpack[NeuronParameters],
    ) -> None:
        super().__init__()
        self._shape = shape_of_layer(num_neurons)
        self.num_neurons, self.shape = self._shape.count, self._shape.sizes
        for name in parameters:
            if name not in _PARAMETERS:
                raise check.unknown("parameter", name, list(_PARAMETERS))
        numbers, given = given_per_neuron(parameters, self._shape)
        self.settings = Settings(decision=decision, membrane=membrane, mapping=mapping, **numbers)  # type: ignore[arg-type]
        self.backend = backend if isinstance(backend, Backend) else get(backend)
        self.circuit = _checked_circuit(circuit)
        self.gradient = gradient
        self.gradient_shots = gradient_shots
        self.loop = check.choice("loop", loop, LOOPS)
        self.angle_tolerance = self._angle_tolerance(angle_tolerance)
        self.shots = self._shots(shots)
        if self.settings.quantum_mode:
            check_gradient(self.backend, self.circuit, gradient, gradient_shots)
        self.seeds = SeedStream(seed)
        #: The dtypes in which the settings were found to be finite.
        self._suited: set[torch.dtype] = set()
        self.kernel = check.choice("kernel", kernel, kernels.CHOICES)
        self.constants = self._constants(given)
        self._activity = ActivityMonitor()
        #: What `qlifq.record` has set to be filled, if anything.
        self.recorder: Recorder | None = None
        self._decision = QuantumDecision(self.settings, self.backend, self.circuit, self.shots, gradient, gradient_shots)

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
            ShapeError: for an input of another shape.
            DtypeError: for one that is no tensor, or has another dtype or device than the layer.
            ArgumentError: for one that is not finite.
            UnsupportedError: for a modulation that would be ignored.
            BackendError: if the backend fails while it runs.
        """
        checked = self._checked(current, state, modulation, timed=True, check_values=True)
        kept = () if self.recorder is None else self.recorder.outputs
        found = self._in_one(*checked, outputs=kept) or self._in_steps(*checked, outputs=kept)
        spikes = found.outputs["spikes"]
        if self.training and spikes.requires_grad and self.settings.decision != "expectation":
            self._activity.check(spikes, self._advice)
        after = self._recorded(found, state)
        return self._shape.shaped(spikes), after

    @uncompiled
    def step(
        self, current: Tensor, state: QLIFState | None = None, modulation: Tensor | None = None
    ) -> tuple[Tensor, QLIFState]:
        """Run one step: as `forward` without the dimension of time.

        On an accelerator the values of the input are not checked, since that would wait for the device at every step.
        """
        check_values = isinstance(current, Tensor) and current.device.type == "cpu"
        now, start, m = self._checked(current, state, modulation, timed=False, check_values=check_values)
        checked = now.unsqueeze(0), start, None if m is None else m.unsqueeze(0)
        kept = () if self.recorder is None else self.recorder.outputs
        found = self._in_one(*checked, outputs=kept) or self._in_steps(*checked, outputs=kept)
        return self._shape.shaped(found.outputs["spikes"][0]), self._recorded(found, state)

    @uncompiled
    def steps(
        self,
        current: Tensor,
        state: QLIFState | None = None,
        modulation: Tensor | None = None,
        *,
        loop: str | None = None,
    ) -> Iterator[Step]:
        """Run a sequence step by step and yield what each one produced; arguments as for `forward`.

        The inputs are checked before the first step, not in each. `loop` takes the place of the layer's own: with "circuit" the
        spikes of all steps are drawn before the first one is yielded.
        """
        loop = self.loop if loop is None else check.choice("loop", loop, LOOPS)
        self._check_loop(loop)
        checked = self._checked(current, state, modulation, timed=True, check_values=True)
        return map(self._shaped_step, self._run(*checked, loop=loop))

    @uncompiled
    def sequence(
        self,
        current: Tensor,
        state: QLIFState | None = None,
        modulation: Tensor | None = None,
        *,
        outputs: tuple[str, ...] = (),
    ) -> Sequence | None:
        """Run a sequence as one operation, and keep the named outputs.

        Args:
            current: as for `forward`.
            state: as for `forward`.
            modulation: as for `forward`.
            outputs: what is kept of every step beside the spikes: names of states, as they are after the step, and "potential",
                "threshold", "gap", "angle" and "probability", as they are at the decision.

        Returns:
            What was kept and the state after the last step; None where a kernel cannot run it, see `why_stepwise`: then nothing
            was done.

        Raises:
            ShapeError: for an input of another shape.
            DtypeError: for one that is no tensor, or has another dtype or device than the layer.
            ArgumentError: for one that is not finite.
            UnsupportedError: for a modulation that would be ignored.
        """
        found = self._in_one(*self._checked(current, state, modulation, timed=True, check_values=True), outputs=outputs)
        if found is None:
            return None
        shaped = {name: self._shape.shaped(value) for name, value in found.outputs.items()}
        return Sequence(shaped, self._shape.shaped_state(found.state))

    @uncompiled
    def train_circuit(
        self,
        current: Tensor,
        state: QLIFState | None = None,
        modulation: Tensor | None = None,
        *,
        tolerance: float | None = None,
    ) -> SpikeTrainCircuit:
        """The sequence as one circuit, whose every shot is one spike train of each neuron, exactly this layer's.

        The closed loop runs in the circuit: rotations on the condition of earlier spikes do what reset and adaptation do. This
        holds for neurons whose angle follows the last spike alone (`reset="hard"`), or is a sum over all spikes
        (`reset="soft"` with `mapping="linear"`).

        Args:
            current: as for `forward`.
            state: as for `forward`.
            modulation: as for `forward`.
            tolerance: the largest error of an angle, radians, for which conditional rotations are left out; None for the
                layer's `angle_tolerance`. P(1) changes by half of it at most.

        Returns:
            The program of `(time, batch, num_neurons)`; its `error` is the largest error that was made, its `conditionals` the
            rotations that are left.

        Raises:
            UnsupportedError: for a neuron that no circuit holds, by the name of the parameter that stands in the way.
            ArgumentError: for a tolerance below 0, or where spikes could carry a mechanism to its bound.
        """
        checked = self._checked(current, state, modulation, timed=True, check_values=True)
        check_trainable(self.settings, self.circuit)
        return compile_train(self._neuron(), *checked, self.angle_tolerance if tolerance is None else tolerance)

    def why_stepwise(self) -> str | None:
        """The setting that keeps this layer from running a sequence as one operation; None where none does.

        Even then a sequence is run step by step where no kernel can be built, or a derivative goes forward.
        """
        if self.loop == "circuit":
            return "loop='circuit'"
        if self.kernel == "off":
            return "kernel='off'"
        form = self._closed_form()
        return form.words if isinstance(form, Obstacle) else None

    def initial_state(self, batch: int) -> QLIFState:
        """The state at rest for a batch, on the layer's device and in its dtype."""
        batch = check.integer("batch", batch, at_least=0)
        return self._shape.shaped_state(self._flat_initial_state(batch))

    def plan(self, batch: int) -> Plan:
        """What one step of a batch costs on the backend, see `qlifq.backends.Plan`; spends nothing."""
        if not self.settings.quantum_mode:
            return Plan(evaluations=0, circuits=0, qubits=0, jobs=0, executions=0)
        return self.backend.plan(self.circuit, batch, self.num_neurons * self.settings.quantum_wire, shots=self.shots)

    def assign(self, **values: Tensor) -> None:
        """Set constants per neuron in place, such as a calibration's q_scale and q_bias.

        Args:
            **values: `(num_neurons,)` tensors by name: V_th, tau, eta, q_scale, q_bias, and whatever else the layer was given
                per neuron or trains; of a layer with a shape in that shape, or in the one in which it was given.

        Raises:
            ArgumentError: for a name this layer does not have, or a value out of range.
            ShapeError: for a value of another shape.
            DtypeError: for one that is no float tensor.
        """
        for name, value in values.items():
            if name not in self.constants:
                raise check.unknown("constant", name, list(self.constants))
            check.shape_of(name, check.finite(name, check.tensor(name, value)), self._kept()[name].stored.shape)
        # The settings know what the values must be, by themselves and to each other; nothing is set before all are right.
        each = {name: tuple(self._shape.flat_constant(value).tolist()) for name, value in values.items()}
        replace(self.settings, **each)  # type: ignore[arg-type]
        kept = self._kept()
        stored = {name: kept[name].stored_from(value) for name, value in values.items()}
        for name, value in stored.items():
            kept[name].assign(value)

    def shared(self, name: str) -> float:
        """A number that all neurons of the layer share and that is not trained, such as `quantum_leak`.

        Raises:
            UnsupportedError: if every neuron has its own.
        """
        if name in self.constants:
            raise UnsupportedError(
                f"Argument `{name}` must be one number for all neurons here, but this layer keeps one for each."
            )
        return cast(float, getattr(self.settings, name))

    def extra_repr(self) -> str:
        """The settings that differ from their defaults."""
        values = {name: getattr(self.settings, name) for name in _PARAMETERS}
        changed = [f"{name}={self._printed(name)}" for name, value in values.items() if value != _PARAMETERS[name].default]
        shots = "exact" if self.shots is None else str(self.shots)
        return ", ".join(
            [
                str(self.num_neurons if len(self.shape) == 1 else self.shape),
                f"backend={self.backend.description}",
                f"shots={shots}",
                *([f"loop={self.loop!r}"] if self.loop != "host" else []),
                *changed,
            ]
        )

    def _printed(self, name: str) -> str:
        """The value of a parameter; of several in a shape, that shape."""
        value = getattr(self.settings, name)
        if len(self.shape) > 1 and name in self.constants and isinstance(value, tuple):
            return f"values of shape {tuple(self._kept()[name].stored.shape)}"
        return repr(value)

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
        self, current: Tensor, state: QLIFState | None, modulation: Tensor | None, *, timed: bool, check_values: bool
    ) -> tuple[Tensor, QLIFState, Tensor | None]:
        """What a sequence or a step is run with, once nothing is wrong with it, with the neurons in a row."""
        sizes: tuple[int | str, ...] = ("time", "batch", *self.shape) if timed else ("batch", *self.shape)
        current = checked_current(current, sizes, self._kept()["V_th"].stored, check_values=check_values)
        check_constants(self.settings, {name: kept.stored for name, kept in self._kept().items()}, current, self._suited)
        batch = current.shape[timed]
        if state is not None:
            state = self._shape.flat_state(check_state(state, (batch, *self.shape), current, check_values=check_values))
        modulation = checked_modulation(modulation, self.settings, current, timed=timed, check_values=check_values)
        if modulation is not None:
            modulation = self._shape.flat_modulation(modulation)
        return self._shape.flat(current), self._flat_initial_state(batch) if state is None else state, modulation

    def _flat_initial_state(self, batch: int) -> QLIFState:
        values = self._values()
        return initial_state(self.settings, batch, self.num_neurons, values["V_th"], values)

    def _shaped_step(self, step: Step) -> Step:
        if len(self.shape) == 1:
            return step
        shaped = {name: self._shape.shaped(value) for name, value in step._asdict().items() if isinstance(value, Tensor)}
        return step._replace(**shaped, state=self._shape.shaped_state(step.state))

    def _in_one(
        self, current: Tensor, state: QLIFState, modulation: Tensor | None, *, outputs: tuple[str, ...] = ()
    ) -> Sequence | None:
        """What `sequence` says, of inputs that were checked."""
        if (
            self.kernel == "off"
            or self.loop == "circuit"
            or not current.numel()
            or transformed(current, modulation, *state, *self.parameters())
        ):
            return None
        form = self._closed_form()
        if isinstance(form, Obstacle) or (self.shots is not None and "probability" in outputs):
            return None
        formula = formula_of(form.structure(modulated=modulation is not None, outputs=outputs))
        inputs = {"current": current} if modulation is None else {"current": current, "modulation": modulation}
        prepared = kernels.prepare(formula, state._asdict(), inputs, form.constants, len(current))
        if prepared is None:
            return None
        steps = self.seeds.next_steps(len(current))
        kept, after, lost = prepared.run(philox.Place(steps.key, steps.position, steps.first_row * self.num_neurons))
        last = checked_end(QLIFState(**after))
        if lost:
            neurons = current[0].numel()
            raise ArgumentError(
                f"Argument `angles` must be finite, but of {lost} of the {neurons} neurons they became NaN or infinite."
            )
        return Sequence(kept, last)

    def _in_steps(
        self, current: Tensor, state: QLIFState, modulation: Tensor | None, *, outputs: tuple[str, ...] = ()
    ) -> Sequence:
        """What `_in_one` gives, step by step."""
        kept: dict[str, list[Tensor]] = {name: [] for name in ("spikes", *outputs)}
        for step in self._run(current, state, modulation, loop=self.loop):
            state = step.state
            for name, values in kept.items():
                values.append(getattr(state if name in QLIFState._fields else step, name))
        return Sequence({name: torch.stack(each) if each else torch.zeros_like(current) for name, each in kept.items()}, state)

    def _recorded(self, found: Sequence, before: QLIFState | None) -> QLIFState:
        """The state after a call, which a recorder is handed with what the call kept."""
        after = self._shape.shaped_state(found.state)
        if self.recorder is not None:
            self.recorder.keep({name: self._shape.shaped(value) for name, value in found.outputs.items()}, before, after)
        return after

    def _advice(self) -> str:
        """What makes a silent layer fire."""
        larger = "larger weights or a lower V_th"
        if not self.settings.decay_input:
            return f"use {larger}"
        fraction = float((self.settings.dt / self.tau.detach()).mean())
        return f"dt/tau = {fraction:.3g} scales its input; use decay_input=False to add it as it is, a smaller tau, {larger}"

    def _run(self, current: Tensor, state: QLIFState, modulation: Tensor | None, *, loop: str) -> Iterator[Step]:
        form = self._closed_form()
        drawn = self._drawn(current, state, modulation) if loop == "circuit" and current.numel() else None
        draws = philox.Draws()
        for time, now in enumerate(current):
            m = None if modulation is None else modulation[time]
            steps = self.seeds.next_steps(1)
            place = philox.Place(steps.key, steps.position, steps.first_row * self.num_neurons, draws)
            noise = constant(now, place.normal) if self.settings.uses("noise_std") else None
            if isinstance(form, ClosedForm):
                step = _exact_step(form, state, now, m, noise, place, None if drawn is None else drawn.spikes[time])
            elif drawn is None:
                decide = partial(self._decision.decide, seeds=steps.seeds(0)[:2], uniform=place.uniform)
                step = self._measured_step(state, now, m, noise, decide)
            else:
                step = self._measured_step(state, now, m, noise, partial(drawn.decide, time))
            state = step.state
            if drawn is not None and self.settings.refractory_period:
                # A spike that was read wrongly within the period begins it again.
                state = state._replace(refractory=state.refractory.clamp(max=self.settings.refractory_period))
                step = step._replace(state=state)
            yield step
        checked_end(state)

    def _drawn(self, current: Tensor, state: QLIFState, modulation: Tensor | None) -> DrawnTrains:
        """The trains of a sequence, drawn in one call of the backend."""
        if transformed(current, modulation, *state, *self.parameters()):
            raise UnsupportedError(
                "Argument `loop` must be 'host' under forward-mode differentiation and torch.func: call `backward` or "
                "`torch.autograd.grad`."
            )
        steps = self.seeds.next_steps(1)
        seed, gradient_seed, *_ = steps.seeds(0)
        # The rows of another process have noise of their own.
        seed = (seed + steps.first_row * 0x9E3779B97F4A7C15) % (MAX_SEED + 1)
        spikes = drawn_trains(
            self.backend, self._neuron(), current, state, modulation, tolerance=self.angle_tolerance, seed=seed
        )
        return DrawnTrains(self._decision, spikes, gradient_seed)

    def _neuron(self) -> Neuron:
        return Neuron.of(self.settings, self._values())

    def _measured_step(
        self,
        state: QLIFState,
        current: Tensor,
        modulation: Tensor | None,
        noise: Tensor | None,
        decide: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]],
    ) -> Step:
        """One step whose decisions a backend makes: `decide` takes the angles and which neurons decide."""
        settings, values = self.settings, self._values()
        dynamics = Dynamics.of(settings, values)
        active = state.refractory == 0 if settings.refractory_period else None
        state, gap = integrate(state, current, dynamics, modulation=modulation, noise=noise)
        angle = angle_of(settings, values, state, gap, dynamics, modulation)
        spikes, probability = decide(angle, active)
        after = settle(state, spikes, dynamics, modulation=modulation)
        compared = threshold(state, dynamics, modulation)
        return Step(after, spikes, gap, state.voltage, compared, angle, probability, active)

    def dynamics(self) -> Dynamics:
        """The constants of the dynamics as they are now, for `integrate` and `settle`."""
        return Dynamics.of(self.settings, {name: kept() for name, kept in self._kept().items()})

    def _values(self) -> dict[str, Tensor]:
        """The constants per neuron as they are now, `(num_neurons,)` each."""
        return {name: self._shape.flat_constant(kept()) for name, kept in self._kept().items()}

    def _closed_form(self) -> ClosedForm | Obstacle:
        values = self._values()
        return closed_form(
            self.settings,
            self.backend,
            self.circuit,
            shots=self.shots,
            gradient=self.gradient,
            dynamics=Dynamics.of(self.settings, values),
            parameters=values,
        )

    def _constant(self, name: str) -> Tensor:
        if name in self.constants:
            value = cast(Tensor, self.constants[name]())
            return value if value.shape == self.shape else value.expand(self.shape)
        if not self.settings.has_effect(name):
            raise MissingConstantError(
                f"This layer has no `{name}`: it needs {cast(Need, spec_of(_PARAMETERS[name]).need).words}."
            )
        value = getattr(self.settings, name)
        if value is None:
            raise MissingConstantError(f"This layer has no `{name}`: it is None.")
        return self.V_th.new_full(self.shape, value)

    def _kept(self) -> Mapping[str, PerNeuronValue]:
        return cast(Mapping[str, PerNeuronValue], self.constants)

    def _constants(self, given_shapes: Mapping[str, tuple[int, ...]]) -> nn.ModuleDict:
        """The numbers per neuron that are kept: those of every layer that uses them, those given per neuron, those trained."""
        settings, trained = self.settings, self.settings.trained
        always = [name for name in _KEPT if settings.has_effect(name)]
        given = [name for name in PER_NEURON if name in trained or isinstance(getattr(settings, name), tuple)]
        kept = {}
        for name in dict.fromkeys((*always, *given)):
            low, high = settings.open_bounds(name)
            value = cast(PerNeuron, settings.number(name))
            shape = given_shapes.get(name, self.shape)
            if name in given_shapes:
                value = reduced(cast(tuple[float, ...], value), self._shape, shape)
            kept[name] = PerNeuronValue(name, value, shape, learnable=name in trained, low=low, high=high)
        return nn.ModuleDict(kept)

    def _check_loop(self, loop: str) -> None:
        """Refuse a loop in the circuit that the neuron or the backend does not have."""
        if loop == "circuit":
            check_trainable(self.settings, self.circuit)
            self.backend.check_trains()

    def _angle_tolerance(self, tolerance: float | None) -> float:
        """The tolerance of the angles, or why it would be ignored."""
        self._check_loop(self.loop)
        if self.loop != "circuit" and tolerance is not None:
            raise UnsupportedError(
                f"Argument `angle_tolerance` would be ignored: it needs loop='circuit', but is {tolerance!r}."
            )
        return TOLERANCE if tolerance is None else check.real("angle_tolerance", tolerance, at_least=0.0)

    def _shots(self, shots: int | None) -> int | None:
        """The shots a step uses, or the reason why it cannot."""
        settings, can = self.settings, self.backend.capabilities
        if self.loop == "circuit":
            if shots not in {None, 1}:
                raise UnsupportedError(
                    f"Argument `shots` must be 1 with loop='circuit', where one shot is one train, but is {shots}: "
                    "`simulate(..., mode='circuit', shots=...)` keeps more."
                )
            shots = 1
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


def _exact_step(
    form: ClosedForm,
    state: QLIFState,
    current: Tensor,
    modulation: Tensor | None,
    noise: Tensor | None,
    place: philox.Place,
    drawn: Tensor | None,
) -> Step:
    """One step by the formula that kernels are made of, in torch; `drawn` are its spikes where they were decided before."""
    formula = formula_of(form.structure(modulated=modulation is not None, outputs=()))
    values = {**state._asdict(), **form.constants, "current": current}
    if modulation is not None:
        values["modulation"] = modulation.expand_as(current)
    if noise is not None:
        values["noise"] = noise
    if drawn is not None:
        values["drawn"] = drawn
    elif formula.random:
        values["uniform"] = constant(current, place.uniform)
    found = formula.step(values)
    angle = found.get("angle")
    if angle is not None and angle.device.type == "cpu":
        check.finite("angles", angle)
    after = QLIFState(*(found[name] for name in QLIFState._fields))
    return Step(
        after,
        found["spikes"],
        found["gap"],
        found["potential"],
        found["threshold"],
        angle,
        found.get("probability"),
        found.get("active"),
    )


def _checked_circuit(circuit: SpikeCircuit | None) -> SpikeCircuit:
    if circuit is None:
        return RYSpike()
    if not isinstance(circuit, SpikeCircuit):
        raise DtypeError(f"Argument `circuit` must be a SpikeCircuit or None, but is {type(circuit).__name__}.")
    if circuit.num_angles != 1:
        raise ArgumentError(f"Argument `circuit` must take one angle, but takes {circuit.num_angles}: {circuit.draw()}.")
    return circuit
