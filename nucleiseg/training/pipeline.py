"""From a dataset to `tf.data`: batches of float32 images (H, W, 3) in [0, 1] and targets (H, W, C), prefetched.

Every element is a pure function of (seed, pass, position), drawn in worker threads: the same seed gives the same
batches, and training that goes on after an interruption sees what it would have seen.
"""

from __future__ import annotations

import atexit
import gc
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_choice, check_count, check_flag, check_instance, check_size
from nucleiseg._optional import import_framework
from nucleiseg._threads import count_cores
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import list_scalings, scaling_range
from nucleiseg.images.scaling import Bound
from nucleiseg.training.augmentation import Augmentation, augment
from nucleiseg.training.copies import part_copies
from nucleiseg.training.crops import cut_crop
from nucleiseg.training.targets import Target, check_target, get_target
from nucleiseg.training.taught import TaughtSample, number_copies, number_pixels, taught_target

if TYPE_CHECKING:
    import tensorflow as tf

_PREFETCHED = 2  # batches

_Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class Labelled(Protocol):
    """An image with its labels, such as `nucleiseg.datasets.Sample`."""

    @property
    def image(self) -> npt.NDArray[Any]:
        """Raw pixels, (H, W) or (H, W, C)."""

    @property
    def labels(self) -> npt.NDArray[Any]:
        """Integer labels, (H, W)."""


class LabelledImages(Protocol):
    """What can be trained on: a sequence of `Labelled`, such as `nucleiseg.datasets.Dataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Labelled: ...


def as_tf_dataset(
    data: LabelledImages,
    target: str | Target = "mask",
    crop: tuple[int, int] | None = None,
    augmentation: Augmentation | None = None,
    batch_size: int = 8,
    seed: int = 0,
    scaling: str = "percentile",
    balance: str | None = None,
    shuffle: bool = True,
    first_pass: int = 0,
    crops_per_image: int = 1,
    balance_area: bool = False,
) -> tf.data.Dataset:
    """Batches of (image, target) from a dataset, ready for `keras.Model.fit`.

    Parameters
    ----------
    data : Dataset
        From `nucleiseg.datasets.read`, or any sequence of items with ``image`` and ``labels``. What `nucleiseg.teach`
        gives has targets that are mixed with what a teacher finds.
    target : str or function
        One of `list_targets`, or a function from labels (H, W) to a float32 target (H, W, C).
    crop : (int, int), optional
        Height and width of the crops, one from each image in a pass: multiples of 32 for `nucleiseg.networks.unet`.
        None takes whole images, which must then be of one size, or the batch size 1.
    augmentation : Augmentation, optional
        Random changes; none by default.
    batch_size : int
        Images in a batch; the last one of a pass may be smaller.
    seed : int
        Decides order, crops and augmentation.
    scaling : str
        One of `nucleiseg.images.list_scalings`, by the range of the whole image.
    balance : str, optional
        Metadata, such as ``"modality"``, by whose values rare images are drawn more often: each group in proportion to
        the square root of its size. A pass keeps its length, so common images are left out of some passes. None draws
        every image once. Needs ``data.metadata``.
    shuffle : bool
        True draws a new order, new crops and changes on every pass; False repeats the first pass (validation).
    first_pass : int
        Number of the first pass; training that resumes after epoch 5 starts with 5.
    crops_per_image : int
        How many crops a pass has for each image.
    balance_area : bool
        Draw large images more often, in proportion to the square root of their pixels. Reads all labels once.

    Returns
    -------
    tf.data.Dataset
        Of known length, prefetched: float32 images ``(N, H, W, 3)`` in [0, 1], float32 targets ``(N, H, W, C)``.

    Raises
    ------
    InvalidInputError
        An empty dataset, a number out of its range, an unknown target or scaling, a target that gives no (H, W, C), or
        balance without metadata.

    Examples
    --------
    >>> from nucleiseg import datasets
    >>> images = np.zeros((3, 40, 50), np.uint8)
    >>> data = datasets.from_arrays(images, images)
    >>> batches = as_tf_dataset(data, crop=(32, 32), batch_size=2)
    >>> [tuple(image.shape) for image, mask in batches]
    [(2, 32, 32, 3), (1, 32, 32, 3)]
    """
    import_framework("tensorflow", "a tf.data pipeline")
    import tensorflow as tf

    _end_before_python()
    images = check_count(len(data), "the number of images")
    count = images * check_count(crops_per_image, "crops_per_image")
    batch_size = check_count(batch_size, "batch_size")
    if crop is not None:
        crop = check_size(crop, "crop")
    check_count(seed, "seed", 0)
    check_count(first_pass, "first_pass", 0)
    if augmentation is not None:
        check_instance(augmentation, Augmentation, "augmentation", "Augmentation(noise=0.1), or None")
    check_flag(shuffle, "shuffle")
    check_flag(balance_area, "balance_area")
    check_choice(scaling, "scaling", list_scalings())  # threads of TensorFlow would bury the error in pages
    check_target(target)
    draw = _drawer(data, get_target(target) if isinstance(target, str) else target, crop, augmentation, seed, scaling)
    weights = _weights(data, balance, balance_area)
    passes = itertools.count(first_pass)

    def next_pass() -> np.int64:
        return np.int64(next(passes) if shuffle else 0)

    def pair(number: np.int64, position: np.int64) -> _Pair:
        order = _order(seed, int(number), weights, count) if shuffle else range(images)
        index = order[int(position) % len(order)]
        return draw(int(number), int(position), int(index))

    image_shape = (*(crop or (None, None)), 3)
    target_shape = (*(crop or (None, None)), None)

    def load(number: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, wanted = tf.numpy_function(pair, (number, position), (tf.float32, tf.float32), stateful=False)
        return tf.ensure_shape(image, image_shape), tf.ensure_shape(wanted, target_shape)

    def one_pass(_: tf.Tensor) -> tf.data.Dataset:
        number = tf.numpy_function(next_pass, (), tf.int64, stateful=True)
        numbers = tf.data.Dataset.from_tensors(number).repeat(count)
        return tf.data.Dataset.zip((numbers, tf.data.Dataset.range(count)))

    # flat_map runs once for every iterator, which makes one_pass the place that knows a new pass has begun.
    positions = tf.data.Dataset.range(1).flat_map(one_pass)
    pairs = positions.map(load, num_parallel_calls=count_cores(), deterministic=True)
    batches = pairs.batch(batch_size).apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
    return batches.prefetch(_PREFETCHED).with_options(_untuned())


def _untuned() -> tf.data.Options:
    """Without the thread that tunes a pipeline.

    It sleeps for up to a minute, and an iterator can't end before. In long epochs that was seen about every other time:
    training stood still for 40 to 60 seconds.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return options


@lru_cache(maxsize=1)
def _end_before_python() -> None:
    """Have iterators that an error or Ctrl-C left behind destroyed before Python shuts down.

    Later, their threads could no longer enter Python, and the process would wait for them for ever.
    """
    atexit.register(_forget_iterators)


def _forget_iterators() -> None:
    for name in ("last_exc", "last_value", "last_traceback"):  # an uncaught error keeps what its frames held
        vars(sys).pop(name, None)
    gc.collect()


def arrays_to_tf_dataset(
    images: npt.NDArray[Any], masks: npt.NDArray[Any], batch_size: int = 8, shuffle_seed: int | None = None
) -> tf.data.Dataset:
    """Zip full arrays of images and masks into one `tf.data` dataset, batched and prefetched.

    The simplest way there is: both arrays in memory, all images of one size.

    Parameters
    ----------
    images : numpy.ndarray, (N, H, W, 3)
        Normalised images, e.g. from `Dataset.to_arrays` and `nucleiseg.images.rescale`.
    masks : numpy.ndarray, (N, H, W, C)
        As many masks with a channel axis, e.g. from `nucleiseg.images.binarize`.
    batch_size : int
        Images in a batch.
    shuffle_seed : int, optional
        Shuffle anew on every pass, decided by this seed; None keeps the order.

    Returns
    -------
    tf.data.Dataset
        float32 images and masks.

    Raises
    ------
    InvalidInputError
        If the arrays are not 4-D, or differ in number, height or width.

    Examples
    --------
    >>> pairs = arrays_to_tf_dataset(np.zeros((3, 8, 8, 3)), np.zeros((3, 8, 8, 1)), batch_size=2)
    >>> len(pairs)
    2
    """
    import_framework("tensorflow", "a tf.data pipeline")
    import tensorflow as tf

    batch_size = check_count(batch_size, "batch_size")
    if images.ndim != 4 or masks.ndim != 4 or images.shape[:3] != masks.shape[:3]:
        raise InvalidInputError(
            "images must be (N, H, W, C) and masks (N, H, W, C) with the same N, H and W, "
            f"got {images.shape} and {masks.shape}; add the masks' channel axis with nucleiseg.images.binarize"
        )
    features = tf.data.Dataset.from_tensor_slices(tf.constant(images, tf.float32))
    labels = tf.data.Dataset.from_tensor_slices(tf.constant(masks, tf.float32))
    pairs = tf.data.Dataset.zip((features, labels))
    if shuffle_seed is not None:
        pairs = pairs.shuffle(len(images), seed=shuffle_seed)
    return pairs.batch(batch_size).prefetch(_PREFETCHED).with_options(_untuned())


def _drawer(
    data: LabelledImages,
    target: Target,
    crop: tuple[int, int] | None,
    augmentation: Augmentation | None,
    seed: int,
    scaling: str,
) -> Callable[[int, int, int], _Pair]:
    """A function (pass, position, index) → (image, target) that reads, crops, scales and augments one sample."""
    ranges: dict[int, tuple[Bound, Bound]] = {}
    scale, stretch = (augmentation.scale, augmentation.stretch) if augmentation and crop else ((1.0, 1.0), 0.0)

    def draw(number: int, position: int, index: int) -> _Pair:
        sample = data[index]
        if index not in ranges:  # two threads may both compute it; they get the same
            ranges[index] = scaling_range(sample.image, scaling)
        rng = np.random.default_rng((seed, number, position))
        size = crop or sample.labels.shape
        # Where each pixel comes from is cut and turned like labels, and finds the teacher's maps as well.
        labels = number_pixels(sample.labels) if isinstance(sample, TaughtSample) else sample.labels
        image, labels, copies = cut_crop(sample.image, labels, size, ranges[index], rng, scale, stretch)
        if copies is not None and isinstance(sample, TaughtSample):
            labels = number_copies(labels, sample, copies)
        elif copies is not None:
            labels = part_copies(labels, *copies)
        if augmentation is not None:
            image, labels = augment(image, labels, augmentation, rng)
        image = np.ascontiguousarray(image)
        if isinstance(sample, TaughtSample):
            return image, taught_target(labels, sample, target)
        return image, np.asarray(target(labels), np.float32)

    return draw


def _weights(data: LabelledImages, balance: str | None, balance_area: bool) -> tuple[float, ...]:
    """How often each image is to be drawn, up to a factor."""
    groups = _groups(data, balance)
    # The area decides within a group, the number of images between them.
    shares = [float(data[i].labels.size) ** 0.5 if balance_area else 1.0 for i in range(len(data))]
    sizes = Counter(groups)
    totals = dict.fromkeys(sizes, 0.0)
    for group, share in zip(groups, shares, strict=True):
        totals[group] += share
    if balance is None:
        return tuple(shares)
    return tuple(share / totals[group] * sizes[group] ** 0.5 for group, share in zip(groups, shares, strict=True))


def _groups(data: LabelledImages, balance: str | None) -> list[Any]:
    if balance is None:
        return [None] * len(data)
    groups = [row.get(balance) for row in getattr(data, "metadata", ())]
    if len(groups) != len(data) or None in groups:
        raise InvalidInputError(
            f"balance needs {balance!r} in the metadata of every image, and some lack it; "
            "add it with Dataset.with_metadata, or leave balance out"
        )
    return groups


@lru_cache(maxsize=8)
def _order(seed: int, number: int, weights: tuple[float, ...], count: int) -> Sequence[int]:
    """The images of one pass. Systematic sampling: each comes as often as its weight says, rounded up or down."""
    rng = np.random.default_rng((seed, number))
    shuffled = rng.permutation(len(weights))
    upto = np.cumsum(np.asarray(weights)[shuffled])
    # Half a step away from the edges where all weights are equal, so that rounding can't draw an image twice.
    points = (np.arange(count) + (rng.random() if len(set(weights)) > 1 else 0.5)) * upto[-1] / count
    drawn = shuffled[np.minimum(np.searchsorted(upto, points, side="right"), len(weights) - 1)]
    order: list[int] = rng.permutation(drawn).tolist()
    return order
