"""The one folder that the pages may read: named by who starts the server, handed on in the environment."""

import os
from pathlib import Path

__all__ = ["FOLDER", "folder"]

FOLDER = "QLIFQ_DASHBOARD_FOLDER"


def folder() -> Path:
    """The folder, absolute."""
    return Path(os.environ.get(FOLDER, "runs")).absolute()
