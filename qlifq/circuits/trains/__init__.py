"""Whole spike trains as one circuit: the program as data, its exact law, its translations."""
