"""The pictures of a check: every kind that can be shown is shown, and the place is framed."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from nucleiseg import datasets
from nucleiseg.datasets.doctor import Case, Finding, Report
from nucleiseg.datasets.doctor.kinds import KINDS
from nucleiseg.errors import InvalidInputError
from nucleiseg.plotting import write_check_report
from nucleiseg.plotting._finding_pictures import LONGEST, picture_of

UNSEEN = ("missing_pair", "unreadable", "size_mismatch", "label_type")  # files that give no sample


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 80, 120), np.int32)
    labels[:, 10:30, 90:115], labels[:, 50:70, 10:40] = 1, 2
    return datasets.from_arrays(rng.integers(0, 200, (2, 80, 120, 3), np.uint8), labels, ["a", "<b>"])


def pictures(text):
    urls = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url)))) for url in urls]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNSEEN])
@pytest.mark.parametrize("box", [None, (10, 90, 30, 115)])
def test_every_kind_has_a_picture(data, tmp_path, kind, box):
    finding = Finding(kind, "warning", (Case(("a", "<b>"), 2, ("f.png",), (1,), box, "1 < 2"),))
    path = write_check_report(Report(2, 4, (finding,)), data, tmp_path / "report.html", "my & data")
    text = path.read_text()
    (picture,) = pictures(text)
    assert picture.ndim == 3
    assert picture.std() > 5
    assert picture.shape[0] <= LONGEST
    assert picture.shape[1] <= 3 * LONGEST + 12
    assert "<b>" not in text
    assert [part for part in ("my &amp; data", "&lt;b&gt;", "1 &lt; 2", "f.png", kind) if part not in text] == []


def test_the_place_is_framed_and_in_the_middle(data):
    case = Case(("a",), box=(50, 10, 70, 40))
    picture = picture_of(Finding("holes", "warning", (case,)), case, data)
    orange = (picture == (213, 94, 0)).all(axis=2)
    assert orange.any()
    rows, columns = np.nonzero(orange)
    whole = picture_of(Finding("empty_image", "warning", (Case(("a",)),)), Case(("a",)), data)
    assert not (whole == (213, 94, 0)).all(axis=2).any()
    assert 0 < rows.min() < rows.max() < picture.shape[0]
    assert 0 < columns.min() < columns.max() < picture.shape[1]


def test_copies_lie_side_by_side(data):
    case = Case(("a", "<b>"))
    both = picture_of(Finding("duplicates", "warning", (case,)), case, data)
    one = picture_of(Finding("saturated", "warning", (case,)), case, data)
    assert both.shape[0] == one.shape[0]
    assert both.shape[1] > 2 * one.shape[1]


@pytest.mark.parametrize("name", ["gone", "damaged"])
def test_what_cannot_be_read_has_no_picture(tmp_path, disc_dataset, name):
    import shutil

    shutil.copytree(disc_dataset, tmp_path / "data")
    data = datasets.read(tmp_path / "data", cache=False)
    (tmp_path / "data" / "images" / "disc0.png").write_bytes(b"no image")
    case = Case(("disc0" if name == "damaged" else "gone",))
    assert picture_of(Finding("unreadable", "error", (case,)), case, data) is None


def test_nothing_found_is_said(data, tmp_path):
    text = write_check_report(Report(2, 4, ()), data, tmp_path / "report.HTML").read_text()
    assert "Nothing was found." in text
    assert "2 images, 4 nuclei: 0 errors, 0 warnings, 0 notes" in text


def test_another_suffix_is_refused(data, tmp_path):
    with pytest.raises(InvalidInputError, match=r"suffix of the report '\.png'"):
        write_check_report(Report(2, 4, ()), data, tmp_path / "report.png")
    assert list(tmp_path.iterdir()) == []
