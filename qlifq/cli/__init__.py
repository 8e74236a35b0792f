"""The command line, one module per command.

The library is imported inside the commands, so that `qlifq --help` answers at once.
"""

from qlifq.cli.entry import app, main

__all__ = ["app", "main"]
