"""Conformance checks of how a backend behaves: its outcomes, its refusals, its plan, its seeds."""

import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import unwrap
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from qlifq.backends.conformance.harness import CHECKED_CIRCUITS, RY, TOLERANCE, Harness, counts, inside, near
from qlifq.backends.interface import MAX_SHOTS, Backend, Capabilities, Outcome, Plan
from qlifq.errors import ConformanceError, QLIFError

__all__ = [
    "all_refused",
    "check_plain_value",
    "declaration",
    "dtype",
    "memory_layout",
    "outcome",
    "plain_values",
    "plan",
    "refusals",
    "seeds",
    "sizes",
]

#: How far a float32 probability may be from the oracle: its angle alone is rounded by 1e-7.
SINGLE_TOLERANCE = 1e-5


def declaration(harness: Harness) -> str:
    """Name and capabilities."""
    name, can = harness.backend.name, harness.can
    if not isinstance(name, str) or not name:
        raise ConformanceError(f"`name` must be a string, but is {name!r}")
    if not isinstance(can, Capabilities):
        raise ConformanceError(f"`capabilities` must be a Capabilities, but is {can!r}")
    if not (can.exact or can.shots):
        raise ConformanceError("it declares neither an exact mode nor shots")
    return ", ".join(word for word in ("exact", "shots", "noisy", "differentiable", "remote", "trains") if getattr(can, word))


def outcome(harness: Harness) -> str:
    """Shape, device, counts and shots, and that the angles are left alone."""
    angles = harness.angles(RY, 3, harness.sites(2))
    for shots in harness.modes:
        given = angles.clone()
        answered = harness.run(given, shots)
        _well_formed(answered, angles, shots)
        for fact, value in harness.backend.facts.items():
            if answered.metadata.get(fact) != value:
                raise ConformanceError(
                    f"its `facts` report {fact} {value!r}, but the metadata of an outcome {answered.metadata.get(fact)!r}"
                )
        if not torch.equal(given, angles):
            raise ConformanceError("it changes the angles that it is given")
    return "shape, device, counts and shots as given"


def dtype(harness: Harness) -> str:
    """The probability has the dtype of the angles."""
    for dtype in (torch.float32, torch.float64):
        angles = harness.angles(RY, 3, harness.sites(2)).to(dtype)
        for shots in harness.modes:
            probability = harness.run(angles, shots).probability
            if probability.dtype != dtype:
                raise ConformanceError(f"angles in {dtype} give a probability in {probability.dtype}")
            if shots is None:
                near((probability - harness.truth(RY, angles)).abs(), angles, SINGLE_TOLERANCE)
    return "float32 and float64"


def plain_values(harness: Harness) -> str:
    """No object of a vendor crosses."""
    for shots in harness.modes:
        answer = harness.run(harness.angles(RY, 2, harness.sites(2)), shots)
        for name, value in (("probability", answer.probability), ("ones", answer.ones), ("metadata", dict(answer.metadata))):
            check_plain_value(name, value)
    return "tensors and plain Python values"


def sizes(harness: Harness) -> str:
    """One evaluation alone, and nothing at all."""
    sizes = [(1, harness.sites(1)), (0, harness.sites(2)), *([] if harness.fixed_sites else [(2, 0), (0, 0)])]
    for batch, sites in sizes:
        angles = harness.angles(RY, batch, sites)
        for shots in harness.modes:
            _well_formed(harness.run(angles, shots), angles, shots)
    return ", ".join(map(str, sizes))


def memory_layout(harness: Harness) -> str:
    """The same angles, transposed and expanded."""
    angles = harness.angles(RY, 3, harness.sites(2))
    for given in (angles.transpose(0, 1).contiguous().transpose(0, 1), angles[:1].expand(4, -1, -1)):
        for shots in harness.modes:
            found = harness.run(given, shots)
            if shots is None or harness.can.seeded:
                near((found.probability - harness.run(given.contiguous(), shots).probability).abs(), given, TOLERANCE)
            else:
                harness.plausible(counts(found), shots, harness.truth(RY, given), given)
    return "transposed and expanded angles"


def seeds(harness: Harness) -> str:
    """Neither another call nor a global generator touches a seeded call, nor does it touch them."""
    angles = harness.angles(RY, 8, harness.sites(4))
    for shots in harness.modes:
        first = harness.run(angles, shots)
        harness.run(angles, shots, seed=harness.seed + 1)
        before = _global_generators()
        again = harness.run(angles, shots)
        if _global_generators() != before:
            raise ConformanceError("a seeded call draws from a global generator")
        replays = shots is None or harness.can.seeded
        if replays and not torch.equal(first.probability, again.probability):
            raise ConformanceError(f"the same seed gives another answer with shots={shots}")
    return "the same seed, the same answer" if harness.can.seeded else "counts that no seed fixes"


def refusals(harness: Harness) -> str:
    """Each bad call ends in a `QLIFError`."""
    angles = harness.angles(RY, 2, harness.sites(2))
    where = torch.ones(angles.shape[:2], dtype=torch.bool, device=harness.device)
    bad: dict[str, dict[str, object]] = {
        "a circuit that is a string": {"circuit": "RYSpike"},
        "angles with two dimensions": {"angles": angles[0]},
        "angles with four dimensions": {"angles": angles[None]},
        "two angles for a circuit of one": {"angles": angles.repeat(1, 1, 2)},
        "integer angles": {"angles": angles.long()},
        "complex angles": {"angles": angles.to(torch.complex128)},
        "angles in a list": {"angles": angles.tolist()},
        **{f"shots={value!r}": {"shots": value} for value in (0, -1, 1.5, True, "10")},
        **{f"seed={value!r}": {"seed": value} for value in (-1, 2**63, 1.5, True)},
        "where of another shape": {"where": where[:1]},
        "where in float": {"where": where.double()},
        "where in a list": {"where": where.tolist()},
    }
    if harness.device.type == "cpu":
        for value in (math.nan, math.inf, -math.inf):
            bad[f"an angle of {value}"] = {"angles": torch.cat((angles[:1], torch.full_like(angles[:1], value)))}
        delayed = CHECKED_CIRCUITS["BrandPetruccione delay"]
        bad["a delay below 0"] = {"circuit": delayed, "angles": -harness.angles(delayed, 2, harness.sites(2))}
    if not harness.can.exact:
        bad["shots=None without an exact mode"] = {"shots": None}
    if not harness.can.shots:
        bad["shots=10 without counts"] = {"shots": 10}
    if harness.can.shots:
        bad["shots above max_shots"] = {"shots": (harness.can.max_shots or MAX_SHOTS) + 1}
    if harness.can.max_sites is not None:
        bad["sites above max_sites"] = {"angles": angles[:, :1].repeat(1, harness.can.max_sites + 1, 1)}
    good = {"circuit": RY, "angles": angles, "shots": harness.modes[0], "seed": harness.seed, "where": None}
    all_refused(harness.backend.run, good, bad)
    return f"{len(bad)} bad calls"


def plan(harness: Harness) -> str:
    """The plan fits the sizes and the shots, refuses bad ones, and spends nothing."""
    sites = harness.sites(3)
    for shots in harness.modes:
        planned = _planned(harness, 5, sites, shots)
        if planned.evaluations != 5 * sites:
            raise ConformanceError(
                f"`evaluations` must be {5 * sites} for batch 5 and sites {sites}, but is {planned.evaluations}"
            )
        if planned.executions % (shots or 1):
            raise ConformanceError(f"`executions` must be a multiple of {shots} shots, but is {planned.executions}")
        if harness.can.remote and not (planned.executions and planned.jobs):
            raise ConformanceError("a remote call must have executions and jobs, but none are planned")
        if _planned(harness, 0, sites, shots).executions:
            raise ConformanceError("an empty batch must not have executions, but some are planned")
    bad: dict[str, dict[str, object]] = {"batch=-1": {"batch": -1}, "sites=1.5": {"sites": 1.5}, "shots=0": {"shots": 0}}
    all_refused(harness.backend.plan, {"circuit": RY, "batch": 2, "sites": sites, "shots": harness.modes[0]}, bad)
    return f"batch 5, sites {sites}: {planned}"


def _well_formed(answer: Outcome, angles: Tensor, shots: int | None) -> None:
    """Shape, device, counts and shots of an outcome."""
    if answer.shots != shots:
        raise ConformanceError(f"`shots` must be {shots}, but is {answer.shots}")
    if (answer.ones is None) != (shots is None):
        raise ConformanceError(f"`ones` must be {'None' if shots is None else 'counts'} with shots={shots}")
    for name, values in (("probability", answer.probability), ("ones", answer.ones)):
        if values is not None and (values.shape != angles.shape[:2] or values.device != angles.device):
            raise ConformanceError(
                f"`{name}` must have shape {tuple(angles.shape[:2])} on {angles.device}, "
                f"but has {tuple(values.shape)} on {values.device}"
            )
    inside(answer.probability, angles)
    if shots is not None:
        share = torch.from_numpy(counts(answer) / shots)
        if bool(((share < 0) | (share > 1)).any()):
            raise ConformanceError(f"`ones` must be between 0 and {shots}, but is {counts(answer).tolist()}")
        near((answer.probability.detach().cpu() - share).abs(), angles, TOLERANCE, "ones / shots")


def check_plain_value(name: str, value: object) -> None:
    """Refuse what is neither a tensor nor one of Python's own numbers, strings and containers."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_plain_value(f"{name}[{key!r}]", item)
    elif isinstance(value, Sequence) and type(value) in {list, tuple}:
        for index, item in enumerate(value):
            check_plain_value(f"{name}[{index}]", item)
    elif type(value) not in {Tensor, str, int, float, bool, type(None)}:
        raise ConformanceError(f"`{name}` must be a plain value, but is a {type(value).__name__}")


def _global_generators() -> tuple[object, ...]:
    kind, keys, position, *gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    return random.getstate(), kind, np.asarray(keys).tobytes(), position, gauss, torch.get_rng_state().tolist()


def all_refused(act: Callable[..., object], good: dict[str, object], bad: Mapping[str, dict[str, object]]) -> None:
    """Each change of a good call must end in a `QLIFError`."""
    wrong = []
    for label, change in bad.items():
        try:
            act(**good | change)
        except QLIFError:
            continue
        except Exception as error:
            wrong.append(f"{label} raises {type(error).__name__}")
        else:
            wrong.append(f"{label} is accepted")
    if wrong:
        raise ConformanceError("; ".join(wrong))


def _planned(harness: Harness, batch: int, sites: int, shots: int | None) -> Plan:
    """The plan of a call, watched so that planning does not run anything."""
    spending = {unwrap(act).__code__: act.__name__ for act in (Backend.run, type(harness.backend)._execute)}
    ran: list[str] = []

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in spending:
            ran.append(spending[frame.f_code])

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        planned = harness.backend.plan(RY, batch, sites, shots=shots)
    finally:
        sys.setprofile(before)
    if ran:
        raise ConformanceError(f"`plan` must spend nothing, but calls `{ran[0]}`")
    if not isinstance(planned, Plan):
        raise ConformanceError(f"`plan` must return a Plan, but returns a {type(planned).__name__}")
    return planned
