"""``nucleiseg predict`` of many images on a cluster: the same files as without one, in whatever order they are done."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import nucleiseg.large
from nucleiseg.cli import sharing
from nucleiseg.cli.batch import explain
from nucleiseg.cli.main import main
from nucleiseg.errors import ClusterError
from nucleiseg.images import read_micrograph
from nucleiseg.inference import Prediction, spreading
from nucleiseg.instances import split_components
from nucleiseg.segmenter import Segmenter

ADDRESS = "tcp://host:1"


class Threshold:
    """In place of a model: what is brighter than half of 8 bits is nucleus."""

    _engine = SimpleNamespace()

    def predict(self, source, options):
        source = source if hasattr(source, "shown") else read_micrograph(source)
        bright = (source.shown > 127).astype(np.float32)
        return Prediction(source.shown, bright, split_components(bright), source, precision=options.precision)


class Workers:
    """In place of a cluster: works here, the last image first, and goes away after so many."""

    def __init__(self, after: int = 99):
        self.after, self.asked, self.connected = after, [], False

    def spread(self, client, work, items, *shared) -> Iterator[tuple[object, Future]]:
        assert client == "client"
        for number, item in enumerate(reversed(items)):
            if number >= self.after:
                raise ClusterError("gone away")
            self.asked.append((item[2], *shared))
            future: Future = Future()
            try:
                future.set_result(work(item, *shared))
            except ClusterError:
                raise
            except Exception as error:
                future.set_exception(error)
            yield item, future

    @contextmanager
    def connect(self, scheduler):
        assert scheduler == ADDRESS
        self.connected = True
        yield "client"
        self.connected = False


@pytest.fixture
def cluster(monkeypatch):
    """Starts a stand-in for a cluster, and for every model."""
    pytest.importorskip("distributed")
    monkeypatch.setattr("nucleiseg.inference.prediction.judge_image", lambda image, labels: ())
    monkeypatch.setattr(Segmenter, "load", lambda path: Threshold())
    monkeypatch.setattr(nucleiseg.large, "load_segmenter", lambda model: Threshold())
    monkeypatch.setattr(nucleiseg.large, "settle_precision", lambda engine, asked: "float32")

    def start(**how):
        workers = Workers(**how)
        monkeypatch.setattr(spreading, "connect", workers.connect)
        monkeypatch.setattr(spreading, "spread", workers.spread)
        return workers

    return start


@pytest.fixture
def plate(tmp_path):
    """A folder of five images of one to five squares."""
    for number in range(5):
        image = np.zeros((20, 60), np.uint8)
        for square in range(number + 1):
            image[5:9, 10 * square + 2 : 10 * square + 7] = 200
        (tmp_path / "plate").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "plate" / f"{number}.png")
    return tmp_path / "plate"


def predict(plate, output, *more):
    return main(["predict", str(plate), "-o", str(output), *more])


def test_a_cluster_writes_what_one_process_writes(plate, tmp_path, cluster, monkeypatch, capsys):
    workers = cluster()
    assert predict(plate, tmp_path / "here", "--precision", "float32") == 0
    assert not workers.asked
    monkeypatch.chdir(tmp_path)
    assert predict("plate", tmp_path / "there", "--scheduler", ADDRESS, "--export", "geojson") == 0
    assert "5 of 5 images segmented, 15 nuclei" in capsys.readouterr().out
    # Workers were started in other folders, and have the model in another place.
    assert [asked[:2] for asked in workers.asked] == [(str(plate / f"{n}.png"), "nuclei") for n in (4, 3, 2, 1, 0)]
    assert {asked[3].precision for asked in workers.asked} == {"float32"}
    assert not workers.connected
    for number in range(5):
        here, there = (tifffile.imread(tmp_path / at / f"{number}_labels.tif") for at in ("here", "there"))
        np.testing.assert_array_equal(here, there)
    assert len(list((tmp_path / "there").glob("*.geojson"))) == 5
    for name in ("measurements.csv", "summary.csv"):
        one, other = (pd.read_csv(tmp_path / at / name).drop(columns="image") for at in ("here", "there"))
        pd.testing.assert_frame_equal(one, other)


def test_files_of_all_images_have_them_in_their_order(plate, tmp_path, cluster):
    cluster()
    for name, how in (("here", []), ("there", ["--scheduler", ADDRESS])):
        assert predict(plate, tmp_path / name, "--export", "coco", "--pictures", "--precision", "float32", *how) == 0
    for name in ("nuclei_coco.json", "contact_sheet.png"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_bad_image_costs_only_itself_and_the_next_run_asks_for_no_other(plate, tmp_path, cluster, capsys):
    good = (plate / "3.png").read_bytes()
    (plate / "3.png").write_bytes(b"no image")
    cluster()
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 1
    assert "4 of 5 images segmented, 11 nuclei" in capsys.readouterr().out
    assert list(pd.read_csv(tmp_path / "out" / "errors.csv")["image"]) == [str(plate / "3.png")]
    (plate / "3.png").write_bytes(good)
    workers = cluster()
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS, "--resume") == 0
    assert [asked[0] for asked in workers.asked] == [str(plate / "3.png")]
    assert "5 of 5 images segmented (4 of them before), 15 nuclei" in capsys.readouterr().out
    workers = cluster()
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS, "--resume") == 0  # all finished: no cluster needed
    assert not workers.asked


def test_a_cluster_that_goes_away_costs_nothing_that_is_done(plate, tmp_path, cluster, capsys):
    cluster(after=2)
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 1
    assert "gone away" in capsys.readouterr().err
    assert sorted(pd.read_csv(tmp_path / "out" / "summary.csv")["labels"]) == ["3_labels.tif", "4_labels.tif"]
    workers = cluster()
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS, "--resume") == 0
    assert len(workers.asked) == 3


def test_dask_is_asked_for_before_anything_is_loaded(plate, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nucleiseg._optional.importlib.util.find_spec", lambda module: None)
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 1
    assert "a Dask cluster needs the package distributed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bad_image_keeps_its_own_reason_when_the_cluster_goes_away_after_it(plate, tmp_path, cluster):
    (plate / "4.png").write_bytes(b"no image")
    cluster(after=1)
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 1
    errors = pd.read_csv(tmp_path / "out" / "errors.csv")
    assert list(errors["image"]) == [str(plate / "4.png")]
    assert "is not a PNG" in errors["error"][0]


def test_a_full_disk_of_a_worker_does_not_end_the_run(plate, tmp_path, cluster, monkeypatch, capsys):
    plain = Threshold.predict

    def full(self, source, options):
        if str(source).endswith("4.png"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(self, source, options)

    monkeypatch.setattr(Threshold, "predict", full)
    cluster()
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 1
    assert "4 of 5 images segmented" in capsys.readouterr().out


def test_an_address_where_nobody_answers_costs_nothing(plate, tmp_path, cluster, monkeypatch, capsys):
    cluster()
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 0

    def files():
        return {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}

    before = files()

    def refuse(scheduler):
        raise ClusterError("nobody there")

    monkeypatch.setattr(spreading, "connect", refuse)
    monkeypatch.setattr("nucleiseg.cli.predict.import_engine", lambda model: pytest.fail("loaded too early"))
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 1
    assert "nobody there" in capsys.readouterr().err
    assert files() == before


def test_workers_with_another_model_are_refused(tmp_path, cluster):
    other = tmp_path / "other.keras"
    other.write_bytes(b"another model")
    for model in ("nuclei", str(other), str(tmp_path / "missing.keras")):
        with pytest.raises(ClusterError, match=r"another model, or none, as .*; put the same file at the same path"):
            sharing._load_the_same(model, "0" * 64)


def test_workers_that_die_of_an_image_are_explained():
    killed = type("KilledWorker", (Exception,), {})("_apply-1")
    assert "workers of the Dask cluster died of it" in str(explain(killed))
