"""Classical state and dynamics in torch: membranes, mechanisms, mapping, decision and the modules."""

from qlifq.neurons.brand_petruccione import BrandPetruccione, BrandPetruccioneState
from qlifq.neurons.dropout import DropoutState, TimeDropout
from qlifq.neurons.dynamics import Dynamics, initial_state, integrate, settle
from qlifq.neurons.integrator import LeakyIntegrator, LeakyIntegratorState, Readout
from qlifq.neurons.keywords import NeuronParameters
from qlifq.neurons.mapping import MAPPINGS, AngleMapping
from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.membrane import MEMBRANES, Membrane
from qlifq.neurons.network_recording import Recordings, record
from qlifq.neurons.parameters import MECHANISMS, Settings
from qlifq.neurons.per_neuron import value_gradients
from qlifq.neurons.qlif import QLIF
from qlifq.neurons.recording import RECORDABLE, Recording, simulate
from qlifq.neurons.recurrent import Recurrent, RecurrentState
from qlifq.neurons.rules import PerNeuron, Rule
from qlifq.neurons.sequential import SpikingSequential
from qlifq.neurons.specs import Need, parameter, parameter_group, positive
from qlifq.neurons.state import QLIFState
from qlifq.neurons.surrogates import SURROGATES
from qlifq.neurons.temporal import TemporalModule, detach
from qlifq.neurons.trains.network import NetworkCircuit, compile_network
from qlifq.random import SeedStream

__all__ = [
    "MAPPINGS",
    "MECHANISMS",
    "MEMBRANES",
    "QLIF",
    "RECORDABLE",
    "SURROGATES",
    "AngleMapping",
    "BrandPetruccione",
    "BrandPetruccioneState",
    "DropoutState",
    "Dynamics",
    "LeakyIntegrator",
    "LeakyIntegratorState",
    "Mechanism",
    "Membrane",
    "Need",
    "NetworkCircuit",
    "NeuronParameters",
    "PerNeuron",
    "QLIFState",
    "Readout",
    "Recording",
    "Recordings",
    "Recurrent",
    "RecurrentState",
    "Rule",
    "SeedStream",
    "Settings",
    "SpikingSequential",
    "TemporalModule",
    "TimeDropout",
    "TrainObstacle",
    "compile_network",
    "detach",
    "initial_state",
    "integrate",
    "parameter",
    "parameter_group",
    "positive",
    "record",
    "settle",
    "simulate",
    "value_gradients",
]
