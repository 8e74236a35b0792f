"""What a call of a backend would cost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call would cost; making one spends nothing.

    Args:
        evaluations: spike decisions, batch × sites.
        circuits: distinct circuits of a call; of several calls those of the one with the most, since a plan
            does not know what they have in common.
        qubits: qubits of the widest circuit.
        jobs: submissions.
        executions: circuits × parameter sets × shots, what a device is billed by; 0 where nothing is executed.
        turns: how often the same qubits are used in turn because there are more sites than qubits.
        estimated_seconds: a rough duration, None where it is not known.
        device_seconds: what a device would be occupied for and charge, roughly; None where no device is.
        conditionals: conditional rotations of the circuit that has the most of them.
    """

    evaluations: int
    circuits: int
    qubits: int
    jobs: int
    executions: int
    turns: int = 1
    estimated_seconds: float | None = None
    device_seconds: float | None = None
    conditionals: int = 0

    @classmethod
    def total(cls, plans: Sequence["Plan"]) -> Self:
        """What several calls cost, at least one: what adds up is added, circuits, qubits and turns are the most of one."""
        charged = [plan.device_seconds for plan in plans if plan.device_seconds is not None]
        known = [plan.estimated_seconds for plan in plans if plan.estimated_seconds is not None]
        return cls(
            evaluations=sum(plan.evaluations for plan in plans),
            circuits=max(plan.circuits for plan in plans),
            qubits=max(plan.qubits for plan in plans),
            jobs=sum(plan.jobs for plan in plans),
            executions=sum(plan.executions for plan in plans),
            turns=max(plan.turns for plan in plans),
            estimated_seconds=sum(known) if len(known) == len(plans) else None,
            device_seconds=sum(charged) if charged else None,
            conditionals=max(plan.conditionals for plan in plans),
        )

    def times(self, count: int) -> Self:
        """What this many of the same calls cost."""
        seconds, charged = self.estimated_seconds, self.device_seconds
        return replace(
            self,
            evaluations=self.evaluations * count,
            jobs=self.jobs * count,
            executions=self.executions * count,
            estimated_seconds=None if seconds is None else seconds * count,
            device_seconds=None if charged is None else charged * count,
        )

    def __str__(self) -> str:
        seconds = "not known" if self.estimated_seconds is None else f"about {self.estimated_seconds:.3g} s"
        charged = "" if self.device_seconds is None else f" · device about {self.device_seconds:,.3g} s"
        conditionals = f" · conditionals {self.conditionals:,}" if self.conditionals else ""
        return (
            f"evaluations {self.evaluations:,} · circuits {self.circuits:,} · qubits {self.qubits:,} · jobs {self.jobs:,}"
            f" · executions {self.executions:,} · turns {self.turns:,}{conditionals} · time {seconds}{charged}"
        )
