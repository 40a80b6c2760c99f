"""Files appear complete or not at all."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nucleiseg._files import atomic_path, flush, write_json, write_text

LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    target = tmp_path / "table.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("rows")
        assert not target.exists()
    assert target.read_text() == "rows"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_path_lies_beside_the_target_and_keeps_its_suffix(tmp_path):
    with atomic_path(tmp_path / "picture.png") as temporary:
        assert temporary.parent == tmp_path  # a rename across file systems would not be atomic
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")  # no pattern such as *.png finds it
        temporary.touch()


def fail_half_way(target, error):
    with atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise error


def test_what_is_lasting_is_flushed_before_it_is_moved(tmp_path, monkeypatch):
    target, flushed = tmp_path / "labels.tif", []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append((os.fstat(handle).st_size, target.exists())))
    with atomic_path(target, lasting=True) as temporary:
        temporary.write_bytes(b"labels")
    assert flushed == [(6, False)]
    (tmp_path / "folder" / "0").mkdir(parents=True)
    (tmp_path / "folder" / "0" / "1").touch()
    flush(tmp_path / "folder")
    assert len(flushed) == 2


def test_what_a_killed_process_has_left_of_a_lasting_file_is_replaced(tmp_path):
    """Only an exception can clean up, which a kill is not."""
    with atomic_path(tmp_path / "labels.tif", lasting=True) as temporary:
        temporary.touch()
    temporary.write_text("half of the labels")
    with atomic_path(tmp_path / "labels.tif", lasting=True) as again:
        again.write_text("labels")
    assert [path.name for path in tmp_path.iterdir()] == ["labels.tif"]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_temporary(tmp_path, error):
    target = tmp_path / "table.csv"
    target.write_text("old")

    with pytest.raises(error):
        fail_half_way(target, error)

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_where_there_was_no_file_leaves_none(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        fail_half_way(tmp_path / "table.csv", OSError("disk full"))
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_replaced_leaves_no_temporary(tmp_path):
    target = tmp_path / "table.csv"
    target.mkdir()
    with pytest.raises(OSError, match=r"table\.csv"):
        write_text(target, "rows")
    assert list(tmp_path.iterdir()) == [target]


def test_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "deep")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "deep"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_a_plain_open(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "shared.txt", "")
        assert os.umask(umask) == umask, "the umask was not given back"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "shared.txt").stat().st_mode) == expected


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path):
    target = tmp_path / "state.txt"
    versions = {"a" * 50_000, "b" * 50_000}
    write_text(target, "a" * 50_000)
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            with suppress(PermissionError):  # Windows, while it is replaced
                seen.add(target.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            for text in versions:
                write_text(target, text)
    finally:
        done.set()
        reader.join()
    assert seen <= versions


@LAW
@given(TEXT)
def test_text_is_utf8_with_unix_line_ends(tmp_path, text):
    write_text(tmp_path / "text.txt", text)
    assert (tmp_path / "text.txt").read_bytes() == text.encode("utf-8")


@LAW
@given(JSON)
def test_json_reads_back_equal(tmp_path, value):
    write_json(tmp_path / "value.json", value)
    written = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(written) == value
    assert written.endswith("\n")


def test_json_is_for_people_too(tmp_path):
    write_json(tmp_path / "value.json", {"name": "Größe µm"})
    assert (tmp_path / "value.json").read_text(encoding="utf-8") == '{\n  "name": "Größe µm"\n}\n'


def test_what_is_no_json_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", object())
    assert json.loads((tmp_path / "value.json").read_text()) == 1
    assert len(list(tmp_path.iterdir())) == 1
