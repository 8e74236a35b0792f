"""Qiskit Aer: the backend, what it runs, its noise, and how a call is split."""
