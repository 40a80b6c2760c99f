"""The state of a run on disk: nothing is lost, damage is noticed, and other runs are told apart."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg import datasets
from nucleiseg.errors import InvalidInputError
from nucleiseg.training.checkpoints import Checkpoint, RunState
from nucleiseg.training.fingerprints import describe_images

LAW = settings(max_examples=40, deadline=None)
SETTINGS = {"epochs": 9, "crop": (64, 64), "encoder": "tiny", "augmentation": {"flip": True, "blur": 1.5}}
VARIABLES = st.lists(
    hnp.arrays(
        st.sampled_from([np.float32, np.float16, np.int32]), hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)
    ),
    max_size=12,
).map(tuple)
STATES = st.builds(
    RunState,
    rows=st.lists(st.fixed_dictionaries({"epoch": st.integers(1, 99), "loss": st.floats(0, 9)}), max_size=3).map(tuple),
    phase=st.integers(0, 1),
    phase_epochs=st.integers(0, 99),
    waited=st.integers(0, 9),
    best_score=st.none() | st.floats(-9, 9),
    model=VARIABLES,
    optimizer=VARIABLES,
    best_model=VARIABLES,
)


def state(epochs):
    """What is known after so many epochs."""
    values = (np.full((3, 2), epochs, np.float32), np.arange(4) + epochs)
    rows = tuple({"epoch": epoch + 1, "loss": 0.5} for epoch in range(epochs))
    return RunState(rows, phase_epochs=epochs, best_score=0.5, model=values, optimizer=values[::-1], best_model=values)


def assert_equal(one, other):
    for field in fields(RunState):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("model", "optimizer", "best_model"):
            for a, b in zip(first, second, strict=True):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
        else:
            assert first == second


@pytest.fixture
def checkpoint(tmp_path):
    """Of a run of two epochs."""
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(state(1), SETTINGS)
    checkpoint.save(state(2), SETTINGS)
    return checkpoint


@LAW
@given(STATES)
def test_what_is_saved_is_loaded(tmp_path_factory, saved):
    checkpoint = Checkpoint(tmp_path_factory.mktemp("run"))
    checkpoint.save(saved, SETTINGS)
    assert_equal(checkpoint.load(SETTINGS), saved)


def test_what_was_the_same_for_all_when_it_was_saved_needs_not_be_told(tmp_path):
    """By a version that did not know the setting."""
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(state(1), SETTINGS)
    assert_equal(checkpoint.load({**SETTINGS, "refine": False}), state(1))
    with pytest.raises(InvalidInputError, match=r"\(refine was False, is True\)"):
        checkpoint.load({**SETTINGS, "refine": True})


def test_before_the_first_epoch_there_is_nothing(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run")
    assert not checkpoint.exists()
    assert checkpoint.load(SETTINGS) is None
    assert not (tmp_path / "run").exists()


def test_the_newest_two_are_kept(checkpoint):
    checkpoint.save(state(3), SETTINGS)
    assert sorted(path.name for path in checkpoint.folder.iterdir()) == ["last.npz", "previous.npz"]
    assert_equal(checkpoint.load(SETTINGS), state(3))
    (checkpoint.folder / "last.npz").unlink()
    assert checkpoint.exists()
    assert_equal(checkpoint.load(SETTINGS), state(2))


@LAW
@given(data=st.data())
def test_whatever_the_damage_the_one_before_is_taken(tmp_path_factory, data):
    checkpoint = Checkpoint(tmp_path_factory.mktemp("run"))
    checkpoint.save(state(1), SETTINGS)
    checkpoint.save(state(2), SETTINGS)
    last = checkpoint.folder / "last.npz"
    content = bytearray(last.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:position]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    last.write_bytes(content)
    loaded = checkpoint.load(SETTINGS)
    # A byte that carries nothing (a date, for instance) may change without harm.
    assert_equal(loaded, state(len(loaded.rows)))
    assert len(loaded.rows) in (1, 2)


def test_an_array_of_another_name_is_damage(checkpoint):
    """Which checksums of the archive do not find; arrays are put in order by name."""
    last = checkpoint.folder / "last.npz"
    content = last.read_bytes()
    assert content.count(b"model_00000.npy") >= 2
    last.write_bytes(content.replace(b"model_00000.npy", b"model_00009.npy"))
    assert_equal(checkpoint.load(SETTINGS), state(1))


def test_a_directory_that_ends_early_is_damage(checkpoint):
    """The length of a comment in an archive's directory: the entries that follow are taken for the comment."""
    last = checkpoint.folder / "last.npz"
    content = bytearray(last.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"PK\x01\x02"))
    content[entry + 32] ^= 128
    last.write_bytes(content)
    assert_equal(checkpoint.load(SETTINGS), state(1))


def test_damage_is_logged(checkpoint, caplog):
    (checkpoint.folder / "last.npz").write_bytes(b"no archive")
    checkpoint.load(SETTINGS)
    (record,) = caplog.records
    assert "last.npz is damaged and is passed over" in record.getMessage()


def test_if_all_are_damaged_the_error_says_so(checkpoint):
    for name in ("last.npz", "previous.npz"):
        (checkpoint.folder / name).write_bytes(b"")
    with pytest.raises(
        InvalidInputError, match=r"no checkpoint in .*run can be read \(last.npz: .*previous.npz: .*del"
    ):
        checkpoint.load(SETTINGS)


def test_a_full_disk_leaves_what_was_saved(checkpoint, monkeypatch):
    def fail(file, **arrays):
        file.write_bytes(b"half of")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(state(3), SETTINGS)
    monkeypatch.undo()
    assert sorted(path.name for path in checkpoint.folder.iterdir()) == ["last.npz", "previous.npz"]
    assert_equal(checkpoint.load(SETTINGS), state(2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 8}, r"\(epochs was 9, is 8\)"),
        ({"crop": (64, 32)}, r"\(crop was \[64, 64\], is \[64, 32\]\)"),
        ({"augmentation": {"flip": True, "blur": 2}}, r"\(augmentation.blur was 1.5, is 2\)"),
        ({"augmentation": None}, r"\(augmentation was {.*}, is None\)"),
        ({"encoder": "vgg16", "epochs": 8}, r"\(encoder was 'tiny', is 'vgg16', epochs was 9, is 8\)"),
        ({"head": "distance"}, r"\(head was None, is 'distance'\)"),
    ],
)
def test_a_run_with_other_settings_is_named(checkpoint, changed, message):
    with pytest.raises(InvalidInputError, match=rf"{message}; use the same, or delete the folder to start anew$"):
        checkpoint.load({**SETTINGS, **changed})


# ---- Which images a run learned from. ----


def images(count=3, ids=None, pixel=1, label=1, dtype=np.uint8):
    return datasets.from_arrays(np.full((count, 4, 4), pixel, dtype), np.full((count, 4, 4), label), ids)


def test_equal_images_have_one_description():
    assert describe_images(images()) == describe_images(images())
    assert describe_images(images()).startswith("3 images with the fingerprint ")


@pytest.mark.parametrize(
    "others",
    [
        images(count=4),
        images(ids=["a", "b", "c"]),
        images()[::-1],
        images(pixel=2),
        images(label=2),
        images(dtype=np.uint16),
    ],
    ids=["number", "ids", "order", "pixels", "labels", "type"],
)
def test_other_images_have_another(others):
    assert describe_images(others) != describe_images(images())


def test_a_plain_sequence_will_do():
    assert describe_images(list(images())) != describe_images(list(images(pixel=2)))


def test_epoch_0_is_kept_and_is_no_finished_epoch(tmp_path):
    rows = ({"epoch": 0, "val_dice": 0.5}, {"epoch": 1, "val_dice": 0.4})
    for count in (0, 1, 2):
        Checkpoint(tmp_path).save(RunState(rows=rows[:count]), settings={})
        state = Checkpoint(tmp_path).load(settings={})
        assert (state.rows, state.epochs) == (rows[:count], max(0, count - 1))
