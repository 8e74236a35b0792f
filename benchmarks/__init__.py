"""Measurements against named opponents; nothing in the package or its tests imports them."""
