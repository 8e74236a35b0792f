"""The interface between the neuron and whatever runs the qubit."""

import abc
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Self, final

import torch
from torch import Tensor

from qlifq._transforms import transformed
from qlifq._validation import finite, integer, optional_integer, shape_of, with_values
from qlifq.backends.description import describe_facts, describe_shots, describe_source
from qlifq.backends.plan import Plan
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import SinusoidalResponse, SpikeCircuit, SpikeTrainCircuit
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.random import MAX_SEED

__all__ = ["MAX_SHOTS", "Backend", "Call", "Capabilities", "Outcome", "Plan"]


#: The most shots in one call of any backend: several minutes for one evaluation where each shot is run, and enough to know
#: P(1) to 1e-5. Every count is a float64 exactly, and one that is drawn follows its binomial.
MAX_SHOTS = 2**32


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend declares and the conformance suite verifies.

    Args:
        exact: it can give probabilities without sampling (`shots=None`).
        shots: it can draw counts.
        noisy: it can be built with a noise model.
        differentiable: its probability carries autograd to the angles.
        seeded: the same seed gives the same counts. Not so where they come from a device, or from a generator that no call can
            seed: then a seed distinguishes nothing, and no run can be replayed.
        ideal: its exact probabilities and their gradients are those of the closed form without noise.
        remote: it runs on somebody else's machine, and may cost money.
        max_sites: the most sites in one call, None for no bound.
        max_shots: the most shots in one call, None for as many as any backend takes, 2³².
        bounded: its probabilities lie in [0, 1], and with shots they are counts. Not so where estimates are corrected without
            bias, as `ReadoutMitigated` does: they leave [0, 1] by their error, and no number of ones stands behind them.
        snapshots: its option `noise` takes the name of a device snapshot too, beside the numbers of a `DeviceNoise`.
        device: it has an option `device`, which it cannot be built without.
        record: it has an option `record`, a calibration, which it cannot be built without.
        sampling: the choices of its option `sampling`, its default first; empty where it has none.
        trains: it can run a whole spike train as one circuit, see `Backend.run_train`.
    """

    exact: bool
    shots: bool
    noisy: bool
    differentiable: bool
    seeded: bool = True
    ideal: bool = False
    remote: bool = False
    max_sites: int | None = None
    max_shots: int | None = None
    bounded: bool = True
    snapshots: bool = False
    device: bool = False
    record: bool = False
    sampling: tuple[str, ...] = ()
    trains: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a backend answers.

    Args:
        probability: `(batch, sites)`, exact or ones / shots; on the device and in the dtype of the angles; 0 where
            `where` is False.
        ones: `(batch, sites)` int64, how many shots gave 1, on the same device; None where exact.
        shots: shots behind every probability, None where exact.
        metadata: what else the backend reports, plain values only; its `facts` are always among them. A calibration is of
            what an empty batch reports, such as its `qubits` and its `noise`, and of no other.
    """

    probability: Tensor
    ones: Tensor | None = None
    shots: int | None = None
    metadata: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> tuple[type["Outcome"], tuple[object, ...]]:
        # A mapping that is read alone cannot be pickled.
        return type(self), (self.probability, self.ones, self.shots, dict(self.metadata))

    def __str__(self) -> str:
        batch, sites = self.probability.shape
        mean = f"{float(self.probability.detach().mean()):.4f}" if self.probability.numel() else "none"
        words = [f"batch {batch}", f"sites {sites}", *describe_facts(self.metadata), describe_shots(self.shots)]
        return " · ".join([*words, f"mean P(1) {mean}"])


torch.serialization.add_safe_globals([Outcome])


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a backend, checked: what `Backend._execute` gets.

    Args:
        circuit: what to run.
        angles: `(batch, sites, num_angles)`, neither of the first two 0; without a graph where the backend is not
            differentiable.
        shots: shots per evaluation, or None for exact probabilities.
        seed: from 0 to 2⁶³ − 1, or None.
        where: `(batch, sites)` bool, the evaluations to run; None runs all.
    """

    circuit: SpikeCircuit
    angles: Tensor
    shots: int | None
    seed: int | None
    where: Tensor | None

    @property
    def sites(self) -> int:
        """How many sites the angles have."""
        return self.angles.shape[1]


class Backend(abc.ABC):
    """Evaluates spike decisions. A subclass implements `_execute`, and `plan` where a call costs something.

    A backend knows nothing of neurons or of time, keeps no state between calls, and lets no vendor object cross. `run` is
    final: it checks the call, so that nothing is spent on one that cannot succeed, and what `_execute` gets is valid.

    Attributes:
        name: the name it is registered under.
        capabilities: what it can do.
        sites: the only number of sites that it takes, None for any up to `capabilities.max_sites`.
        facts: the "device" or snapshot that it runs on and the "noise" of its qubits, or the calibration that it is a
            "twin_of", plain values; the metadata of every outcome holds them. From them `description` is made.
    """

    name: str
    capabilities: Capabilities
    facts: Mapping[str, object] = MappingProxyType({})
    sites: int | None = None

    def __init_subclass__(cls, **options: object) -> None:
        """Refuse a class that is written for an earlier interface, where `run` was the abstract method."""
        super().__init_subclass__(**options)
        if cls.run is not Backend.run:
            raise UnsupportedError(
                f"Class {cls.__name__} must not define `run`, which is final and checks each call: rename it to "
                "`_execute(self, call: Call) -> Outcome`, take circuit, angles, shots, seed and where from `call`, and leave "
                "out `self.check(...)`."
            )
        if cls._execute is Backend._execute:
            raise UnsupportedError(
                f"Class {cls.__name__} must define `_execute(self, call: Call) -> Outcome`, the one abstract method of Backend."
            )

    @property
    @final
    def description(self) -> str:
        """Where it runs, for people: the backend, the device or snapshot and the noise, see `describe_source`."""
        return describe_source(self.name, self.facts)

    @final
    def describe(self, shots: int | None) -> str:
        """`description` with the shots, such as "aer, noise of the snapshot fake_torino, 1 shot"."""
        return f"{self.description}, {describe_shots(shots)}"

    @final
    def run(
        self,
        circuit: SpikeCircuit,
        angles: Tensor,
        *,
        shots: int | None,
        seed: int | None,
        where: Tensor | None = None,
    ) -> Outcome:
        """Evaluate `circuit` once per element of the batch and site.

        Args:
            circuit: what to run.
            angles: `(batch, sites, num_angles)`, radians (seconds for a delay, at least 0), float32 or float64, finite. An
                empty batch gives an empty outcome.
            shots: shots per evaluation, or None for exact probabilities.
            seed: from 0 to 2⁶³ − 1. The same seed gives the same counts; two calls must not share one, or they share
                their shot noise. None draws from the vendor's own entropy.
            where: `(batch, sites)` bool, the evaluations to run; None runs all. The others come back as 0.

        Returns:
            An `Outcome` with `(batch, sites)` tensors on the device of `angles`.

        Raises:
            QLIFError: before anything runs, if an argument cannot be used.
        """
        self.check(circuit, angles, shots=shots, seed=seed, where=where)
        given = angles if self.capabilities.differentiable else angles.detach()
        if angles.shape[0] and angles.shape[1]:
            outcome = self._execute(Call(circuit, given, shots, seed, where))
            if not isinstance(outcome, Outcome):
                raise DtypeError(f"Backend {self.name} must return an Outcome, but returns a {type(outcome).__name__}.")
        else:
            # A sum over the angles, so that the empty probability is part of the graph where the backend has one.
            nothing = given.sum(-1)
            outcome = Outcome(nothing, None if shots is None else nothing.detach().to(torch.int64), shots)
        return replace(outcome, metadata={**self.metadata(angles.shape[1]), **outcome.metadata})

    @abc.abstractmethod
    def _execute(self, call: Call) -> Outcome:
        """Evaluate a call that was checked. `run` adds `metadata` to the outcome."""

    @final
    def run_train(self, train: SpikeTrainCircuit, *, shots: int, seed: int | None) -> TrainOutcome:
        """Run whole spike trains as one circuit, for each element of its batch.

        Args:
            train: what to run.
            shots: trains of each site and element, at least 1.
            seed: as for `run`.

        Returns:
            A `TrainOutcome`, whose `spikes` are `(shots, time, batch, sites)`.

        Raises:
            QLIFError: before anything runs, if an argument cannot be used or the backend runs no trains.
        """
        self.check_train(train, shots=shots, seed=seed)
        if train.base.numel():
            outcome = self._execute_train(TrainCall(train, shots, seed))
            if not isinstance(outcome, TrainOutcome):
                raise DtypeError(f"Backend {self.name} must return a TrainOutcome, but returns a {type(outcome).__name__}.")
        else:
            outcome = TrainOutcome.of(torch.zeros((shots, *train.base.shape), dtype=torch.bool))
        return replace(outcome, metadata={**self.metadata(train.sites), **outcome.metadata})

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        """Run a train that was checked, where `capabilities.trains`. `run_train` adds `metadata` to the outcome."""
        raise UnsupportedError(f"Backend {self.name} declares `trains`, but has no `_execute_train`.")

    def plan_train(self, train: SpikeTrainCircuit, *, shots: int) -> Plan:
        """What `run_train` would cost; spends nothing. Here: no circuit is built and nothing is executed."""
        self.check_train(train, shots=shots, seed=None)
        return Plan(train.base.numel(), circuits=0, qubits=0, jobs=0, executions=0, conditionals=train.conditionals)

    def check_trains(self) -> None:
        """Refuse a backend that runs no spike trains."""
        if not self.capabilities.trains:
            raise UnsupportedError(
                f"Backend {self.name} runs no spike trains, since it measures a circuit once, at its end: take loop='host', or "
                "a backend whose capabilities declare `trains`."
            )

    def check_train(self, train: SpikeTrainCircuit, *, shots: int, seed: int | None) -> None:
        """Refuse a train that cannot be executed, in one sentence that names the argument."""
        if not isinstance(train, SpikeTrainCircuit):
            raise DtypeError(f"Argument `train` must be a SpikeTrainCircuit, but is {type(train).__name__}.")
        self.check_trains()
        integer("shots", shots)
        self.check_size(train.batch, train.sites, shots)
        if self.sites is not None and train.sites != self.sites:
            raise ShapeError(f"Argument `train` must have {self.sites} sites for backend {self.name}, but has {train.sites}.")
        optional_integer("seed", seed, at_least=0, at_most=MAX_SEED)

    def metadata(self, sites: int) -> Mapping[str, object]:
        """What every outcome on this many sites reports, an empty one too: `facts`, and the `qubits` of its sites if any."""
        return self.facts

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """What `run` would cost with these sizes; spends nothing. Here: no circuit is built and nothing is executed."""
        self.check_size(batch, sites, shots)
        self.check_circuit(circuit, sites)
        return Plan(evaluations=batch * sites, circuits=0, qubits=0, jobs=0, executions=0)

    def response(self, circuit: SpikeCircuit, sites: int) -> SinusoidalResponse | None:
        """The closed form of P(1) at one angle, `()` or `(sites,)` numbers; None where it is not known before a measurement."""
        return None

    def finish(self) -> None:  # noqa: B027, a default that most keep
        """Say that the run has led to what it was for; of importance only where a run can be taken up again."""

    def close(self) -> None:  # noqa: B027, a default that most keep
        """Release what is reserved on somebody else's machine; nothing here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        # What went wrong in the block, or an interrupt, is what must be reported.
        with contextlib.suppress(QLIFError):
            self.close()

    def check(
        self, circuit: SpikeCircuit, angles: Tensor, *, shots: int | None, seed: int | None, where: Tensor | None
    ) -> None:
        """Refuse a call that cannot be executed, in one sentence that names the argument.

        On an accelerator the values of `angles` are not looked at, since that would wait for the device; a NaN there comes
        back as a NaN.
        """
        if not isinstance(circuit, SpikeCircuit):
            raise DtypeError(f"Argument `circuit` must be a SpikeCircuit, but is {type(circuit).__name__}.")
        with_values("angles", circuit.check_angles(angles))
        if not self.capabilities.differentiable and transformed(angles):
            raise UnsupportedError(
                f"Backend {self.name} runs outside torch and cannot be differentiated forward or by torch.func: call "
                "`backward` or `torch.autograd.grad`, or take backend analytic or twin."
            )
        if angles.ndim != 3:
            raise ShapeError(
                f"Argument `angles` must have shape (batch, sites, {circuit.num_angles}), but has shape {tuple(angles.shape)}."
            )
        batch, sites, _ = angles.shape
        self.check_size(batch, sites, shots)
        self.check_circuit(circuit, sites)
        optional_integer("seed", seed, at_least=0, at_most=MAX_SEED)
        if where is not None:
            if not isinstance(where, Tensor) or where.dtype != torch.bool:
                kind = str(where.dtype).removeprefix("torch.") if isinstance(where, Tensor) else type(where).__name__
                raise DtypeError(f"Argument `where` must be a bool tensor, but is {kind}.")
            shape_of("where", where, (batch, sites))
            if where.device != angles.device:
                raise DtypeError(f"Argument `where` must be on {angles.device} like the angles, but is on {where.device}.")
        if angles.device.type == "cpu":
            finite("angles", angles)
            slots = circuit.delay_slots
            if slots and angles.numel() and (shortest := float(angles.detach()[..., slots].min())) < 0:
                raise ArgumentError(f"Argument `angles` must be at least 0 seconds for a delay, but is {shortest:g}.")

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        """Refuse sizes and shots beyond what the backend declares."""
        integer("batch", batch, at_least=0)
        integer("sites", sites, at_least=0, at_most=self.capabilities.max_sites)
        if shots is None:
            if not self.capabilities.exact:
                raise UnsupportedError(f"Argument `shots` must be an integer for backend {self.name}, which has no exact mode.")
            return
        if not self.capabilities.shots:
            raise UnsupportedError(f"Argument `shots` must be None for backend {self.name}, which draws none, but is {shots}.")
        integer("shots", shots, at_least=1, at_most=self.capabilities.max_shots)
        integer("shots", shots, at_most=MAX_SHOTS)

    def check_circuit(self, circuit: SpikeCircuit, sites: int) -> None:
        """Refuse a circuit, or a number of sites, that this backend cannot run, although its bounds allow it."""
        if self.sites is not None and sites != self.sites:
            raise ShapeError(f"Argument `angles` must have {self.sites} sites for backend {self.name}, but has {sites}.")

    def check_bounded(self, use: str) -> None:
        """Refuse a backend whose estimates can leave [0, 1], for a use that would have to clip them.

        Args:
            use: what is to be done, such as "decision='sample'".
        """
        if not self.capabilities.bounded:
            raise UnsupportedError(
                f"Argument `backend` must give probabilities within [0, 1] for {use}, but the estimates of backend {self.name} "
                "leave it by their error, and clipping would bias them: use decision='expectation', which averages them, or "
                "the backend without mitigation, with q_scale and q_bias corrected by a calibration."
            )
