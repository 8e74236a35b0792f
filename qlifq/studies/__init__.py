"""Studies as functions that return data and draw figures, and the folders that they leave."""

from qlifq.reporting.reading import SavedRun, read_run
from qlifq.reporting.run_folder import check_folder
from qlifq.studies.run_folder import write_simulation
from qlifq.studies.simulation import SimulationRun, describe_plan, run_simulation
from qlifq.studies.simulation_figure import simulation_figure

__all__ = [
    "SavedRun",
    "SimulationRun",
    "check_folder",
    "describe_plan",
    "read_run",
    "run_simulation",
    "simulation_figure",
    "write_simulation",
]
