"""Data, encoders, and networks that learn."""

from qlifq.training.cross_backend import CrossBackendEvaluation, EvaluationPlan, evaluate_run, plan_evaluation
from qlifq.training.data.datasets import (
    DATASETS,
    Dataset,
    DatasetKind,
    LabelledImages,
    digits,
    load_current,
    load_dataset,
    load_idx,
)
from qlifq.training.data.encoders import ENCODINGS, current, latency, poisson
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
    "Epoch",
    "Evaluation",
    "EvaluationPlan",
    "Experiment",
    "LabelledImages",
    "Network",
    "NetworkKind",
    "NeuronKind",
    "Trained",
    "TrainedRun",
    "TrainingRun",
    "TrainingSettings",
    "build",
    "current",
    "digits",
    "evaluate",
    "evaluate_run",
    "latency",
    "load_current",
    "load_dataset",
    "load_idx",
    "load_run",
    "matched",
    "plan_evaluation",
    "poisson",
    "pulses",
    "ramp",
    "resolve_recipe",
    "run_experiment",
    "staircase",
    "train",
    "train_run",
]
