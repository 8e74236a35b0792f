"""The commands that list what there is: `qlifq circuits`, `qlifq backends` and `qlifq kernels`."""

from typing import Annotated

import typer

from qlifq.cli.arguments import AsJson, output_option, run_option
from qlifq.cli.output import Output
from qlifq.errors import ArgumentError, QLIFError

__all__ = ["BACKENDS", "CIRCUITS", "KERNELS", "backends", "circuits", "kernels"]

#: Examples, as in the other modules of commands.
CIRCUITS = ("qlifq circuits", "qlifq circuits BrandPetruccione --openqasm")
BACKENDS = ("qlifq backends", "qlifq backends --json")
KERNELS = ("qlifq kernels", "qlifq kernels --clear")


def circuits(
    name: Annotated[str | None, typer.Argument(help="One circuit; default all.")] = None,
    openqasm: Annotated[bool, output_option("--openqasm", help="Print it as an OpenQASM 3 program.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw the circuits with their formula."""
    from qlifq._validation import unknown
    from qlifq.circuits import CIRCUITS

    output = Output(as_json)
    if name is not None and name not in CIRCUITS:
        raise unknown("circuit", name, list(CIRCUITS))
    if openqasm:
        if name is None:
            raise ArgumentError(f"Option --openqasm needs the name of one circuit: {', '.join(CIRCUITS)}.")
        program = CIRCUITS[name].build().to_openqasm()
        output.say(program.removesuffix("\n"), name=name, openqasm=program)
        output.end()
        return
    shown = list(CIRCUITS) if name is None else [name]
    rows = [(each, CIRCUITS[each].build().draw(), CIRCUITS[each].formula) for each in shown]
    output.table(rows, circuits=[dict(zip(("name", "drawing", "formula"), row, strict=True)) for row in rows])
    output.end()


def backends(as_json: AsJson = False) -> None:
    """List the backends and what each can do."""
    from qlifq.backends.registry import names, summary

    output = Output(as_json)
    rows: list[tuple[str, ...]] = [("backend", "exact", "shots", "noise", "autograd", "remote", "sites")]
    missing, facts = [], []
    for name in names():
        try:
            can = summary(name)
        except QLIFError as error:
            # What is not installed is listed too, with the command that brings it.
            missing.append((name, str(error)))
            facts.append({"name": name, "missing": str(error)})
            continue
        flags = ("yes" if flag else "no" for flag in (can.exact, can.shots, can.noisy, can.differentiable, can.remote))
        rows.append((name, *flags, "any" if can.max_sites is None else f"{can.max_sites:,}"))
        facts.append({"name": name, **can._asdict()})
    output.table(rows, backends=facts)
    if missing:
        output.table(missing)
    output.end()


def kernels(
    clear: Annotated[bool, run_option("--clear", help="Delete the built kernels; they are built again when needed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what compiles and runs sequences as one kernel here, and what was built."""
    from qlifq.neurons.kernels import clear_cache, inventory

    output = Output(as_json)
    if clear:
        deleted = clear_cache()
        output.say(f"Kernels deleted: {deleted}.", deleted=deleted)
        output.end()
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
    output.table(rows, **found._asdict() | {"compiler": tool and tool._asdict()})
    output.end()
