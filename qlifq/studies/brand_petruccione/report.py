"""The report of the comparison with the neuron of Brand and Petruccione; every sentence is made from the tables."""

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from qlifq.backends import get
from qlifq.backends.description import describe_device
from qlifq.reporting.figures import figure_files
from qlifq.reporting.intervals import CONFIDENCE, DRAWS, Interval
from qlifq.reporting.report import Picture, Report, Section, records
from qlifq.reporting.wording import listed
from qlifq.studies.brand_petruccione.figures import (
    leak_figure,
    raster_figure,
    rates_figure,
    shots_figure,
    t1_figure,
    traces_figure,
)
from qlifq.studies.brand_petruccione.leaks import DELAY_SHOTS, DEVICE_T1, MOST_PULSES
from qlifq.studies.brand_petruccione.matched_input import NEURONS, T1, THETA, THRESHOLD
from qlifq.studies.brand_petruccione.study import (
    ACCURACY,
    ASYMPTOTIC,
    INPUT_RATE,
    KERNEL,
    SLOW_RATE,
    BrandPetruccioneStudy,
)

__all__ = ["FILES", "brand_petruccione_report"]

#: What the report is written to.
FILES = (
    "report.md",
    "leak.csv",
    "gaps.csv",
    "statistics.csv",
    "rates.csv",
    "t1.csv",
    "device_t1.csv",
    "delay.csv",
    "shots_scaling.csv",
    "shots.csv",
    "resources.csv",
    *figure_files("leak", "traces", "rasters", "rates", "t1", "shots"),
)

#: The source of the numbers without shots.
_EXACT = get("analytic").describe(None)


def brand_petruccione_report(study: BrandPetruccioneStudy, setup: Mapping[str, object]) -> Report:
    """The report of a study.

    Args:
        study: what was measured.
        setup: what else was set, as names with numbers or text.

    Returns:
        The report, for `write_report`.
    """
    size = study.size
    sections = [_leak(study), _responses(study), _t1(study), _delay(study), _shots(study), _resources(study)]
    return Report(
        title="QLIF against the neuron of Brand and Petruccione",
        question=(
            "Brand and Petruccione (arXiv 2407.16398) keep the state of a neuron in the excited population α of a qubit: an "
            "input spike rotates it by θ, otherwise it leaks for an interval τ, and it spikes where α exceeds a threshold. "
            "QLIF keeps its state in a classical membrane potential; its spike decision alone runs on a qubit. How do the two "
            "respond to the same input, and what does each need of a device? Four neurons are compared. `BP published` is the "
            "neuron as the authors' released code computes it. `BP relaxation` is the same with the decay α e^(−τ/T1) of a "
            "qubit as its leak. `QLIF threshold` spikes where P(1) exceeds ½, `QLIF sample` spikes with probability "
            f"P(1).\n\nAll get the same input spikes x. Theirs rotates by θ = {THETA} rad at a spike and leaks for one step "
            f"otherwise, with T1 = {T1:g} steps and threshold α = {THRESHOLD}. QLIF gets the current I = x · τ θ/φ, φ = 2 "
            f"arcsin √{THRESHOLD}, with τ = {T1:g} steps, so that a spike lifts its potential by the same share θ/φ of the "
            "way to threshold. It rests for one step after a spike, as theirs does while it is reset."
        ),
        findings=[section.findings[0] for section in sections],
        uncertainty=(
            f"Numbers in brackets are {CONFIDENCE:.0%} intervals: those of shares of runs and of measured populations are "
            f"exact (Clopper and Pearson), all others bootstrap percentiles of {DRAWS:,} resamplings of independent input "
            "trains. Numbers without brackets involve no randomness, or are counts. The intervals cover the randomness of "
            "inputs, decisions and shots. Other θ, thresholds or inputs may give other numbers. An interval misses the truth "
            f"in about one of {round(1 / (1 - CONFIDENCE))} reports, and a report holds many."
        ),
        setup={
            "backend of the shots": study.backend.description,
            "snapshot": study.snapshot,
            **setup,
            "seed": study.seed,
            "rates": f"{size.trials} input trains of {size.steps} steps for each input rate",
            "shots": f"{size.runs} input trains of {size.run_steps} steps for each number of shots",
        },
        sections=sections,
        source=f"{_EXACT}, and where shots are named {study.backend.description}",
    )


def _leak(study: BrandPetruccioneStudy) -> Section:
    rows = records(study.leak)
    last = rows[-1]
    stretch = f"{last['interval'] / T1:g} T1"
    after_zero = f"{rows[0]['published']:.3g} after an interval of 0 and {last['published']:.3g} after {stretch}"
    rising = all(later["published"] > earlier["published"] for earlier, later in pairwise(rows))
    verdict = "it rises with every longer interval, so this leak is inverted" if rising else "it does not always rise"
    worst = max(abs(row["relaxation"] - row["decay"]) for row in rows)
    found = [
        f"**Leak**: from a population of 0.5, `BP published` leaves {after_zero} ({verdict}); relaxation leaves "
        f"{rows[0]['relaxation']:.3g} and {last['relaxation']:.2g}.",
        f"`BP relaxation` differs from 0.5 e^(−τ/T1) by at most {worst:.1g}.",
        _whole_or_steps(rows),
        *(_gaps(study, neuron, leak) for neuron, leak in _trains(study)),
    ]
    return Section(
        title="The leak, and pulses with gaps",
        question=(
            "What is left of a population of 0.5 after an interval without input, given to the neuron as one leak of that "
            f"length or as leaks of one step? And how many input pulses, of at most {MOST_PULSES}, does it take to spike when "
            "the pulses stand some steps apart? The second question has no randomness."
        ),
        findings=found,
        pictures={
            "leak": Picture(
                partial(leak_figure, study),
                "Left: population left after one leak of an interval, from 0.5. Right: input pulses until the first spike "
                "by the gap between them; a curve ends where the neuron no longer spikes, and equal numbers are drawn a "
                "little apart.",
                _EXACT,
            )
        },
        tables={"leak": study.leak, "gaps": study.gaps},
        columns={
            "interval": "τ, in steps",
            "decay": "0.5 e^(−τ/T1)",
            "relaxation, published": "population after one leak of that interval",
            "relaxation_steps, published_steps": "after the same time in leaks of one step",
            "gap": "steps between two pulses",
            "leak": "whether a gap is leaks of one step or one whole leak",
            "pulses": "input pulses until the first spike",
        },
    )


def _whole_or_steps(rows: list[dict[str, Any]]) -> str:
    said = []
    for leak in ("relaxation", "published"):
        row = max(rows[1:], key=lambda row: abs(row[leak] - row[f"{leak}_steps"]))
        said.append(
            f"for `BP {leak}` by at most {abs(row[leak] - row[f'{leak}_steps']):.2g} (at {row['interval']:g} steps: one leak "
            f"{row[leak]:.3g}, leaks of one step {row[f'{leak}_steps']:.3g})"
        )
    return "One leak of an interval and the same interval in leaks of one step differ " + ", ".join(said) + "."


def _trains(study: BrandPetruccioneStudy) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["neuron"], row["leak"]) for row in records(study.gaps)))


def _gaps(study: BrandPetruccioneStudy, neuron: str, leak: str) -> str:
    rows = [row for row in records(study.gaps) if row["neuron"] == neuron and row["leak"] == leak]
    firing = [row["gap"] for row in rows if not math.isnan(row["pulses"])]
    coded = "each gap as leaks of one step" if leak == "steps" else "each gap as one leak"
    tried = f"of the gaps tried, 0 to {rows[-1]['gap']} steps,"
    if not firing:
        return f"`{neuron}`, {coded}: {tried} it spikes at none."
    if len(firing) == len(rows):
        return f"`{neuron}`, {coded}: {tried} it spikes at all."
    return f"`{neuron}`, {coded}: {tried} it spikes at {listed(str(gap) for gap in firing)}."


def _responses(study: BrandPetruccioneStudy) -> Section:
    rows = {name: [row for row in records(study.curve) if row["neuron"] == name] for name in NEURONS}
    against = rows["QLIF threshold"]
    close = [
        theirs["input_rate"]
        for theirs, ours in zip(rows["BP relaxation"], against, strict=True)
        if Interval.of(theirs, "rate").overlaps(Interval.of(ours, "rate"))
    ]
    below = [
        theirs["input_rate"]
        for theirs, ours in zip(rows["BP published"], against, strict=True)
        if Interval.of(theirs, "rate").high < Interval.of(ours, "rate").low
    ]
    total = len(against)
    low = next(row for row in rows["BP published"] if row["input_rate"] == 0.5)
    ours = next(row for row in against if row["input_rate"] == 0.5)
    statistics = records(study.statistics)
    found = [
        f"**Rates**: the intervals of `BP relaxation` and `QLIF threshold` overlap at {len(close)} of {total} input rates. "
        f"`BP published` is below `QLIF threshold` at {len(below)} of {total}; at an input rate of 0.5 it gives "
        f"{Interval.of(low, 'rate')} against {Interval.of(ours, 'rate')} spikes per step.",
    ]
    for name in NEURONS[1:]:
        changes = [row for row in statistics if row["neuron"] == name]
        parts = [
            f"{Interval.of(row, 'distance')} (CV {Interval.of(row, 'isi_cv')}) at an input rate of {row['input_rate']:g}"
            for row in changes
        ]
        found.append(
            f"`{name}`: van Rossum distance from `QLIF threshold`, and CV of the intervals between spikes: "
            + ", ".join(parts)
            + "."
        )
    return Section(
        title="Responses to random input",
        question=(
            "All neurons got the same input trains, in which every step holds a spike with a fixed probability, the input "
            "rate. Decisions and populations are exact here; `QLIF sample` alone is random."
        ),
        findings=found,
        pictures={
            "traces": Picture(
                partial(traces_figure, study),
                f"One input train (rate {INPUT_RATE}) and what each neuron makes of it: potential or population, threshold "
                "(dashed) and spikes (dots).",
                _EXACT,
            ),
            "rasters": Picture(
                partial(raster_figure, study),
                f"Output spikes for {len(study.examples[NEURONS[0]].spikes.T)} input trains of that rate, the same ones for "
                "every neuron.",
                _EXACT,
            ),
            "rates": Picture(partial(rates_figure, study), "Output rate by input rate.", _EXACT),
        },
        tables={"statistics": study.statistics, "rates": study.curve},
        columns={
            "input_rate": "input spikes per step",
            "rate": "output spikes per step",
            "isi": "mean steps between two output spikes",
            "isi_cv": "standard deviation over mean of these intervals",
            "distance": f"van Rossum from `QLIF threshold`, kernel of {KERNEL:g} steps",
            "evaluations": "circuits per step; none runs in the step after a spike",
        },
    )


def _t1(study: BrandPetruccioneStudy) -> Section:
    rows = {name: [row for row in records(study.t1) if row["neuron"] == name] for name in NEURONS}
    parts = []
    for name in NEURONS:
        first, last = (Interval.of(rows[name][end], "rate") for end in (0, -1))
        verb = "overlap" if first.overlaps(last) else "do not overlap"
        parts.append(f"`{name}` {first} → {last} (the intervals {verb})")
    ends = f"{rows[NEURONS[0]][0]['t1']:g} to {rows[NEURONS[0]][-1]['t1']:g} steps"
    device = records(study.device_t1)
    found = [f"**T1**: output rate from T1 (of QLIF: τ) of {ends}: {', '.join(parts)}."]
    for row in device:
        if row["device_t1_us"] != row["assumed_t1_us"]:
            change = Interval.of(row, "change")
            seen = "a change" if not change.holds(0.0) else "no change that is seen"
            found.append(
                f"A leak that is a real delay for T1 = {row['assumed_t1_us']:g} µs, on a device with {row['device_t1_us']:g} "
                f"µs, gives {Interval.of(row, 'rate')} spikes per step, {seen}: {change}."
            )
    return Section(
        title="Sensitivity to T1",
        question=(
            f"The input rate is {SLOW_RATE}, low enough for the leak to act. First the T1 of their neuron, and the time "
            "constant τ of QLIF, were set to other values. Then the leak was a real delay on a device whose T1 is not the "
            "one that the delays were computed for; QLIF has no such leak, since its membrane is not on the device."
        ),
        findings=found,
        pictures={
            "t1": Picture(
                partial(t1_figure, study),
                "Left: output rate by T1. Right: change of the rate of `BP relaxation` where the device has another T1 than "
                "was assumed.",
                f"{_EXACT}, on the right of a qubit that relaxes",
            )
        },
        tables={"t1": study.t1, "device_t1": study.device_t1},
        columns={
            "t1": "T1 of BP, τ of QLIF, in steps",
            "device_t1_us, assumed_t1_us": "T1 of the device, and T1 that the delays were computed for, in µs",
            "change": "rate less that of the leak as a rotation, on the same inputs",
        },
    )


def _delay(study: BrandPetruccioneStudy) -> Section:
    rows = records(study.delay)
    worst = max(abs(row["rotation"] - row["delay"]) for row in rows)
    inside = sum(Interval.of(row, "measured").holds(row["rotation"]) for row in rows)
    return Section(
        title="The leak as a rotation and as a delay",
        question=(
            "On a simulator the relaxation leak is a rotation to α e^(−τ/T1). On a device it is a wait of τ. Both were run "
            f"for one leak, the wait on a qubit with T1 = {1e6 * DEVICE_T1:g} µs and no other error: exactly, and with "
            f"{DELAY_SHOTS:,} shots on `{study.delay_backend}`."
        ),
        findings=[
            f"**Delay**: rotation and delay differ by at most {worst:.1g} in the population; of the measured ones {inside} of "
            f"{len(rows)} intervals include what the rotation gives."
        ],
        tables={"delay": study.delay},
        columns={
            "before": "population before the leak",
            "interval": "τ, in steps",
            "rotation, delay": "population after it, exact",
            "measured": "population after the delay, from counts",
        },
    )


def _shots(study: BrandPetruccioneStudy) -> Section:
    needed = {row["neuron"]: row["needed_shots"] for row in records(study.scaling)}
    said = [
        f"`{name}` {'more than were tried' if math.isnan(count) else format(int(count), ',')}" for name, count in needed.items()
    ]
    found = [
        f"**Shots**: for the first spike to be within one step of the exact one in at least {ACCURACY:.0%} of the runs, as "
        f"far as the intervals show, the fewest shots per step of those tried are: {', '.join(said)}."
    ]
    for row in records(study.scaling):
        slope = Interval.of(row, "slope")
        if math.isnan(slope.value):
            continue
        of = [each for each in records(study.shots) if each["neuron"] == row["neuron"]]
        verdict = "includes" if slope.holds(-0.5) else "does not include"
        found.append(
            f"`{row['neuron']}`: the error of the population goes from {Interval.of(of[0], 'population_error')} at "
            f"{of[0]['shots']:,} shots to {Interval.of(of[-1], 'population_error')} at {of[-1]['shots']:,}. From "
            f"{ASYMPTOTIC:,} shots on it goes with the shots to the power {slope}, which {verdict} −½."
        )
    return Section(
        title="Populations and decisions from shots",
        question=(
            "A device does not give α but counts. Their neuron then goes on from the estimate, so that the error of every "
            "step stays in the state; QLIF's potential is not measured, and an error touches one decision. Each run has an "
            f"input train of its own, of rate {INPUT_RATE}, and is compared with exact values on the same train: the "
            "population up to the first exact spike, and the step of the first spike. The sample decision of QLIF is not in "
            "the comparison: with one shot its spikes already have their exact probability."
        ),
        findings=found,
        pictures={
            "shots": Picture(
                partial(shots_figure, study),
                "Left: root mean square error of the population; grey: slope −½. Right: share of runs whose first spike is "
                f"within one step of the exact one; dashed: {ACCURACY:.0%}.",
                f"{study.backend.description}, shots as drawn, against {_EXACT}",
            )
        },
        tables={"shots_scaling": study.scaling, "shots": study.shots},
        columns={
            "slope": f"of log error against log shots, from {ASYMPTOTIC:,} shots on",
            "needed_shots": f"fewest shots tried from which on the interval of `within_one` lies above {ACCURACY}",
            "population_error": "root mean square, until the exact neuron spikes",
            "same_step, within_one": "share of runs whose first spike is in the same step, or within one step",
            "runs": "runs in which the exact neuron spikes",
        },
    )


def _resources(study: BrandPetruccioneStudy) -> Section:
    question = (
        "What does one decision cost on a device? The circuits were transpiled for the best qubit of the snapshot "
        f"{study.snapshot}; nothing ran. A device pauses before every shot. `step_seconds` is the time of one step of a whole "
        "layer, with the shots found above (one for `QLIF sample`), if its neurons stand on qubits side by side. It leaves "
        "out queueing and the overhead of a job. A batch takes that time once for every sample."
    )
    if study.resources is None:
        return Section(
            title="What a device needs",
            question="The circuits were to be transpiled for the snapshot of a device.",
            findings=[f"**Device**: nothing was counted. {study.snapshot}"],
        )
    rows = records(study.resources)
    parts = [
        f"`{row['neuron']}` ({row['circuit']}) {row['pulses']} pulses, {row['circuit_us']:.3g} µs per shot, "
        + ("time not known" if math.isnan(row["step_seconds"]) else f"{row['step_seconds']:.3g} s per step")
        for row in rows
    ]
    return Section(
        title="What a device needs",
        question=question,
        findings=[f"**Device** ({describe_device(study.snapshot)}, nothing ran): {'; '.join(parts)}."],
        tables={"resources": study.resources},
        columns={
            "circuit": "RY of QLIF; RX RX of BP, an input spike or a leak as a rotation; RX delay of BP, a leak as a wait",
            "gates, depth": "as written, the depth with the measurement",
            "native, native_depth": "gates that run on the device, and their depth with the measurement; rz takes no time",
            "pulses": "gates that take time",
            "circuit_us": "duration of one shot on the qubit, in µs",
            "pause_us": "pause of the device before every shot, in µs",
            "shots": "shots per step, from the table above",
            "step_seconds": "shots times (duration + pause)",
        },
    )
