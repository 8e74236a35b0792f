"""The page of a spike train in one circuit."""
