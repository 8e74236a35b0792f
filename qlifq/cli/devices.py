"""What commands that run on a device share: its options, the name of the run, its progress, and a way back after Ctrl-C."""

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Annotated, cast

import typer

from qlifq.cli.arguments import choices, device_option, was_given

if TYPE_CHECKING:
    from qlifq.backends import Backend
    from qlifq.calibration import Calibration

__all__ = [
    "StatusReporter",
    "device_options",
    "measured_qubits",
    "resumable",
    "with_device_options",
]

#: The options by the name of their parameter in a command.
_OPTIONS = {
    "device": Annotated[str | None, device_option(help="For --backend ibm: ibm_… is a device, fake_… its snapshot, run here.")],
    "max_device_seconds": Annotated[
        float | None, device_option(help="The most device seconds of the run, over all its starts.")
    ],
    "account": Annotated[str | None, device_option(help="Name of the account that IBM's client saved; default its default.")],
    "instance": Annotated[str | None, device_option(help="Service instance; default that of the account.")],
    "submit": Annotated[str | None, device_option(metavar=choices("submit"), help="How jobs reach the device; default job.")],
    "run": Annotated[
        str | None, device_option(help="Name of the run in the journal; default the command, begun anew once it is over.")
    ],
}
#: What the backend calls one of them otherwise.
_OF_BACKEND = {"submit": "mode"}
#: What a run may be taken up with in another way than it began.
_NOT_THE_RUN = {"out", "force", "dry_run", "as_json", *_OPTIONS} - {"device"}


def with_device_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above, after its `sampling`; they reach it through `device_options`."""

    @wraps(command)
    def given(**options: object) -> None:
        command(**{name: value for name, value in options.items() if name not in _OPTIONS})

    signature = inspect.signature(command)
    parameters = list(signature.parameters.values())
    place = list(signature.parameters).index("sampling") + 1
    kind = parameters[place - 1].kind
    parameters[place:place] = [inspect.Parameter(name, kind, default=None, annotation=_OPTIONS[name]) for name in _OPTIONS]
    # Typer takes the order, the defaults and what is said of an option from the signature, and the type from the annotations.
    given.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    given.__annotations__ = command.__annotations__ | _OPTIONS
    return given


class StatusReporter:
    """Passes on what a backend waits for, to whoever shows it."""

    def __init__(self) -> None:
        self.show: Callable[[str], None] = lambda text: None

    def __call__(self, text: str) -> None:
        """Show it."""
        self.show(text)


def device_options(context: typer.Context, watch: Callable[[str], None]) -> dict[str, object]:
    """What a backend with a device is given: the options that the user gave, and with a device the name of the run.

    A run that was interrupted is taken up by the same command in the same folder, whatever its output, its budget and its
    account; a command whose run is over begins another.
    """
    given = {_OF_BACKEND.get(name, name): context.params[name] for name in _OPTIONS}
    if given["device"] is not None:
        from qlifq.backends.ibm.journal import default_path, unfinished

        # Runs have names so that a second start finds the first; nobody should have to invent one.
        if given["run"] is None:
            given["run"] = unfinished(default_path(), _name(context))
        given |= {"command": context.obj, "watch": watch}
    return {name: value for name, value in given.items() if value is not None}


def measured_qubits(record: "Calibration") -> dict[str, object]:
    """The qubits that a record is of, as an option of the backend: a device ranks its qubits anew every day.

    A record of more neurons than qubits names them once for every turn.
    """
    qubits = record.measurement.details.get("qubits")
    return {} if qubits is None else {"qubits": tuple(dict.fromkeys(cast(Sequence[int], qubits)))}


@contextmanager
def resumable(backend: "Backend", command: str) -> Iterator[None]:
    """Run something on a device: its session is closed at the end, and an interrupt or a signal says how to go on."""
    try:
        with backend:
            yield
        backend.finish()
    except (KeyboardInterrupt, SystemExit):
        if backend.capabilities.device:
            print(
                f"Interrupted: nothing is lost, and jobs that were submitted go on. To continue: {command}\n"
                "To see them: qlifq jobs list",
                file=sys.stderr,
            )
        raise


def _name(context: typer.Context) -> str:
    """The command with the options that make it what it is, and its folder."""
    chosen = [
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in sorted(context.params.items())
        if name not in _NOT_THE_RUN and was_given(context, name)
    ]
    return " ".join((str(context.info_name), *chosen, "in", os.getcwd()))
