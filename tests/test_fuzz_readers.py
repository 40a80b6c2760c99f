"""Readers of files that were changed at random: an error of ours or an image, soon, and without much memory.

Each kind of file is changed in a process of its own, since what is looked for here are crashes, hangs and large
allocations too. CI runs a seeded tenth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

MUTATIONS = 2600  # of all kinds together
MEMORY = 2**28  # that a reader may take at once
MOST_MEMORY = 1200  # MiB, of the whole process
MOST_SECONDS = 10  # for one file

PROGRAM = """
import random, re, resource, sys, time, warnings, zipfile, zlib
from pathlib import Path
import numpy as np
from nucleiseg import _memory, datasets
from nucleiseg.errors import NucleisegError
from nucleiseg.images import ReadOptions, as_micrograph, open_lazy, read_image
from nucleiseg.images.reading import read_labels
from nucleiseg.images.sources import open_micrograph

for module in [m for m in list(sys.modules.values()) if hasattr(m, "memory_limit")]:
    module.memory_limit = lambda: MEMORY
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "channel . of an array is taken as transparency")
source, kind, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
content = source.read_bytes()
random.seed(f"{source.name} {kind}")

def mutated():
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 8, 64))):
        way = random.randrange(6)
        # Headers tell more lies than pixels do.
        place = random.randrange(min(len(data), random.choice((32, 256, len(data)))) or 1)
        if way == 0 and data:
            data[place] ^= 1 << random.randrange(8)
        elif way == 1 and data:
            data[place] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
        elif way == 2:
            large = b"\\x7f\\xff\\xff\\xff"
            data[place:place + 4] = random.choice((b"\\xff" * 4, b"\\0" * 4, large, large[::-1]))
        elif way == 3:
            del data[place:place + random.randrange(1, 64)]
        elif way == 4:
            data[place:place] = random.randbytes(random.randrange(1, 32))
        else:
            data = data[:random.randrange(len(data) + 1)]
    data = bytes(data)
    return mended(data) if random.random() < 0.5 else data

def mended(data):
    # With true checksums, so that what lies behind them is reached.
    if source.suffix == ".png":
        out, place = data[:8], 8
        while place + 12 <= len(data):
            length = int.from_bytes(data[place:place + 4], "big")
            body = data[place + 4:place + 8 + length]
            out += data[place:place + 4] + body + zlib.crc32(body).to_bytes(4, "big")
            place += 12 + length
        return out
    return data

def image(path):
    found = read_image(path, ReadOptions(max_pixels=2**22))
    as_micrograph(found)

def labels(path):
    found = read_labels(path, max_pixels=2**22)
    assert found.ndim == 2 and found.dtype.kind in "bui", (found.shape, found.dtype)

def dataset(path):
    for sample in datasets.read(path, cache=False):
        assert sample.labels.dtype == np.int32 and sample.labels.shape == sample.image.shape[:2]

def beside(path):
    # A file of labels beside an image.
    for sample in datasets.read(path.parent.parent, cache=False):
        assert sample.labels.dtype == np.int32 and sample.labels.shape == sample.image.shape[:2]

def parts(path):
    # What is read part by part: a TIFF file, or the folder of a Zarr of which this is a file.
    zarr = [parent for parent in path.parents if parent.suffix == ".zarr"]
    found = open_micrograph(open_lazy(zarr[0] if zarr else path, ReadOptions(channel=0, max_pixels=2**22)))
    assert found.shown.ndim == 2

read = {"image": image, "labels": labels, "dataset": dataset, "beside": beside, "parts": parts}[kind]
read(source)
refused = slowest = 0
for number in range(count):
    data = mutated()
    source.write_bytes(data)
    started = time.perf_counter()
    try:
        read(source)
    except NucleisegError as error:
        refused += 1
        text = str(error)
        assert text and "\\n" not in text, text
    except BaseException as error:
        Path(sys.argv[4]).write_bytes(data)
        raise
    slowest = max(slowest, time.perf_counter() - started)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
if Path("/proc/self/status").exists():
    # Linux counts into the above what the process that started this one had; this does not.
    peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
print(refused, round(slowest, 3), peak)
""".replace("MEMORY", str(MEMORY))


def picture(channels=None, dtype=np.uint8):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 50) if channels is None else (40, 50, channels)).astype(dtype)
    image[10:20, 10:30] = 200
    return image


def labels():
    found = np.zeros((40, 50), np.uint16)
    found[5:15, 5:15], found[20:32, 10:24], found[20:32, 24:40] = 1, 2, 3
    return found


def packed(kind, array, **options):
    file = BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def tiff(array, **options):
    file = BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def kaggle_zip():
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "ab":
            archive.writestr(f"{name}/images/{name}.png", packed("png", picture()))
            for label in (1, 2, 3):
                mask = np.where(labels() == label, 255, 0).astype(np.uint8)
                archive.writestr(f"{name}/masks/{label}.png", packed("png", mask))
    return file.getvalue()


def arrays(compressed, batch=True):
    file = BytesIO()
    save = np.savez_compressed if compressed else np.savez
    found = {"images": picture(), "labels": labels()}
    save(file, **{name: array[None] if batch else array for name, array in found.items()})
    return file.getvalue()


def npy():
    file = BytesIO()
    np.save(file, labels())
    return file.getvalue()


def geojson():
    from nucleiseg.instances import to_geojson

    return json.dumps(to_geojson(labels())).encode()


def coco():
    from nucleiseg.instances import NamedLabels, to_coco

    return json.dumps(to_coco([NamedLabels("a", labels(), "a.png")])).encode()


def rois():
    pytest.importorskip("roifile")
    from nucleiseg.instances import to_rois

    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, roi in enumerate(to_rois(labels())):
            archive.writestr(f"{number}.roi", roi.tobytes())
    return file.getvalue()


def pyramid():
    file = BytesIO()
    with tifffile.TiffWriter(file, ome=True) as writer:
        writer.write(picture(3), subifds=1, photometric="rgb", tile=(16, 16), compression="zlib")
        writer.write(picture(3)[::2, ::2], subfiletype=1, photometric="rgb", tile=(16, 16), compression="zlib")
    return file.getvalue()


def write_zarr(folder):
    """Images of two channels: an OME-Zarr of version 2, and a plain array of version 3."""
    zarr = pytest.importorskip("zarr")
    pixels = np.stack([picture(), picture()[::-1]])
    group = zarr.open_group(str(folder / "old.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=pixels.shape, dtype="u1", chunks=(1, 32, 32))[...] = pixels
    axes = [{"name": name, "unit": "micrometer"} for name in "cyx"]
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs.update({"multiscales": [multiscale], "omero": {"channels": [{"label": "a"}, {"label": "b"}]}})
    array = zarr.create_array(str(folder / "new.zarr"), shape=pixels.shape, dtype="u1", chunks=(1, 32, 32))
    array[...] = pixels


ZARR_FILES = ("old.zarr/.zattrs", "old.zarr/0/.zarray", "old.zarr/0/0.0.0", "new.zarr/zarr.json", "new.zarr/c/0/0/0")
FILES = {
    "grey.png": ("image", lambda: packed("png", picture())),
    "colour.png": ("image", lambda: packed("png", picture(3))),
    "palette.png": ("image", lambda: packed("png", picture(), optimize=True)),
    "deep.png": ("image", lambda: packed("png", picture(dtype=np.uint16))),
    "label.png": ("labels", lambda: packed("png", labels())),
    "photo.jpg": ("image", lambda: packed("jpeg", picture(3))),
    "plain.bmp": ("image", lambda: packed("bmp", picture(3))),
    "plain.tif": ("image", lambda: tiff(picture())),
    "big.tif": ("image", lambda: tiff(picture(dtype=np.uint16), bigtiff=True, byteorder=">")),
    "deflated.tif": ("image", lambda: tiff(picture(dtype=np.float32), compression="zlib", predictor=True)),
    "colour.tif": ("image", lambda: tiff(picture(3), photometric="rgb", tile=(16, 16))),
    "imagej.tif": (
        "image",
        lambda: tiff(
            picture()[None].repeat(3, 0), imagej=True, metadata={"axes": "CYX", "Labels": ["Red", "Green", "Blue"]}
        ),
    ),
    "two.ome.tif": ("image", lambda: tiff(picture(), ome=True, metadata={"axes": "YX"})),
    "pyramid.ome.tif": ("image", pyramid),
    "label.tif": ("labels", lambda: tiff(labels(), compression="zlib")),
    "parts.tif": ("parts", lambda: tiff(picture(), tile=(16, 16), compression="zlib")),
    **dict.fromkeys(ZARR_FILES, ("parts", None)),
    "kaggle.zip": ("dataset", kaggle_zip),
    "arrays.npz": ("dataset", lambda: arrays(compressed=False)),
    "packed.npz": ("dataset", lambda: arrays(compressed=True)),
    "coco.json": ("dataset", coco),
    "runs.csv": ("dataset", lambda: b"ImageId,EncodedPixels\na,1 10 60 12 120 3\na,900 40\n"),
    "a.npy": ("beside", npy),
    "a.npz": ("beside", lambda: arrays(compressed=True, batch=False)),
    "a.geojson": ("beside", geojson),
    "a.zip": ("beside", rois),
}


def fuzz(folder, name, count):
    kind, make = FILES[name]
    place = folder / "labels" / name if kind == "beside" else folder / name
    if kind == "beside" or name in ("coco.json", "runs.csv"):
        (folder / "images").mkdir()
        (folder / "images" / "a.png").write_bytes(packed("png", picture()))
    if make is None:
        write_zarr(folder)
    else:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(make())
    failed = Path(os.environ.get("NUCLEISEG_FUZZ_FAILURES", folder)) / f"failed_{name.replace('/', '_')}"
    command = [sys.executable, "-c", PROGRAM, str(place), kind, str(count), str(failed)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    refused, slowest, peak = process.stdout.split()
    assert int(refused) > count // 20  # most changes are noticed; none would mean that nothing was changed
    assert float(slowest) < MOST_SECONDS
    assert int(peak) < MOST_MEMORY
    return int(refused), float(slowest), int(peak)


@pytest.mark.parametrize("name", FILES)
def test_changed_files_are_refused_or_read(tmp_path, name):
    fuzz(tmp_path, name, -(-MUTATIONS // len(FILES) // 10))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_files_changed_in_many_ways_are_refused_or_read(tmp_path, name, record_property):
    found = fuzz(tmp_path, name, -(-MUTATIONS // len(FILES)))
    print(name, *found)  # noqa: T201
