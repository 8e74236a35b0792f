"""The table of checks and the call that goes through it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch

from qlifq._validation import integer, optional_integer, real
from qlifq.backends.conformance import contract, outcomes, shot_noise, trains
from qlifq.backends.conformance.harness import CHECKED_CIRCUITS, Harness
from qlifq.backends.conformance.report import Line, Report
from qlifq.backends.interface import Backend, Capabilities
from qlifq.backends.noise import DeviceNoise
from qlifq.backends.reference import ReferenceBackend
from qlifq.backends.registry import get
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ConformanceError, DtypeError, UnsupportedError
from qlifq.random import MAX_SEED

__all__ = ["CHECKS", "Check", "check"]

#: How often all statistical checks of one report together fail an honest backend.
FALSE_FAIL = 1e-9


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a report.

    Args:
        name: what it is called.
        act: says what it saw, and raises what the backend raises or a `ConformanceError`.
        needs: the capability that it is about; empty for every backend.
        may_refuse: whether the backend may refuse the circuit with an `UnsupportedError`.
    """

    name: str
    act: Callable[[Harness], str]
    needs: str = ""
    may_refuse: bool = False


def _each(
    name: str, act: Callable[[SpikeCircuit, Harness], str], needs: str = "", circuits: Iterable[str] = tuple(CHECKED_CIRCUITS)
) -> list[Check]:
    """One check per circuit, of which only RYSpike must run on every backend."""
    return [Check(f"{name} {label}", partial(act, CHECKED_CIRCUITS[label]), needs, label != "RYSpike") for label in circuits]


CHECKS: tuple[Check, ...] = (
    Check("declaration", contract.declaration),
    Check("outcome", contract.outcome),
    Check("dtype", contract.dtype),
    Check("plain values", contract.plain_values),
    *_each("exact", outcomes.probabilities, "exact"),
    *_each("shots", outcomes.counts_agree, "shots"),
    Check("site order", partial(outcomes.order, "site")),
    Check("batch order", partial(outcomes.order, "batch")),
    Check("equal angles", outcomes.equal_angles),
    Check("where", outcomes.where),
    Check("sizes", contract.sizes),
    Check("memory layout", contract.memory_layout),
    Check("seeds", contract.seeds),
    Check("dispersion elements", partial(shot_noise.within, "elements"), "shots"),
    Check("dispersion sites", partial(shot_noise.within, "sites"), "shots"),
    Check("dispersion calls", shot_noise.between_calls, "shots"),
    *_each("gradient", outcomes.gradient, circuits=("RYSpike", "RY-RZ-RX")),
    Check("ideal", outcomes.ideal),
    Check("response", outcomes.response),
    *(Check(f"trains {kind}", partial(trains.law, kind), "trains") for kind in trains.TRAINS),
    Check("trains contract", trains.contract, "trains"),
    Check("refusals", contract.refusals),
    Check("plan", contract.plan),
)


def check(
    backend: Backend | str,
    *,
    oracle: Backend | None = None,
    sites: int | None = None,
    bias: float = 0.02,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Report:
    """Hold a backend to everything that its `capabilities` declare.

    Every check runs the backend through its public interface and compares with an oracle. All statistical checks of a
    report together fail an honest backend with a probability below 1e-9: each has an equal share, split again over the
    exact binomial tests that it makes.

    Args:
        backend: an instance, or a registered name that is built without options.
        oracle: an exact backend that gives the truth. None is `reference`, with the `noise` attribute of the backend where
            that is a `DeviceNoise`.
        sites: the only number of sites that the backend takes. None for those that its `sites` declares, or any
            number up to `max_sites`.
        bias: the smallest error of a P(1) that the shot checks must see, above 0 and at most ½. The shots grow with 1/bias²:
            84,000 for each of some thirty evaluations where it is 0.02.
        seed: of the angles and the shots; a report can be replayed.
        device: where the angles are. NaN and infinity must be refused on the CPU alone.

    Returns:
        A `Report`; nothing is raised for what the backend does wrong.

    Raises:
        QLIFError: if an argument cannot be used, or there is no oracle for the noise of this backend.

    Example:
        >>> check("analytic").passed
        True
    """
    tested = get(backend) if isinstance(backend, str) else backend
    if not isinstance(tested, Backend):
        raise DtypeError(f"Argument `backend` must be a Backend or a name, but is {type(tested).__name__}.")
    if isinstance(tested.capabilities, Capabilities) and not tested.capabilities.bounded:
        raise UnsupportedError(
            f"Argument `backend` must give probabilities within [0, 1] and counts, but backend {tested.name} declares that it "
            "does not: check the backend whose estimates it corrects."
        )
    noise = getattr(tested, "noise", None)
    if oracle is None:
        if noise is not None and not isinstance(noise, DeviceNoise):
            raise UnsupportedError(
                f"Argument `oracle` must be given for backend {tested.name}: "
                f"its noise must be a DeviceNoise for `reference`, but is {type(noise).__name__}."
            )
        oracle = ReferenceBackend(noise)
    if not isinstance(oracle, Backend):
        raise DtypeError(f"Argument `oracle` must be a Backend or None, but is {type(oracle).__name__}.")
    if not oracle.capabilities.exact:
        raise UnsupportedError(f"Argument `oracle` must have an exact mode, but is backend {oracle.name}, which has none.")
    harness = Harness(
        backend=tested,
        oracle=oracle,
        fixed_sites=optional_integer("sites", sites, at_least=1) or tested.sites,
        bias=real("bias", bias, above=0.0, at_most=0.5),
        seed=integer("seed", seed, at_least=0, at_most=MAX_SEED // 2),
        device=torch.device(device),
        level=FALSE_FAIL / len(CHECKS),
    )
    return Report(tested.description, tuple(_line(entry, harness) for entry in CHECKS))


def _line(entry: Check, harness: Harness) -> Line:
    """The verdict of one check; whatever the backend raises is a verdict too."""
    try:
        if entry.needs and not getattr(harness.can, entry.needs):
            return Line(entry.name, "not declared", "")
        return Line(entry.name, "passed", entry.act(harness))
    except ConformanceError as failure:
        return Line(entry.name, "failed", str(failure))
    except Exception as error:
        if entry.may_refuse and isinstance(error, UnsupportedError):
            return Line(entry.name, "refused", str(error))
        return Line(entry.name, "failed", f"raised {type(error).__name__}: {error}")
