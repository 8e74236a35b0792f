"""Neurons of snnTorch, Norse and SpikingJelly as QLIF layers and back, and networks as NIR files."""

from qlifq.interop.nir import from_nir, read_nir, to_nir, write_nir
from qlifq.interop.norse import from_norse, to_norse
from qlifq.interop.snntorch import from_snntorch, to_snntorch
from qlifq.interop.spikingjelly import from_spikingjelly, to_spikingjelly

__all__ = [
    "from_nir",
    "from_norse",
    "from_snntorch",
    "from_spikingjelly",
    "read_nir",
    "to_nir",
    "to_norse",
    "to_snntorch",
    "to_spikingjelly",
    "write_nir",
]
