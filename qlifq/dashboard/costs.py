"""What runs would cost, as a table."""

from collections.abc import Mapping

import pandas as pd

from qlifq.backends import Plan
from qlifq.reporting.wording import duration

__all__ = ["costs"]

#: The counts of a plan, and what the table calls them.
_COUNTS = {
    "evaluations": "spike decisions",
    "circuits": "distinct circuits",
    "qubits": "qubits",
    "jobs": "jobs submitted",
    "executions": "executions (circuits × shots)",
    "turns": "turns on the same qubits",
    "conditionals": "conditional rotations per circuit",
}


def costs(plans: Mapping[str, tuple[str, Plan]]) -> pd.DataFrame:
    """A column for each plan.

    Args:
        plans: by what they are of: where that runs, and what it would cost.
    """
    columns = {}
    for name, (place, plan) in plans.items():
        counts = {words: f"{getattr(plan, count):,}" for count, words in _COUNTS.items()}
        times = {"time": plan.estimated_seconds, "device time": plan.device_seconds}
        estimates = {row: "not known" if value is None else f"about {duration(value)}" for row, value in times.items()}
        columns[name] = {"runs on": place, **counts, **estimates}
    table = pd.DataFrame(columns)
    # Only a device charges its time, and only a spike train in one circuit has conditional rotations.
    without = {
        "device time": all(plan.device_seconds is None for _, plan in plans.values()),
        "conditional rotations per circuit": not any(plan.conditionals for _, plan in plans.values()),
    }
    return table.drop(index=[row for row, empty in without.items() if empty])
