"""Runs the command line as `python -m qlifq`."""

import sys

from qlifq.cli import main

if __name__ == "__main__":
    sys.exit(main())
