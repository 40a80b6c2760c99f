"""The cache of decoded samples changes the time, never the pixels."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nucleiseg import datasets
from nucleiseg.datasets import cache as cache_module
from nucleiseg.datasets.paired import PairRecord
from nucleiseg.errors import InvalidInputError


@pytest.fixture
def source(tmp_path):
    for name, value in {"a": 1, "b": 2}.items():
        write(tmp_path / "set", name, value)
    return tmp_path / "set"


def write(folder, name, value):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((5, 7), value * 10, np.uint8)).save(folder / kind / f"{name}.png")


@pytest.fixture
def decoded(monkeypatch):
    """Ids of the samples that were decoded."""
    ids = []
    read = PairRecord.read

    def spy(self):
        ids.append(self.id)
        return read(self)

    monkeypatch.setattr(PairRecord, "read", spy)
    return ids


def same(first, second):
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)
    return (first.image.dtype, first.labels.dtype) == (second.image.dtype, second.labels.dtype)


def entries(folder):
    return sorted(Path(folder).rglob("*.sample"))


def test_each_sample_is_decoded_once(source, decoded, own_cache):
    first = datasets.read(source).load()
    second = datasets.read(source).load()
    assert sorted(decoded) == ["a", "b"]
    assert all(same(*pair) for pair in zip(first, second, strict=True))
    assert len(entries(own_cache)) == 2


def test_changed_files_are_decoded_anew_in_the_same_entry(source, decoded, own_cache):
    dataset = datasets.read(source)
    dataset.prepare()
    write(source, "a", 3)
    os.utime(source / "images" / "a.png", ns=(1, 1))
    assert dataset[0].image.max() == 30
    assert datasets.read(source)[0].labels.max() == 30
    assert decoded.count("a") == 2
    assert decoded.count("b") == 1
    assert len(entries(own_cache)) == 2


def test_content_that_is_replaced_without_a_trace_in_size_and_date_is_decoded_anew(source):
    path = source / "labels" / "a.png"
    Image.fromarray(np.full((5, 7), 20, np.uint8)).save(path)
    before = path.stat()
    datasets.read(source).prepare()
    Image.fromarray(np.full((5, 7), 30, np.uint8)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert datasets.read(source)[0].labels.max() == 30


@pytest.mark.parametrize("damage", ["empty", "cut", "zeros", "text", "other stamp"])
def test_damaged_entries_heal(source, decoded, own_cache, damage):
    whole = datasets.read(source).prepare()[0]
    for path in entries(own_cache):
        data = path.read_bytes()
        broken = {"empty": b"", "cut": data[:-3], "zeros": bytes(len(data)), "text": b"?" * 99}
        path.write_bytes(broken.get(damage, data.replace(data[130:140], b"0123456789")))
    assert same(datasets.read(source)[0], whole)
    assert decoded.count("a") == 2
    assert same(datasets.read(source)[0], whole)
    assert decoded.count("a") == 2


def test_entry_with_arrays_that_do_not_fit_is_decoded_anew(source, decoded, own_cache):
    datasets.read(source).prepare()
    for path in entries(own_cache):
        with path.open("rb") as file:
            key, image, _ = (np.load(file) for _ in range(3))
        with path.open("wb") as file:
            for array in (key, image, np.zeros((3, 3), np.int32)):
                np.save(file, array)
    assert datasets.read(source)[0].labels.shape == (5, 7)


def test_a_new_version_of_the_readers_decodes_anew(source, decoded, monkeypatch):
    datasets.read(source).prepare()
    monkeypatch.setattr(cache_module, "_READER_VERSION", 99)
    datasets.read(source).prepare()
    assert decoded.count("a") == 2


def test_the_folder_can_be_chosen_or_none(source, decoded, own_cache, tmp_path):
    datasets.read(source, cache=False).load()
    assert not entries(own_cache)
    datasets.read(source, cache=tmp_path / "mine").load()
    assert not entries(own_cache)
    assert len(entries(tmp_path / "mine")) == 2
    datasets.read(source, cache=str(tmp_path / "mine")).load()
    assert decoded.count("a") == 2


def test_clearing_frees_our_files_only(source, own_cache, tmp_path):
    datasets.read(source).prepare()
    other = own_cache / "datasets" / "thesis.txt"
    other.write_text("keep")
    taken = sum(path.stat().st_size for path in entries(own_cache))
    assert datasets.clear_cache() == taken > 0
    assert not entries(own_cache)
    assert other.exists()
    datasets.read(source, cache=tmp_path / "mine").prepare()
    assert datasets.clear_cache(tmp_path / "mine") == taken
    assert datasets.clear_cache(tmp_path / "missing") == 0


def test_a_folder_that_cannot_be_written_warns_once(source, tmp_path):
    (tmp_path / "file").touch()
    dataset = datasets.read(source, cache=tmp_path / "file")
    with pytest.warns(UserWarning, match="NUCLEISEG_CACHE") as caught:
        samples = dataset.load()
    assert len(caught) == 1
    assert [sample.image.max() for sample in samples] == [10, 20]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset.load()


def test_threads_that_fail_at_once_warn_once(source, monkeypatch):
    both = threading.Barrier(2)

    def full(path):
        both.wait(10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "atomic_path", full)
    with pytest.warns(UserWarning, match="No space left") as caught:
        datasets.read(source).prepare(workers=2)
    assert len(caught) == 1


def test_prepare_needs_a_cache_unless_all_is_in_memory(source):
    with pytest.raises(InvalidInputError, match="cache=True"):
        datasets.read(source, cache=False).prepare()
    dataset = datasets.from_arrays(np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), int))
    assert dataset.prepare() is dataset


def test_errors_of_the_source_reach_the_caller(source):
    (source / "images" / "b.png").write_bytes(b"?")
    with pytest.raises(Exception, match=r"b.png: is not a PNG"):
        datasets.read(source).prepare()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are text there")
def test_names_that_are_not_utf8_are_cached_like_others(tmp_path, decoded, own_cache):
    name = os.fsdecode(b"m\xfcll")
    write(tmp_path, name, 4)
    for _ in range(2):
        (sample,) = datasets.read(tmp_path).load()
        assert (sample.id, sample.labels.max()) == (name, 40)
    assert decoded == [name]
    assert len(entries(own_cache)) == 1
