"""Bad input, one clear line each, through the API and on the command line: the rule, what came, the remedy."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from nucleiseg import _memory, datasets, modelfile
from nucleiseg.cli.main import main
from nucleiseg.engines.onnx_metadata import read_checked
from nucleiseg.errors import DatasetError, ImageFileError, InvalidInputError, ModelFileError
from nucleiseg.images import ReadOptions, _pillow, find_images, open_lazy, read_image, rescale
from nucleiseg.images.reading import read_labels
from nucleiseg.images.sources import open_micrograph
from nucleiseg.inference import Prediction
from nucleiseg.instances import match, measure, split_components
from nucleiseg.segmenter import Segmenter


def packed(kind, array):
    file = BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def tiff(array, **options):
    file = BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def claimed_png(height, width, channels=1):
    """A PNG of a few bytes that claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def claimed_tiff(**tags):
    """A TIFF of 8 × 8 pixels with some numbers in its header replaced."""
    data = bytearray(tiff(np.zeros((8, 8), np.uint8)))
    with tifffile.TiffFile(BytesIO(bytes(data))) as file:
        found = {tag.name: tag.valueoffset for tag in file.pages[0].tags}
    for name, value in tags.items():
        struct.pack_into("<I", data, found[name], value)
    return bytes(data)


GREY = np.arange(30 * 20, dtype=np.uint8).reshape(30, 20)
PNG, TIFF = packed("png", GREY), tiff(GREY)
# Name of the file, its bytes, and what the message says besides the name.
FILES = {
    "empty": ("a.png", b"", "the file is empty; copy it again"),
    "empty TIFF": ("a.tif", b"", "the file is empty; copy it again"),
    "cut PNG": ("a.png", PNG[: len(PNG) // 2], "cannot be decoded"),
    "cut TIFF": ("a.tif", TIFF[: len(TIFF) // 2], "cannot be decoded"),
    "text": ("a.png", b"no image at all", "is not a PNG, JPEG, BMP or TIFF image; convert it"),
    "text as TIFF": ("a.tif", b"no image at all", "is not a PNG, JPEG, BMP or TIFF image; convert it"),
    "unknown ending": ("a.gif", PNG, "unknown ending '.gif'; use one of"),
    "no ending": ("a", PNG, "unknown ending ''; use one of"),
    "a zip": ("a.png", b"PK\3\4" + bytes(30), "is not a PNG, JPEG, BMP or TIFF image; convert it"),
    "huge PNG": ("a.png", claimed_png(10**6, 10**6), "is more than 268435456 pixels; crop it"),
    "huge colour PNG": ("a.png", claimed_png(2**31 - 1, 2, 4), "is more than 268435456 pixels; crop it"),
    "huge TIFF": ("a.tif", claimed_tiff(ImageWidth=10**6, ImageLength=10**6), "is more than 268435456 pixels; crop it"),
    "endless samples": ("a.tif", claimed_tiff(ImageWidth=2**14, ImageLength=2**14, SamplesPerPixel=2**15), "a.tif"),
    "no rows": ("a.png", claimed_png(0, 20), "cannot be decoded"),
    "five channels": (
        "a.tif",
        tiff(np.zeros((30, 20, 5), np.uint8), photometric="minisblack"),
        "got a stack of shape (30, 20, 5) (axes QYX), which looks like (H, W, C); if so, say --axes YXC --channel 0 (",
    ),
    "a stack": ("a.tif", tiff(np.zeros((7, 9, 8), np.uint8), photometric="minisblack"), "must come down to one image"),
    "4-D": ("a.tif", tiff(np.zeros((4, 7, 9, 8), np.uint8), photometric="minisblack"), "must come down to one image"),
    "channels first": (
        "a.tif",
        tiff(np.zeros((3, 9, 8), np.uint8), photometric="minisblack"),
        "got a stack of shape (3, 9, 8) (axes QYX), which looks like (C, H, W); say what the 3 planes are: colours "
        "with --axes SYX, channels with --axes CYX --channel 0, depths with --axes ZYX --project max, or choose one",
    ),
    "pages": (
        "a.tif",
        tiff(np.zeros((2, 9, 8), np.uint8), photometric="minisblack", metadata=None),
        "got a stack of shape (2, 9, 8) (axes IYX), which looks like (C, H, W); say what the 2 planes are: channels",
    ),
}
# What the network is given is checked here; the file itself is fine.
PIXELS = {
    "NaN": (np.full((9, 8), np.nan, np.float32), "must be finite, got NaN or infinity; replace them"),
    "infinite": (np.full((9, 8), np.inf, np.float32), "must be finite, got NaN or infinity; replace them"),
    "complex": (np.zeros((9, 8), np.complex64), "must hold real numbers"),
}


class Threshold:
    """In place of a model, which takes a second to load."""

    def predict(self, source, options):
        bright = (rescale(np.atleast_3d(source.shown)).max(-1) > 0.5).astype(np.float32)
        return Prediction(source.shown, bright, split_components(bright), source)

    def evaluate(self, data, options, watch):
        return [sample.labels for sample in data]


@pytest.fixture(autouse=True)
def model(monkeypatch):
    monkeypatch.setattr(Segmenter, "load", lambda path: Threshold())
    # Squares of one value are flat or saturated, which is told in tests of its own.
    monkeypatch.setattr("nucleiseg.inference.prediction.judge_image", lambda image, labels: ())


def one_line(text):
    return text.strip() and "\n" not in text.strip()


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_image(tmp_path, capfd, kind):
    name, content, message = FILES[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageFileError) as raised:
        read_image(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert one_line(str(raised.value))

    good = tmp_path / "good.png"
    good.write_bytes(PNG)
    assert main(["predict", str(path), str(good), "-o", str(tmp_path / "out")]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"nucleiseg: {raised.value}"


@pytest.mark.parametrize(("name", "kind"), [("a.png", "jpeg"), ("a.png", "tiff"), ("a.tif", "png"), ("a.jpg", "bmp")])
def test_a_wrong_ending_of_an_image_does_no_harm(tmp_path, capfd, name, kind):
    (tmp_path / name).write_bytes(packed(kind, GREY))
    np.testing.assert_allclose(read_image(tmp_path / name).astype(int), GREY, atol=30 if kind == "jpeg" else 0)
    assert main(["predict", str(tmp_path / name), "-o", str(tmp_path / "out")]) == 0
    assert capfd.readouterr().err == ""


def test_files_with_channels_first_are_read_as_their_message_says(tmp_path, capfd):
    colours = np.random.default_rng(0).integers(0, 255, (3, 30, 20), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, colours, photometric="minisblack")
    np.testing.assert_array_equal(read_image(path, ReadOptions(axes="SYX")), np.moveaxis(colours, 0, -1))
    np.testing.assert_array_equal(read_image(path, ReadOptions(axes="CYX", channel=0)), colours[0])
    np.testing.assert_array_equal(read_image(path, ReadOptions(axes="ZYX", project="max")), colours.max(0))
    tifffile.imwrite(tmp_path / "b.tif", np.moveaxis(colours.repeat(2, 0)[:5], 0, -1), photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif", ReadOptions(axes="YXC", channel=0)), colours[0])
    for axes in (["SYX"], ["CYX", "--channel", "0"], ["ZYX", "--project", "max"]):
        assert main(["predict", str(path), "-o", str(tmp_path / axes[0]), "--axes", *axes]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", PIXELS)
def test_pixels_that_are_no_numbers(tmp_path, capfd, kind):
    pixels, message = PIXELS[kind]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels)
    assert main(["predict", str(path), "-o", str(tmp_path / "out")]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"nucleiseg: {path}: ")
    assert message in line


def test_folders_and_missing_files(tmp_path, capfd):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ImageFileError, match="is a folder, not an image; pass the files in it"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match="no such file; check the path"):
        read_image(tmp_path / "none.png")
    assert main(["predict", str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "no images found in" in line


AS_ANOTHER_USER = """
import os, sys
from nucleiseg.errors import NucleisegError
from nucleiseg.images.reading import find_images, read_image
if os.geteuid() == 0: os.setuid(65534)
for read in (find_images, read_image):
    try: print(read(sys.argv[1]))
    except NucleisegError as error: print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions are a matter of POSIX")
@pytest.mark.parametrize(
    ("locked", "lines"),
    [
        (
            "closed/secret.png",
            [
                "[{path!r}]",
                "closed/secret.png: cannot be read (Permission denied); check its permissions",
            ],
        ),
        (
            "closed",
            [
                "closed/secret.png: cannot be looked at (Permission denied); check the path and the permissions of its "
                "folders"
            ]
            * 2,
        ),
    ],
)
def test_what_may_not_be_read(tmp_path, locked, lines):
    """A file, and what is in a folder. Seen from its folder, so that those above it don't matter."""
    path = Path("closed") / "secret.png"
    (tmp_path / "closed").mkdir()
    (tmp_path / path).write_bytes(PNG)
    tmp_path.chmod(0o755)
    (tmp_path / locked).chmod(0)
    command = [sys.executable, "-c", AS_ANOTHER_USER, str(path)]
    try:
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        (tmp_path / locked).chmod(0o755)
    assert process.stdout.splitlines() == [line.format(path=path) for line in lines], process.stderr


@pytest.mark.parametrize("name", [f"{'a' * 300}.png", "a\0.png"])
def test_names_that_no_file_can_have(tmp_path, capfd, name):
    path = tmp_path / name
    uses = {
        InvalidInputError: [lambda: find_images([path])],
        ImageFileError: [lambda: read_image(path), lambda: open_micrograph(path), lambda: open_lazy(path)],
        DatasetError: [lambda: datasets.read(path), lambda: datasets.read(tmp_path, labels=path)],
        ModelFileError: [lambda: modelfile.read_settings(path), lambda: read_checked(path)],
    }
    for expected, calls in uses.items():
        for call in calls:
            with pytest.raises(expected, match=r"cannot be looked at \(.+\); check the path and the perm") as raised:
                call()
            assert one_line(str(raised.value))
    assert main(["predict", str(path), "-o", str(tmp_path / "out")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "cannot be looked at" in line


# ---- Arrays. ----


@pytest.fixture(scope="module")
def segmenter(tiny_segmenter):
    return tiny_segmenter


ODD = {
    "one pixel": np.full((1, 1), 9, np.uint8),
    "one row": np.arange(10_000, dtype=np.uint16)[None],
    "one column": np.arange(10_000, dtype=np.uint16)[:, None],
    "constant": np.full((40, 30), 7, np.uint16),
    "negative": np.arange(-600, 600).reshape(40, 30),
    "bool": np.eye(40, 30, dtype=bool),
    "float16": np.linspace(0, 1, 1200, dtype=np.float16).reshape(40, 30),
    "float64": np.linspace(-1e300, 1e300, 1200).reshape(40, 30),
    "big-endian": np.arange(1200, dtype=">u2").reshape(40, 30),
    "int32": np.arange(1200, dtype=np.int32).reshape(40, 30) * 10**6,
    "uint64": np.arange(1200, dtype=np.uint64).reshape(40, 30) << np.uint64(40),
    "tiny numbers": np.full((40, 30), 5e-324),
    "grey and alpha": np.zeros((40, 30, 2), np.uint8),
    "one channel": np.zeros((40, 30, 1), np.uint8),
    "a list": [[0, 1], [2, 3]],
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_arrays_are_segmented(segmenter, kind):
    image = ODD[kind]
    result = segmenter.predict(np.asarray(image))
    assert result.labels.shape == np.shape(image)[:2]
    assert result.labels.dtype == np.int32
    assert result.probability.dtype == np.float32
    assert np.isfinite(result.probability).all()
    assert len(result.table()) == result.count


def test_odd_files_are_segmented(tmp_path, capfd):
    # Two channels in a TIFF are a stack unless it says otherwise.
    images = {kind.replace(" ", "_"): np.asarray(ODD[kind]) for kind in ODD if kind != "grey and alpha"}
    for kind, image in images.items():
        byteorder = ">" if kind == "big-endian" else "<"
        tifffile.imwrite(tmp_path / f"{kind}.tif", image, byteorder=byteorder, photometric="minisblack")
    status = main(["predict", str(tmp_path), "-o", str(tmp_path / "out")])
    assert (status, capfd.readouterr().err) == (0, "")
    for kind, image in images.items():
        assert tifffile.imread(tmp_path / "out" / f"{kind}_labels.tif").shape == image.shape[:2]


WRONG = {
    "no pixel": (np.zeros((0, 5)), "with at least one pixel, got shape (0, 5), dtype float64"),
    "one axis": (np.zeros(5), "must be (H, W) or (H, W, C)"),
    "five channels": (np.zeros((9, 8, 5)), "must have 1 to 4 channels (grey, grey + alpha, RGB, RGBA)"),
    "4-D": (np.zeros((2, 9, 8, 3)), "pass one image at a time"),
    "channels first": (np.zeros((3, 9, 8)), "looks like (C, H, W); use numpy.moveaxis(image, 0, -1)"),
    "NaN": (np.full((9, 8), np.nan), "must be finite, got NaN or infinity; replace them"),
    "infinite": (np.full((9, 8), -np.inf), "must be finite, got NaN or infinity; replace them"),
    "object": (np.array([[1, None]], dtype=object), "must hold real numbers"),
    "complex": (np.zeros((9, 8), complex), "must hold real numbers"),
    "text": (np.array([["a", "b"]]), "must hold real numbers"),
    "dates": (np.zeros((9, 8), "datetime64[s]"), "must hold real numbers"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_arrays_are_refused(segmenter, kind):
    image, message = WRONG[kind]
    with pytest.raises(InvalidInputError) as raised:
        segmenter.predict(image)
    assert message in str(raised.value)
    assert one_line(str(raised.value))


# ---- Labels and datasets. ----


def pair(folder, image, labels, ending=".png"):
    for kind, array in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(parents=True)
        path = folder / kind / f"a{'.png' if kind == 'images' else ending}"
        path.write_bytes(tiff(array) if path.suffix == ".tif" else packed("png", array))
    return folder


LABELS = {
    "another shape": (np.zeros((30, 21), np.uint8), "image and labels must have the same height and width"),
    "fractions": (np.full((30, 20), 0.5, np.float32), "labels must be whole numbers"),
    "not a number": (np.full((30, 20), np.nan, np.float32), "labels must be whole numbers"),
    "negative": (np.full((30, 20), -1, np.int16), "labels must lie in 0 to 2147483647"),
    "too large": (np.full((30, 20), 2**31, np.uint32), "labels must lie in 0 to 2147483647"),
    "colours": (np.arange(30 * 20 * 3, dtype=np.uint8).reshape(30, 20, 3), "must be one channel of whole numbers"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_are_none(tmp_path, capfd, kind):
    labels, message = LABELS[kind]
    folder = pair(tmp_path, GREY, labels, ".tif")
    with pytest.raises(DatasetError) as raised:
        datasets.read(folder, cache=False)[0]
    assert message in str(raised.value)
    assert one_line(str(raised.value))
    assert main(["evaluate", str(folder)]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line


def test_labels_in_memory_that_are_floats_are_refused():
    floats = np.full((30, 20), 1.5)
    for use in (
        lambda: datasets.from_arrays([GREY], [floats])[0],
        lambda: match(floats, floats),
        lambda: measure(floats),
    ):
        with pytest.raises(
            InvalidInputError,
            match=r"(labels|truth) .*must be integers, 0 for background, got shape \(30, 20\), dtype float64",
        ) as raised:
            use()
        assert one_line(str(raised.value))


def test_label_files_that_are_floats_are_not_scored(tmp_path, capfd):
    for folder in ("truth", "found"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", np.full((30, 20), 0.5, np.float32))
    assert main(["score", str(tmp_path / "truth"), str(tmp_path / "found")]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "labels must be whole numbers, got shape (30, 20), dtype float32; save label images as" in line


def test_labels_beyond_16_bits_are_read(tmp_path):
    labels = np.arange(600, dtype=np.int32).reshape(30, 20) * 100_000
    np.testing.assert_array_equal(read_labels(pair(tmp_path, GREY, labels, ".tif") / "labels" / "a.tif"), labels)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\5\6" + bytes(3)])
def test_what_is_no_zip(tmp_path, capfd, content):
    path = tmp_path / "data.zip"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is not a readable zip archive"):
        datasets.read(path)
    assert main(["check", str(path)]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "is not a readable zip archive" in line


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_zip_that_is_cut_short(tmp_path, capfd, share):
    path = zipped(tmp_path / "data.zip", ["a/images/a.png", "a/masks/1.png"])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match="is not a readable zip archive"):
        datasets.read(path)
    assert main(["check", str(path)]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "is not a readable zip archive" in line


def zipped(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, PNG)
    return path


@pytest.mark.parametrize(
    "name",
    ["../../evil/images/a.png", "/etc/images/a.png", "a/../../images/b.png", "C:/x/images/a.png", "..\\x/images/a.png"],
)
def test_a_zip_that_leads_out_is_refused(tmp_path, capfd, name):
    path = zipped(tmp_path / "data.zip", ["good/images/good.png", "good/masks/1.png", name])
    with pytest.raises(DatasetError, match=r"leads out of the archive; don't use it unless you know its source"):
        datasets.read(path)
    assert main(["check", str(path), "--fix", str(tmp_path / "fixed")]) == 1
    assert "leads out of the archive" in capfd.readouterr().err
    assert [child.name for child in tmp_path.iterdir()] == ["data.zip"]


def test_a_zip_that_claims_to_be_huge_is_refused(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/images/a.png", "a/masks/1.png"):
            archive.writestr(name, PNG)
        archive.filelist[1].file_size = 2**40
    with pytest.raises(DatasetError, match=r"a/masks/1.png claims 1,099,511,627,776 bytes, more than the"):
        datasets.read(path)


def test_arrays_that_claim_to_be_huge_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=np.zeros((1, 2000, 2000), np.uint8), labels=np.zeros((1, 2000, 2000), np.uint8))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr("nucleiseg.datasets.records.memory_limit", lambda: 2**20)
    with pytest.raises(DatasetError, match=r"claims 8,000,[\d,]+ bytes, more than the 1,048,576 that may be used here"):
        datasets.read(path)


def test_a_stack_that_memory_cannot_hold_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((50, 200, 200), np.uint16), compression="zlib")
    monkeypatch.setattr(_pillow, "memory_limit", lambda: 2**21)
    with pytest.raises(
        ImageFileError, match="an array of 50 x 200 x 200 takes more than the 2 MiB that may be used here"
    ):
        read_image(path)


def test_the_limit_is_part_of_the_memory_that_there_is():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 2**28 <= _memory.memory_limit() <= max(2**28, total // 2)


def test_the_memory_of_a_system_that_does_not_tell_is_unknown(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(_memory, "Path", lambda path: tmp_path / "missing")
    assert _memory.total_memory() is None
    assert _memory.memory_limit.__wrapped__() == 2**33


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name != "posix", reason="links need rights on Windows")
def test_links_in_circles_are_walked_once(tmp_path, capfd):
    folder = tmp_path / "plate"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.png").write_bytes(PNG)
    (folder / "b.png").write_bytes(PNG)
    for number in range(4):  # would be 4 to the power of 40 folders
        (folder / f"loop{number}").symlink_to(folder)
        (folder / "deep" / f"up{number}").symlink_to("..")
    (folder / "self.png").symlink_to("self.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    started = time.perf_counter()
    found = find_images([f"{folder}/**/*.png"])
    assert time.perf_counter() - started < 5
    assert sorted(path.name for path in found) == ["a.png", "b.png", "gone.png"]
    assert [path.name for path in find_images([folder])] == ["b.png", "gone.png"]
    with pytest.raises(ImageFileError):
        read_image(folder / "self.png")
    assert main(["check", str(folder / "loop0" / "loop1" / "loop2")]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "unknown layout" in line


def test_patterns_of_any_depth_match_what_glob_does(tmp_path):
    import glob

    for name in ("a.png", "x/a.png", "x/y/b.png", "x/y/z/c.tif", ".hidden/d.png", "x[1]/e.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    for pattern in ("**/*.png", "x/**/*.png", "**", "*/**/*.png", "**/y/**/*", "**/**/*.png", "x?1?/**/*.png"):
        found = glob.glob(f"{tmp_path}/{pattern}", recursive=True)  # noqa: PTH207
        wanted = {Path(path) for path in found if Path(path).is_file()}
        assert set(find_images([f"{tmp_path}/{pattern}"])) == wanted, pattern
