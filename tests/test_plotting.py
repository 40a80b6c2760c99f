"""Pictures: their files, what they say, and that bad input is refused."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from PIL import Image

from nucleiseg.errors import InvalidInputError
from nucleiseg.plotting import History, Row, plot_architecture, plot_predictions
from nucleiseg.plotting._layer_list import list_lines
from nucleiseg.plotting._unet_parts import encoder_stages, find_unet


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def words(path):
    """Every line of text in an SVG picture: matplotlib writes each as a comment beside its outlines."""
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", Path(path).read_text(encoding="utf-8"))]


# History


def training_rows(count=6, first_fine_tuned=4):
    return tuple(
        {
            "epoch": epoch,
            "phase": "fine-tune" if epoch >= first_fine_tuned else "frozen",
            "loss": 1 / epoch,
            "val_loss": 1 / epoch + 0.1,
            "pixel_accuracy": 1 - 0.2 / epoch,
            "val_pixel_accuracy": 1 - 0.3 / epoch,
            "dice": 1 - 0.5 / epoch,
            "val_dice": 0.9 - abs(epoch - 5) / 10,
        }
        for epoch in range(1, count + 1)
    )


@pytest.mark.parametrize(
    ("extra", "best"),
    [
        ({"val_dice": (0.5, 0.8, 0.8), "val_loss": (1, 2, 3)}, 20),
        ({"val_dice": (math.nan, math.nan, math.nan), "val_loss": (3, 2, 4)}, 20),
        ({"val_dice": (math.nan, 0.1, math.inf)}, 20),
        ({"val_loss": (5, 4, 3)}, 30),
        ({}, 10),
        ({"loss": (math.nan, math.nan, math.nan)}, 10),
        ({"val_dice": (3, 2, 1), "val_ap": (0.1, 0.3, 0.2), "monitor": ("val_ap",) * 3}, 20),
        ({"val_dice": (3, 2, 1), "val_loss": (0.1, 0.3, 0.05), "monitor": ("val_loss",) * 3}, 30),
        ({"val_dice": (1, 2, 1), "val_ap": (math.nan,) * 3, "monitor": ("val_ap",) * 3}, 20),
        ({"val_dice": (1, 3, 2), "monitor": ("a column that is not there",) * 3}, 20),
    ],
)
def test_the_best_epoch_is_by_the_monitor_else_validation_dice_then_loss_and_never_nan(extra, best):
    columns = {"epoch": (10, 20, 30), "loss": (0.1, 0.2, 0.3), **extra}
    history = History(tuple(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)))
    assert history.best_epoch == best


def test_a_history_is_short_to_print():
    assert repr(History(training_rows())) == "History(6 epochs, best epoch 5: val_dice 0.9000)"
    assert repr(History(({"epoch": 1, "loss": 2},))) == "History(1 epoch, best epoch 1: loss 2.0000)"


def test_of_a_run_that_keeps_its_last_epoch_nothing_is_called_best():
    rows = [{**row, "monitor": "epoch"} for row in training_rows()]
    assert repr(History(rows)) == "History(6 epochs, the last one is kept)"
    assert History(rows).best_epoch == 6


def test_curves_of_such_a_run_mark_the_last_epoch(tmp_path):
    rows = [{**row, "monitor": "epoch"} for row in training_rows()]
    assert "epoch that is kept, the last" in words(History(tuple(rows)).plot(tmp_path / "curves.svg"))


def test_a_run_that_began_without_a_monitor_is_judged_by_the_one_it_went_on_with():
    rows = [{"epoch": epoch, "loss": 0.5, "val_dice": -epoch, "val_ap": 5 - epoch % 3} for epoch in (1, 2, 3)]
    assert History(tuple(rows)).best_epoch == 1
    rows[2]["monitor"] = "val_ap"
    history = History(tuple(rows))
    assert (history.best_epoch, history.monitor) == (3, "val_ap")
    assert repr(history) == "History(3 epochs, best epoch 3: val_ap 5.0000)"


def test_a_history_keeps_its_own_plain_rows():
    row = {"epoch": np.int64(1), "loss": np.float32(0.5)}
    history = History((row,))
    row["loss"] = 7
    assert history.rows == ({"epoch": 1, "loss": 0.5},)
    assert [type(value) for value in history.rows[0].values()] == [int, float]


def test_the_table_has_a_row_an_epoch_and_nan_for_gaps():
    table = History(({"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4, "val_loss": 0.6})).table()
    assert list(table.columns) == ["epoch", "loss", "val_loss"]
    assert len(table) == 2
    assert math.isnan(table["val_loss"][0])


numbers = st.floats(allow_nan=False)
rows = st.dictionaries(st.sampled_from(["val_loss", "dice", "seconds", 'an odd, "name"']), numbers).flatmap(
    lambda others: st.fixed_dictionaries(
        {"loss": numbers},
        optional={
            "phase": st.sampled_from(["frozen", "fine-tune", 'one, "two"', "déjà vu"]),
            "monitor": st.sampled_from(["val_dice", "val_ap", "loss"]),
        },
    ).map(lambda row: {**row, **others})
)


@given(st.lists(rows, min_size=1, max_size=5), st.integers(-3, 10**9))
@settings(max_examples=40, deadline=None)
def test_a_history_read_back_from_csv_is_the_same(found, first):
    history = History(tuple({"epoch": first + index, **row} for index, row in enumerate(found)))
    with tempfile.TemporaryDirectory() as folder:
        path = history.to_csv(Path(folder) / "new" / "history.csv")
        assert History.from_csv(path) == history


def test_nan_survives_csv(tmp_path):
    path = History(({"epoch": 1, "loss": math.nan},)).to_csv(tmp_path / "history.csv")
    assert math.isnan(History.from_csv(path).rows[0]["loss"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((), "at least one row"),
        (({"loss": 1},), "'epoch'"),
        (({"epoch": 1},), "'loss'"),
        (({"epoch": 1, "loss": 1}, {"epoch": 1, "loss": 1}), "increase"),
        (({"epoch": 1.5, "loss": 1},), "whole number"),
        (({"epoch": math.inf, "loss": 1},), "whole number"),
        (({"epoch": 1, "loss": "low"},), "loss must be a number"),
        (({"epoch": 1, "loss": None},), "loss must be a number"),
        (({"epoch": 1, "loss": [1, 2]},), "loss must be a number"),
        (({"epoch": 1, "loss": 1, "phase": 3},), "phase must be printable text"),
        (({"epoch": 1, "loss": 1, "phase": ""},), "phase must be printable text"),
        (({"epoch": 1, "loss": 1, "monitor": 0.5},), "monitor must be printable text"),
        (({"epoch": 1, "loss": 1, "two\nlines": 3},), "printable name"),
    ],
)
def test_bad_rows_are_refused(bad, message):
    with pytest.raises(InvalidInputError, match=message):
        History(bad)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at least one row"),
        (b"epoch,loss\n1,low\n", "row 1: loss must be a number"),
        (b"epoch,loss\n1.5,1\n", "row 1: epoch must be a number"),
        (b"epoch,loss\n1,2,3\n", "row 2 must have 2 cells, got 3"),
        (b"\xff\xfe\x00", "not a CSV file"),
        (b'epoch,loss\n1,"2\n', "not a CSV file"),
    ],
)
def test_a_file_that_holds_no_history_is_refused(tmp_path, content, message):
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        History.from_csv(path)


def test_a_missing_history_file_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="not a file"):
        History.from_csv(tmp_path / "none.csv")


def test_curves_say_what_was_best_and_when_fine_tuning_began(tmp_path):
    text = words(History(training_rows()).plot(tmp_path / "curves.svg"))
    for expected in ("Loss", "Pixel accuracy", "Dice", "training", "validation", "fine-tuning", "best epoch, by Dice"):
        assert expected in text
    assert "epoch 5: 0.9000" in text


def test_curves_of_average_precision_share_a_panel_and_mark_the_epoch_that_was_kept(tmp_path):
    rows = [{**row, "val_ap50": 0.8, "val_ap": 0.1 * row["epoch"], "monitor": "val_ap"} for row in training_rows()]
    text = words(History(tuple(rows)).plot(tmp_path / "curves.svg"))
    for expected in ("AP", "at IoU .5", "mean of .5 to .95", "best epoch, by AP, mean of .5 to .95"):
        assert expected in text
    assert "epoch 6: 0.8000, 0.6000" in text
    assert not [line for line in text if line.startswith("epoch 5")]


def test_curves_show_only_what_was_recorded(tmp_path):
    text = words(History(({"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4})).plot(tmp_path / "curves.svg"))
    assert "Loss" in text
    assert not {"Dice", "Pixel accuracy", "AP", "validation", "fine-tuning"} & set(text)


def test_curves_of_one_epoch_and_of_a_run_that_diverged(tmp_path):
    one = History(training_rows(1)).plot(tmp_path / "one.png")
    assert picture_size(one)[0] > 900
    diverged = History(tuple({"epoch": epoch, "loss": math.nan, "dice": math.inf} for epoch in (1, 2)))
    assert diverged.plot(tmp_path / "diverged.png").is_file()


# Architecture


def small_encoder(name="small", strides=5):
    image = keras.Input((None, None, 3))
    x, taps = image, []
    for stage in range(1, strides + 1):
        x = layers.Conv2D(4 * stage, 3, strides=2, padding="same", name=f"block_{stage}_conv")(x)
        x = layers.Add(name=f"block_{stage}_add")([x, layers.ReLU(name=f"{name}_{stage}_relu")(x)])
        taps.append(x)
    return keras.Model(image, taps, name=name)


def small_unet(encoder, image_skip=True):
    image = keras.Input((None, None, 3), name="image")
    *skips, x = encoder(image)
    for stride, skip in zip((16, 8, 4, 2, 1), [*skips[::-1], image if image_skip else None], strict=True):
        block = [layers.Conv2DTranspose(4, 3, strides=2, padding="same"), layers.BatchNormalization(), layers.ReLU()]
        x = keras.Sequential(block, name=f"up_{stride}")(x)
        if skip is not None:
            x = layers.Concatenate(name=f"join_{stride}")([x, skip])
    maps = layers.Conv2D(2, 1, activation="sigmoid", name="result")(x)
    return keras.Model(image, maps, name="small_unet")


@pytest.fixture(scope="module")
def model():
    return small_unet(small_encoder())


def test_the_parts_of_a_unet_are_found_by_structure(model):
    parts = find_unet(model)
    assert parts.encoder.name == "small"
    assert [stage.stride for stage in parts.stages] == [2, 4, 8, 16, 32]
    assert [stage.shape for stage in parts.stages][-1] == (8, 8, 20)
    assert (parts.decoder[0].stride, parts.decoder[0].shape) == (16, (16, 16, 4))
    assert [stage.skip.name for stage in parts.decoder] == ["join_16", "join_8", "join_4", "join_2", "join_1"]
    assert parts.decoder[-1].skip.shape == (256, 256, 7)
    assert [call.name for call in parts.head] == ["result"]
    total = sum(stage.parameters for stage in (*parts.stages, *parts.decoder))
    assert total + parts.head[0].parameters == model.count_params()


def test_a_diagram_shows_stages_shapes_and_parameters(model, tmp_path):
    text = words(plot_architecture(model, tmp_path / "unet.svg"))
    for expected in ("U-Net on small", "stride 32", "up_16", "result", "Concatenate"):
        assert expected in text
    assert any("64 × 64 × 8" in line for line in text)
    assert any(line.endswith("of them trainable") for line in text)


def test_an_encoder_that_is_used_in_two_models_can_be_drawn_in_each(tmp_path):
    encoder = small_encoder("shared")
    first, second = small_unet(encoder), small_unet(encoder)
    for number, model in enumerate((first, second)):
        assert "U-Net on shared" in words(plot_architecture(model, tmp_path / f"{number}.svg"))


def test_a_frozen_encoder_is_called_frozen(tmp_path):
    encoder = small_encoder()
    encoder.trainable = False
    assert any(line.endswith("frozen") for line in words(plot_architecture(small_unet(encoder), tmp_path / "unet.svg")))


def test_a_fixed_input_size_is_the_size_shown(tmp_path):
    image = keras.Input((64, 96, 1))
    fine = layers.Conv2D(2, 3, strides=2, padding="same")(image)
    coarse = layers.Conv2D(2, 3, strides=2, padding="same")(fine)
    text = words(plot_architecture(keras.Model(image, [fine, coarse]), tmp_path / "encoder.svg", "encoder"))
    assert "16 × 24 × 2" in text


def test_a_decoder_with_layers_at_the_deepest_stride_and_the_image_preprocessed(tmp_path):
    image = keras.Input((None, None, 3))
    fine, coarse = small_encoder(strides=2)(layers.Rescaling(2.0, name="to_its_range")(image))
    x = layers.Conv2D(8, 3, padding="same", name="bottom")(coarse)
    x = layers.UpSampling2D(name="up")(x)
    x = layers.Conv2D(8, 3, padding="same", name="mix")(x)
    x = layers.Concatenate()([x, fine])
    model = keras.Model(image, layers.Activation("sigmoid")(layers.Conv2D(1, 1, name="last")(x)))
    parts = find_unet(model)
    assert [stage.stride for stage in parts.decoder] == [4, 2]
    assert [call.name for call in parts.before] == ["to_its_range"]
    assert parts.head[0].name == "last"
    assert "to_its_range" in words(plot_architecture(model, tmp_path / "unet.svg"))


def test_the_encoder_is_divided_at_its_outputs_and_into_blocks(model, tmp_path):
    shape, stages = encoder_stages(model.get_layer("small"))
    assert shape == (256, 256, 3)
    # The ReLU has no block in its name, but lies within one.
    assert [[call.name for call in block] for block in stages[0].blocks()] == [
        ["block_1_conv", "small_1_relu", "block_1_add"]
    ]
    text = words(plot_architecture(model, tmp_path / "encoder.svg", part="encoder"))
    assert "Encoder small" in text
    assert "block_3  (3)" in text
    assert "1 Conv2D, 1 ReLU, 1 Add" in text
    assert text == words(plot_architecture(model.get_layer("small"), tmp_path / "alone.svg", part="encoder"))


def test_every_layer_is_listed_once_with_its_inputs(model):
    lines, taps = list_lines(model)
    numbered = [line for line in lines if line.number]
    assert [line.number for line in numbered] == list(range(1, len(numbered) + 1))
    assert sum(line.parameters for line in numbered) == model.count_params()
    assert {numbered[number - 1].name for number in taps} == {f"block_{stage}_add" for stage in range(1, 6)}
    by_name = {line.name: line for line in numbered}
    assert by_name["join_1"].inputs[1] == by_name["image"].number
    assert by_name["join_16"].inputs[1] == by_name["block_4_add"].number


def test_a_shared_layer_counts_its_parameters_once():
    image = keras.Input((None, None, 3))
    twice = layers.Conv2D(3, 1, name="twice")
    lines, _ = list_lines(keras.Model(image, twice(twice(image))))
    assert [line.parameters for line in lines] == [0, 12, 0]


@pytest.mark.parametrize("part", ["unet", "encoder"])
def test_layers_are_drawn_for_a_long_and_a_short_model(model, tmp_path, part):
    wide, _ = picture_size(plot_architecture(model, tmp_path / "layers.png", part, detail="layers"))
    assert (wide > 1500) == (part == "unet")


def test_any_functional_model_can_be_listed(tmp_path):
    plain = keras.Sequential([keras.Input((32, 32, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)])
    assert "flatten" in " ".join(words(plot_architecture(plain, tmp_path / "a.svg", detail="layers", title="T")))


def test_pictures_are_small_files(model, tmp_path):
    for part in ("unet", "encoder"):
        path = plot_architecture(model, tmp_path / f"{part}.png", part)
        assert path.stat().st_size < 200_000
        assert picture_size(path)[0] > 900


def test_a_residual_block_of_the_decoder_is_part_of_its_stage():
    from nucleiseg.networks import get_encoder, unet

    model = unet(get_encoder("residual_small", weights=None), widths=(8, 8, 8, 8, 4), refine=True)
    last = find_unet(model).decoder[-1]
    assert last.stride == 1
    names = [call.name for call in last.calls]
    assert names[0] == "upsample_1"
    inside = ("1_conv", "1_norm", "1_relu", "2_conv", "2_norm", "add", "relu")
    assert names[-7:] == [f"refine_{name}" for name in inside]


def not_a_unet(kind):
    image = keras.Input((None, None, 3))
    if kind == "no encoder":
        return keras.Model(image, layers.Conv2D(1, 3)(image))
    fine, coarse = small_encoder(strides=2)(image)
    up = layers.UpSampling2D()
    conv = layers.Conv2D(12, 1)
    if kind == "two outputs":
        return keras.Model(image, [up(coarse), fine])
    if kind == "a branch":
        path = up(coarse)
        return keras.Model(image, conv(layers.Concatenate()([path, layers.ReLU()(path)])))
    if kind == "skips only":
        return keras.Model(image, conv(layers.Concatenate()([fine, fine])))
    if kind == "no decoder":
        return keras.Model(image, conv(coarse))
    if kind == "the encoder alone":
        return keras.Model(image, coarse)
    if kind == "down again":
        return keras.Model(image, conv(layers.MaxPooling2D()(up(coarse))))
    inner = keras.Input((None, None, 3))
    outputs = [layers.MaxPooling2D()(inner), inner] if kind == "coarse first" else [inner, layers.MaxPooling2D()(inner)]
    return keras.Model(image, conv(up(keras.Model(inner, outputs)(image)[0])))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no encoder", "must hold an encoder"),
        ("two outputs", "one output, got 2"),
        ("a branch", "got a branch at layer"),
        ("skips only", "got a branch at layer"),
        ("no decoder", "from coarse to fine"),
        ("the encoder alone", "from coarse to fine"),
        ("down again", "from coarse to fine"),
        ("coarse first", "from fine to coarse"),
        ("the input is a tap", "from fine to coarse"),
    ],
)
def test_a_model_of_another_structure_is_refused_with_a_way_out(tmp_path, kind, message):
    model = not_a_unet(kind)
    with pytest.raises(InvalidInputError, match=message) as caught:
        plot_architecture(model, tmp_path / "unet.png")
    assert 'detail="layers"' in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert plot_architecture(model, tmp_path / "unet.png", detail="layers").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "decoder"}, "unknown part 'decoder'"),
        ({"detail": "layer"}, "did you mean 'layers'"),
        ({"path": "unet.gif"}, "unknown picture suffix '.gif'"),
        ({"model": "unet"}, "functional keras.Model, got str"),
    ],
)
def test_bad_arguments_of_plot_architecture_are_refused(model, tmp_path, arguments, message):
    arguments = {"model": model, "path": "unet.png", **arguments}
    with pytest.raises(InvalidInputError, match=message):
        plot_architecture(**{**arguments, "path": tmp_path / arguments["path"]})


def test_a_model_of_something_else_than_images_is_refused(tmp_path):
    vector = keras.Input((3,))
    with pytest.raises(InvalidInputError, match="one image input"):
        plot_architecture(keras.Model(vector, layers.Dense(1)(vector)), tmp_path / "a.png", detail="layers")


# Contact sheets


def sample(height=40, width=60, title="a sample", dtype=np.uint16):
    truth = np.zeros((height, width), np.int32)
    truth[5:15, 5:15] = 1
    predicted = np.zeros((height, width), bool)
    predicted[5:15, 10:20] = True
    return Row(title, (truth * 1000).astype(dtype), truth, predicted)


def colours(path):
    with Image.open(path) as picture:
        return {color for _, color in picture.convert("RGB").getcolors(1 << 24)}


def test_a_sheet_shows_a_row_for_each_sample(tmp_path):
    one = plot_predictions([sample()], tmp_path / "one.png")
    three = plot_predictions([sample(), sample(500, 300), sample(30, 600, "wide")], tmp_path / "three.png")
    assert picture_size(one)[0] == picture_size(three)[0]
    assert picture_size(three)[1] > 2 * picture_size(one)[1]
    text = words(plot_predictions([sample()], tmp_path / "sheet.svg"))
    assert text == ["image", "true mask", "predicted mask", "a sample"]


def test_agreement_is_coloured_and_explained(tmp_path):
    columns = ("true mask", "agreement", "overlay")
    text = words(plot_predictions([sample()], tmp_path / "sheet.svg", columns))
    assert {"missed", "agreement"} <= set(text)
    found = colours(plot_predictions([sample()], tmp_path / "sheet.png", columns))
    for wanted in ((0x56, 0xB4, 0xE9), (0xD5, 0x5E, 0x00)):
        assert min(np.abs(np.subtract(wanted, color)).max() for color in found) < 12


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_images_of_any_dtype_are_shown_at_full_contrast(tmp_path, dtype):
    found = colours(plot_predictions([sample(dtype=dtype)], tmp_path / "sheet.png", ("image",)))
    assert (0, 0, 0) in found


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_number_of_channels_are_shown(tmp_path, channels):
    mask = np.eye(20, dtype=int)
    image = np.repeat(mask[..., np.newaxis], channels, axis=2)
    assert plot_predictions([Row("x", image, mask, mask)], tmp_path / "sheet.png", ["image", "overlay"]).is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros(3)}, r"image must be \(H, W\)"),
        ({"truth": np.zeros((4, 4))}, "truth must be integers"),
        ({"predicted": np.zeros((4, 5), int)}, "image and predicted must have the same"),
        ({"truth": np.zeros((5, 4), int)}, "image and truth must have the same"),
    ],
)
def test_bad_samples_are_refused(changes, message):
    good = {"title": "t", "image": np.zeros((4, 4)), "truth": np.zeros((4, 4), int), "predicted": np.zeros((4, 4), int)}
    with pytest.raises(InvalidInputError, match=message):
        Row(**{**good, **changes})


@pytest.mark.parametrize(
    ("samples", "columns", "message"),
    [(0, ("image",), "must have a sample"), (1, (), "must have a sample"), (1, ("masks",), "unknown column 'masks'")],
)
def test_a_sheet_of_nothing_is_refused(tmp_path, samples, columns, message):
    with pytest.raises(InvalidInputError, match=message):
        plot_predictions([sample()] * samples, tmp_path / "sheet.png", columns)


# All of them


def test_a_failed_picture_leaves_the_old_one(tmp_path, monkeypatch):
    path = History(training_rows()).plot(tmp_path / "curves.png")
    before = path.read_bytes()

    def full_disk(*arguments, **options):
        raise OSError("no space left")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full_disk)
    with pytest.raises(OSError, match="no space"):
        History(training_rows(2)).plot(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_importing_is_cheap_and_drawing_leaves_pyplot_alone(tmp_path):
    code = f"""
import sys
from nucleiseg.plotting import History
heavy = {{"keras", "tensorflow", "matplotlib", "pandas"}} & set(sys.modules)
assert not heavy, heavy
import matplotlib
def parameters():
    # Asking for the backend would choose one and so import pyplot.
    return {{name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}}
before = parameters()
History(({{"epoch": 1, "loss": 1.0}},)).plot({str(tmp_path / "curves.png")!r})
assert "matplotlib.pyplot" not in sys.modules
assert parameters() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
