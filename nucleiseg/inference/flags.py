"""What the nuclei that were found say against trusting an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.inference.scale import Passport, usual_diameter_of

__all__ = ["flags_of_nuclei"]


def flags_of_nuclei(
    areas: npt.NDArray[np.integer[Any]], scale: float, passport: Passport | None, familiar: bool | None
) -> tuple[str, ...]:
    """Any of ``"unusual size"`` and ``"unfamiliar"``; see `Prediction.quality`.

    Parameters
    ----------
    areas : numpy.ndarray of int, (n,)
        Of the nuclei, in pixels of the image.
    scale : float
        By how much the network saw it magnified.
    passport : Passport, optional
        The sizes that the model was trained on.
    familiar : bool, optional
        Whether the model was sure of what it found as a whole; None where that is not known.

    Examples
    --------
    >>> flags_of_nuclei(np.array([7000, 7100]), 1.0, Passport(8, 18, 45), familiar=True)
    ('unusual size',)
    """
    diameter = usual_diameter_of(areas)
    unusual = diameter is not None and passport is not None and passport.factor(diameter * scale) != 1
    tests = {"unusual size": unusual, "unfamiliar": familiar is False}
    return tuple(name for name, applies in tests.items() if applies)
