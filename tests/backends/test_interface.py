"""What every backend refuses before it runs, and how plans and outcomes print."""

import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError

import pytest
import torch

from qlifq.backends import Backend, Call, Capabilities, Outcome, Plan
from qlifq.circuits import BrandPetruccione, LeakySpike, RYSpike, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError


class Bounded(Backend):
    """Checks and answers ½."""

    name = "bounded"

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities

    def _execute(self, call: Call) -> Outcome:
        return Outcome(torch.full_like(call.angles[..., 0], 0.5))

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        self.check_size(batch, sites, shots)
        return Plan(batch * sites, 1, 1, 1, 1)


BOTH = Capabilities(exact=True, shots=True, noisy=False, differentiable=False, max_sites=3, max_shots=100)
ANGLES = torch.zeros(2, 3, 1)
NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"circuit": "RYSpike"}, DtypeError, "`circuit` must be a SpikeCircuit, but is str."),
        ({"angles": [[0.0]]}, DtypeError, "`angles` must be a torch tensor, but is list."),
        ({"angles": ANGLES.long()}, DtypeError, "`angles` must have dtype float32 or float64, but has int64."),
        ({"angles": ANGLES[0]}, ShapeError, "`angles` must have shape (batch, sites, 1), but has shape (3, 1)."),
        ({"angles": ANGLES[..., 0]}, ShapeError, "must have shape (..., 1) for circuit RYSpike, but has shape (2, 3)."),
        ({"circuit": LeakySpike()}, ShapeError, "must have shape (..., 2) for circuit LeakySpike, but has shape (2, 3, 1)."),
        ({"angles": ANGLES + NAN}, ArgumentError, "`angles` must be finite, but 6 of its 6 values are NaN or infinite."),
        ({"angles": ANGLES / 0}, ArgumentError, "`angles` must be finite, but 6 of its 6"),
        ({"angles": torch.zeros(2, 4, 1)}, ArgumentError, "`sites` must be at least 0 and at most 3, but is 4."),
        ({"shots": 0}, ArgumentError, "`shots` must be at least 1 and at most 100, but is 0."),
        ({"shots": 101}, ArgumentError, "`shots` must be at least 1 and at most 100, but is 101."),
        ({"shots": 1.5}, DtypeError, "`shots` must be an integer, but is 1.5."),
        ({"shots": True}, DtypeError, "`shots` must be an integer, but is True."),
        ({"seed": -1}, ArgumentError, "`seed` must be at least 0 and at most 9223372036854775807, but is -1."),
        ({"seed": 2**63}, ArgumentError, "but is 9223372036854775808."),
        ({"seed": "7"}, DtypeError, "`seed` must be an integer, but is '7'."),
        ({"where": [True]}, DtypeError, "`where` must be a bool tensor, but is list."),
        ({"where": torch.ones(2, 3)}, DtypeError, "`where` must be a bool tensor, but is float32."),
        ({"where": torch.ones(3, 2).bool()}, ShapeError, "`where` must have shape (2, 3), but has shape (3, 2)."),
        (
            {"where": torch.ones(2, 3, dtype=torch.bool, device="meta")},
            DtypeError,
            "`where` must be on cpu like the angles, but is on meta.",
        ),
        (
            {"circuit": BrandPetruccione("delay"), "angles": torch.tensor([[[-1.0, 0.0], [0.0, -2e-6]]])},
            ArgumentError,
            "`angles` must be at least 0 seconds for a delay, but is -2e-06.",
        ),
    ],
)
def test_a_bad_call_is_refused_in_one_sentence(change: dict[str, object], error: type[QLIFError], message: str) -> None:
    good: dict[str, object] = {"circuit": RYSpike(), "angles": ANGLES, "shots": None, "seed": None, "where": None}
    backend = Bounded(BOTH)
    assert backend.run(**good).probability.shape == (2, 3)  # type: ignore[arg-type]
    with pytest.raises(error, match=re.escape(message)):
        backend.run(**good | change)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [None, 0, 2**63 - 1])
@pytest.mark.parametrize("shots", [None, 1, 100])
def test_the_bounds_are_within(seed: int | None, shots: int | None) -> None:
    Bounded(BOTH).run(RYSpike(), ANGLES, shots=shots, seed=seed, where=torch.zeros(2, 3, dtype=torch.bool))
    Bounded(BOTH).run(RYSpike(), ANGLES[:0], shots=shots, seed=seed, where=torch.zeros(0, 3, dtype=torch.bool))
    Bounded(BOTH).run(BrandPetruccione("delay"), torch.tensor([[[-1.0, 0.0]]]), shots=shots, seed=seed)


def test_a_mode_that_is_not_declared_is_refused() -> None:
    counts = Bounded(Capabilities(exact=False, shots=True, noisy=False, differentiable=False))
    exact = Bounded(Capabilities(exact=True, shots=False, noisy=False, differentiable=False))
    with pytest.raises(UnsupportedError, match="`shots` must be an integer for backend bounded, which has no exact mode"):
        counts.run(RYSpike(), ANGLES, shots=None, seed=None)
    with pytest.raises(UnsupportedError, match="`shots` must be None for backend bounded, which draws none, but is 5"):
        exact.run(RYSpike(), ANGLES, shots=5, seed=None)
    with pytest.raises(ArgumentError, match="`batch` must be at least 0, but is -1"):
        exact.plan(RYSpike(), -1, 1, shots=None)


def test_a_backend_must_run_and_plan() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Backend()  # type: ignore[abstract]


def test_a_plan_prints_on_one_line() -> None:
    assert str(Plan(2048, circuits=256, qubits=8, jobs=1, executions=262144, estimated_seconds=0.123)) == (
        "evaluations 2,048 · circuits 256 · qubits 8 · jobs 1 · executions 262,144 · turns 1 · time about 0.123 s"
    )
    assert str(Plan(1, 1, 1, 1, 1, turns=2)).endswith("turns 2 · time not known")


def test_an_outcome_prints_on_one_line_and_is_frozen() -> None:
    assert str(Outcome(torch.tensor([[0.25, 0.75]]))) == "batch 1 · sites 2 · exact · mean P(1) 0.5000"
    assert str(Outcome(torch.zeros(0, 3), torch.zeros(0, 3), 1000)) == "batch 0 · sites 3 · 1,000 shots · mean P(1) none"
    with pytest.raises(FrozenInstanceError):
        Outcome(torch.zeros(1, 1)).shots = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="item assignment"):
        Outcome(torch.zeros(1, 1)).metadata["key"] = 1  # type: ignore[index]


def test_plans_add_up_and_multiply() -> None:
    first = Plan(6, 1, 3, 2, 600, turns=2, estimated_seconds=1.5, device_seconds=4.0)
    second = Plan(4, 5, 2, 1, 400, estimated_seconds=0.5)
    assert Plan.total([first, second]) == Plan(10, 5, 3, 3, 1000, turns=2, estimated_seconds=2.0, device_seconds=4.0)
    # A duration that one of them does not know, all of them together do not know.
    assert Plan.total([first, Plan(1, 1, 1, 1, 1)]).estimated_seconds is None
    assert first.times(3) == Plan(18, 1, 3, 6, 1800, turns=2, estimated_seconds=4.5, device_seconds=12.0)
    assert second.times(2) == Plan.total([second, second])


def test_a_class_for_the_earlier_interface_is_refused_where_it_is_defined() -> None:
    with pytest.raises(UnsupportedError, match=r"Class Old must not define `run`.*rename it to `_execute\(self, call: Call\)"):

        class Old(Backend):
            def run(self, circuit, angles, *, shots, seed, where=None):  # type: ignore[no-untyped-def,misc]
                return Outcome(angles[..., 0])

    with pytest.raises(UnsupportedError, match=r"Class Mute must define `_execute\(self, call: Call\) -> Outcome`"):

        class Mute(Backend):
            name = "mute"


class Told(Backend):
    """Has qubits, and keeps the calls that it executes."""

    name = "fixed"
    facts: Mapping[str, object] = {"noise": "none"}

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self.calls: list[Call] = []

    def metadata(self, sites: int) -> Mapping[str, object]:
        return {**self.facts, "qubits": tuple(range(4, 4 + sites))}

    def _execute(self, call: Call) -> Outcome:
        self.calls.append(call)
        probability = call.angles.sum(-1)
        return Outcome(probability, metadata={"jobs": ("j7",)})


@pytest.mark.parametrize("differentiable", [True, False])
@pytest.mark.parametrize(("batch", "sites"), [(0, 3), (2, 0), (0, 0)])
def test_an_empty_call_is_executed_nowhere_and_reports_what_every_call_does(
    batch: int, sites: int, differentiable: bool
) -> None:
    backend = Told(Capabilities(exact=True, shots=True, noisy=False, differentiable=differentiable))
    angles = torch.zeros(batch, sites, 1, requires_grad=True)
    exact = backend.run(RYSpike(), angles, shots=None, seed=None)
    drawn = backend.run(RYSpike(), angles, shots=7, seed=1)
    assert backend.calls == []
    assert exact.probability.shape == (batch, sites)
    assert exact.probability.requires_grad is differentiable
    assert drawn.ones is not None
    assert drawn.ones.dtype == torch.int64
    assert drawn.shots == 7
    assert exact.metadata == drawn.metadata == {"noise": "none", "qubits": tuple(range(4, 4 + sites))}


def test_what_is_executed_is_checked_without_a_graph_and_reports_its_facts() -> None:
    backend = Told(Capabilities(exact=True, shots=True, noisy=False, differentiable=False))
    outcome = backend.run(RYSpike(), torch.zeros(2, 3, 1, requires_grad=True), shots=None, seed=None)
    assert outcome.metadata == {"noise": "none", "qubits": (4, 5, 6), "jobs": ("j7",)}
    assert not backend.calls[0].angles.requires_grad
    with pytest.raises(ArgumentError, match="`shots` must be at least 1, but is 0"):
        backend.run(RYSpike(), torch.zeros(2, 3, 1), shots=0, seed=None)
    assert len(backend.calls) == 1


def test_a_backend_with_numbers_for_some_sites_takes_no_others() -> None:
    backend = Told(Capabilities(exact=True, shots=True, noisy=False, differentiable=False))
    backend.sites = 5
    with pytest.raises(ShapeError, match="`angles` must have 5 sites for backend fixed, but has 4"):
        backend.run(RYSpike(), torch.zeros(2, 4, 1), shots=None, seed=None)
    with pytest.raises(ShapeError, match="`angles` must have 5 sites for backend fixed, but has 6"):
        backend.plan(RYSpike(), 2, 6, shots=None)
    assert backend.plan(RYSpike(), 2, 5, shots=None) == Plan(evaluations=10, circuits=0, qubits=0, jobs=0, executions=0)
