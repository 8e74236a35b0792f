"""Shot noise against the closed form."""
