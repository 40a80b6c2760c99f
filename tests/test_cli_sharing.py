"""``nucleiseg predict`` of many images on a cluster: the same files as without one, in whatever order they are done."""

from __future__ import annotations

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
from nucleiseg.cli.main import main
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
        self.after, self.asked = after, []

    def spread(self, client, work, items, *shared) -> Iterator[tuple[int, Future]]:
        assert client == "client"
        for number, item in enumerate(reversed(items)):
            future: Future = Future()
            self.asked.append((shared[0][item], *shared[1:]))
            if number >= self.after:
                future.cancel()
            else:
                try:
                    future.set_result(work(item, *shared))
                except Exception as error:
                    future.set_exception(error)
            yield item, future

    @contextmanager
    def connect(self, scheduler):
        assert scheduler == ADDRESS
        yield "client"


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
    assert sorted(asked[:2] for asked in workers.asked) == [(str(plate / f"{n}.png"), "nuclei") for n in range(5)]
    assert {asked[2].precision for asked in workers.asked} == {"float32"}
    for number in range(5):
        here, there = (tifffile.imread(tmp_path / at / f"{number}_labels.tif") for at in ("here", "there"))
        np.testing.assert_array_equal(here, there)
    assert len(list((tmp_path / "there").glob("*.geojson"))) == 5
    one, other = (
        pd.read_csv(tmp_path / at / "measurements.csv").drop(columns="image").sort_values(["labels", "label"])
        for at in ("here", "there")
    )
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


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
    assert f"the cluster of {ADDRESS} has gone away; go on with --resume" in capsys.readouterr().err
    assert sorted(pd.read_csv(tmp_path / "out" / "summary.csv")["labels"]) == ["3_labels.tif", "4_labels.tif"]
    workers = cluster()
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS, "--resume") == 0
    assert len(workers.asked) == 3


def test_dask_is_asked_for_before_anything_is_loaded(plate, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nucleiseg._optional.importlib.util.find_spec", lambda module: None)
    assert predict(plate, tmp_path / "out", "--scheduler", ADDRESS) == 1
    assert "a Dask cluster needs the package distributed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [OSError("Timed out"), ValueError("unknown protocol")])
def test_an_address_where_nobody_answers_is_told(error, monkeypatch):
    def refuse(address):
        raise error

    monkeypatch.setattr(spreading, "import_extra", lambda *_: SimpleNamespace(Client=refuse))
    with (
        pytest.raises(nucleiseg.errors.NucleisegError, match=rf"no Dask scheduler answers at {ADDRESS} \({error}\)"),
        spreading.connect(ADDRESS),
    ):
        pass
