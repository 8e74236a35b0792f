"""Data, encoders, and networks that learn."""

from qlifq.training.datasets import DATASETS, Dataset, LabelledImages, digits, load_current, load_dataset, published
from qlifq.training.encoders import ENCODINGS, current, latency, poisson
from qlifq.training.evaluation import Evaluation, evaluate
from qlifq.training.experiment import Experiment, run_experiment
from qlifq.training.loop import Epoch, Trained, train
from qlifq.training.networks import NETWORKS, Design, Network, build, matched
from qlifq.training.neuron_kinds import NEURONS
from qlifq.training.recipes import RECIPES, prepared
from qlifq.training.settings import TrainingSettings
from qlifq.training.waveforms import pulses, ramp, staircase

__all__ = [
    "DATASETS",
    "ENCODINGS",
    "NETWORKS",
    "NEURONS",
    "RECIPES",
    "Dataset",
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
    "matched",
    "poisson",
    "prepared",
    "published",
    "pulses",
    "ramp",
    "run_experiment",
    "staircase",
    "train",
]
