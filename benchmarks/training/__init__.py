"""What networks reach: one script per task, each prints its row over several seeds."""
