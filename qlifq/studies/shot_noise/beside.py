"""What another backend, such as one with the noise of a device, changes in the shot-noise study."""

from functools import partial
from typing import TYPE_CHECKING, Any

from qlifq.backends import Backend
from qlifq.reporting.figures import column_figure, drawn, series
from qlifq.reporting.intervals import Interval
from qlifq.reporting.panels import from_zero, points
from qlifq.reporting.report import Picture, Section, records
from qlifq.reporting.wording import counted, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from qlifq.studies.shot_noise.study import ShotNoiseStudy

__all__ = ["beside_finding", "beside_rows", "beside_section"]

#: What is compared: the tables' names of the quantities, and how a sentence calls them.
_QUANTITIES = {
    "error": "error of P(1) over √(p(1 − p)/shots)",
    "rate": "rate",
    "distance": "distance from the model",
    "accuracy": "accuracy of a network",
}
#: The decision of the panels: that with the largest effect of a bias.
_SHOWN = "threshold"


def beside_rows(backend: Backend, pooled: "DataFrame", trajectory: "DataFrame", network: "DataFrame") -> list[dict[str, Any]]:
    """Rows of the table `beside`, one for every quantity and number of shots.

    Args:
        backend: where they were measured.
        pooled: as in a `ShotNoiseStudy`, and so are the others.
        trajectory: of every decision.
        network: of every decision.
    """
    found = []
    for quantity, table, column in (
        ("error", pooled.assign(decision="none"), "ratio"),
        ("rate", trajectory, "rate"),
        ("distance", trajectory, "distance"),
        ("accuracy", network, "accuracy"),
    ):
        for row in records(table):
            value = Interval.of(row, column).columns("value")
            place = {"decision": row["decision"], "shots": row["shots"]}
            found.append({"backend": backend.description, "quantity": quantity, **place, **value})
    return found


def beside_finding(study: "ShotNoiseStudy") -> list[str]:
    """One sentence about every other backend, from the table; none without one."""
    first, *others = study.beside["backend"].unique()
    return [_sentence(study, str(first), str(other)) for other in others]


def beside_section(study: "ShotNoiseStudy") -> list[Section]:
    """The section of the report; none without another backend."""
    first, *others = study.beside["backend"].unique()
    if not others:
        return []
    return [
        Section(
            title="Beside another backend",
            question=(
                f"The same angles, current, networks and images ran on {listed(map(str, others))} too. Where the intervals of "
                "two rows do not overlap, a difference is seen; it is what the noise adds to shot noise."
            ),
            findings=beside_finding(study),
            pictures={
                "beside": Picture(
                    partial(_figure, study.beside),
                    f"Left: the error of P(1) in units of shot noise. Middle and right: decision `{_SHOWN}`.",
                    "; ".join(map(str, (first, *others))),
                )
            },
            tables={"beside": study.beside},
            columns={
                "error": "over √(p(1 − p)/shots), all P(1) pooled: 1 where shot noise is all there is",
                "rate": "spikes per step",
                "distance": "van Rossum, from the model",
                "accuracy": "share of test images recognised",
            },
        )
    ]


def _sentence(study: "ShotNoiseStudy", first: str, other: str) -> str:
    most = study.beside[study.beside["shots"] == study.shots[-1]]
    here, there = (
        {(row["quantity"], row["decision"]): Interval.of(row, "value") for row in records(most[most["backend"] == name])}
        for name in (first, other)
    )
    apart = [
        f"the {_QUANTITIES[quantity]}{'' if decision == 'none' else f' of {decision}'} ({here[key]} → {there[key]})"
        for key in here
        for quantity, decision in [key]
        if not here[key].overlaps(there[key])
    ]
    verdict = f"a difference is seen in {listed(apart)}" if apart else "no difference is seen"
    return f"**{other}** beside {first}, at {counted(study.shots[-1], 'shot')}: {verdict}."


@drawn
def _figure(table: "DataFrame") -> "Figure":
    """Error in units of shot noise, rate and accuracy by shots, a series for every backend."""
    panels = {
        "error": ("none", "Error of P(1)", "error / shot noise (dimensionless)"),
        "rate": (_SHOWN, f"Rate, {_SHOWN}", "rate (spikes per step)"),
        "accuracy": (_SHOWN, f"Accuracy, {_SHOWN}", "accuracy (share of images)"),
    }
    figure, axes = column_figure(76, 1, len(panels))
    for panel, (quantity, (decision, title, label)) in zip(axes[0], panels.items(), strict=True):
        of_panel = table[(table["quantity"] == quantity) & (table["decision"] == decision)]
        panel.set_title(title)
        for place, (name, rows) in enumerate(of_panel.groupby("backend", sort=False)):
            points(panel, rows["shots"] * 1.12**place, rows, "value", series(place), label=str(name))
        panel.set(xscale="log", xlabel="shots per decision", ylabel=label)
    from_zero(axes[0, 0])
    from_zero(axes[0, 1])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
