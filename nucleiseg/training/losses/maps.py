"""Losses of heads that have several maps, each with its own part."""

from __future__ import annotations

from typing import Any

import keras

from nucleiseg.training.losses.region import BatchLoss, Tversky

__all__ = ["MaskAndDepth", "MaskDepthAndContact"]


@keras.saving.register_keras_serializable("nucleiseg")
class MaskAndDepth(BatchLoss):
    """Cross-entropy of mask and depth, plus the Dice loss of the mask: for targets (N, H, W, 2).

    The depth is a number from 0 to 1; its cross-entropy is least where it is predicted exactly, though not 0 there.

    Parameters
    ----------
    name : str
        Name of the loss.

    Examples
    --------
    >>> loss = MaskAndDepth()
    >>> round(float(loss([[[[1.0, 1.0]]]], [[[[0.5, 1.0]]]])), 3)
    0.68
    """

    def __init__(self, name: str = "mask_and_depth", **keras_options: Any) -> None:
        super().__init__(name=name, **keras_options)
        self._crossentropy, self._dice = keras.losses.BinaryCrossentropy(), Tversky(0.5, 0.5)

    def weighed(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        """The loss, a scalar."""
        mask = self._dice(y_true[..., :1], y_pred[..., :1], sample_weight=weights)
        return self._crossentropy(y_true, y_pred, sample_weight=weights) + mask


@keras.saving.register_keras_serializable("nucleiseg")
class MaskDepthAndContact(BatchLoss):
    """Cross-entropy of mask, depth and contact, plus the Dice losses of mask and contact: for targets (N, H, W, 3).

    Contacts are few pixels, on which it depends whether nuclei come apart: their Dice loss weighs them up.

    Parameters
    ----------
    name : str
        Name of the loss.

    Examples
    --------
    >>> loss = MaskDepthAndContact()
    >>> round(float(loss([[[[1.0, 1.0, 1.0]]]], [[[[0.5, 1.0, 1.0]]]])), 3)
    0.564
    """

    def __init__(self, name: str = "mask_depth_and_contact", **keras_options: Any) -> None:
        super().__init__(name=name, **keras_options)
        self._crossentropy, self._dice = keras.losses.BinaryCrossentropy(), Tversky(0.5, 0.5)

    def weighed(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        """The loss, a scalar."""
        mask, contact = (
            self._dice(y_true[..., i : i + 1], y_pred[..., i : i + 1], sample_weight=weights) for i in (0, 2)
        )
        return self._crossentropy(y_true, y_pred, sample_weight=weights) + mask + 0.5 * contact
