"""From the text of a command line to the values that the library takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qlifq._validation import unknown
from qlifq.backends import DeviceNoise
from qlifq.backends.registry import summary
from qlifq.errors import ArgumentError
from qlifq.neurons.parameters import Settings, spec_of

if TYPE_CHECKING:
    from qlifq.backends import Backend
    from qlifq.calibration import Calibration

__all__ = ["backend_options", "build_backend", "layer_backends", "parse_noise", "parse_parameters"]

#: Parameters with an option of their own.
_OPTIONS = ("decision", "mapping", "membrane")
_FLAGS = {"true": True, "false": False}


def parse_noise(text: str) -> DeviceNoise | str:
    """A `DeviceNoise` from pairs such as "t1=120e-6,gate_time=5e-8", or the name of a device snapshot as it stands.

    Raises:
        QLIFError: for a pair that `DeviceNoise` does not take.

    Example:
        >>> parse_noise("t1=120e-6,readout_p01=0.01").readout_p01
        0.01
        >>> parse_noise("fake_torino")
        'fake_torino'
    """
    if "=" not in text:
        return text
    known = [item.name for item in fields(DeviceNoise)]
    values = {}
    for name, value in _pairs("--noise", text.split(",")):
        if name not in known:
            raise unknown("noise", name, known)
        values[name] = _number(f"--noise {name}", value)
    return DeviceNoise(**values)


def backend_options(
    noise: str | None, sampling: str | None, device: Mapping[str, object] = MappingProxyType({})
) -> dict[str, object]:
    """What `qlifq.backends.get` is given: the options that the user gave, with those of `qlifq.cli.devices.device_options`."""
    given = {"noise": None if noise is None else parse_noise(noise), "sampling": sampling, **device}
    return {name: value for name, value in given.items() if value is not None}


def build_backend(name: str, options: Mapping[str, object], scheduler: str | None) -> "Backend":
    """The backend of a command, over the workers of a scheduler where one is given.

    Raises:
        QLIFError: if it cannot be built, cannot be distributed, or no scheduler answers.
    """
    from qlifq.backends import get

    if scheduler is None:
        return get(name, **options)
    return get("distributed", inner=name, scheduler=scheduler, **options)


def layer_backends(
    name: str,
    options: Mapping[str, object],
    records: "Sequence[Calibration]",
    layers: int,
    scheduler: str | None = None,
) -> "list[Backend]":
    """One backend for each layer of neurons: the twin of its own record, and of any other backend the same for all."""
    from qlifq.training.correction import one_for_each

    if summary(name).record:
        return [build_backend(name, {**options, "record": each}, scheduler) for each in one_for_each(records, layers)]
    return [build_backend(name, options, scheduler)] * layers


def parse_parameters(items: Iterable[str]) -> dict[str, Any]:
    """Neuron parameters from items such as "tau=10", each typed as the table of parameters says.

    A parameter that every neuron can have its own value of takes numbers with commas between them.

    Raises:
        QLIFError: for an unknown name, a value of another type, or a parameter that cannot be given as text.

    Example:
        >>> parse_parameters(["tau=10", "V_th=1,1.2", "use_ahp=true", "reset=soft"])
        {'tau': 10.0, 'V_th': (1.0, 1.2), 'use_ahp': True, 'reset': 'soft'}
    """
    specs = {item.name: spec_of(item) for item in fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in _pairs("--param", items):
        if name not in specs:
            raise unknown("parameter", name, [name for name in specs if name not in _OPTIONS])
        # Two ways to say the same could say different things.
        if name in _OPTIONS:
            raise ArgumentError(f"Parameter `{name}` must be given as --{name} {text}.")
        kind = specs[name].kind
        if kind == "transform":
            raise ArgumentError(f"Parameter `{name}` is a function: it can be given from Python alone.")
        option = f"--param {name}"
        if kind == "flag":
            if text.lower() not in _FLAGS:
                raise ArgumentError(f"Option {option} must be true or false, but is {text!r}.")
            values[name] = _FLAGS[text.lower()]
        elif kind == "integer":
            values[name] = _integer(option, text)
        elif kind == "names":
            values[name] = tuple(text.split(","))
        # One number alone is for all neurons, however many there are.
        elif kind == "per-neuron" and "," in text:
            values[name] = tuple(_number(option, part) for part in text.split(","))
        else:
            values[name] = text if kind == "choice" else _number(option, text)
    return values


def _pairs(option: str, items: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Names and values, each name once."""
    seen = set()
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise ArgumentError(f"Option {option} must be NAME=VALUE, but is {item!r}.")
        # The last one would win in silence.
        if name in seen:
            raise ArgumentError(f"Option {option} must give `{name}` once, but gives it again as {value!r}.")
        seen.add(name)
        yield name, value


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(f"Option {option} must be a number, but is {text!r}.") from None


def _integer(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"Option {option} must be an integer, but is {text!r}.") from None
