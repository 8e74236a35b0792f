"""The parameters of a neuron for people to read: what each group does, and a table of all."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import NamedTuple

from qlifq.neurons.mapping import MAPPINGS
from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.parameters import MECHANISMS, Settings, Spec, spec_of

__all__ = ["Row", "formulas", "markdown_table", "table"]

#: What each group of parameters does to the neuron at every step, s being the spike and m the transformed modulation; what the
#: mechanisms do stands in their rows.
_FORMULAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "membrane": (
            *(f"{name}: {membrane.formula}" for name, membrane in MEMBRANES.items()),
            *(f"{name}, decay_input=False: {membrane.undecayed}" for name, membrane in MEMBRANES.items()),
            "hard reset: V ← V_reset · soft: V ← V − reset_scale threshold · partial: V ← V + reset_fraction (V_reset − V)",
        ),
        "quantum decision": (
            "Δ = V − threshold",
            *(f"{name}: {mapping.formula}" for name, mapping in MAPPINGS.items()),
            "P(1) = sin²(θ/2)",
        ),
        "classic decision": ("deterministic: s = 1 where Δ > 0", "stochastic: p = σ(base_alpha Δ)"),
        "learning": ("∂ rate / ∂ parameter, the sum over all neurons",),
    }
)


def formulas(group: str) -> tuple[str, ...]:
    """What a group of parameters does to the neuron at every step, a line for each equation."""
    return (
        *_FORMULAS.get(group, ()),
        *(line for row in MECHANISMS.values() if row.group == group for line in row.formula),
    )


class Row(NamedTuple):
    """A parameter as the tables show it."""

    group: str
    name: str
    default: str
    range: str
    doc: str


def table() -> list[Row]:
    """Every parameter as text, group by group."""
    rows: list[Row] = []
    groups = list(dict.fromkeys(spec_of(item).group for item in fields(Settings)))
    for item in sorted(fields(Settings), key=lambda item: groups.index(spec_of(item).group)):
        spec = spec_of(item)
        default = f"{item.default:.6g}" if isinstance(item.default, float) else repr(item.default).strip("'")
        need = f"; needs {spec.need.words}" if spec.need else ""
        rows.append(Row(spec.group, item.name, default, _range(spec), f"{spec.doc}{need}"))
    return rows


def markdown_table() -> str:
    """The parameters as a Markdown table, group by group."""
    lines = ["| parameter | default | range | what it does |", "| --- | --- | --- | --- |"]
    group = ""
    for row in table():
        if row.group != group:
            group = row.group
            lines.append(f"| **{group}** | | | |")
        lines.append(f"| `{row.name}` | {row.default} | {row.range} | {row.doc} |")
    return "\n".join(lines) + "\n"


def _range(spec: Spec) -> str:
    if spec.options:
        return ", ".join(spec.options)
    signs = {"above": ">", "at_least": "≥", "below": "<", "at_most": "≤"}
    return ", ".join(f"{signs[word]} {bound:.6g}" for word, bound in spec.bounds.items()) or {
        "flag": "True, False",
        "transform": "a function of a tensor",
        "names": "names of parameters with a gradient",
    }.get(spec.kind, "finite")
