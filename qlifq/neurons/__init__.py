"""Classical state and dynamics in torch: membranes, mechanisms, mapping, decision and the modules."""

from qlifq.neurons.brand_petruccione import BrandPetruccione, BrandPetruccioneState
from qlifq.neurons.dropout import DropoutState, TimeDropout
from qlifq.neurons.dynamics import Dynamics, initial_state, integrate, settle
from qlifq.neurons.integrator import LeakyIntegrator, LeakyIntegratorState, Readout
from qlifq.neurons.keywords import NeuronParameters
from qlifq.neurons.mapping import MAPPINGS, AngleMapping
from qlifq.neurons.membrane import MEMBRANES, Membrane
from qlifq.neurons.network_recording import Recordings, record
from qlifq.neurons.parameters import Settings
from qlifq.neurons.per_neuron import value_gradients
from qlifq.neurons.qlif import QLIF
from qlifq.neurons.recording import RECORDABLE, Recording, simulate
from qlifq.neurons.recurrent import Recurrent, RecurrentState
from qlifq.neurons.sequential import SpikingSequential
from qlifq.neurons.state import QLIFState
from qlifq.neurons.surrogates import SURROGATES
from qlifq.neurons.temporal import TemporalModule, detach
from qlifq.neurons.trains.network import NetworkCircuit, compile_network
from qlifq.random import SeedStream

__all__ = [
    "MAPPINGS",
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
    "Membrane",
    "NetworkCircuit",
    "NeuronParameters",
    "QLIFState",
    "Readout",
    "Recording",
    "Recordings",
    "Recurrent",
    "RecurrentState",
    "SeedStream",
    "Settings",
    "SpikingSequential",
    "TemporalModule",
    "TimeDropout",
    "compile_network",
    "detach",
    "initial_state",
    "integrate",
    "record",
    "settle",
    "simulate",
    "value_gradients",
]
