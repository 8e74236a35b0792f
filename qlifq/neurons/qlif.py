"""The QLIF layer."""

import copy
from collections.abc import Iterator
from typing import Unpack

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._transforms import uncompiled
from qlifq.backends import Backend, Plan, get
from qlifq.backends.gradients import check_gradient
from qlifq.circuits import SpikeCircuit, SpikeTrainCircuit
from qlifq.neurons import kernels
from qlifq.neurons.activity import ActivityMonitor
from qlifq.neurons.closed_form import ClosedForm, Obstacle, closed_form
from qlifq.neurons.decision import QuantumDecision
from qlifq.neurons.dynamics import Dynamics, state_class
from qlifq.neurons.inputs import check_constants, checked_current, checked_end, checked_modulation
from qlifq.neurons.keywords import NeuronParameters
from qlifq.neurons.neuron_layer import NeuronLayer, settings_of
from qlifq.neurons.options import check_ignored, check_loop, checked_circuit, checked_shots, checked_tolerance
from qlifq.neurons.precision import returned
from qlifq.neurons.recorder import Recorder
from qlifq.neurons.routes import draw_trains, exact_step, in_one, measured_step, step_by_step
from qlifq.neurons.shapes import shape_of_layer
from qlifq.neurons.state import QLIFState, check_state
from qlifq.neurons.steps import Given, Sequence, Step, gathered
from qlifq.neurons.trains.compiler import Neuron, compile_train
from qlifq.neurons.trains.loop import LOOPS
from qlifq.neurons.trains.obstacles import check_trainable
from qlifq.random import SeedStream

__all__ = ["QLIF", "Sequence", "Step"]


class QLIF(NeuronLayer):
    """A layer of quantum leaky integrate-and-fire neurons.

    Each step integrates the input into the membrane potential V, turns the gap Δ = V − V_th into an angle θ, measures a qubit
    P(|1⟩) = sin²(θ/2) through the backend, makes spikes of the answer, and settles reset and adaptation.

    With `decision="sample"` a neuron spikes with probability p, and one shot is one spike: more shots change nothing in the
    distribution of the spikes, since a Bernoulli draw of an unbiased estimate of p is a Bernoulli(p) draw; they only cost. With
    `decision="threshold"` it spikes where the estimate p̂ exceeds sin²(quantum_threshold/2): here shot noise flips decisions,
    and shots matter. What equals the threshold does not exceed it, in any dtype: counts, those of a neuron's qubits added up,
    are compared as integers, and an estimate without counts must exceed it by more than its rounding. `decision="expectation"`
    emits p̂ itself.

    Spikes carry the straight-through gradient of p.

    A layer may be cast to half precision, float16 or bfloat16, and any layer takes a current in it. The layer computes in
    float32 all the same, or in float64 if it has that dtype. Spikes and the gradient of the current have the dtype of the
    current; under `torch.autocast` spikes stay in the dtype of the computation. So does the state, and whatever `steps`,
    `sequence` and recordings keep.

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
        shape = shape_of_layer(num_neurons)
        chosen = {"decision": decision, "membrane": membrane, "mapping": mapping}
        settings, given = settings_of({**parameters, **chosen}, shape)
        backend = backend if isinstance(backend, Backend) else get(backend)
        circuit = checked_circuit(circuit)
        check_loop(check.choice("loop", loop, LOOPS), settings, circuit, backend)
        tolerance = checked_tolerance(angle_tolerance, loop)
        if settings.quantum_mode:
            shots = checked_shots(shots, settings, backend, loop=loop, neurons=shape.count)
            check_gradient(backend, circuit, gradient, gradient_shots)
        else:
            check_ignored(shots, gradient_shots, backend, gradient)
        seeds = SeedStream(seed)
        check.choice("kernel", kernel, kernels.CHOICES)
        # The memory of a layer is taken last, once nothing refuses it.
        super().__init__(shape, settings, given)
        self.backend, self.circuit, self.shots = backend, circuit, shots
        self.gradient, self.gradient_shots = gradient, gradient_shots
        self.loop, self.angle_tolerance, self.kernel = loop, tolerance, kernel
        self.seeds = seeds
        #: The dtypes in which the settings were found to be finite.
        self._suited: set[torch.dtype] = set()
        self._activity = ActivityMonitor()
        #: What `qlifq.record` has set to be filled, if anything.
        self.recorder: Recorder | None = None
        self._decision = QuantumDecision(settings, backend, circuit, shots, gradient, gradient_shots)

    def moved(self, backend: str | Backend, *, shots: int | None = None, seed: int | None = None) -> "QLIF":
        """A copy of the layer whose spikes another backend decides; they give no gradients (gradient="none").

        Arguments and errors are those of the layer.
        """
        place, settings = backend if isinstance(backend, Backend) else get(backend), self.settings
        check_loop(self.loop, settings, self.circuit, place)
        if settings.quantum_mode:
            shots = checked_shots(shots, settings, place, loop=self.loop, neurons=self.num_neurons)
        else:
            check_ignored(shots, None, place, "auto")
        seeds = SeedStream(seed)
        layer = copy.deepcopy(self, {id(self.backend): self.backend, id(self.recorder): None})
        layer.backend, layer.shots, layer.seeds = place, shots, seeds
        layer.gradient, layer.gradient_shots = "none", None
        layer._decision = QuantumDecision(settings, place, layer.circuit, shots, "none", None)
        return layer

    @uncompiled
    def forward(
        self, current: Tensor, state: QLIFState | None = None, modulation: Tensor | None = None
    ) -> tuple[Tensor, QLIFState]:
        """Run a sequence.

        Args:
            current: input I, `(time, batch, num_neurons)`, in the layer's dtype or in half precision, on its device, finite.
            state: the state to start from; None starts at rest. A sequence cut in two and carried over equals the whole.
            modulation: neuromodulation, `(time, 1 or batch, 1 or num_neurons)`; None has exactly no effect.

        Returns:
            The spikes, `(time, batch, num_neurons)`, in the dtype of the current, and the state after the last step.

        Raises:
            ShapeError: for an input of another shape.
            DtypeError: for one that is no tensor, or has another dtype or device than the layer.
            ArgumentError: for one that is not finite.
            UnsupportedError: for a modulation that would be ignored.
            BackendError: if the backend fails while it runs.
        """
        # What is infinite or NaN in a current is so in the last potential, which is read in a fraction of the time; but what
        # keeps the potential to something, such as a lower bound, would hide it.
        late = isinstance(current, Tensor) and current.device.type != "cpu"
        late = late and all(row.limit is None for row in self.settings.mechanisms)
        given = self._checked(current, state, modulation, timed=True, check_values=True, check_current=not late)
        found = self._run(given)
        if late and check.not_finite(found.state.voltage):
            check.finite("current", current)
            checked_end(found.state, wait=True)
        spikes = found.outputs["spikes"]
        if self.training and spikes.requires_grad and self.settings.decision != "expectation":
            self._activity.check(spikes, self._advice)
        after = self._recorded(found, state)
        return returned(self._shape.shaped(spikes), current), after

    @uncompiled
    def step(
        self, current: Tensor, state: QLIFState | None = None, modulation: Tensor | None = None
    ) -> tuple[Tensor, QLIFState]:
        """Run one step: as `forward` without the dimension of time.

        On an accelerator the values of the input are not checked, since that would wait for the device at every step.
        """
        check_values = isinstance(current, Tensor) and current.device.type == "cpu"
        now = self._checked(current, state, modulation, timed=False, check_values=check_values)
        m = None if now.modulation is None else now.modulation.unsqueeze(0)
        found = self._run(Given(now.current.unsqueeze(0), now.state, m))
        spikes = returned(self._shape.shaped(found.outputs["spikes"][0]), current)
        return spikes, self._recorded(found, state)

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
        check_loop(loop, self.settings, self.circuit, self.backend)
        given = self._checked(current, state, modulation, timed=True, check_values=True)
        return map(self._shaped_step, self._in_steps(given, loop))

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
        found = self._in_one(self._checked(current, state, modulation, timed=True, check_values=True), outputs)
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
        given = self._checked(current, state, modulation, timed=True, check_values=True)
        check_trainable(self.settings, self.circuit)
        return compile_train(self._neuron(), *given, self.angle_tolerance if tolerance is None else tolerance)

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

    def plan(self, batch: int) -> Plan:
        """What one step of a batch costs on the backend, see `qlifq.backends.Plan`; spends nothing."""
        if not self.settings.quantum_mode:
            return Plan(evaluations=0, circuits=0, qubits=0, jobs=0, executions=0)
        return self.backend.plan(self.circuit, batch, self.num_neurons * self.settings.quantum_wire, shots=self.shots)

    def extra_repr(self) -> str:
        """The options of the layer, and the settings that differ from their defaults."""
        return ", ".join(
            [
                str(self.num_neurons if len(self.shape) == 1 else self.shape),
                f"backend={self.backend.description}",
                f"shots={'exact' if self.shots is None else self.shots}",
                *([f"loop={self.loop!r}"] if self.loop != "host" else []),
                *self._changed(),
            ]
        )

    def _checked(
        self,
        current: Tensor,
        state: QLIFState | None,
        modulation: Tensor | None,
        *,
        timed: bool,
        check_values: bool,
        check_current: bool = True,
    ) -> Given:
        """What a sequence or a step is run with, once nothing is wrong with it, with the neurons in a row."""
        sizes: tuple[int | str, ...] = ("time", "batch", *self.shape) if timed else ("batch", *self.shape)
        like = self._kept()["V_th"].stored
        current = checked_current(current, sizes, like, check_values=check_values and check_current)
        check_constants(self.settings, {name: kept.stored for name, kept in self._kept().items()}, current, self._suited)
        batch = current.shape[timed]
        if state is not None:
            names = state_class(self.settings.mechanisms)._fields
            state = self._shape.flat_state(check_state(state, names, (batch, *self.shape), current, check_values=check_values))
        modulation = checked_modulation(modulation, self.settings, current, timed=timed, check_values=check_values)
        if modulation is not None:
            modulation = self._shape.flat_modulation(modulation)
        start = self._flat_initial_state(batch) if state is None else state
        return Given(self._shape.flat(current), start, modulation)

    def _run(self, given: Given) -> Sequence:
        """Run a sequence on the fastest route, and keep what a recorder asks for."""
        outputs = () if self.recorder is None else self.recorder.outputs
        found = self._in_one(given, outputs)
        return gathered(self._in_steps(given, self.loop), outputs, given.current, given.state) if found is None else found

    def _in_one(self, given: Given, outputs: tuple[str, ...]) -> Sequence | None:
        """What `sequence` says, of inputs that were checked."""
        stepwise = self.kernel == "off" or self.loop == "circuit" or not given.current.numel()
        if stepwise or given.transformed(self.parameters()):
            return None
        form = self._closed_form()
        if isinstance(form, Obstacle) or (self.shots is not None and "probability" in outputs):
            return None
        return in_one(given, form, self.seeds, outputs)

    def _in_steps(self, given: Given, loop: str) -> Iterator[Step]:
        """What `steps` says, of inputs that were checked, with the neurons in a row."""
        form = self._closed_form()
        drawn = None
        if loop == "circuit" and given.current.numel():
            neuron, tolerance = self._neuron(), self.angle_tolerance
            drawn = draw_trains(given, self._decision, neuron, self.seeds, tolerance=tolerance, parameters=self.parameters())
        if isinstance(form, ClosedForm):
            one_step = exact_step(form, drawn)
        else:
            one_step = measured_step(self._decision, self._values, drawn)
        yield from step_by_step(given, one_step, self.settings, self.seeds, drawn=drawn)

    def _shaped_step(self, step: Step) -> Step:
        if len(self.shape) == 1:
            return step
        shaped = {name: self._shape.shaped(value) for name, value in step._asdict().items() if isinstance(value, Tensor)}
        return step._replace(**shaped, state=self._shape.shaped_state(step.state))

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

    def _neuron(self) -> Neuron:
        return Neuron.of(self.settings, self._values())

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
