"""The command `qlifq compare`: a study, its report and its folder.

The library is imported inside the command, so that `qlifq --help` answers at once.
"""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from qlifq.cli.arguments import (
    AsJson,
    Data,
    Force,
    Noise,
    Out,
    Sampling,
    Scheduler,
    backend_option,
    choices,
    run_option,
    whole_numbers,
)
from qlifq.cli.output import Output, print_problems
from qlifq.cli.progress import progress_bar
from qlifq.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from qlifq.backends import Backend
    from qlifq.studies import OwnInput, StudyKind

__all__ = ["EXAMPLES", "compare"]

#: How many test images a trained network sees.
TEST_IMAGES = 50


EXAMPLES = (
    "qlifq compare shot-noise --quick --out runs/shot-noise",
    "qlifq compare brand-petruccione --quick --snapshot fake_torino",
    "qlifq compare shot-noise --input currents.npy --shots 1,10,1000 --backend analytic --json",
    "qlifq compare shot-noise --run runs/digits --noise readout_p01=0.02,readout_p10=0.05 --backend aer",
)


def compare(
    context: typer.Context,
    study: Annotated[str, typer.Argument(metavar="STUDY", help=f"{choices('study')}, or one that was registered in Python.")],
    source: Annotated[
        Path | None,
        run_option("--input", metavar="FILE.npy", help="Compare on this input: currents of shape (time, batch, neurons)."),
    ] = None,
    trained: Annotated[
        Path | None,
        run_option("--run", help="For shot-noise: a folder that `qlifq train` wrote; on --input, or its first test images."),
    ] = None,
    data: Data = None,
    snapshot: Annotated[
        str | None, run_option(help="For brand-petruccione: device snapshot that the circuits are counted on.")
    ] = None,
    seed: Annotated[int, run_option(help="The same seed gives the same tables.")] = 0,
    quick: Annotated[bool, run_option("--quick", help="Within a minute, with wider intervals.")] = False,
    backend: Annotated[
        str | None,
        backend_option(
            metavar=choices("backend"),
            help="Where the shots are drawn, see `qlifq backends`; default aer with --sampling law for shot-noise, else "
            "analytic.",
        ),
    ] = None,
    shots: Annotated[
        str | None, backend_option(metavar="N,N,N", help="Numbers of shots, such as 1,10,100; by default up to 100,000.")
    ] = None,
    noise: Noise = None,
    sampling: Sampling = None,
    scheduler: Scheduler = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare models and devices: a report with tables, figures and intervals.

    shot-noise: what a finite number of shots does to an evaluation, a trajectory and a network. brand-petruccione: QLIF and the
    neuron of Brand and Petruccione, arXiv 2407.16398, on the same input.
    """
    from qlifq._validation import unknown
    from qlifq.reporting.report import report_contents
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.studies import STUDIES

    if study not in STUDIES:
        raise unknown("study", study, list(STUDIES))
    kind = STUDIES[study]
    given = {"noise": noise, "snapshot": snapshot, "input": source, "run": trained, "shots": shots, "quick": quick or None}
    own = _own_input(study, kind, {name: value for name, value in given.items() if value is not None})
    if data is not None and trained is None:
        raise ArgumentError("Option --data would be ignored: it needs --run.")
    files = kind.files if own is None else own.files
    # Now, and not when the study is over.
    check_folder(out, command=context.obj, files=files, force=force)
    # The second row is the study's own choice: whoever names a backend or a noise gets that one alone.
    beside = None if backend is not None or noise is not None else (kind if own is None else own).beside
    if backend is None:
        # By default a study takes up to 100,000 shots of each angle, which no simulator should run one by one.
        backend, sampling = kind.backend, sampling or _fast_sampling(kind.backend)
    backends = _backends(backend, [noise] if beside is None else [noise, beside], sampling, scheduler)
    default = kind.shots if own is None else own.shots
    counts = default if shots is None else whole_numbers("--shots", shots)
    setup: dict[str, object] = {} if sampling is None else {"sampling": sampling}
    if own is None:
        size = kind.quick if quick else kind.paper
        options: dict[str, object] = {} if snapshot is None else {"snapshot": snapshot}
        if backends[1:]:
            options["beside"] = backends[1:]
        run, report_of = partial(kind.run, backends[0], size=size, **options), kind.report
    else:
        network, current, described = _network_and_current(source, trained, data, seed)
        setup["input from"] = described
        run, report_of = partial(own.run, network, current, backends), own.report
    with run_folder(out, command=context.obj, files=files, force=force) as folder:
        with progress_bar("parts") as progress:
            measured = run(seed=seed, shots=counts, progress=progress)
        report = report_of(measured, setup)
        print_problems(folder.write(report_contents(report, context.obj)))
    output = Output(as_json)
    output.say(f"numbers of {report.source}")
    output.report(report)
    output.say(f"written to {folder.path / 'report.md'}", written_to=folder.path)
    output.end()


def _fast_sampling(backend: str) -> str | None:
    """Counts drawn from the distribution of the outcomes, where the backend can: many shots then take as long as one."""
    from qlifq.backends.registry import summary

    return "law" if "law" in summary(backend).sampling else None


def _backends(name: str, noises: "Sequence[str | None]", sampling: str | None, scheduler: str | None) -> "list[Backend]":
    """The backend with each noise; the snapshots that come after the first go without where their package is missing."""
    from qlifq.cli.options import backend_options, build_backend

    found = [build_backend(name, backend_options(noises[0], sampling), scheduler)]
    for noise in noises[1:]:
        with suppress(MissingPackageError):
            found.append(build_backend(name, backend_options(noise, sampling), scheduler))
    return found


def _own_input(study: str, kind: "StudyKind", given: "Mapping[str, object]") -> "OwnInput | None":
    """How the study compares on an input of the user's, where there is one; refuses options that would be ignored."""
    own = kind.own_input
    taken = {
        "noise": kind.noise,
        "snapshot": kind.snapshot,
        "input": own is not None,
        "run": own is not None and own.network,
    }
    # What a study does not have would change nothing, silently.
    for option in given:
        if not taken.get(option, True):
            raise ArgumentError(f"Option --{option} would be ignored: study {study} has none.")
    if own is None or not {"input", "run"} & set(given):
        return None
    for option in ("snapshot", "quick", *(() if own.shots else ("shots",))):
        if option in given:
            raise ArgumentError(f"Option --{option} would be ignored: study {study} has none with --input or --run.")
    return own


def _network_and_current(
    source: Path | None, trained: Path | None, data: Path | None, seed: int
) -> "tuple[nn.Module | None, Tensor, str]":
    """The network, where one is given, its input, and where that is from; one of `source` and `trained` is given."""
    from qlifq.random import BatchShard
    from qlifq.reporting.wording import counted
    from qlifq.training import load_current, load_run

    if trained is None:
        return None, load_current(cast(Path, source)), str(source)
    run = load_run(trained)
    network = run.network()
    if source is None:
        test = run.data(data).test
        count = min(len(test), TEST_IMAGES)
        current = run.design.encode(test.read(slice(count)), seed, BatchShard(0, count))
        return network, current, f"{counted(count, 'test image')} of {trained}"
    current = load_current(source)
    if data is not None:
        raise ArgumentError("Option --data would be ignored: the input is that of --input.")
    if current.shape[2] != run.design.pixels:
        raise ArgumentError(f"File {source} must hold currents of {run.design.pixels} pixels, but holds {current.shape[2]}.")
    return network, current, f"{source}, to the network of {trained}"
