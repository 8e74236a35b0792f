"""Regressions: networks trained with several seeds, beside classical networks of their size and a linear model."""
