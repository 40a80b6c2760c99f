"""ONNX files that were changed at random: `ModelFileError` or the right model, never a crash, a hang or another model.

In processes of their own, since onnxruntime is native code and crashes are looked for too. CI runs a seeded tenth.
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
import numpy as np
from nucleiseg.engines import OnnxEngine, onnx_metadata
from nucleiseg.errors import ModelFileError
from nucleiseg.segmenter import Segmenter

source, folder, kind, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
path = folder / ("changed.bioimage.zip" if kind == "package" else "changed.onnx")
content = source.read_bytes()
network, entries = onnx_metadata._split(content)
picture = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
expected = OnnxEngine(source)(picture)

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

def sealed(network, settings):
    # Changed behind a checksum that is right again.
    stored = {"nucleiseg.json": settings}
    digest = onnx_metadata.hashlib.sha256(network + settings).hexdigest().encode()
    field, entry = onnx_metadata._field, lambda key, value: field(1, key) + field(2, value)
    return network + field(14, entry(b"nucleiseg.json", settings)) + field(14, entry(b"nucleiseg.sha256", digest))

settings = entries["nucleiseg.json"].encode()
assert sealed(network, settings) == content
package = io.BytesIO()
with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("weights.onnx", content)
refused = other = 0
slowest = 0.0
for number in range(count):
    random.seed(f"{kind} {number}")
    if kind == "bytes":
        data = changed(content)
    elif kind == "package":
        data = changed(package.getvalue())
    elif kind == "network":
        data = sealed(changed(network), settings)
    else:
        data = sealed(network, changed(settings))
    path.write_bytes(data)
    print(number, file=sys.stderr, flush=True)  # tells which one crashed
    started = time.process_time()
    try:
        segmenter = Segmenter.load(path)
    except ModelFileError as error:
        refused += 1
        text = str(error)
        assert path.name in text and "\\n" not in text, text
    else:
        if kind in ("bytes", "package"):
            assert np.array_equal(segmenter._engine(picture), expected), "another model"
        else:
            other += 1  # a checksum that is right: who changed the file meant to
    slowest = max(slowest, time.process_time() - started)
print(kind, refused, other, round(slowest, 2), flush=True)
"""

KINDS = ("bytes", "package", "network", "settings")


@pytest.fixture(scope="module")
def exported(tiny_segmenter, tmp_path_factory):
    return tiny_segmenter.export(tmp_path_factory.mktemp("onnx") / "tiny.onnx")


def fuzz(source, folder, kind, count):
    command = [sys.executable, "-c", inspect.cleandoc(PROGRAM), *map(str, (source, folder, kind, count))]
    process = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert process.returncode == 0, f"{kind}: {process.returncode} {process.stdout}{process.stderr[-3000:]}"
    (line,) = process.stdout.splitlines()  # and no word from onnxruntime
    refused, _, slowest = map(float, line.split()[1:])
    assert refused > count // 20
    assert slowest < 30
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_changed_onnx_files_are_refused_or_right(exported, tmp_path, kind):
    fuzz(exported, tmp_path, kind, PLACES // 10)


@pytest.mark.slow
@pytest.mark.timeout(3100)
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_files_changed_at_many_places_are_refused_or_right(exported, tmp_path, kind):
    print(fuzz(exported, tmp_path, kind, PLACES))  # noqa: T201
