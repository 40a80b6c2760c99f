"""Warnings name the line of the user's code that led to them, however many functions of ours lie between."""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path

__all__ = ["warn_caller"]

_OURS = str(Path(__file__).parent) + os.sep


def warn_caller(text: str, category: type[Warning]) -> None:
    """Warn, at the innermost line that is not in this package.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_caller("an image is black", UserWarning)
    >>> caught[0].filename.startswith(_OURS)
    False
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)
