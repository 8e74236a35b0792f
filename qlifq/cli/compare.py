"""The commands `qlifq compare …`: a study, its report and its folder.

The library is imported inside the commands, so that `qlifq --help` answers at once.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import Force, Noise, Out, Sampling, Scheduler, tell_problems
from qlifq.cli.progress import progress_bar
from qlifq.errors import ArgumentError

if TYPE_CHECKING:
    from qlifq.backends import Backend
    from qlifq.reporting.report import Report
    from qlifq.reporting.run_folder import RunFolder

__all__ = ["app"]

app = typer.Typer(help="Compare models and devices: a report with tables, figures and intervals.")

_Backend = Annotated[str, typer.Option(help="Where the shots are drawn, see `qlifq backends`.")]
_Shots = Annotated[str | None, typer.Option(help="Numbers of shots, such as 1,10,100; by default up to 100,000.")]
_Seed = Annotated[int, typer.Option(help="The same seed gives the same tables.")]
_Quick = Annotated[bool, typer.Option("--quick", help="Within a minute, with wider intervals.")]


@app.command("shot-noise")
def shot_noise(
    context: typer.Context,
    backend: _Backend = "analytic",
    noise: Noise = None,
    sampling: Sampling = None,
    scheduler: Scheduler = None,
    shots: _Shots = None,
    seed: _Seed = 0,
    quick: _Quick = False,
    out: Out = None,
    force: Force = False,
) -> None:
    """What a finite number of shots does to an evaluation, a trajectory and a network."""
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.studies.shot_noise.report import FILES, shot_noise_report
    from qlifq.studies.shot_noise.study import PAPER, QUICK, SHOTS, run_shot_noise
    from qlifq.training import digits

    check_folder(out, command=context.obj, files=FILES, force=force)
    resolved = _backend(backend, noise, sampling, scheduler)
    counts = SHOTS if shots is None else _counts(shots)
    setup = {} if sampling is None else {"sampling": sampling}
    size = QUICK if quick else PAPER
    with run_folder(out, command=context.obj, files=FILES, force=force) as folder:
        with progress_bar("parts") as progress:
            study = run_shot_noise(digits(), resolved, seed=seed, shots=counts, size=size, progress=progress)
        _finish(folder, shot_noise_report(study, setup))


@app.command("brand-petruccione")
def brand_petruccione(
    context: typer.Context,
    backend: _Backend = "analytic",
    sampling: Sampling = None,
    scheduler: Scheduler = None,
    shots: _Shots = None,
    snapshot: Annotated[str, typer.Option(help="Device snapshot that the circuits are counted on.")] = "fake_torino",
    seed: _Seed = 0,
    quick: _Quick = False,
    out: Out = None,
    force: Force = False,
) -> None:
    """QLIF and the neuron of Brand and Petruccione, arXiv 2407.16398, on the same input."""
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.studies.brand_petruccione.report import FILES, brand_petruccione_report
    from qlifq.studies.brand_petruccione.study import PAPER, QUICK, SHOTS, run_brand_petruccione

    check_folder(out, command=context.obj, files=FILES, force=force)
    resolved = _backend(backend, None, sampling, scheduler)
    counts = SHOTS if shots is None else _counts(shots)
    setup = {} if sampling is None else {"sampling": sampling}
    size = QUICK if quick else PAPER
    with run_folder(out, command=context.obj, files=FILES, force=force) as folder:
        with progress_bar("parts") as progress:
            study = run_brand_petruccione(resolved, snapshot=snapshot, seed=seed, shots=counts, size=size, progress=progress)
        _finish(folder, brand_petruccione_report(study, setup))


def _backend(name: str, noise: str | None, sampling: str | None, scheduler: str | None) -> "Backend":
    from qlifq.cli.options import backend_options, build_backend

    return build_backend(name, backend_options(noise, sampling), scheduler)


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(f"Option --shots must be whole numbers with commas between them, but is {text!r}.") from None


def _finish(folder: "RunFolder", report: "Report") -> None:
    """Write the report, and print what it found."""
    from qlifq.reporting.report import report_contents

    tell_problems(folder.write(report_contents(report, folder.command)))
    print(f"numbers of {report.source}")
    for sentence in report.findings:
        print(sentence.replace("**", "").replace("`", ""))
    print(f"written to {folder.path / 'report.md'}")
