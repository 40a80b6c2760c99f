"""A larger network that begins where a trained one is."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from nucleiseg._checks import check_instance
from nucleiseg.adopting import ADOPTED
from nucleiseg.engines.formats import keras_model
from nucleiseg.errors import InvalidInputError
from nucleiseg.segmenter import Segmenter

__all__ = ["grow"]

_SAME = 1e-4


def grow(
    segmenter: Segmenter, *, encoder: str | None = None, refine: bool | None = None, seed: int | None = None
) -> Segmenter:
    """A segmenter with a larger network, which finds the same nuclei until it is trained further.

    For a model that can't learn its own images any better: layers are added that change nothing at first [1]_, all
    others have its weights, and thresholds and all other settings stay what they are.

    Parameters
    ----------
    segmenter : Segmenter
        Trained, as a rule. It is not changed.
    encoder : str, optional
        One with all layers of its own encoder, and more: ``"residual_deep"`` for ``"residual"``.
    refine : bool, optional
        True adds a residual block at full resolution.
    seed : int, optional
        Decides the weights of the layers that are added, and of now on what that of `Segmenter` does.

    Returns
    -------
    Segmenter
        To be trained by `Segmenter.fit`.

    Raises
    ------
    InvalidInputError
        If the larger network lacks a layer of the smaller one, or puts out other maps; or what `Segmenter` refuses.

    References
    ----------
    .. [1] T. Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016.

    Examples
    --------
    >>> from nucleiseg import Segmenter
    >>> small = Segmenter("residual", None, widths=(16, 8, 8, 8, 8))
    >>> large = grow(small, encoder="residual_deep", refine=True)
    >>> large.model.count_params() > small.model.count_params()
    True
    """
    import keras

    from nucleiseg.engines import KerasEngine
    from nucleiseg.learning import build_network
    from nucleiseg.networks import take_weights

    check_instance(segmenter, Segmenter, "segmenter", 'Segmenter.from_pretrained("nuclei")')
    if segmenter._settings.encoder == ADOPTED:
        raise InvalidInputError(
            "a model can grow whose parts are known, got one that was adopted; build a Segmenter with these parts, and "
            "give its model the weights by set_weights"
        )
    changes = {"encoder": encoder, "refine": refine, "seed": seed}
    wanted: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    settings = replace(segmenter._settings, **wanted)
    network, before = build_network(replace(settings, weights=None)), keras_model(segmenter._engine)
    take_weights(network, before)

    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    old, new = (keras.ops.convert_to_numpy(model(image, training=False)) for model in (before, network))
    difference = float(np.abs(new - old).max())
    if not difference <= _SAME:
        raise InvalidInputError(
            f"what a network grows by must change nothing at first, got maps that differ by {difference:.2g}; let what "
            "is added be multiplied by 0 at first (as 'residual_deep' does), or train from random weights"
        )
    grown = copy.copy(segmenter)
    grown._settings, grown._engine = settings, KerasEngine(network)
    return grown
