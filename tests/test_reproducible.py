"""The same numbers again: after a kill, in another process, in another order, in many threads."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nucleiseg import Segmenter, datasets
from nucleiseg.instances import match

# Trains a small network; what it is told decides for how long, and it says when an epoch is finished.
PROGRAM = """
import os, sys
import keras
import numpy as np
from nucleiseg import Segmenter, datasets
from nucleiseg.networks import register_encoder
from nucleiseg.training import Augmentation, FitOptions

def tiny(weights=None):
    x = image = keras.Input((None, None, 3))
    for filters in (4, 4, 8, 8, 8):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(image, x)

register_encoder("tiny")(tiny)
data = datasets.read(sys.argv[1], cache=False)
folder = sys.argv[2]
segmenter = Segmenter("tiny", None, widths=(4, 4, 4, 4, 4), seed=5, deterministic=True)
options = FitOptions(batch_size=2, crop=(32, 32), patience=6, learning_rate=0.02, augmentation=Augmentation())
checkpoint = os.path.join(folder, "checkpoint") if "checkpoint" in sys.argv else None
history = segmenter.fit(data[:4], data[4:], 8, options, checkpoint=checkpoint, resume=checkpoint is not None)
np.savez(os.path.join(folder, "weights.npz"), *segmenter.model.get_weights())
segmenter.save(os.path.join(folder, "model.keras"))
print(len(history.rows), *(f"{row['learning_rate']:.9g}" for row in history.rows))
"""


def start(data, folder, *flags):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", inspect.cleandoc(PROGRAM), str(data), str(folder), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    return out


def weights(folder):
    with np.load(folder / "weights.npz") as file:
        return [file[name] for name in file.files]


@pytest.fixture(scope="module")
def uninterrupted(disc_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, finish(start(disc_dataset, folder))


def test_two_runs_give_the_same_bytes(uninterrupted, disc_dataset, tmp_path):
    folder, printed = uninterrupted
    assert finish(start(disc_dataset, tmp_path)) == printed
    for one, other in zip(weights(tmp_path), weights(folder), strict=True):
        assert one.tobytes() == other.tobytes()


def kill_in_epochs(disc_dataset, folder, epochs):
    """Kill a run once after each of these numbers of finished epochs; then let it go on to its end."""
    rng = np.random.default_rng(len(epochs))
    rows = 0
    for epoch in epochs:
        process = start(disc_dataset, folder, "checkpoint")
        while process.poll() is None and rows < epoch:
            rows = finished(folder / "checkpoint")
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it had come to its end"
    return finish(start(disc_dataset, folder, "checkpoint"))


def finished(checkpoint):
    try:
        with np.load(checkpoint / "last.npz") as file:
            return len(json.loads(file["facts"].tobytes())["rows"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # it is being replaced
        return 0


def check_killed(uninterrupted, disc_dataset, tmp_path, epochs):
    folder, printed = uninterrupted
    assert kill_in_epochs(disc_dataset, tmp_path, epochs) == printed  # as many epochs, at the same rates
    for one, other in zip(weights(tmp_path), weights(folder), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.weekly
def test_killed_and_resumed_it_ends_with_the_same_weights(uninterrupted, disc_dataset, tmp_path):
    check_killed(uninterrupted, disc_dataset, tmp_path, [2])


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [[1], [2], [3], [4], [5], [1, 2, 3, 4, 5]], ids=str)
def test_killed_in_any_epoch_it_ends_with_the_same_weights(uninterrupted, disc_dataset, tmp_path, epochs):
    check_killed(uninterrupted, disc_dataset, tmp_path, epochs)


def test_a_saved_model_tells_what_it_was_made_with(uninterrupted, disc_dataset):
    folder, _ = uninterrupted
    with zipfile.ZipFile(folder / "model.keras") as archive:
        run = json.loads(archive.read("nucleiseg.json"))["segmenter"]["run"]
    assert run["software"] == "nucleiseg"
    assert (run["seed"], run["deterministic"], run["backend"], run["most_epochs"]) == (5, True, "tensorflow", 8)
    assert run["packages"]["numpy"] == np.__version__
    assert run["options"]["batch_size"] == 2
    assert run["started"] <= run["finished"]
    assert run["command"].startswith("-c ")
    data = datasets.read(disc_dataset, cache=False)
    digest = hashlib.sha256("\n".join(data.ids[:4]).encode())
    for sample in data[:4]:
        for array in (sample.image, sample.labels):
            digest.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    assert run["data"]["train"] == {"images": 4, "sha256": digest.hexdigest()}
    assert run["data"]["validation"]["images"] == 2
    assert Segmenter.load(folder / "model.keras").run == run


# ---- Predicting. ----


@pytest.fixture(scope="module")
def nuclei():
    return Segmenter.from_pretrained("nuclei")


@pytest.fixture(scope="module")
def tissue():
    import skimage.data

    picture = skimage.data.immunohistochemistry()
    return [picture[row : row + 128, column : column + 128] for row in (0, 150, 300) for column in (0, 200)]


@pytest.fixture(scope="module")
def found(nuclei, tissue):
    return [nuclei.predict(image) for image in tissue]


def test_the_order_of_images_does_not_matter(nuclei, tissue, found):
    order = [3, 0, 5, 1, 4, 2]
    for index, one in zip(order, nuclei.predict([tissue[i] for i in order]), strict=True):
        np.testing.assert_array_equal(one.labels, found[index].labels)
        np.testing.assert_array_equal(one.probability, found[index].probability)


def assert_close(one, other):
    np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)
    if other.count:
        assert match(other.labels, one.labels).average_precision(0.9) >= 0.99


def test_another_batch_size_gives_nearly_the_same(nuclei, tissue):
    from nucleiseg import PredictOptions
    from nucleiseg.images import pad_to_multiple, rescale, to_rgb
    from nucleiseg.inference import Prediction
    from nucleiseg.inference.segmenting import decoding_of

    batch = np.stack([pad_to_multiple(to_rgb(rescale(image, "percentile")), 32)[0] for image in tissue])
    options = PredictOptions(precision="float32", min_confidence=0.0)  # which `Segmenter.predict` would see to
    decoding = decoding_of(nuclei._settings, options)
    maps = np.asarray(nuclei.model.predict_on_batch(batch))
    for image, one in zip(tissue, maps, strict=True):
        decoded, wanted = decoding.whole(one[:128, :128]), nuclei.predict(image, options)
        assert_close(Prediction(image, one[:128, :128, 0], decoded.labels), wanted)


@pytest.mark.weekly
def test_another_number_of_threads_gives_nearly_the_same(run_python, tissue, found, tmp_path):
    from nucleiseg.inference import Prediction

    np.save(tmp_path / "images.npy", np.stack(tissue))
    code = """
import sys
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
from nucleiseg import Segmenter
results = Segmenter.from_pretrained("nuclei").predict(list(np.load(sys.argv[1])))
np.savez(sys.argv[2], probability=[one.probability for one in results], labels=[one.labels for one in results])
"""
    process = run_python(code, tmp_path / "images.npy", tmp_path / "found.npz")
    assert process.returncode == 0, process.stderr
    with np.load(tmp_path / "found.npz") as file:
        for image, probability, labels, wanted in zip(tissue, file["probability"], file["labels"], found, strict=True):
            assert_close(Prediction(image, probability, labels), wanted)


def test_eight_threads_share_a_segmenter(nuclei, tissue, found):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        for number, one in enumerate(pool.map(nuclei.predict, [*tissue, *tissue])):
            assert_close(one, found[number % len(tissue)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_a_forked_process_ends_with_an_error(run_python, tissue, tmp_path):
    np.save(tmp_path / "image.npy", tissue[0])
    code = """
import multiprocessing, sys, warnings
import numpy as np
from nucleiseg import Segmenter
warnings.simplefilter("ignore")
segmenter = Segmenter.from_pretrained("nuclei")
image = np.load(sys.argv[1])
def work(queue):
    try:
        queue.put(segmenter.predict(image).count)
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")
def fork():
    queue = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(target=work, args=(queue,))
    process.start()
    process.join(30)
    alive = process.is_alive()
    process.kill()
    print("hangs" if alive else queue.get())
fork()
segmenter.predict(image)
fork()
"""
    process = run_python(code, tmp_path / "image.npy")
    before, after = process.stdout.splitlines()
    assert before == after, process.stderr
    assert before.startswith("ForkedProcessError: networks can't be used in a process that"), process.stderr
    assert "multiprocessing.get_context('spawn')" in before


def test_it_works_without_a_home_and_without_a_network(run_python, tissue, found, tmp_path):
    np.save(tmp_path / "image.npy", tissue[0])
    code = """
import os, socket, sys
for name in ("HOME", "XDG_CACHE_HOME", "NUCLEISEG_CACHE", "KERAS_HOME", "USER", "LOGNAME"):
    os.environ.pop(name, None)
class Refused(socket.socket):
    def __init__(self, *arguments, **options):
        raise OSError("no network here")
socket.socket = Refused
socket.create_connection = socket.getaddrinfo = Refused
import numpy as np
import nucleiseg
print(nucleiseg.Segmenter.from_pretrained("nuclei").predict(np.load(sys.argv[1])).count)
"""
    process = run_python(code, tmp_path / "image.npy", TMPDIR=str(tmp_path))
    assert (process.returncode, process.stdout) == (0, f"{found[0].count}\n"), process.stderr


def test_a_home_that_cannot_be_written_is_enough(run_python, disc_dataset, tmp_path):
    home = tmp_path / "home"
    home.write_text("a file, so that not even root can make folders in it")
    code = """
import sys
from nucleiseg import datasets
from nucleiseg.cli.main import main
import warnings
warnings.simplefilter("error", ResourceWarning)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(datasets.read(sys.argv[1])[0].labels.max(), [str(one.message)[:40] for one in caught])
sys.exit(main(["predict", sys.argv[1] + "/images/disc0.png", "-o", sys.argv[2]]))
"""
    out = tmp_path / "out"
    variables = {"HOME": str(home), "NUCLEISEG_CACHE": "", "XDG_CACHE_HOME": "", "KERAS_HOME": ""}
    process = run_python(code, disc_dataset, out, **variables)
    assert process.returncode == 0, process.stderr
    assert "3 ['the cache of decoded samples cannot be " in process.stdout
    assert (out / "disc0_labels.tif").is_file()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_another_user_without_a_home_can_predict(run_python, disc_dataset):
    """In a process that was root until all modules were loaded, since nobody may read where they lie here."""
    code = """
import os, shutil, sys
from pathlib import Path
from nucleiseg.cli.main import main
from nucleiseg.pretrained import pretrained_path
folder = Path(sys.argv[1])
model, image, out = folder / "model.onnx", folder / "image.png", folder / "out"
shutil.copy(pretrained_path("nuclei-fast").with_suffix(".onnx"), model)
shutil.copy(sys.argv[2], image)
assert main(["predict", str(image), "-o", str(folder / "first"), "--model", str(model)]) == 0
out.mkdir(mode=0o700)
os.chown(out, 65534, 65534)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
status = main(["predict", str(image), "-o", str(out), "--model", str(model)])
print(status, {path.stat().st_uid for path in out.iterdir()}, (out / "image_labels.tif").is_file())
"""
    variables = {"HOME": "/root", "NUCLEISEG_CACHE": "", "XDG_CACHE_HOME": "", "KERAS_HOME": ""}
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folder is closed to others
        Path(folder).chmod(0o755)
        process = run_python(code, folder, disc_dataset / "images" / "disc0.png", **variables)
    assert process.stdout.splitlines()[-1:] == ["0 {65534} True"], process.stderr
