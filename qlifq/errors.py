"""Every exception that qlifq raises on purpose, under one base.

Each message is one sentence that names the argument, what it must be and what it is.
"""

__all__ = [
    "ArgumentError",
    "BackendError",
    "BudgetError",
    "ConformanceError",
    "DtypeError",
    "FileError",
    "FileFormatError",
    "MissingConstantError",
    "MissingPackageError",
    "QLIFError",
    "ServiceError",
    "ShapeError",
    "UnsupportedError",
]


class QLIFError(Exception):
    """Base of every error that qlifq raises."""


class ArgumentError(QLIFError, ValueError):
    """An argument has a value that cannot be used: out of range, not finite, an unknown name."""


class ShapeError(ArgumentError):
    """A tensor or array has the wrong shape."""


class DtypeError(QLIFError, TypeError):
    """An argument has the wrong type, or a tensor the wrong dtype or device."""


class MissingConstantError(ArgumentError, AttributeError):
    """A layer has no such constant, since nothing in it needs one."""


class UnsupportedError(QLIFError, ValueError):
    """The request is valid but not supported here: a backend cannot do it, or an option would be ignored."""


class MissingPackageError(QLIFError, ImportError):
    """A feature needs a package that is not installed, or whose import fails."""


class BackendError(QLIFError, RuntimeError):
    """A backend failed while it was running."""


class ConformanceError(QLIFError, AssertionError):
    """A backend does not do what it declares."""


class FileFormatError(QLIFError, ValueError):
    """A file cannot be read, or does not hold what it should."""


class FileError(QLIFError, OSError):
    """A file or folder cannot be written."""


class FolderInUseError(FileError):
    """Another process writes to the folder, and will have ended some time."""


class SweepError(QLIFError, RuntimeError):
    """Some points of a sweep could not be run; the others are finished."""


class ServiceError(BackendError):
    """A service far away refused, failed or did not answer; nothing that was submitted is lost.

    Args:
        message: the sentence.
        refused: whether it is certain that the service did not carry out the request.
        again: whether the same may succeed later.
        away: whether the service could not be reached, or is not itself: asking again is worth the whole patience.
        hint: a sentence that says what to do; it follows the message, and `said` is the message alone.
    """

    def __init__(
        self,
        message: str,
        *,
        refused: bool = False,
        again: bool = True,
        away: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(f"{message} {hint}".rstrip())
        self.said = message
        self.refused = refused
        self.again = again
        self.away = away


class BudgetError(QLIFError, ValueError):
    """The request would cost more than its budget allows."""
