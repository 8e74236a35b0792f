"""One run for each point of a grid, in parallel, with one table and one figure of them all."""
