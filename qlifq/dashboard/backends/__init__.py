"""The page of backends side by side."""
