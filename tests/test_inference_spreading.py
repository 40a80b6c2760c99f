"""Windows on a Dask cluster: two worker processes, one of which is killed."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from nucleiseg import __version__
from nucleiseg.errors import ClusterError, InvalidInputError
from nucleiseg.images import rescale
from nucleiseg.inference import spreading
from nucleiseg.instances import split_components

pytest.importorskip("zarr")
pytest.importorskip("distributed")


class Cluster:
    """As little of a client as is needed: three workers of two threads join after the first result."""

    def __init__(self):
        self.submitted, self.finished, self.most, self.sent = -1, 0, [], []  # what is shared comes first

    def nthreads(self):
        return {} if self.finished == 0 else {f"tcp://{number}": 2 for number in range(3)}

    def scheduler_info(self):
        return {"workers": self.nthreads()}

    def submit(self, work, *arguments, **how):
        self.submitted += 1
        if self.submitted:
            self.most.append(self.submitted - self.finished)
        self.sent += [argument for argument in arguments if isinstance(argument, np.ndarray)]
        values = [argument.result() if isinstance(argument, SimpleNamespace) else argument for argument in arguments]
        return SimpleNamespace(key=self.submitted, result=lambda: work(*values), status="finished")

    loop = None

    def as_completed(self, futures, loop):
        waiting, cluster = list(futures), self

        class Completed:
            add = staticmethod(waiting.append)

            def __iter__(self):
                while waiting:
                    cluster.finished += 1
                    yield waiting.pop(0)

        return Completed()


def test_workers_that_join_later_get_work_at_once(monkeypatch):
    cluster = Cluster()
    monkeypatch.setattr(spreading, "import_extra", lambda *_: cluster)
    done = spreading.spread(cluster, lambda item, factor: item * factor, range(40), 2)
    found = {item: future.result() for item, future in done}
    assert found == {item: 2 * item for item in range(40)}
    assert cluster.most[:3] == [1, 2, 3]  # nobody is there yet
    assert max(cluster.most) == 3 * 6


class Ended(Cluster):
    """Its futures end in some way."""

    def __init__(self, **future):
        super().__init__()
        self.future = future

    def submit(self, work, *arguments, **how):
        future = super().submit(work, *arguments, **how)
        return SimpleNamespace(**{**vars(future), **(self.future if self.submitted else {})})


def refuse(error):
    def ask():
        raise error

    return ask


GONE = [
    Ended(status="cancelled", result=refuse(CancelledError("_apply-1"))),
    Ended(status="lost", result=refuse(CancelledError())),
    Ended(result=refuse(OSError("Comm closed"))),
]


@pytest.mark.parametrize("cluster", GONE)
def test_a_cluster_that_goes_away_is_told_as_such(cluster, monkeypatch):
    monkeypatch.setattr(spreading, "import_extra", lambda *_: cluster)
    with pytest.raises(ClusterError, match=r"has gone away \((_apply-1|CancelledError|Comm closed)\); start it again"):
        list(spreading.spread(cluster, str, range(3)))


def test_a_client_that_was_closed_is_told_as_such(monkeypatch):
    cluster = Cluster()
    cluster.nthreads = lambda: None.ncores  # as in Dask
    monkeypatch.setattr(spreading, "import_extra", lambda *_: cluster)
    with pytest.raises(ClusterError, match="has gone away"):
        list(spreading.spread(cluster, str, range(3)))


def test_an_item_may_fail_in_any_way_by_itself(monkeypatch):
    """A file that can't be read is an OSError, too, and so may be what can't be sent back."""
    for cluster in (
        Ended(status="error", exception=lambda: OSError("no such file")),
        Ended(result=refuse(MemoryError())),
    ):
        monkeypatch.setattr(spreading, "import_extra", lambda *_, cluster=cluster: cluster)
        futures = [future for _, future in spreading.spread(cluster, str, range(3))]
        assert [type(future.exception()) for future in futures] in ([OSError] * 3, [MemoryError] * 3)


def test_workers_with_another_version_are_refused_at_once(monkeypatch):
    with pytest.raises(ClusterError, match=rf"nucleiseg {__version__}, this process 9; install the same everywhere"):
        spreading._apply(str, 1, (), "9")
    cluster = Ended(status="error", exception=lambda: ClusterError("another version"))
    monkeypatch.setattr(spreading, "import_extra", lambda *_: cluster)
    with pytest.raises(ClusterError, match="another version"):
        next(spreading.spread(cluster, str, range(3)))


def test_an_address_where_nobody_answers_is_told():
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 \(.+\); check the address"),
        spreading.connect("tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize("address", ["host", "smoke://host:1", "tls://host:1"])
def test_what_is_no_address_is_told(address):
    with (
        pytest.raises(InvalidInputError, match=rf"such as tcp://10.0.0.1:8786, got '{address}' \(.+\); from Python"),
        spreading.connect(address),
    ):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "smoke://host:1", "tls://host:1"])
def test_no_client_is_left_open_that_could_block_the_next_one(address, monkeypatch):
    """The garbage collector would close it at any time, under a lock that the thread may hold already."""
    distributed = pytest.importorskip("distributed")
    made, start = [], distributed.Client.start
    monkeypatch.setattr(distributed.Client, "start", lambda self, **given: made.append(self) or start(self, **given))
    with (
        pytest.importorskip("dask").config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises((ClusterError, InvalidInputError)),
        spreading.connect(address),
    ):
        pass
    assert [client.status for client in made] == ["closed"]


def test_a_file_is_loaded_once_until_it_changes(tmp_path):
    paths, loaded = [str(tmp_path / name) for name in ("a", "b", "c")], []

    def load(path):
        loaded.append(path)
        return Path(path).read_text()

    for path in paths:
        Path(path).write_text("1")
    a, b, c = paths
    assert [spreading.once(load, path) for path in (a, b, a, b)] == ["1"] * 4
    assert loaded == [a, b]
    Path(a).write_text("22")
    assert (spreading.once(load, a), spreading.once(load, b)) == ("22", "1")
    os.utime(a, ns=(1, 1))
    assert spreading.once(load, a) == "22"
    assert loaded == [a, b, a, a]
    spreading.once(load, c)  # and b goes, which was used least recently
    assert [spreading.once(load, path) for path in (c, a, b)] == ["1", "22", "1"]
    assert loaded == [a, b, a, a, c, b]


def test_threads_that_ask_at_once_wait_for_one_that_loads():
    together, loaded = threading.Barrier(4), []

    def load(name):
        time.sleep(0.05)
        loaded.append(name)
        return object()

    def ask(_):
        together.wait()
        return spreading.once(load, "model of four threads")

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert len(loaded) == 1


def test_an_image_in_memory_is_sent_once(monkeypatch):
    cluster, image = Cluster(), np.arange(9)
    monkeypatch.setattr(spreading, "import_extra", lambda *_: cluster)
    assert dict(spreading.spread(cluster, lambda item, image: image[item], range(9), image))[7].result() == 7
    assert len(cluster.sent) == 1


SPREAD = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from distributed import Client, LocalCluster
from nucleiseg.images.lazy import open_lazy
from nucleiseg.inference.large import run_here, write_labels_of
from nucleiseg.inference.spreading import once, spread
from test_inference_large import FACTS, Brightness, decoding, job_of

def work(number, job, how, runs):
    with open(runs, "a") as file:
        print(number, file=file)
    time.sleep(0.05)
    ((_, labels),) = run_here(job, once(Brightness), how, [number])
    return labels, os.getpid()

if __name__ == "__main__":
    job, how = job_of(open_lazy(np.load(sys.argv[2]))), decoding()
    seen = set()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        def compute(missing):
            for count, (number, future) in enumerate(spread(client, work, missing, job, how, sys.argv[4])):
                labels, pid = future.result()
                if count == len(missing) // 2:
                    os.kill(pid, signal.SIGKILL)
                seen.add(pid)
                yield number, labels
        write_labels_of(job, sys.argv[3], compute, FACTS, how)
    print(len(seen), len(job.windows))
"""


def test_a_killed_worker_costs_only_its_tasks(tmp_path, run_python):
    """The labels are those of one process; of what the dead one finished, no more is lost than was under way."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((610, 450)), 4)
    picture = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    np.save(tmp_path / "image.npy", picture)
    files = [tmp_path / name for name in ("image.npy", "labels.tif", "runs.txt")]
    process = run_python(SPREAD, Path(__file__).parent, *files, timeout=100)
    assert process.returncode == 0, process.stderr
    workers, windows = map(int, process.stdout.split())
    assert workers >= 2  # both, and perhaps the one that took the place of the dead
    runs = len(files[2].read_text().split())
    assert windows <= runs <= windows + 2 * spreading.WAITING
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "labels.tif"), split_components(rescale(picture, "minmax"))
    )


SEGMENTER = """
import os, signal, sys
import numpy as np
from distributed import Client, LocalCluster
import nucleiseg.large
from nucleiseg import PredictOptions, predict_large
from nucleiseg.inference.spreading import spread

def spread_and_kill(client, work, windows, *shared):
    for count, done in enumerate(spread(client, work, windows, *shared)):
        if count == 1:
            busy = client.processing()
            worker = max(busy, key=lambda address: len(busy[address]))
            assert busy[worker]
            os.kill(client.run(os.getpid)[worker], signal.SIGKILL)
        if count == len(windows) - 1:
            assert worker not in client.nthreads()
        yield done

if __name__ == "__main__":
    image, folder = np.load(sys.argv[1]), sys.argv[2]
    options = PredictOptions(max_memory="400MB")
    nucleiseg.large.spread = spread_and_kill
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        print(predict_large("nuclei", image, folder + "/spread.tif", options, scheduler=client))
    print(predict_large("nuclei", image, folder + "/here.tif", options))
"""


@pytest.mark.weekly
def test_workers_find_what_one_process_finds(tmp_path, run_python):
    """One of two is killed after the second of sixteen windows."""
    import skimage.data

    from nucleiseg.instances import match

    np.save(tmp_path / "image.npy", np.tile(skimage.data.immunohistochemistry(), (3, 3, 1)))
    process = run_python(SEGMENTER, tmp_path / "image.npy", tmp_path, timeout=500)
    assert process.returncode == 0, process.stderr
    spread, here = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("spread", "here"))
    assert list(map(int, process.stdout.split())) == [spread.max(), here.max()]
    assert here.max() > 100
    assert match(here, spread).average_precision(0.9) >= 0.99
