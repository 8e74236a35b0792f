"""The studies by name: those of qlifq, and one's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qlifq._registry import Registry
from qlifq.reporting.report import Report
from qlifq.studies.brand_petruccione import own_input as brand_petruccione_input
from qlifq.studies.brand_petruccione import report as brand_petruccione_report
from qlifq.studies.brand_petruccione import study as brand_petruccione
from qlifq.studies.shot_noise import own_input as shot_noise_input
from qlifq.studies.shot_noise import report as shot_noise_report
from qlifq.studies.shot_noise import study as shot_noise
from qlifq.training.data.datasets import digits

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qlifq.backends import Backend

__all__ = ["STUDIES", "OwnInput", "StudyKind"]


@dataclass(frozen=True)
class OwnInput:
    """How a study compares on an input of the user's.

    Args:
        run: called as `run(network, current, backends, seed=, shots=, progress=)`; the network is None for the study's own
            layers, and the backends are one or, where `shots` are given, several.
        report: as for `StudyKind`.
        files: as for `StudyKind`.
        shots: the numbers of shots by default; None where all is exact.
        network: whether it takes a network.
        beside: the snapshot whose noise is compared too, where no backend and no noise is named; None for none.
    """

    run: Callable[..., Any]
    report: Callable[[Any, Mapping[str, object]], Report]
    files: Sequence[str]
    shots: Sequence[int] | None
    network: bool
    beside: str | None = None


@dataclass(frozen=True)
class StudyKind:
    """All that is known of one study; one of one's own is one row, `STUDIES.register("mine", StudyKind(...))`.

    `qlifq compare mine` then runs it and writes its report.

    Args:
        summary: what it measures, one sentence.
        run: called as `run(backend, seed=, shots=, size=, progress=)`; a `StudyRun` checks these. What it returns goes to
            `report`.
        report: called as `report(measured, setup)`, with the options of the command to name in the setup.
        files: what the report is written to: "report.md", and its tables and pictures with their endings.
        shots: the numbers of shots by default.
        paper: how much is run, as `size`.
        quick: how much is run with `--quick`.
        noise: whether the backend may have noise.
        snapshot: whether `run` takes a `snapshot`, the name of a device's.
        backend: where the shots are drawn by default.
        beside: the snapshot whose noise is measured too, where no backend and no noise is named, `run(..., beside=[backend])`;
            None for none.
        own_input: how it compares on an input of the user's; None where it cannot.
    """

    summary: str
    run: Callable[..., Any]
    report: Callable[[Any, Mapping[str, object]], Report]
    files: Sequence[str]
    shots: Sequence[int]
    paper: object
    quick: object
    noise: bool = True
    snapshot: bool = False
    backend: str = "analytic"
    beside: str | None = None
    own_input: OwnInput | None = None


def _shot_noise(backend: Any, **options: Any) -> shot_noise.ShotNoiseStudy:
    return shot_noise.run_shot_noise(digits(), backend, **options)


def _shots_on_input(
    network: "nn.Module | None", current: "Tensor", backends: "Sequence[Backend]", **options: Any
) -> shot_noise_input.ShotNoiseComparison:
    layers = shot_noise_input.EveryDecision(current.shape[2]) if network is None else network
    return shot_noise_input.compare_shot_noise(layers, current, backends, repeats=10, **options)


def _neurons_on_input(
    network: None, current: "Tensor", backends: "Sequence[Backend]", *, seed: int, **_: Any
) -> brand_petruccione_input.BrandPetruccioneComparison:
    layers = brand_petruccione_input.matched_layers(current.shape[2])
    return brand_petruccione_input.compare_brand_petruccione(layers, current, backends[0], seed=seed)


STUDIES = Registry(
    "study",
    {
        "shot-noise": StudyKind(
            summary="What a finite number of shots does to an evaluation, a trajectory and a network.",
            run=_shot_noise,
            report=shot_noise_report.shot_noise_report,
            files=shot_noise_report.FILES,
            shots=shot_noise.SHOTS,
            paper=shot_noise.PAPER,
            quick=shot_noise.QUICK,
            # The model would be compared with its own draws.
            backend="aer",
            beside="fake_torino",
            own_input=OwnInput(
                run=_shots_on_input,
                report=shot_noise_input.shot_noise_comparison_report,
                files=shot_noise_input.FILES,
                shots=shot_noise_input.SHOTS,
                network=True,
                beside="fake_torino",
            ),
        ),
        "brand-petruccione": StudyKind(
            summary="QLIF and the neuron of Brand and Petruccione, arXiv 2407.16398, on the same input.",
            run=brand_petruccione.run_brand_petruccione,
            report=brand_petruccione_report.brand_petruccione_report,
            files=brand_petruccione_report.FILES,
            shots=brand_petruccione.SHOTS,
            paper=brand_petruccione.PAPER,
            quick=brand_petruccione.QUICK,
            # Populations that it estimates are compared with exact ones, without noise.
            noise=False,
            snapshot=True,
            own_input=OwnInput(
                run=_neurons_on_input,
                report=brand_petruccione_input.brand_petruccione_comparison_report,
                files=brand_petruccione_input.FILES,
                shots=None,
                network=False,
            ),
        ),
    },
)
