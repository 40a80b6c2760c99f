"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

_DSB2018 = Path(__file__).parents[2] / "shared" / "data" / "dsb2018"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A fresh cache folder for each test, away from the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NUCLEISEG_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def dsb2018():
    """The folder of the Data Science Bowl's data; without it the test is skipped."""
    if not (_DSB2018 / "stage1_train.zip").is_file():
        pytest.skip("needs ../shared/data/dsb2018/stage1_train.zip, which is not part of the repository")
    return _DSB2018
