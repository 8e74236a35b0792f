"""Compiled kernels for whole sequences, generated from the torch formula of one step."""

from qlifq.neurons.kernels.inventory import Inventory, clear_cache, inventory
from qlifq.neurons.kernels.program import Formula
from qlifq.neurons.kernels.run import Prepared, prepare

__all__ = ["CHOICES", "Formula", "Inventory", "Prepared", "clear_cache", "inventory", "prepare"]

#: What a layer may say of kernels: to use one where there can be one, or none.
CHOICES = ("auto", "off")
