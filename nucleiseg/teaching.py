"""A model as the teacher of another one, or of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleiseg._checks import check_instance, check_range
from nucleiseg._progress import progress
from nucleiseg.datasets.given import check_labelled
from nucleiseg.engines.engine import computing_in, fingerprint_of
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference.maps import predict_maps
from nucleiseg.inference.options import PredictOptions
from nucleiseg.segmenter import Segmenter
from nucleiseg.training.taught import TaughtImages, pack

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset

__all__ = ["teach"]


def teach(data: Dataset, teacher: Segmenter, share: float = 0.5) -> TaughtImages:
    """Labelled images from which a model learns what their labels say, and in part what another model finds in them.

    A teacher's maps are softer than labels: they tell how sure it is, and differ less than outlines that were drawn by
    hand. So a small network may learn more from a large one than from labels alone [1]_, and a network from itself
    [2]_; networks that have learned for long need not. The maps are averaged over flips and turns, better than those of
    one look.

    Parameters
    ----------
    data : Dataset
        Labelled images. The teacher looks at each of them once, as a whole, at the size that it has.
    teacher : Segmenter
        A trained model with the head of the one that is to learn.
    share : float
        Part of the target that is taken from the teacher, 0 to 1; the rest is that of the labels.

    Returns
    -------
    TaughtImages
        For `Segmenter.fit`, in place of ``data``. Holds the maps, one byte for each value.

    Raises
    ------
    InvalidInputError
        If the teacher was never trained, its maps are not from 0 to 1, or the share is no number from 0 to 1.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015.
    .. [2] T. Furlanello et al., "Born-Again Neural Networks", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import skimage.data
    >>> from nucleiseg import Segmenter, datasets
    >>> image = skimage.data.immunohistochemistry()[:64, :64]
    >>> data = datasets.from_arrays(image[np.newaxis], np.zeros((1, 64, 64), int))
    >>> teach(data, Segmenter.from_pretrained("nuclei-fast"))[0].maps.shape
    (64, 64, 3)
    """
    check_labelled(data, "data")
    check_instance(teacher, Segmenter, "teacher", 'Segmenter.from_pretrained("nuclei")')
    settings = teacher._settings
    check_range(share, "share", 0, 1)
    if not settings.trained:
        raise InvalidInputError(
            "a teacher must be a trained model, got one that was never trained; call its fit first, or "
            "adopt(segmenter.model) if Keras trained it"
        )
    engine = computing_in(teacher._engine, "auto")
    options = PredictOptions(scale=1.0, tta=True)
    maps = [
        pack(predict_maps(sample.image, engine, settings.scaling, options))
        for sample in progress(data, "teaching", len(data))
    ]
    return TaughtImages(data, maps, share, fingerprint_of(teacher._engine), settings.head)
