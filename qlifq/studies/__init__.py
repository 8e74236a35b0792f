"""Studies as functions that return data and draw figures, and the folders that they leave."""

from typing import TYPE_CHECKING

from qlifq._lazy import lazy
from qlifq.reporting.reading import SavedRun, read_run
from qlifq.reporting.run_folder import check_folder
from qlifq.reporting.runs import RunComparison, RunSummary, compare_runs, list_runs, summarise_run
from qlifq.studies.run_folder import write_simulation
from qlifq.studies.simulation import SimulationRun, describe_loops, describe_plan, run_simulation
from qlifq.studies.simulation_figure import simulation_figure

if TYPE_CHECKING:
    from qlifq.studies.brand_petruccione.own_input import (
        BrandPetruccioneComparison,
        brand_petruccione_comparison_report,
        compare_brand_petruccione,
    )
    from qlifq.studies.brand_petruccione.report import brand_petruccione_report
    from qlifq.studies.brand_petruccione.study import BrandPetruccioneStudy, run_brand_petruccione
    from qlifq.studies.kinds import STUDIES, OwnInput, StudyKind
    from qlifq.studies.replay import Replay, replay_report, run_replay
    from qlifq.studies.run import StudyRun
    from qlifq.studies.shot_noise.own_input import (
        ShotNoiseComparison,
        compare_shot_noise,
        shot_noise_comparison_report,
    )
    from qlifq.studies.shot_noise.report import shot_noise_report
    from qlifq.studies.shot_noise.study import ShotNoiseStudy, run_shot_noise
    from qlifq.studies.sweep.run import Sweep, run_sweep
else:
    # Their statistics take half a second to import, and a simulation needs none.
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "STUDIES": "qlifq.studies.kinds",
            "OwnInput": "qlifq.studies.kinds",
            "StudyKind": "qlifq.studies.kinds",
            "StudyRun": "qlifq.studies.run",
            "BrandPetruccioneComparison": "qlifq.studies.brand_petruccione.own_input",
            "brand_petruccione_comparison_report": "qlifq.studies.brand_petruccione.own_input",
            "compare_brand_petruccione": "qlifq.studies.brand_petruccione.own_input",
            "BrandPetruccioneStudy": "qlifq.studies.brand_petruccione.study",
            "brand_petruccione_report": "qlifq.studies.brand_petruccione.report",
            "run_brand_petruccione": "qlifq.studies.brand_petruccione.study",
            "Replay": "qlifq.studies.replay",
            "replay_report": "qlifq.studies.replay",
            "run_replay": "qlifq.studies.replay",
            "ShotNoiseComparison": "qlifq.studies.shot_noise.own_input",
            "compare_shot_noise": "qlifq.studies.shot_noise.own_input",
            "shot_noise_comparison_report": "qlifq.studies.shot_noise.own_input",
            "ShotNoiseStudy": "qlifq.studies.shot_noise.study",
            "run_shot_noise": "qlifq.studies.shot_noise.study",
            "shot_noise_report": "qlifq.studies.shot_noise.report",
            "Sweep": "qlifq.studies.sweep.run",
            "run_sweep": "qlifq.studies.sweep.run",
        },
    )

__all__ = [
    "STUDIES",
    "BrandPetruccioneComparison",
    "BrandPetruccioneStudy",
    "OwnInput",
    "Replay",
    "RunComparison",
    "RunSummary",
    "SavedRun",
    "ShotNoiseComparison",
    "ShotNoiseStudy",
    "SimulationRun",
    "StudyKind",
    "StudyRun",
    "Sweep",
    "brand_petruccione_comparison_report",
    "brand_petruccione_report",
    "check_folder",
    "compare_brand_petruccione",
    "compare_runs",
    "compare_shot_noise",
    "describe_loops",
    "describe_plan",
    "list_runs",
    "read_run",
    "replay_report",
    "run_brand_petruccione",
    "run_replay",
    "run_shot_noise",
    "run_simulation",
    "run_sweep",
    "shot_noise_comparison_report",
    "shot_noise_report",
    "simulation_figure",
    "summarise_run",
    "write_simulation",
]
