"""Neurons whose closed loop runs inside one circuit: which ones can, their programs, and what follows from a drawn train."""
