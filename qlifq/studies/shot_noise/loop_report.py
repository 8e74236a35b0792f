"""What the report of the shot-noise study says of the closed loop on the host, in one circuit and as a replay."""

from typing import TYPE_CHECKING

from qlifq.reporting.intervals import CONFIDENCE, Interval
from qlifq.reporting.report import Section, records
from qlifq.reporting.wording import counted, listed
from qlifq.studies.same_law import PERMUTATIONS, QUANTITIES
from qlifq.studies.shot_noise.loops import DEVICE

if TYPE_CHECKING:
    from qlifq.studies.shot_noise.study import ShotNoiseStudy

__all__ = ["loop_section", "one_law"]

_DECISION = "sample"


def one_law(study: "ShotNoiseStudy") -> str:
    """Whether the trains of both closed loops follow one law, from the table of tests."""
    if _DECISION in study.loop_refused:
        return f"**Circuit loop**: none runs here. {study.loop_refused[_DECISION]}"
    # Three tests share the error of one.
    limit = (1 - CONFIDENCE) / len(study.loop_test)
    rows = records(study.loop_test)
    seen = [str(row["quantity"]) for row in rows if row["p_value"] < limit]
    values = listed(f"{row['quantity']} p = {row['p_value']:.2g}" for row in rows)
    verdict = f"a difference is seen in {listed(seen)}" if seen else "no difference is seen"
    return f"**Host loop and circuit loop**, {counted(study.size.runs, 'train')} each: {verdict} ({values}, limit {limit:.2g})."


def loop_section(study: "ShotNoiseStudy") -> Section:
    """The section of the report."""
    found = [one_law(study), *_exact(study), *_replay(study), *_costs(study)]
    found += [f"`{name}` runs in no circuit: {why}" for name, why in study.loop_refused.items() if name != _DECISION]
    return Section(
        title="One loop, three ways",
        question=(
            f"The neuron of the trajectories ran {study.size.loop_steps} steps with decision `{_DECISION}` and one shot per "
            f"decision, {counted(study.size.runs, 'train')} each way: on the host, which waits at every step for the spike; in "
            "one circuit, whose conditional rotations do what the reset does; and as a replay, where the angles of an exact "
            "train run at once, so that its bits have the rate, but no intervals of a closed loop. Trains of both closed loops "
            f"are compared by permutation tests: {PERMUTATIONS:,} times the trains are exchanged between the loops, and p is "
            "the share of the exchanges whose statistic is at least the one observed. The test is exact."
        ),
        findings=found,
        tables={"loop_test": study.loop_test, "loop": study.loop, "loop_cost": study.loop_cost},
        columns={
            "statistic": "; ".join(f"{name}: {text}" for name, text in QUANTITIES.items()),
            "rate": "spikes per step",
            "isi, isi_cv": "as for the trajectories",
            "autocovariance k": "mean over time of Cov[s(t), s(t + k)] over trains",
            "exact": "of the circuit loop, by recursion, where the noise of the backend is known in numbers",
            "steps_in_turn": "steps that wait for the spikes of the one before",
            "conditionals": "conditional rotations of one circuit",
        },
    )


def _exact(study: "ShotNoiseStudy") -> list[str]:
    rows = [row for row in records(study.loop) if row["exact"] == row["exact"]]
    if not rows:
        return [] if _DECISION in study.loop_refused else ["The exact law is not known: the noise is not given in numbers."]
    sentences = []
    for way in ("host", "circuit"):
        own = [row for row in rows if row["way"] == way]
        inside = sum(Interval.of(row, "value").holds(row["exact"]) for row in own)
        sentences.append(f"{way} loop {inside} of {len(own)}")
    return [
        "Intervals of the rate and of autocovariances that hold the exact value of the circuit loop: "
        f"{listed(sentences)}; the rate is {rows[0]['exact']:.4g} exactly."
    ]


def _replay(study: "ShotNoiseStudy") -> list[str]:
    rates = {row["way"]: Interval.of(row, "value") for row in records(study.loop) if row["quantity"] == "rate"}
    ways = [way for way in ("host", "circuit", "replay") if way in rates]
    return [f"Rates, spikes per step: {listed(f'{way} {rates[way]}' for way in ways)}."]


def _costs(study: "ShotNoiseStudy") -> list[str]:
    rows = [row for row in records(study.loop_cost) if row["backend"] == DEVICE]
    if not rows:
        return [f"What a device would charge is not planned: the packages of backend `ibm` are not installed ({DEVICE})."]
    parts = [
        f"{row['way']} {counted(row['jobs'], 'job')} of {counted(row['executions'], 'execution')} in all, "
        f"{counted(row['steps_in_turn'], 'step')} in turn, about {row['device_seconds']:.3g} device seconds"
        for row in rows
    ]
    return [f"Planned on {DEVICE}: {'; '.join(parts)}."]
