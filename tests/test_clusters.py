"""Many files and lazy labels, with and without a cluster: the same outcome as one by one, whatever one file costs."""

from __future__ import annotations

import pickle
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image
from stubs import MODEL, Echo

import nucleiseg.clusters
import nucleiseg.large
from nucleiseg import PredictOptions, ReadOptions, Segmenter, Tiling, predict_dask, predict_many, pretrained
from nucleiseg.errors import ClusterError, FailedImagesError, ImageFileError, InvalidInputError
from nucleiseg.images import read_micrograph, tiles
from nucleiseg.inference.large import plan_job
from nucleiseg.inference.memory import Plan


@pytest.fixture
def files(tmp_path):
    tissue = skimage.data.immunohistochemistry()
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.fromarray(tissue[number * 60 :, : 96 + 20 * number][:90]).save(path)
    return paths


def test_files_come_in_order_as_if_one_by_one(files):
    one_by_one = Segmenter.from_pretrained("nuclei")
    found = list(predict_many("nuclei", files))
    assert [path for path, _ in found] == [str(path) for path in files]
    for path, result in found:
        expected = one_by_one.predict(path)
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_array_equal(result.probability, expected.probability)
    assert sum(result.count for _, result in found) > 3
    again = one_by_one.predict(read_micrograph(files[0]))
    np.testing.assert_array_equal(again.labels, found[0][1].labels)


def test_a_bad_file_costs_only_itself_and_is_named_in_the_end(files):
    files[2].write_bytes(b"no image")
    files[4].unlink()
    before = threading.active_count()
    results = predict_many("nuclei", files)
    assert [next(results)[0] for _ in range(3)] == [str(files[number]) for number in (0, 1, 3)]
    with pytest.raises(FailedImagesError, match=r"^2 of 5 images could not be segmented: .*2\.png: .*; .*4\.png: no"):
        next(results)
    assert list(results) == []
    assert threading.active_count() == before


def test_whoever_asks_is_told_of_bad_files_at_their_turn(files):
    files[2].write_bytes(b"no image")
    told = []
    results = predict_many("nuclei", files, on_error=lambda path, error: told.append((path, type(error))))
    assert [path for path, _ in results] == [str(file) for file in files if file != files[2]]
    assert told == [(str(files[2]), ImageFileError)]


def test_what_is_raised_while_a_bad_file_is_told_ends_the_loop(files):
    files[2].write_bytes(b"no image")
    seen = []

    def refuse(path, error):
        raise error

    with pytest.raises(ImageFileError, match=r"2\.png"):
        seen.extend(predict_many("nuclei", files, on_error=refuse))


def test_a_cluster_that_is_gone_costs_all_files(monkeypatch):
    """Which says nothing of a file."""

    def spread(*_):
        raise ClusterError("gone")

    monkeypatch.setattr(nucleiseg.clusters, "spread", spread)
    with pytest.raises(ClusterError, match="gone"):
        list(predict_many("nuclei", ["a.png", "b.png"], client=object()))


def test_failed_images_are_told_in_one_line_and_survive_pickling():
    errors = {f"{name}.png": ValueError("as\nif") for name in "abcde"}
    error = pickle.loads(pickle.dumps(FailedImagesError(errors, 9)))
    assert str(error).startswith("5 of 9 images could not be segmented: a.png: ValueError as if; b.png: ")
    assert str(error).endswith("c.png: ValueError as if; and 2 more, see `errors` of this error")
    assert list(error.errors) == list(errors)


MODEL_FILE = Path(pretrained.__file__).with_name("nuclei-fast.onnx")  # which starts fastest
CLUSTER = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from PIL import Image

if __name__ == "__main__":
    import dask.array
    from distributed import Client, LocalCluster
    import nucleiseg.clusters, nucleiseg.large
    from nucleiseg import PredictOptions, Segmenter, predict_dask, predict_large, predict_many
    from nucleiseg.cli.main import main
    from nucleiseg.errors import ClusterError
    from nucleiseg.inference.spreading import spread
    from test_clusters import count_loads, loads, slowly, small_windows

    one, folder = Segmenter.load(sys.argv[3]), sys.argv[1]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        os.chdir(folder)  # the workers were started elsewhere
        client.run(count_loads)
        files, failed = sorted(os.listdir()), {}
        found = dict(predict_many(sys.argv[3], files, client=client, on_error=failed.__setitem__))
        for path, result in found.items():
            here = one.predict(path)
            np.savez(path[:-4], there=result.labels, here=here.labels, differ=result.probability - here.probability)
        print(*failed, *(type(error).__name__ for error in failed.values()))

        pixels = np.asarray(Image.open("0.png"))
        nucleiseg.clusters.plan_job = small_windows
        lazy = predict_dask(sys.argv[3], dask.array.from_array(pixels, chunks=100), PredictOptions(scale=1))
        here = lazy.compute(scheduler="synchronous")
        np.savez("lazy", there=client.compute(lazy).result(), here=here, blocks=lazy.numblocks)
        counts = [max(client.run(loads).values())]

        output = ["-o", "results", "--model", sys.argv[3], "--scheduler", cluster.scheduler_address]
        assert main(["predict", *files, *output]) == 1  # one is bad
        np.save("loads", [*counts, max(client.run(loads).values())])

        def spread_and_kill(*arguments):
            for count, done in enumerate(spread(*arguments)):
                if count == 2:
                    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
                yield done

        nucleiseg.large.plan_job, nucleiseg.large.spread = small_windows, spread_and_kill
        workers = set(client.run(os.getpid).values())
        predict_large(sys.argv[3], pixels, "there.tif", PredictOptions(scale=1), scheduler=client)
        assert set(client.run(os.getpid).values()) != workers
        predict_large(sys.argv[3], pixels, "here.tif", PredictOptions(scale=1))

        try:
            for done in spread(client, slowly, range(99)):
                cluster.close()
        except ClusterError as error:
            print("gone" if "has gone away" in str(error) else error)
"""


def slowly(number):
    time.sleep(0.2)


loaded = []


def count_loads():
    """Count the models that this process loads from now on."""
    load = Segmenter.load
    Segmenter.load = lambda path: loaded.append(path) or load(path)


def loads():
    return len(loaded)


@pytest.fixture(scope="module")
def on_workers(tmp_path_factory, run_python):
    """What two worker processes find in three files, and in a Dask array; one further file is none."""
    pytest.importorskip("distributed")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("files")
    for number in range(3):
        rows, columns = np.mgrid[:160, : 180 + 20 * number]
        bright = np.hypot(rows % 40 - 20, columns % 40 - 20) < 9
        Image.fromarray(np.where(bright, 180, 20).astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "bad.png").write_bytes(b"no image")
    process = run_python(CLUSTER, folder, Path(__file__).parent, MODEL_FILE)
    assert process.returncode == 0, process.stderr
    return folder, process.stdout.split()


def test_workers_find_in_files_what_one_process_finds(on_workers):
    folder, failed = on_workers
    assert failed[:2] == ["bad.png", "ImageFileError"]
    errors = (folder / "results" / "errors.csv").read_text().splitlines()
    assert len(errors) == 2
    assert "bad.png: is not a PNG" in errors[1]
    for number in range(3):
        found = np.load(folder / f"{number}.npz")
        assert found["there"].max() > 9
        np.testing.assert_array_equal(found["there"], found["here"])
        assert np.abs(found["differ"]).max() <= 1e-4
        written = tifffile.imread(folder / "results" / f"{number}_labels.tif")
        np.testing.assert_array_equal(written, found["here"])


def test_no_worker_loads_a_model_twice(on_workers):
    """For files and windows of an array; once more for the command, which compares it with that of who asks."""
    before, after = np.load(on_workers[0] / "loads.npy")
    assert before == 1
    assert after <= 2


def test_a_cluster_that_ends_amid_its_work_is_told_as_such(on_workers):
    assert on_workers[1][-1] == "gone"


def test_workers_compute_lazy_labels(on_workers):
    found = np.load(on_workers[0] / "lazy.npz")
    assert found["blocks"].min() > 1
    assert found["there"].max() > 9
    np.testing.assert_array_equal(found["there"], found["here"])


def test_a_killed_worker_leaves_no_trace_in_the_labels_of_a_real_network(on_workers):
    there, here = (tifffile.imread(on_workers[0] / f"{name}.tif") for name in ("there", "here"))
    assert there.max() > 9
    np.testing.assert_array_equal(there, here)


@pytest.fixture
def echo(monkeypatch):
    """A plain function in place of every network."""
    segmenter = SimpleNamespace(_engine=Echo(), _settings=MODEL)
    monkeypatch.setattr(nucleiseg.clusters, "load_segmenter", lambda _: segmenter)


class Swift(Echo):
    """Is fastest in fewer bits."""

    fastest_precision = "mixed_bfloat16"

    def computing_in(self, precision):
        return self


def small_windows(image, *arguments):
    """`plan_job` with windows that are smaller than a budget gives."""
    windows = Tiling(64, 32)
    small = {"plan": Plan(None, windows, 8), "windows": tiles(image.shape, windows, 1)}
    return replace(plan_job(image, *arguments), **small)


@pytest.mark.parametrize("axes", ["CYX", "YCX", "YXC", "TCXY"])
def test_lazy_labels_know_where_rows_and_columns_are(axes, echo, monkeypatch):
    array = pytest.importorskip("dask.array")
    monkeypatch.setattr(nucleiseg.clusters, "plan_job", small_windows)
    image = np.zeros((150, 200), np.uint8)
    image[10:140:20, 15:180] = 200  # seven bars, each across several windows
    stack = np.zeros([{"C": 3, "T": 2, "Y": 150, "X": 200}[axis] for axis in axes], np.uint8)
    where = tuple({"C": 1, "T": 1}.get(axis, slice(None)) for axis in axes)
    stack[where] = image.T if axes.endswith("XY") else image
    reading = ReadOptions(axes=axes, channel=1, select={"T": 1} if "T" in axes else {})
    options = PredictOptions(scale=1, reading=reading)
    labels = predict_dask("any", array.from_array(stack, chunks=50), options)
    assert labels.numblocks > (1, 1)
    found = labels.compute(scheduler="synchronous")
    assert (found.shape, found.max()) == ((150, 200), 7)
    np.testing.assert_array_equal(found > 0, image > 0)


def test_lazy_labels_compute_no_channel_that_is_not_looked_at(echo):
    array = pytest.importorskip("dask.array")
    computed = []

    def block(block_info):
        computed.append(block_info[None]["chunk-location"][0])
        return np.full((1, 30, 40), 200, np.uint8)

    stack = array.map_blocks(
        block, chunks=((1,) * 5, (30, 30), (40, 40)), dtype=np.uint8, meta=np.empty((0, 0, 0), "u1")
    )
    labels = predict_dask("any", stack, PredictOptions(scale=1, reading=ReadOptions(axes="CYX", channel=3)))
    labels.compute(scheduler="synchronous")
    assert set(computed) == {3}


def test_what_is_no_dask_array_or_has_no_known_size_is_told(echo):
    array = pytest.importorskip("dask.array")
    with pytest.raises(InvalidInputError, match=r"a Dask array, got the path a.zarr; use dask.array.from_zarr"):
        predict_dask("any", "a.zarr")
    with pytest.raises(InvalidInputError, match="workers load the model themselves, got a SimpleNamespace; save it"):
        predict_dask(SimpleNamespace(), array.zeros((64, 64)))
    unknown = array.from_array(np.arange(8), chunks=4)
    unknown = array.zeros((8, 8), chunks=(4, 8))[unknown > 2]
    with pytest.raises(InvalidInputError, match=r"known height and width, got shape .*; call its compute_chunk_sizes"):
        predict_dask("any", unknown)


def test_no_task_of_lazy_labels_holds_the_image(echo, monkeypatch):
    pytest.importorskip("dask.array")
    kept = []
    monkeypatch.setattr(nucleiseg.clusters, "lazy_labels", lambda *arguments: kept.append(arguments))
    predict_dask("any", np.zeros((500, 500), np.uint8), PredictOptions(scale=1))
    assert len(pickle.dumps(kept[0][3])) < 10_000


@pytest.fixture
def swift(monkeypatch):
    """An engine that is fastest in fewer bits, in place of every network."""
    segmenter = SimpleNamespace(_engine=Swift(), _settings=MODEL)
    monkeypatch.setattr(nucleiseg.clusters, "load_segmenter", lambda _: segmenter)
    monkeypatch.setattr(nucleiseg.large, "load_segmenter", lambda _: segmenter)


def test_workers_see_lazy_labels_in_the_precision_of_who_asks(swift, monkeypatch):
    pytest.importorskip("dask.array")
    kept = []
    monkeypatch.setattr(nucleiseg.clusters, "lazy_labels", lambda *arguments: kept.append(arguments[3]))
    image = np.zeros((500, 500), np.uint8)
    for options in (PredictOptions(scale=1), PredictOptions(scale=1, precision="float32")):
        predict_dask("any", image, options)
    assert [label.keywords["options"].precision for label in kept] == ["mixed_bfloat16", "float32"]


def test_workers_see_files_and_windows_in_the_precision_of_who_asks(swift, monkeypatch, tmp_path):
    pytest.importorskip("zarr")
    sent, image = [], np.zeros((50, 60), np.uint8)

    def spread(client, work, numbers, *arguments):
        sent.append(next(each.precision for each in arguments if isinstance(each, PredictOptions)))
        raise ClusterError("gone")

    for module in (nucleiseg.clusters, nucleiseg.large):
        monkeypatch.setattr(module, "spread", spread)
        monkeypatch.setattr(module, "connect", nullcontext)
    with pytest.raises(ClusterError):
        list(predict_many("any", ["image.png"], client="tcp://nowhere"))
    with pytest.raises(ClusterError):
        nucleiseg.large.predict_large(
            "any", image, tmp_path / "labels.tif", PredictOptions(scale=1), scheduler="tcp://nowhere"
        )
    assert sent == ["mixed_bfloat16"] * 2
