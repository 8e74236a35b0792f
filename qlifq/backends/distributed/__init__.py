"""Calls of any backend, spread over the workers of a Dask cluster."""
