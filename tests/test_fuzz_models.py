"""Model files that were changed at random: `ModelFileError` or the right model, never a crash, a hang or another model.

In processes of their own, since crashes are looked for too. CI runs a seeded part.
"""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

PLACES = 520  # of each kind

PROGRAM = """
import io, random, sys, time, zipfile
from pathlib import Path
import keras
import numpy as np
from nucleiseg.errors import ModelFileError
from nucleiseg.modelfile import read_model, write_model
from nucleiseg.networks import STRIDES, unet

folder, kinds, counts = Path(sys.argv[1]), sys.argv[2].split(","), [int(n) for n in sys.argv[3].split(",")]
keras.utils.set_random_seed(0)
image = keras.Input((None, None, 3))
features = [keras.layers.Conv2D(2, 3, stride, padding="same")(image) for stride in STRIDES]
model = unet(keras.Model(image, features), widths=(2, 2, 2, 2, 2))
path = write_model(folder / "model.keras", model, {"segmenter": {"seed": 0}})
content = path.read_bytes()
picture = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
expected = np.asarray(model(picture, training=False))

def changed(data):
    data = bytearray(data)
    place = random.randrange(len(data))
    way = random.randrange(4)
    if way == 0:
        return bytes(data[:place])
    if way == 1:
        data[place:place + 4] = random.randbytes(4)
    else:
        data[place] ^= 1 << random.randrange(8)
    return bytes(data)

def member(name):
    # Changed behind a checksum that is right again.
    file = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(file, "w") as archive:
        for info in source.infolist():
            old = source.read(info.filename)
            archive.writestr(info.filename, changed(old) if info.filename == name else old)
    return file.getvalue()

for kind, count in zip(kinds, counts):
    random.seed(kind)
    refused = other = 0
    slowest = 0.0
    for number in range(count):
        path.write_bytes(content)
        data = changed(content) if kind == "bytes" else member(kind)
        path.write_bytes(data)
        started = time.process_time()
        try:
            loaded, settings = read_model(path)
        except ModelFileError as error:
            refused += 1
            text = str(error)
            assert "model.keras" in text and "\\n" not in text, text
        else:
            if kind == "bytes":
                assert np.array_equal(np.asarray(loaded(picture, training=False)), expected), "another model"
            else:
                other += 1  # a checksum that is right: who changed the file meant to
        slowest = max(slowest, time.process_time() - started)
    print(kind, refused, other, round(slowest, 2), flush=True)
"""

KINDS = ("bytes", "config.json", "model.weights.h5", "nucleiseg.json")


def fuzz(folder, kinds, counts):
    command = [
        sys.executable,
        "-c",
        inspect.cleandoc(PROGRAM),
        str(folder),
        ",".join(kinds),
        ",".join(map(str, counts)),
    ]
    process = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert process.returncode == 0, process.stdout + process.stderr[-3000:]
    lines = [line.split() for line in process.stdout.splitlines()]
    assert [line[0] for line in lines] == list(kinds)
    for count, (_, refused, _, slowest) in zip(counts, lines, strict=True):
        assert int(refused) > count // 20
        assert float(slowest) < 30
    return process.stdout


def test_changed_model_files_are_refused_or_right(tmp_path):
    fuzz(tmp_path, KINDS, (PLACES // 20, *[PLACES // 60] * 3))


@pytest.mark.slow
@pytest.mark.timeout(3100)
def test_model_files_changed_at_many_places_are_refused_or_right(tmp_path):
    print(fuzz(tmp_path, KINDS, [PLACES] * len(KINDS)))  # noqa: T201
