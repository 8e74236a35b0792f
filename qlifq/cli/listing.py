"""The commands that list what there is: `qlifq circuits`, `qlifq backends` and `qlifq kernels`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from qlifq.errors import ArgumentError, QLIFError

__all__ = ["backends", "circuits", "kernels", "print_table"]


def circuits(
    name: Annotated[str | None, typer.Argument(help="One circuit; default all.")] = None,
    openqasm: Annotated[bool, typer.Option("--openqasm", help="Print it as an OpenQASM 3 program.")] = False,
) -> None:
    """Draw the circuits with their formula."""
    from qlifq._validation import unknown
    from qlifq.circuits import CIRCUITS

    if name is not None and name not in CIRCUITS:
        raise unknown("circuit", name, list(CIRCUITS))
    if openqasm:
        if name is None:
            raise ArgumentError(f"Option --openqasm needs the name of one circuit: {', '.join(CIRCUITS)}.")
        print(CIRCUITS[name].build().to_openqasm(), end="")
        return
    shown = list(CIRCUITS) if name is None else [name]
    print_table([(each, CIRCUITS[each].build().draw(), CIRCUITS[each].formula) for each in shown])


def backends() -> None:
    """List the backends and what each can do."""
    from qlifq.backends.registry import names, summary

    rows: list[tuple[str, ...]] = [("backend", "exact", "shots", "noise", "autograd", "remote", "sites")]
    missing = []
    for name in names():
        try:
            can = summary(name)
        except QLIFError as error:
            missing.append((name, str(error)))
            continue
        flags = ("yes" if flag else "no" for flag in (can.exact, can.shots, can.noisy, can.differentiable, can.remote))
        rows.append((name, *flags, "any" if can.max_sites is None else f"{can.max_sites:,}"))
    print_table(rows)
    print_table(missing)


def kernels(
    clear: Annotated[bool, typer.Option("--clear", help="Delete the built kernels; they are built again when needed.")] = False,
) -> None:
    """Show what compiles and runs sequences as one kernel here, and what was built."""
    from qlifq.neurons.kernels import clear_cache, inventory

    if clear:
        print(f"Kernels deleted: {clear_cache()}.")
        return
    found = inventory()
    stepwise = "neurons run step by step"
    tool = found.compiler
    rows = [("compiler", f"none: {stepwise} on CPUs")]
    if tool is not None:
        rows = [("compiler", f"{tool.path}: {tool.version}"), ("flags", " ".join(tool.flags))]
    rows += [
        ("folder", "none is private to this user: every process builds its own" if found.folder is None else str(found.folder)),
        ("built", f"{found.kernels} kernels, {found.size_bytes / 1e6:.1f} MB"),
        ("triton", found.triton or f"not installed: {stepwise} on GPUs"),
        ("GPU", ", ".join(found.gpus) or "none"),
    ]
    print_table(rows)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of text in aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
