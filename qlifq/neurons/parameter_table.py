"""The parameters of a neuron for people to read: what each group does, and a table of all."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import NamedTuple

from qlifq.neurons.mapping import MAPPINGS
from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.parameters import Settings, Spec, spec_of

__all__ = ["FORMULAS", "Row", "markdown_table", "table"]

#: What each group of parameters does to the neuron at every step, s being the spike and m the transformed modulation.
FORMULAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "membrane": (
            *(f"{name}: {membrane.formula} + noise_std √dt ξ" for name, membrane in MEMBRANES.items()),
            *(f"{name}, decay_input=False: {membrane.undecayed} + noise_std √dt ξ" for name, membrane in MEMBRANES.items()),
            "V ← max(V, V_min) where V_min is given",
            "hard reset: V ← V_reset · soft: V ← V − reset_scale threshold · partial: V ← V + reset_fraction (V_reset − V)",
        ),
        "threshold": (
            "threshold = V_th + H + T",
            "homeostasis: F ← F + (dt/homeostasis_tau) (s − F), H ← H + homeostasis_lr dt (F − homeostasis_target_rate)",
            "adaptive: T ← T e^(−dt/tau_threshold) + eta s, the sum kept within min_threshold and max_threshold",
        ),
        "adaptation": (
            "I_eff = I S − A − g_ahp H",
            "A ← A adaptation_decay^dt + spike_increase s",
            "H ← min(H e^(−dt/tau_ahp) + ahp_jump s, 2)",
        ),
        "plasticity": (
            "I_eff = I S − A − g_ahp H",
            "S ← S + (1 − (1 − recovery_rate)^dt) (1 − S) − depression_rate S s",
        ),
        "neuromodulation": (
            "gain: I ← (1 + k m) I",
            "threshold: Δ ← Δ − k m",
            "prob_slope: slope ← (1 + k m) slope",
        ),
        "quantum decision": (
            "Δ = V − threshold",
            *(f"{name}: {mapping.formula}" for name, mapping in MAPPINGS.items()),
            "P(1) = sin²(θ/2)",
            "dynamic: q_scale ← q_scale / (1 + D), D ← D e^(−dt/tau_adapt) + s",
        ),
        "classic decision": ("deterministic: s = 1 where Δ > 0", "stochastic: p = σ(base_alpha Δ)"),
        "learning": ("∂ rate / ∂ parameter, the sum over all neurons",),
    }
)


class Row(NamedTuple):
    """A parameter as the tables show it."""

    group: str
    name: str
    default: str
    range: str
    doc: str


def table() -> list[Row]:
    """Every parameter as text, in the order of `Settings`."""
    rows = []
    for item in fields(Settings):
        spec = spec_of(item)
        default = f"{item.default:.6g}" if isinstance(item.default, float) else repr(item.default).strip("'")
        need = f"; needs {spec.need.words}" if spec.need else ""
        rows.append(Row(spec.group, item.name, default, _range(spec), f"{spec.doc}{need}"))
    return rows


def markdown_table() -> str:
    """The parameters as a Markdown table, in the order of `Settings`."""
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
