"""Data, encoders, and networks that learn."""

from qlifq.training.cross_backend import CrossBackendEvaluation, EvaluationPlan, evaluate_run, plan_evaluation
from qlifq.training.data.arrays import load_current
from qlifq.training.data.datasets import DATASETS, digits, load_dataset, load_idx
from qlifq.training.data.encoders import ENCODINGS, Encoding, current, delta, latency, phase, poisson
from qlifq.training.data.encoding_figure import encodings_figure
from qlifq.training.data.events import bin_events
from qlifq.training.data.interface import Dataset, DatasetKind, LabelledImages, Samples
from qlifq.training.data.mackey_glass import mackey_glass
from qlifq.training.data.sensor_folders import SensorFolders
from qlifq.training.data.series import forecasts
from qlifq.training.data.spike_files import SpikeFiles
from qlifq.training.data.torch_samples import from_torch
from qlifq.training.data.waveforms import pulses, ramp, staircase
from qlifq.training.evaluation import Evaluation, evaluate
from qlifq.training.experiment import Experiment, run_experiment
from qlifq.training.loop import Epoch, Trained, train
from qlifq.training.networks import (
    NETWORKS,
    NEURONS,
    Design,
    Network,
    NetworkKind,
    NeuronKind,
    build,
    matched,
    resolve_recipe,
)
from qlifq.training.regression.experiment import RegressionExperiment, run_regression
from qlifq.training.run import TrainingRun, train_run
from qlifq.training.run_folder import TrainedRun, load_run
from qlifq.training.settings import TrainingSettings

__all__ = [
    "DATASETS",
    "ENCODINGS",
    "NETWORKS",
    "NEURONS",
    "CrossBackendEvaluation",
    "Dataset",
    "DatasetKind",
    "Design",
    "Encoding",
    "Epoch",
    "Evaluation",
    "EvaluationPlan",
    "Experiment",
    "LabelledImages",
    "Network",
    "NetworkKind",
    "NeuronKind",
    "RegressionExperiment",
    "Samples",
    "SensorFolders",
    "SpikeFiles",
    "Trained",
    "TrainedRun",
    "TrainingRun",
    "TrainingSettings",
    "bin_events",
    "build",
    "current",
    "delta",
    "digits",
    "encodings_figure",
    "evaluate",
    "evaluate_run",
    "forecasts",
    "from_torch",
    "latency",
    "load_current",
    "load_dataset",
    "load_idx",
    "load_run",
    "mackey_glass",
    "matched",
    "phase",
    "plan_evaluation",
    "poisson",
    "pulses",
    "ramp",
    "resolve_recipe",
    "run_experiment",
    "run_regression",
    "staircase",
    "train",
    "train_run",
]
