"""The page of run folders."""
