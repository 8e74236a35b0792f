"""The command `qlifq compare`: a study, its report and its folder.

The library is imported inside the command, so that `qlifq --help` answers at once.
"""

from typing import Annotated

import typer

from qlifq.cli.arguments import Force, Noise, Out, Sampling, Scheduler, print_findings, print_problems, whole_numbers
from qlifq.cli.progress import progress_bar
from qlifq.errors import ArgumentError

__all__ = ["compare"]


def compare(
    context: typer.Context,
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="shot-noise, brand-petruccione, or one that was registered in Python.")
    ],
    backend: Annotated[str, typer.Option(help="Where the shots are drawn, see `qlifq backends`.")] = "analytic",
    noise: Noise = None,
    sampling: Sampling = None,
    scheduler: Scheduler = None,
    shots: Annotated[str | None, typer.Option(help="Numbers of shots, such as 1,10,100; by default up to 100,000.")] = None,
    snapshot: Annotated[
        str | None, typer.Option(help="For brand-petruccione: device snapshot that the circuits are counted on.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same tables.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Within a minute, with wider intervals.")] = False,
    out: Out = None,
    force: Force = False,
) -> None:
    """Compare models and devices: a report with tables, figures and intervals.

    shot-noise: what a finite number of shots does to an evaluation, a trajectory and a network. brand-petruccione: QLIF and the
    neuron of Brand and Petruccione, arXiv 2407.16398, on the same input.
    """
    from qlifq._validation import unknown
    from qlifq.cli.options import backend_options, build_backend
    from qlifq.reporting.report import report_contents
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.studies import STUDIES

    if study not in STUDIES:
        raise unknown("study", study, list(STUDIES))
    kind = STUDIES[study]
    for option, value, taken in (("noise", noise, kind.noise), ("snapshot", snapshot, kind.snapshot)):
        if value is not None and not taken:
            raise ArgumentError(f"Option --{option} would be ignored: study {study} has none.")
    check_folder(out, command=context.obj, files=kind.files, force=force)
    resolved = build_backend(backend, backend_options(noise, sampling), scheduler)
    counts = kind.shots if shots is None else whole_numbers("--shots", shots)
    size = kind.quick if quick else kind.paper
    options = {} if snapshot is None else {"snapshot": snapshot}
    setup = {} if sampling is None else {"sampling": sampling}
    with run_folder(out, command=context.obj, files=kind.files, force=force) as folder:
        with progress_bar("parts") as progress:
            measured = kind.run(resolved, seed=seed, shots=counts, size=size, progress=progress, **options)
        report = kind.report(measured, setup)
        print_problems(folder.write(report_contents(report, context.obj)))
        print(f"numbers of {report.source}")
        print_findings(report)
        print(f"written to {folder.path / 'report.md'}")
