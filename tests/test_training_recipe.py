"""Recipes: a training run as a readable file."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.modelfile import read_settings
from nucleiseg.pretrained import list_pretrained, model_card, pretrained_path, pretrained_recipe
from nucleiseg.training import Augmentation, FitOptions, Recipe, read_recipe

ALL = """
[data]
path = "cells.zip"
splits = "tables/splits.csv"

[network]
encoder = "vgg16"
weights = "none"
head = "distance"
loss = "focal"
upsampling = "resize_conv"
widths = [64, 32, 16, 8, 8]
scaling = "minmax"
seed = 3

[training]
epochs = 7
batch_size = 4
crop = [96, 128]
balance = "modality"
frozen_epochs = 0
learning_rate = 0.01
fine_tune_rate = 0.001
patience = 2

[augmentation]
invert = 0.0
scale = [0.9, 1.1]

[output]
half = true
"""


def write(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_in_the_file_arrives(tmp_path):
    assert read_recipe(write(tmp_path, ALL)) == Recipe(
        data=str(tmp_path / "cells.zip"),
        splits=str(tmp_path / "tables" / "splits.csv"),
        network={
            "encoder": "vgg16",
            "weights": None,
            "head": "distance",
            "loss": "focal",
            "upsampling": "resize_conv",
            "widths": (64, 32, 16, 8, 8),
            "scaling": "minmax",
            "seed": 3,
        },
        epochs=7,
        options=FitOptions(
            batch_size=4,
            crop=(96, 128),
            augmentation=Augmentation(invert=0.0, scale=(0.9, 1.1)),
            balance="modality",
            frozen_epochs=0,
            learning_rate=0.01,
            fine_tune_rate=0.001,
            patience=2,
        ),
        half=True,
    )


def test_an_empty_file_is_the_defaults(tmp_path):
    assert read_recipe(write(tmp_path, "")) == Recipe()


def test_augmentation_can_be_switched_off(tmp_path):
    assert read_recipe(write(tmp_path, "[augmentation]\nnone = true")).options.augmentation is None


@pytest.mark.parametrize(("weights", "means"), [("imagenet", "imagenet"), ("None", None), ("my.h5", "my.h5")])
def test_a_weights_file_lies_beside_the_recipe(tmp_path, weights, means):
    recipe = read_recipe(write(tmp_path, f'[network]\nweights = "{weights}"'))
    assert recipe.network["weights"] == (str(tmp_path / "my.h5") if means == "my.h5" else means)


@pytest.mark.parametrize(
    ("start", "means"), [("nuclei", "nuclei"), *((name, f"FOLDER/{name}") for name in ("first.keras", "first.toml"))]
)
def test_a_model_to_start_from_is_a_shipped_one_or_lies_beside_the_recipe(tmp_path, start, means):
    recipe = read_recipe(write(tmp_path, f'[training]\nstart = "{start}"'))
    assert recipe.start == means.replace("FOLDER", str(tmp_path))


def test_a_teacher_is_the_start_a_shipped_model_or_lies_beside_the_recipe(tmp_path):
    text = '[training]\nstart = "nuclei"\nteaching = 0.25\nteacher = '
    for teacher, means in (("start", "start"), ("nuclei", "nuclei"), ("large.onnx", str(tmp_path / "large.onnx"))):
        recipe = read_recipe(write(tmp_path, f'{text}"{teacher}"'))
        assert (recipe.teacher, recipe.teaching) == (means, 0.25)


def test_a_network_beside_a_model_to_start_from_is_what_it_grows_by(tmp_path):
    text = '[network]\nencoder = "residual_deep"\nrefine = true\nseed = 1\n[training]\nstart = "nuclei"'
    recipe = read_recipe(write(tmp_path, text))
    assert recipe.start == "nuclei"
    assert recipe.network == {"encoder": "residual_deep", "refine": True, "seed": 1}


CHANGES = {item.name: item.default for item in fields(Augmentation) if isinstance(item.default, float)}


@given(st.dictionaries(st.sampled_from(sorted(CHANGES)), st.floats(0, 1)))
def test_what_is_written_is_read(tmp_path_factory, changes):
    text = "\n".join(["[augmentation]", *(f"{name} = {value!r}" for name, value in changes.items())])
    found = read_recipe(write(tmp_path_factory.mktemp("recipe"), text)).options.augmentation
    assert asdict(found) == {**asdict(Augmentation()), **changes}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[nonsense", r"must be a TOML file"),
        ("[netwrok]\nhead = 'distance'", r"unknown table 'netwrok'; did you mean 'network'\?"),
        ("network = 3", r"network must be a table, got 3; write \[network\]"),
        ("[training]\nepoch = 3", r"unknown key in \[training\] 'epoch'; did you mean 'epochs'\?"),
        ("[training]\naugmentation = 3", r"unknown key in \[training\] 'augmentation'"),
        ("[training]\nteaching = 1.5", r"teaching must be a number from 0 to 1, got 1.5"),
        ('[training]\nteacher = "start"', r"is the model that training starts from, got none; name it as start"),
        ("[training]\nteacher = 3", r'teacher must be text, got 3; write teacher = "a path"'),
        ("[network]\ndeterministic = 1", r"deterministic must be true or false, got 1"),
        ("[network]\nwidths = 8", r"widths must be whole numbers, such as .*, got 8"),
        ("[training]\nepochs = 0", r"epochs must be a whole number of at least 1, got 0"),
        ("[training]\ncrop = [100, 100]", r"crop must be multiples of 32"),
        ("[augmentation]\nflips = true", r"unknown key in \[augmentation\] 'flips'; did you mean 'flip'\?"),
        ("[augmentation]\nnoise = 'much'", r"noise must be a number from 0 to 1, got 'much'"),
        ("[training]\nfreeze_statistics = 'false'", "freeze_statistics must be true or false, got 'false'"),
        ("[augmentation]\nnone = 'no'", "none must be true or false, got 'no'"),
        ("[output]\nhalf = 1", r"half must be true or false, got 1"),
        ("[data]\npath = 3", r"path must be text, got 3"),
        ("[training]\nstart = 3", r"start must be text, got 3"),
        (
            "[training]\nstart = 'a.keras'\n[network]\nseed = 1",
            r"its own network, got seed beside .*a\.keras; leave out .* or let it grow by encoder or refine alone",
        ),
        (
            "[training]\nstart = 'a.keras'\n[network]\nrefine = true\nhead = 'contact'",
            r"its own network, got refine, head beside .*a\.keras; leave out",
        ),
    ],
)
def test_mistakes_name_the_file_and_the_remedy(tmp_path, text, message):
    with pytest.raises(InvalidInputError, match=rf"the recipe .*recipe\.toml.*{message}"):
        read_recipe(write(tmp_path, text))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InvalidInputError, match=r"recipe .*none\.toml cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="must be a TOML file"):
        read_recipe(tmp_path / "recipe.toml")


def test_an_unknown_argument_of_the_network_is_told():
    with pytest.raises(InvalidInputError, match=r"unknown argument of the network 'depth'"):
        Recipe(network={"depth": 4})


@pytest.mark.parametrize("name", list_pretrained())
def test_every_shipped_model_has_its_recipe(name):
    recipe = read_recipe(pretrained_recipe(name))
    assert recipe.data is not None
    assert recipe.splits is not None


@pytest.mark.parametrize("name", list_pretrained())
def test_every_shipped_model_is_what_its_recipes_make(name):
    recipes = [read_recipe(pretrained_recipe(name))]
    while recipes[0].start is not None:
        recipes.insert(0, read_recipe(recipes[0].start))
    network = {key: value for recipe in recipes for key, value in recipe.network.items()}
    settings = read_settings(pretrained_path(name))["segmenter"]
    settings = {"refine": False, **settings, "widths": tuple(settings["widths"])}
    assert {key: settings[key] for key in network} == network
    told = model_card(name)["training"]
    assert told["epochs"] == [recipe.epochs for recipe in recipes]
    assert told["seeds"] == {"nuclei": [0, 0, 0, 0, 2], "nuclei-fast": [0, 1]}[name]
