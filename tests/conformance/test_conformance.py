"""Every registered backend conforms, and the suite sees each fault that is planted here, in the check meant for it."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

import qlifq.backends
from qlifq._validation import integer, optional_integer
from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, Plan, TrainCall, TrainOutcome, get
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.conformance import Line, Report, check
from qlifq.backends.conformance.harness import MISS, Harness
from qlifq.backends.conformance.shot_noise import _independent
from qlifq.backends.conformance.suite import CHECKS, FALSE_FAIL
from qlifq.backends.reference import ReferenceBackend
from qlifq.circuits import Gate, RYSpike, SinusoidalResponse, Slot, SpikeCircuit, SpikeTrainCircuit
from qlifq.errors import ArgumentError, ConformanceError, DtypeError, UnsupportedError

Floats = npt.NDArray[np.float64]
Shape = tuple[int, int]

NOISES = {
    "one noise": DeviceNoise(t1=80e-6, t2=60e-6, gate_time=5e-7, gate_error=0.01, readout_p01=0.02, readout_p10=0.05),
    "noise per site": DeviceNoise(
        t1=(80e-6, 30e-6, 200e-6),
        t2=(60e-6, 50e-6, 90e-6),
        gate_time=5e-7,
        gate_error=(0.01, 0.0, 0.03),
        readout_p01=(0.02, 0.1, 0.0),
        readout_p10=(0.05, 0.2, 0.0),
    ),
}


class Measured(NamedTuple):
    """A calibration that found the truth."""

    circuit: SpikeCircuit
    response: SinusoidalResponse
    source: str = "a law of its own"


_LAW = AnalyticBackend(NOISES["noise per site"]).law(RYSpike(), torch.device("cpu"))
#: What a backend cannot be built without, and what the suite must then know about it.
OPTIONS: dict[str, dict[str, object]] = {
    "twin": {"record": Measured(RYSpike(), _LAW)},
    "ibm": {"device": "fake_manila", "qubits": (0, 1, 3)},
    "distributed": {"inner": "analytic", "scheduler": "synchronous"},
}
#: The smallest error that the shots of a slow simulator must show.
BIAS = {"qiskit": 0.1}
_SNAPSHOT = DeviceNoise.from_snapshot("fake_manila", (0, 1, 3))
KNOWN: dict[str, tuple[Backend, int]] = {
    "twin": (ReferenceBackend(NOISES["noise per site"]), 3),
    "ibm": (ReferenceBackend(_SNAPSHOT), 3),
}


@pytest.mark.parametrize("name", qlifq.backends.names())
def test_every_registered_backend_conforms(name: str) -> None:
    oracle, sites = KNOWN.get(name, (None, None))
    backend = get(name, **OPTIONS.get(name, {}))
    report = check(backend, oracle=oracle, sites=sites, bias=BIAS.get(name, 0.02))
    report.raise_for_failure()
    assert report.passed
    assert report.backend == backend.description
    assert "passed" in {line.result for line in report.lines if line.check in {"exact RYSpike", "shots RYSpike"}}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", qlifq.backends.names())
def test_every_backend_conforms_with_noise_or_refuses_it(name: str, noise: str) -> None:
    options = OPTIONS.get(name, {}) | {"noise": NOISES[noise]}
    if not get(name, **OPTIONS.get(name, {})).capabilities.noisy:
        with pytest.raises((ArgumentError, UnsupportedError), match="noise"):
            get(name, **options)
        return
    check(get(name, **options)).raise_for_failure()


class Honest(Backend):
    """The closed form behind the interface, to plant faults in."""

    name = "planted"
    capabilities = Capabilities(exact=True, shots=True, noisy=False, differentiable=False)

    def _execute(self, call: Call) -> Outcome:
        return closed_form(call)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        self.check_size(batch, sites, shots)
        return Plan(batch * sites, circuits=1, qubits=1, jobs=1 if batch else 0, executions=batch * sites * (shots or 0))


def closed_form(call: Call) -> Outcome:
    """The answer of the closed form, with its gradient and only its checks."""
    return AnalyticBackend().run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)


def moved(outcome: Outcome, move: Callable[[Tensor], Tensor]) -> Outcome:
    """An outcome whose evaluations change places."""
    return replace(outcome, probability=move(outcome.probability), ones=None if outcome.ones is None else move(outcome.ones))


class Rolled(Honest):
    """The P(1) of each site is that of its neighbour, as in a qubit order that is off by one."""

    def _execute(self, call: Call) -> Outcome:
        return moved(super()._execute(call), lambda values: values.roll(1, 1))


class Reversed(Honest):
    """The sites come back in the order of Qiskit's bit strings."""

    def _execute(self, call: Call) -> Outcome:
        return moved(super()._execute(call), lambda values: values.flip(1))


class BatchReversed(Honest):
    """The elements come back in reverse."""

    def _execute(self, call: Call) -> Outcome:
        return moved(super()._execute(call), lambda values: values.flip(0))


class Drawing(Honest):
    """Draws its counts itself; a fault says from which noise and with which chances."""

    def chances(self, call: Call) -> Tensor:
        exact = call.circuit.probability(call.angles)
        return exact if call.where is None else exact * call.where

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        return np.random.default_rng(seed).random(shape)

    def _execute(self, call: Call) -> Outcome:
        chances = self.chances(call)
        if call.shots is None:
            return Outcome(chances)
        # The quantile function turns one number into one count, so that evaluations can share their noise at will.
        quantiles = self.uniform((chances.shape[0], chances.shape[1]), call.seed)
        ones = torch.as_tensor(binom.ppf(quantiles, call.shots, chances.double().numpy())).to(torch.int64).clamp(0)
        return Outcome((ones.double() / call.shots).to(chances), ones, call.shots)


class RepeatedForElements(Drawing):
    """Every element of the batch gets the same noise."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        return np.broadcast_to(super().uniform((1, shape[1]), seed), shape)


class RepeatedEveryFifth(Drawing):
    """The noise repeats after five elements, as that of chunks which share one seed."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        return np.resize(super().uniform((5, shape[1]), seed), shape)


class RepeatedForSites(Drawing):
    """Every site gets the same noise."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        return np.broadcast_to(super().uniform((shape[0], 1), seed), shape)


class Mirrored(Drawing):
    """Every second element mirrors the one before."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        drawn = super().uniform(shape, seed)
        drawn[1::2] = 1 - drawn[: len(drawn) // 2 * 2 : 2]
        return drawn


class IgnoresSeed(Drawing):
    """Every call has the same noise."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        return super().uniform(shape, 7)


class CutsSeed(Drawing):
    """The generator takes 32 bits of the seed."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        return super().uniform(shape, None if seed is None else seed % 2**32)


class NeverReplays(Drawing):
    """The seed is not used."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        return super().uniform(shape, None)


class UsesGlobalGenerator(Drawing):
    """Seeds the global generator, and so disturbs the user's."""

    def uniform(self, shape: Shape, seed: int | None) -> Floats:
        torch.manual_seed(seed or 0)
        return np.asarray(torch.rand(shape, dtype=torch.float64).numpy())


class Biased(Drawing):
    """Its counts are drawn from P(1) + 0.02."""

    capabilities = replace(Honest.capabilities, exact=False)

    def chances(self, call: Call) -> Tensor:
        return (super().chances(call) + 0.02).clamp(max=1.0)


class BiasedAtOneSite(Drawing):
    """Its exact answer is right, and the counts of one site are drawn from P(1) − 0.02."""

    def chances(self, call: Call) -> Tensor:
        chances = super().chances(call)
        if call.shots is not None:
            chances[:, 1:2] = (chances[:, 1:2] - 0.02).clamp(min=0.0)
        return chances


class WrongSign(Honest):
    """Turns the other way about z, which no circuit with one axis can tell."""

    def _execute(self, call: Call) -> Outcome:
        if isinstance(call.circuit, SpikeCircuit):
            gates = [
                Gate("RZ", -gate.angle) if gate.name == "RZ" and not isinstance(gate.angle, Slot) else gate
                for gate in call.circuit.gates
            ]
            call = replace(call, circuit=SpikeCircuit(call.circuit.name, tuple(gates)))
            if call.circuit.num_angles == 3:
                call = replace(call, angles=call.angles * torch.tensor([1.0, -1.0, 1.0]).to(call.angles))
        return super()._execute(call)


class Rounded(Honest):
    """Computes in float32 and answers in float64."""

    def _execute(self, call: Call) -> Outcome:
        found = super()._execute(call)
        return found if call.shots else Outcome(found.probability.float().to(found.probability))


class IgnoresWhere(Honest):
    """Evaluates what `where` excludes."""

    def _execute(self, call: Call) -> Outcome:
        return super()._execute(replace(call, where=None))


class AnswersNothing(Honest):
    """Answers 0 to everything once there is a `where`."""

    def _execute(self, call: Call) -> Outcome:
        found = super()._execute(call)
        return found if call.where is None else moved(found, lambda values: values * 0)


class AlwaysDouble(Honest):
    """Returns float64 for float32."""

    def _execute(self, call: Call) -> Outcome:
        found = super()._execute(call)
        return replace(found, probability=found.probability.double())


class AcceptsNaN(Honest):
    """Replaces what it does not understand."""

    def check(
        self, circuit: SpikeCircuit, angles: Tensor, *, shots: int | None, seed: int | None, where: Tensor | None
    ) -> None:
        known = angles.nan_to_num() if isinstance(angles, Tensor) and angles.is_floating_point() else angles
        super().check(circuit, known, shots=shots, seed=seed, where=where)

    def _execute(self, call: Call) -> Outcome:
        return super()._execute(replace(call, angles=call.angles.nan_to_num()))


class TurnsTimeBack(Honest):
    """Takes the absolute value of a delay."""

    def check(
        self, circuit: SpikeCircuit, angles: Tensor, *, shots: int | None, seed: int | None, where: Tensor | None
    ) -> None:
        delayed = isinstance(circuit, SpikeCircuit) and circuit.gates[-1].name == "Delay"
        super().check(circuit, angles.abs() if delayed else angles, shots=shots, seed=seed, where=where)

    def _execute(self, call: Call) -> Outcome:
        delayed = call.circuit.gates[-1].name == "Delay"
        return super()._execute(replace(call, angles=call.angles.abs()) if delayed else call)


class AcceptsAnyShots(Honest):
    """Makes an integer of whatever it is given."""

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        super().check_size(batch, sites, None if shots is None else max(int(shots), 1))

    def _execute(self, call: Call) -> Outcome:
        return super()._execute(call if call.shots is None else replace(call, shots=max(int(call.shots), 1)))


class ChecksNothing(Honest):
    """Leaves bad input to the code that follows."""

    def check(
        self, circuit: SpikeCircuit, angles: Tensor, *, shots: int | None, seed: int | None, where: Tensor | None
    ) -> None: ...

    def _execute(self, call: Call) -> Outcome:
        return Outcome(call.circuit.probability(call.angles))


class WrongPlan(Honest):
    """Counts the batch and forgets the sites."""

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return replace(super().plan(circuit, batch, sites, shots=shots), evaluations=batch)


class PlanForgetsShots(Honest):
    """Counts circuits as executions."""

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return replace(super().plan(circuit, batch, sites, shots=shots), executions=batch * sites)


class PlanRuns(Honest):
    """Runs to find out what running costs."""

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        self.run(circuit, torch.zeros(batch, sites, circuit.num_angles), shots=shots, seed=0)
        return super().plan(circuit, batch, sites, shots=shots)


class PlanChecksNothing(Honest):
    """Multiplies whatever it is given."""

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return Plan(batch * sites, circuits=1, qubits=1, jobs=1, executions=batch * sites * (shots or 0))


class PlanBillsNothing(Honest):
    """Claims that somebody else's machine is free."""

    capabilities = replace(Honest.capabilities, remote=True)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return replace(super().plan(circuit, batch, sites, shots=shots), executions=0)


class PlanBillsAnEmptyBatch(Honest):
    """Submits a job for nothing."""

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return replace(super().plan(circuit, batch, sites, shots=shots), executions=(batch * sites or 1) * (shots or 1))


class ClaimsGradient(Honest):
    """Declares a gradient that it does not carry."""

    capabilities = replace(Honest.capabilities, differentiable=True)

    def _execute(self, call: Call) -> Outcome:
        return closed_form(replace(call, angles=call.angles.detach()))


class WrongGradient(Honest):
    """Carries a gradient that is wrong by 1e-6."""

    capabilities = replace(Honest.capabilities, differentiable=True)

    def _execute(self, call: Call) -> Outcome:
        found = closed_form(call)
        return replace(found, probability=found.probability + 1e-6 * (call.angles - call.angles.detach()).sum(-1))


class LeaksGraph(Honest):
    """Declares no gradient and carries a graph."""

    def _execute(self, call: Call) -> Outcome:
        return closed_form(replace(call, angles=call.angles.clone().requires_grad_()))


class ClaimsIdeal(Honest):
    """Declares the closed form's probabilities and gradients, and turns 1e-6 too far."""

    capabilities = replace(Honest.capabilities, differentiable=True, ideal=True)

    def _execute(self, call: Call) -> Outcome:
        return closed_form(replace(call, angles=call.angles * (1 + 1e-6)))


class HidesIdeal(Honest):
    """Is the closed form, and does not say so."""

    capabilities = replace(Honest.capabilities, differentiable=True)


class ClaimsIdealWithoutGradient(Honest):
    """Declares the closed form's gradients, and has none."""

    capabilities = replace(Honest.capabilities, ideal=True)


class WrongResponse(Honest):
    """Reports the law of another circuit."""

    def response(self, circuit: SpikeCircuit, sites: int) -> SinusoidalResponse | None:
        return SinusoidalResponse(torch.tensor(0.5), torch.tensor(-0.49), torch.tensor(0.0))


class ClaimsExact(Honest):
    """Declares an exact mode and refuses it."""

    def _execute(self, call: Call) -> Outcome:
        if call.shots is None:
            raise UnsupportedError("there is no exact mode")
        return super()._execute(call)


class ClaimsShots(Honest):
    """Declares shots and gives probabilities."""

    def _execute(self, call: Call) -> Outcome:
        return replace(super()._execute(replace(call, shots=None)), shots=call.shots)


class HidesExact(Honest):
    """Declares no exact mode and has one."""

    capabilities = replace(Honest.capabilities, exact=False)

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        super().check_size(batch, sites, 1 if shots is None else shots)


class HidesShots(Honest):
    """Declares no shots and draws them."""

    capabilities = replace(Honest.capabilities, shots=False)

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        integer("sites", sites, at_least=0)
        optional_integer("shots", shots, at_least=1)


class FloatCounts(Honest):
    """Counts in float64."""

    def _execute(self, call: Call) -> Outcome:
        found = super()._execute(call)
        return replace(found, ones=None if found.ones is None else found.ones.double())


class Smoothed(Honest):
    """The probability is not ones / shots."""

    def _execute(self, call: Call) -> Outcome:
        found = super()._execute(call)
        return found if call.shots is None else replace(found, probability=found.probability * 0.99)


class WrongShape(Honest):
    """Keeps the dimension of the angles."""

    def _execute(self, call: Call) -> Outcome:
        return moved(super()._execute(call), lambda values: values.unsqueeze(-1))


class ReturnsTensor(Honest):
    """Returns no Outcome."""

    def _execute(self, call: Call) -> Outcome:
        return super()._execute(call).probability  # type: ignore[return-value]


class WritesAngles(Honest):
    """Works in the user's tensor."""

    def _execute(self, call: Call) -> Outcome:
        found = super()._execute(call)
        call.angles.zero_()
        return found


class LeaksVendor(Honest):
    """Hands over the result of its vendor."""

    def _execute(self, call: Call) -> Outcome:
        return replace(super()._execute(call), metadata={"jobs": [SimpleNamespace(id="7")]})


class ReadsMemory(Honest):
    """Reads the memory of a tensor and not its values."""

    def _execute(self, call: Call) -> Outcome:
        if isinstance(call.angles, Tensor) and call.angles.ndim == 3 and min(call.angles.stride()) > 0:
            contiguous = torch.empty(call.angles.shape).stride()
            call = replace(call, angles=torch.as_strided(call.angles, call.angles.shape, contiguous))
        return super()._execute(call)


class TakesMoreSites(Honest):
    """Declares a bound on sites that it does not hold."""

    capabilities = replace(Honest.capabilities, max_sites=4)

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        super().check_size(batch, min(sites, 4), shots)


class TakesMoreShots(Honest):
    """Declares a bound on shots that it does not hold."""

    capabilities = replace(Honest.capabilities, max_shots=2000)

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        super().check_size(batch, sites, 2000 if shots == 2001 else shots)


class BindsByGate(Honest):
    """Binds the angles in the order of the gates, and not by slot."""

    def _execute(self, call: Call) -> Outcome:
        if isinstance(call.circuit, SpikeCircuit) and call.circuit.name == "SharedSlot":
            call = replace(call, angles=call.angles.flip(-1))
        return super()._execute(call)


class IgnoresDelay(Honest):
    """Has noise of its own, without the relaxation in a delay."""

    capabilities = replace(Honest.capabilities, noisy=True)
    noise = DeviceNoise(t1=80e-6)

    def _execute(self, call: Call) -> Outcome:
        backend = AnalyticBackend(DeviceNoise(t1=80e-6))
        angles = call.angles
        if call.circuit.gates[-1].name == "Delay":
            angles = angles * torch.tensor([1.0, 0.0]).to(angles)
        return backend.run(call.circuit, angles, shots=call.shots, seed=call.seed, where=call.where)


class SwapsNoise(Honest):
    """Gives each site the readout error of another."""

    capabilities = replace(Honest.capabilities, noisy=True)
    noise = DeviceNoise(readout_p01=(0.02, 0.1, 0.0))

    def _execute(self, call: Call) -> Outcome:
        backend = AnalyticBackend(DeviceNoise(readout_p01=(0.1, 0.02, 0.0)))
        return backend.run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)


class AnUlpAbove(Honest):
    """What rounds to 1 is 1 and an ulp."""

    def _execute(self, call: Call) -> Outcome:
        outcome = super()._execute(call)
        return replace(outcome, probability=outcome.probability * (1 + torch.finfo(outcome.probability.dtype).eps))


class BelowZero(Honest):
    """What rounds to 0 is less than that."""

    def _execute(self, call: Call) -> Outcome:
        outcome = super()._execute(call)
        return outcome if call.shots else replace(outcome, probability=outcome.probability - 6e-17)


class RefusesEverything(Honest):
    """Refuses the one circuit that it must run."""

    def _execute(self, call: Call) -> Outcome:
        raise UnsupportedError("this circuit does not run here")


class Nameless(Honest):
    """Has no name."""

    name = ""


class DeclaresNothing(Honest):
    """Declares neither mode."""

    capabilities = replace(Honest.capabilities, exact=False, shots=False)


class Trains(Honest):
    """Runs the trains that a fault makes of those that it is given."""

    capabilities = replace(Honest.capabilities, trains=True)

    def faulty(self, train: SpikeTrainCircuit) -> SpikeTrainCircuit:
        return train

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        return AnalyticBackend().run_train(self.faulty(call.train), shots=call.shots, seed=call.seed)


class TrainsWrongSign(Trains):
    """Turns back where it should turn."""

    def faulty(self, train: SpikeTrainCircuit) -> SpikeTrainCircuit:
        return replace(train, angles=-train.angles)


class TrainsSwapBits(Trains):
    """Reads its register from the other end."""

    def faulty(self, train: SpikeTrainCircuit) -> SpikeTrainCircuit:
        swapped = (
            replace(c, first=c.step - 1 - c.first, last=c.step - 1 - c.last) if c.single else c for c in train.conditions
        )
        return train if train.coupled else replace(train, conditions=tuple(swapped))


class TrainsCutWindows(Trains):
    """Forgets the oldest step of every window."""

    def faulty(self, train: SpikeTrainCircuit) -> SpikeTrainCircuit:
        return replace(train, conditions=tuple(replace(c, first=min(c.first + 1, c.last)) for c in train.conditions))


class TrainsKeepState(Trains):
    """Does not reset."""

    def faulty(self, train: SpikeTrainCircuit) -> SpikeTrainCircuit:
        return replace(train, reset=False)


class TrainsForgetOthers(Trains):
    """Takes the bit of its own site for that of another."""

    def faulty(self, train: SpikeTrainCircuit) -> SpikeTrainCircuit:
        if not train.coupled:
            return train
        own = tuple(replace(c, source=None) if c.first < c.step else c for c in train.conditions)
        return replace(train, conditions=own)


class TrainsRepeat(Trains):
    """The seed is not used."""

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        return super()._execute_train(replace(call, seed=7))


class TrainsLackWords(Trains):
    """Declares trains and has none."""

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        return Backend._execute_train(self, call)


class DeclaresInWords(Honest):
    """Declares its capabilities in another form."""

    capabilities = SimpleNamespace(  # type: ignore[assignment]
        exact=True, shots=True, noisy=False, differentiable=False, remote=False, max_sites=None, max_shots=None
    )


#: Each fault, the check that must catch it, and what that check must say.
FAULTS: list[tuple[type[Honest], str, str]] = [
    (Nameless, "declaration", "`name` must be a string, but is ''"),
    (DeclaresNothing, "declaration", "neither an exact mode nor shots"),
    (DeclaresInWords, "declaration", "must be a Capabilities, but is namespace"),
    (Rolled, "site order", "P(1) is wrong by"),
    (Reversed, "site order", "element 0, site 0"),
    (BatchReversed, "batch order", "element 0, site 0"),
    (RepeatedForElements, "dispersion elements", "elements 1 apart share their shot noise: 0 of 256 pairs differ"),
    (RepeatedEveryFifth, "dispersion elements", "elements 5 apart share their shot noise: 0 of 252 pairs differ"),
    (Mirrored, "dispersion elements", "256 of 256 pairs differ with 1 shots, but 128 should"),
    (RepeatedForSites, "dispersion sites", "sites 1 apart share their shot noise: 0 of 256 pairs differ"),
    (IgnoresSeed, "dispersion calls", "calls with seeds 0 and 1 share their shot noise: 0 of 512 pairs"),
    (CutsSeed, "dispersion calls", "calls with seeds 0 and 4294967296 share their shot noise"),
    (NeverReplays, "seeds", "the same seed gives another answer with shots=100"),
    (UsesGlobalGenerator, "seeds", "a seeded call draws from a global generator"),
    (Biased, "shots RYSpike", "from 85,711 shots at angles"),
    (Biased, "shots RY-RZ-RX", "P(1) is"),
    (BiasedAtOneSite, "shots RYSpike", "but should be"),
    (WrongSign, "exact RY-RZ-RX", "P(1) is wrong by 1 at angles (1.571, 1.571, 1.571)"),
    (WrongSign, "exact shared slot", "P(1) is wrong by"),
    (Rounded, "exact RYSpike", "P(1) is wrong by"),
    (AnUlpAbove, "exact RYSpike", "P(1) must be within [0, 1], but is wrong by 1.2e-07 at angles (3.142)"),
    (AnUlpAbove, "exact BrandPetruccione", "P(1) must be within [0, 1], but is wrong by"),
    (BelowZero, "exact RYSpike", "P(1) must be within [0, 1], but is wrong by 6e-17 at angles (0)"),
    (IgnoresWhere, "where", "not selected has a probability other than 0"),
    (AnswersNothing, "where", "P(1) is wrong by"),
    (AlwaysDouble, "dtype", "angles in torch.float32 give a probability in torch.float64"),
    (AcceptsNaN, "refusals", "an angle of nan is accepted; an angle of inf is accepted; an angle of -inf is accepted"),
    (TurnsTimeBack, "refusals", "a delay below 0 is accepted"),
    (AcceptsAnyShots, "refusals", "shots=0 is accepted; shots=-1 is accepted; shots=1.5 is accepted"),
    (ChecksNothing, "refusals", "a circuit that is a string raises AttributeError; angles with two dimensions is accepted"),
    (WrongPlan, "plan", "`evaluations` must be 15 for batch 5 and sites 3, but is 5"),
    (PlanForgetsShots, "plan", "`executions` must be a multiple of 100 shots, but is 15"),
    (PlanRuns, "plan", "must spend nothing, but calls `run`"),
    (PlanChecksNothing, "plan", "batch=-1 is accepted; sites=1.5 is accepted; shots=0 is accepted"),
    (PlanBillsNothing, "plan", "a remote call must have executions and jobs"),
    (PlanBillsAnEmptyBatch, "plan", "an empty batch must not have executions"),
    (ClaimsGradient, "gradient RYSpike", "declares differentiable=True, but the probability carries no graph"),
    (WrongGradient, "gradient RY-RZ-RX", "∂P(1)/∂θ is wrong by 1e-06"),
    (LeaksGraph, "gradient RYSpike", "declares differentiable=False, but the probability carries a graph"),
    (ClaimsIdeal, "ideal", "it declares ideal=True, but has a P(1) of RYSpike that differs from the closed form by"),
    (HidesIdeal, "ideal", "it declares ideal=False, but its probabilities and gradients are those of the closed form"),
    (ClaimsIdealWithoutGradient, "ideal", "it declares ideal=True, but has no exact gradient"),
    (WrongResponse, "response", "the P(1) of `response` is wrong by 0.01"),
    (ClaimsExact, "exact RYSpike", "raised UnsupportedError: there is no exact mode"),
    (ClaimsShots, "outcome", "`ones` must be counts with shots=100"),
    (HidesExact, "refusals", "shots=None without an exact mode is accepted"),
    (HidesShots, "refusals", "shots=10 without counts is accepted"),
    (FloatCounts, "outcome", "`ones` must be int64, but is torch.float64"),
    (Smoothed, "outcome", "ones / shots is wrong by"),
    (WrongShape, "outcome", "`probability` must have shape (3, 2) on cpu, but has (3, 2, 1) on cpu"),
    (ReturnsTensor, "outcome", "must return an Outcome, but returns a Tensor"),
    (WritesAngles, "outcome", "changes the angles that it is given"),
    (LeaksVendor, "plain values", "`metadata['jobs'][0]` must be a plain value, but is a SimpleNamespace"),
    (ReadsMemory, "memory layout", "P(1) is wrong by"),
    (TakesMoreSites, "refusals", "sites above max_sites is accepted"),
    (TakesMoreShots, "refusals", "shots above max_shots is accepted"),
    (BindsByGate, "exact shared slot", "P(1) is wrong by"),
    (IgnoresDelay, "exact BrandPetruccione delay", "P(1) is wrong by"),
    (SwapsNoise, "equal angles", "P(1) is wrong by 0.08"),
    (RefusesEverything, "exact RYSpike", "raised UnsupportedError: this circuit does not run here"),
    (TrainsWrongSign, "trains last spike", "P(1) is"),
    (TrainsWrongSign, "trains another site", "P(1) is"),
    (TrainsSwapBits, "trains single bits", "P(1) is"),
    (TrainsCutWindows, "trains last spike", "P(1) is"),
    (TrainsKeepState, "trains last spike", "P(1) is"),
    (TrainsForgetOthers, "trains another site", "P(1) is"),
    (TrainsRepeat, "trains contract", "another seed gives the same trains"),
    (TrainsLackWords, "trains contract", "raised UnsupportedError: Backend planted declares `trains`, but has no"),
]


@pytest.mark.parametrize(("fault", "name", "detail"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_fails_the_check_that_is_meant_for_it(fault: type[Honest], name: str, detail: str) -> None:
    report = check(fault())
    assert not report.passed
    (line,) = (line for line in report.failures if line.check == name)
    assert detail in line.detail
    with pytest.raises(ConformanceError, match=f"fails {len(report.failures)} of {len(CHECKS)} conformance checks") as raised:
        report.raise_for_failure()
    assert f"\n  {name}: {line.detail}" in str(raised.value)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("honest", [Honest, Drawing, Trains])
def test_what_the_faults_are_planted_in_passes(honest: type[Honest], seed: int) -> None:
    check(honest(), seed=seed).raise_for_failure()


class Modest(Honest):
    """Takes one site and 2,000 shots at most, gives counts alone."""

    capabilities = Capabilities(exact=False, shots=True, noisy=False, differentiable=False, max_sites=1, max_shots=2000)


class SingleShots(Honest):
    """Takes one shot in a call."""

    capabilities = Capabilities(exact=True, shots=True, noisy=False, differentiable=False, max_shots=1)


class ExactOnly(Honest):
    """Draws no counts."""

    capabilities = Capabilities(exact=True, shots=False, noisy=False, differentiable=False)


class Lawful(Honest):
    """Knows circuits of one angle alone."""

    def _execute(self, call: Call) -> Outcome:
        if isinstance(call.circuit, SpikeCircuit) and not call.circuit.is_sinusoidal:
            raise UnsupportedError(f"circuit {call.circuit.name} has no law")
        return super()._execute(call)


class SecretNoise(Honest):
    """Has noise that is no DeviceNoise, of three sites."""

    capabilities = replace(Honest.capabilities, noisy=True)
    noise = "a model"

    def _execute(self, call: Call) -> Outcome:
        backend = AnalyticBackend(NOISES["noise per site"])
        return backend.run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)


def results(report: Report) -> dict[str, str]:
    return {line.check: line.result for line in report.lines}


@pytest.mark.parametrize(("honest", "bias"), [(Modest, 0.02), (SingleShots, 0.2), (ExactOnly, 0.02)])
def test_bounds_and_missing_modes_are_respected(honest: type[Honest], bias: float) -> None:
    report = check(honest(), bias=bias)
    report.raise_for_failure()
    can = honest.capabilities
    assert results(report)["exact RYSpike"] == ("passed" if can.exact else "not declared")
    assert results(report)["dispersion calls"] == ("passed" if can.shots else "not declared")


def test_counts_of_a_bounded_call_are_added_up() -> None:
    report = check(Modest())
    (line,) = (line for line in report.lines if line.check == "shots RYSpike")
    # 4 tests ask for 84,278 shots: 43 times over, 1,960 in each.
    assert line.detail == "4 evaluations of 84,280 shots"


def test_a_circuit_that_is_refused_is_no_failure() -> None:
    report = check(Lawful())
    report.raise_for_failure()
    line = next(line for line in report.lines if line.check == "exact LeakySpike")
    assert line == Line("exact LeakySpike", "refused", "circuit LeakySpike has no law")
    assert results(report)["exact RYSpike"] == "passed"


def test_noise_of_another_kind_needs_an_oracle() -> None:
    message = "Argument `oracle` must be given for backend planted: .* must be a DeviceNoise for `reference`, but is str"
    with pytest.raises(UnsupportedError, match=message):
        check(SecretNoise())
    oracle = ReferenceBackend(NOISES["noise per site"])
    check(SecretNoise(), oracle=oracle, sites=3).raise_for_failure()
    wrong = check(SecretNoise(), oracle=ReferenceBackend(NOISES["one noise"]), sites=3)
    assert "exact RYSpike" in {line.check for line in wrong.failures}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backend": 3}, DtypeError, "Argument `backend` must be a Backend or a name, but is int"),
        ({"backend": "nobody"}, ArgumentError, "Unknown backend `nobody`"),
        ({"oracle": "reference"}, DtypeError, "Argument `oracle` must be a Backend or None, but is str"),
        ({"oracle": Modest()}, UnsupportedError, "Argument `oracle` must have an exact mode, but is backend planted"),
        ({"sites": 0}, ArgumentError, "Argument `sites` must be at least 1, but is 0"),
        ({"bias": 0.0}, ArgumentError, "Argument `bias` must be above 0 and at most 0.5, but is 0"),
        ({"bias": 0.6}, ArgumentError, "Argument `bias` must be above 0 and at most 0.5, but is 0.6"),
        ({"seed": -1}, ArgumentError, "Argument `seed` must be at least 0"),
    ],
)
def test_a_bad_argument_of_check_is_refused(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        check(**({"backend": "analytic"} | arguments))  # type: ignore[arg-type]


def test_a_report_prints_as_an_aligned_table() -> None:
    report = Report(
        "mine", (Line("outcome", "passed", "as declared"), Line("seeds", "failed", "no"), Line("x", "not declared", ""))
    )
    assert str(report).splitlines() == [
        "conformance of backend mine: 1 failed, 3 checks",
        "check    result        detail",
        "outcome  passed        as declared",
        "seeds    failed        no",
        "x        not declared",
    ]


def test_names_of_checks_are_unique() -> None:
    assert len({entry.name for entry in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("chance", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
@pytest.mark.parametrize("bias", [0.02, -0.02])
def test_the_shots_are_enough_to_see_the_bias(chance: float, bias: float) -> None:
    harness = Harness(Honest(), ReferenceBackend(), None, abs(bias), 0, torch.device("cpu"), FALSE_FAIL / len(CHECKS))
    shots = harness.shots_to_see(abs(bias), 1)
    wrong = binom(shots, min(max(chance + bias, 0.0), 1.0))
    # Of the counts that the bias gives, all but a millionth are at least as far off as this one. The quantile is exact and the
    # number of shots is a normal approximation, hence the tenth.
    nearest = wrong.ppf(1.1 * MISS) if bias > 0 else wrong.isf(1.1 * MISS)
    truth = torch.tensor([[chance]], dtype=torch.float64)
    with pytest.raises(ConformanceError, match=f"but should be {chance:.4f}"):
        harness.plausible(np.array([[int(nearest)]]), shots, truth, truth.unsqueeze(-1))


@pytest.mark.parametrize("shots", [1, 7, 1000])
@pytest.mark.parametrize("chance", [0.0, 1e-6, 0.3, 0.5, 1.0])
def test_honest_counts_fail_no_more_often_than_stated(shots: int, chance: float) -> None:
    level = 1e-3
    harness = Harness(Honest(), ReferenceBackend(), None, 0.02, 0, torch.device("cpu"), level)
    truth = torch.tensor([[chance]], dtype=torch.float64)
    failing = 0.0
    for ones in range(shots + 1):
        try:
            harness.plausible(np.array([[ones]]), shots, truth, truth.unsqueeze(-1))
        except ConformanceError:
            failing += float(binom.pmf(ones, shots, chance))
    assert failing <= level


@pytest.mark.parametrize("equal", [True, False])
def test_honest_dispersions_fail_no_more_often_than_stated(equal: bool) -> None:
    # An honest 2,000, with equal chances or not, at a level of 1e-2 each, fail more often than this one time in 1e9.
    source = np.random.default_rng(5)
    harness = Harness(Honest(), ReferenceBackend(), None, 0.02, 0, torch.device("cpu"), 1e-2)
    p, q = (np.full(64, 0.5),) * 2 if equal else (source.random(64), source.random(64))
    failed = 0
    for _ in range(2000):
        try:
            _independent(harness, source.random(64) < p, source.random(64) < q, p, q, 1, "two", 1)
        except ConformanceError:
            failed += 1
    assert failed <= binom.isf(1e-9, 2000, 1e-2)
