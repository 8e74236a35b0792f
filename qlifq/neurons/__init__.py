"""Classical state and dynamics in torch."""
