"""Data, encoders, and networks that learn."""

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
from qlifq.training.networks import NETWORKS, NEURONS, Design, Network, build, matched, resolve_recipe
from qlifq.training.settings import TrainingSettings

__all__ = [
    "DATASETS",
    "ENCODINGS",
    "NETWORKS",
    "NEURONS",
    "Dataset",
    "DatasetKind",
    "Design",
    "Epoch",
    "Evaluation",
    "Experiment",
    "LabelledImages",
    "Network",
    "Trained",
    "TrainingSettings",
    "build",
    "current",
    "digits",
    "evaluate",
    "latency",
    "load_current",
    "load_dataset",
    "load_idx",
    "matched",
    "poisson",
    "pulses",
    "ramp",
    "resolve_recipe",
    "run_experiment",
    "staircase",
    "train",
]
