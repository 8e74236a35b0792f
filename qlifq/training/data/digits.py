"""The handwritten digits that scikit-learn bundles."""

from pathlib import Path

import numpy as np
import torch

from qlifq._packages import load
from qlifq.errors import UnsupportedError
from qlifq.training.data.interface import Dataset, DatasetKind, LabelledImages, split

__all__ = ["Digits", "digits"]


def digits() -> LabelledImages:
    """The 1797 handwritten digits of 8 × 8 pixels that come with scikit-learn; nothing is downloaded.

    Returns:
        Images `(1797, 64)`, row by row from the top, and labels 0 to 9.

    Raises:
        MissingPackageError: if scikit-learn is missing.

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998).

    Example:
        >>> digits().images.shape, digits().labels[:4].tolist()
        (torch.Size([1797, 64]), [0, 1, 2, 3])
    """
    bundled = load("sklearn.datasets", package="sklearn", feature="The digits dataset", install="scikit-learn").load_digits()
    return LabelledImages(
        images=torch.from_numpy(bundled.data / 16).to(torch.float32),
        labels=torch.from_numpy(bundled.target.astype(np.int64)),
    )


class Digits(DatasetKind):
    """The digits in two parts, every fifth image of a class for testing."""

    description = "1,797 handwritten digits of 8 × 8 pixels, bundled with scikit-learn"

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """Needs no file."""
        if path is not None:
            raise UnsupportedError(f"Argument `data` would be ignored: the digits are bundled, but it is {str(path)!r}.")
        train, test = split(digits())
        return Dataset("digits", train, test, (8, 8), "bundled with scikit-learn, every fifth image of a class for testing")
