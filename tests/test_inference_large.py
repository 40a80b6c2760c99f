"""Images larger than memory, with a plain function in place of the network."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from nucleiseg import PredictOptions, ReadOptions, Tiling
from nucleiseg._files import locked
from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images import rescale
from nucleiseg.images.lazy import open_lazy
from nucleiseg.inference.large import LargeJob, plan_job, run_here, write_labels_of
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.scratch import Scratch
from nucleiseg.inference.segmenting import Decoding, segment
from nucleiseg.instances import get_decoder, rate
from nucleiseg.instances.label_stores import check_label_store

zarr = pytest.importorskip("zarr")
FACTS = {"model": "brightness"}


class Brightness:
    """Maps are the image; counts its calls, and fails at one of them."""

    multiple = 4

    def __init__(self, fails_at=None):
        self.calls, self.fails_at = 0, fails_at

    def __call__(self, images):
        self.calls += 1
        if self.calls == self.fails_at:
            raise MemoryError("as if")
        return images[..., :1]


def decoding(**options):
    return Decoding(get_decoder("components"), {"probability": 0.5}, PredictOptions(**options))


@pytest.fixture(scope="module")
def picture():
    """Blobs, uint8 (610, 450)."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((610, 450)), 4)
    return np.clip(255 * (smooth - smooth.min()) / np.ptp(smooth), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(picture):
    return segment(picture, Brightness(), "minmax", decoding(tiling=None)).labels


def job_of(image, tile=128, overlap=32, rated=False):
    """Small windows, which a budget would not give so small an image."""
    job = plan_job(image, Brightness(), "minmax", decoding())
    from nucleiseg.images import tiles

    windows = Tiling(tile, overlap)
    return LargeJob(image, job.bounds, Plan(None, windows, 8), tiles(image.shape, windows, 4), rated=rated)


def predict(source, output, engine=None, reading=None, rated=False, **options):
    job = job_of(open_lazy(source, reading), rated=rated)
    how = decoding(**options)
    return write_labels_of(job, output, lambda missing: run_here(job, engine or Brightness(), how, missing), FACTS, how)


def write_ome_zarr(path, pixels, version):
    """An OME-Zarr image of two levels, axes C, Y, X."""
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    for number, step in enumerate((1, 2)):
        level = pixels[:, ::step, ::step]
        group.create_array(str(number), shape=level.shape, dtype=level.dtype, chunks=(1, 200, 200))[...] = level
    scales = [[1.0, 0.25, 0.25], [1.0, 0.5, 0.5]]
    attributes = {
        "multiscales": [
            {
                "axes": [{"name": "c", "type": "channel"}]
                + [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"],
                "datasets": [
                    {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": s}]}
                    for n, s in enumerate(scales)
                ],
            }
        ],
        "omero": {"channels": [{"label": "actin"}, {"label": "DAPI"}]},
    }
    group.attrs.update(attributes if version == "0.4" else {"ome": attributes})


@pytest.mark.parametrize("kind", ["array", "dask", "zarr2", "zarr3", "tiled", "bigtiff"])
def test_every_kind_of_input_gives_the_labels_of_the_whole_image(kind, picture, expected, tmp_path):
    source = tmp_path / f"image.{'zarr' if 'zarr' in kind else 'tif'}"
    if kind == "array":
        source = picture
    elif kind == "dask":
        source = pytest.importorskip("dask.array").from_array(picture, chunks=100)
    elif "zarr" in kind:
        array = zarr.create_array(
            str(source), shape=picture.shape, dtype="u1", chunks=(99, 99), zarr_format=int(kind[-1])
        )
        array[...] = picture
    else:
        tifffile.imwrite(source, picture, tile=(128, 128), bigtiff=kind == "bigtiff", compression="zlib")
    count = predict(source, tmp_path / "labels.zarr").nuclei
    found = zarr.open_array(str(tmp_path / "labels.zarr"), mode="r")
    np.testing.assert_array_equal(found[...], expected)
    assert count == expected.max() > 50
    assert sorted(path.name for path in tmp_path.glob("*labels*")) == ["labels.zarr"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_has_channels_levels_and_pixel_size(version, picture, expected, tmp_path):
    write_ome_zarr(tmp_path / "a.zarr", np.stack([picture * 0, picture]), version)
    with pytest.raises(ImageFileError, match="has 2 channels.*actin.*DAPI"):
        open_lazy(tmp_path / "a.zarr")
    image = open_lazy(tmp_path / "a.zarr", ReadOptions(channel="DAPI"))
    assert (image.shape, image.pixel_size) == ((610, 450), 0.25)
    predict(tmp_path / "a.zarr", tmp_path / "b.ome.zarr", reading=ReadOptions(channel="DAPI"))
    np.testing.assert_array_equal(open_lazy(tmp_path / "b.ome.zarr")[0:610, 0:450], expected)
    assert open_lazy(tmp_path / "b.ome.zarr").pixel_size == 0.25
    half = open_lazy(tmp_path / "a.zarr", ReadOptions(channel=1, level=1))
    assert (half.shape, half.pixel_size) == ((305, 225), 0.5)
    with pytest.raises(ImageFileError, match="level"):
        open_lazy(tmp_path / "a.zarr", ReadOptions(channel=1, level=2))


def test_ome_tiff_pyramid_has_levels_and_pixel_size(picture, tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture, tile=(128, 128), subifds=1, metadata=metadata)
        writer.write(picture[::2, ::2], tile=(128, 128), subfiletype=1)
    half = open_lazy(path, ReadOptions(level=1))
    assert (half.shape, half.pixel_size) == ((305, 225), 1.0)
    np.testing.assert_array_equal(half[10:20, 30:50], picture[::2, ::2][10:20, 30:50])


def test_labels_go_to_a_tiled_tiff(picture, expected, tmp_path):
    predict(picture, tmp_path / "labels.tif", reading=ReadOptions(pixel_size=0.5))
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.is_bigtiff
        assert file.pages.first.is_tiled
        np.testing.assert_array_equal(file.asarray(), expected)


@pytest.mark.parametrize("least", [0.0, 0.55])
def test_the_confidence_is_that_of_the_whole_image(least, picture, expected, tmp_path):
    """However many windows a nucleus lies in."""
    probability = rescale(picture, "minmax")
    every = rate(expected, probability)
    kept = every >= least
    assert least == 0 or 5 < kept.sum() < kept.size - 5
    written = predict(picture, tmp_path / "labels.zarr", rated=True, min_confidence=least)
    labels = zarr.open_array(str(tmp_path / "labels.zarr"), mode="r")[...]
    np.testing.assert_array_equal(labels, np.append(0, np.where(kept, kept.cumsum(), 0))[expected])
    assert written.nuclei == kept.sum()
    np.testing.assert_array_equal(written.confidence, every[kept])


def test_an_interrupted_prediction_keeps_what_confidence_needs(picture, tmp_path):
    output = tmp_path / "labels.zarr"
    with pytest.raises(MemoryError):
        predict(picture, output, Brightness(fails_at=9), rated=True)
    with pytest.raises(InvalidInputError, match="unfinished prediction with another rated"):
        predict(picture, output)
    written = predict(picture, output, rated=True)
    np.testing.assert_array_equal(written.confidence, predict(picture, tmp_path / "b.zarr", rated=True).confidence)


def test_small_nuclei_and_those_at_the_edge_are_left_out(picture, tmp_path):
    options = {"min_area": 100, "remove_edge": True, "fill_holes": True}
    predict(picture, tmp_path / "labels.tif", **options)
    whole = segment(picture, Brightness(), "minmax", decoding(tiling=None, **options)).labels
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), whole)


def test_an_interrupted_prediction_goes_on(picture, expected, tmp_path):
    total, engine = Brightness(), Brightness(fails_at=9)
    predict(picture, tmp_path / "whole.tif", total)
    with pytest.raises(MemoryError):
        predict(picture, tmp_path / "labels.tif", engine)
    assert not (tmp_path / "labels.tif").exists()
    again = Brightness()
    predict(picture, tmp_path / "labels.tif", again)
    # The two windows in flight, one in the decoder and one in the network, are done again.
    assert total.calls - 8 <= again.calls <= total.calls - 6
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), expected)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_inference_large import Brightness, predict

class Killed(Brightness):
    def __call__(self, images):
        if self.calls == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(images)

predict(np.load(sys.argv[2]), sys.argv[3], Killed())
"""


def test_a_killed_prediction_goes_on(picture, expected, tmp_path, run_python):
    from pathlib import Path

    np.save(tmp_path / "image.npy", picture)
    process = run_python(KILLED, Path(__file__).parent, tmp_path / "image.npy", tmp_path / "labels.tif")
    assert process.returncode == -9, process.stderr
    kept = len(list((tmp_path / "labels.tif.part").glob("window_*.npz")))
    assert kept >= 6
    again = Brightness()
    predict(picture, tmp_path / "labels.tif", again)
    assert again.calls == len(job_of(open_lazy(picture)).windows) - kept
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), expected)


def test_unfinished_work_with_other_settings_is_not_mixed_in(picture, tmp_path):
    with pytest.raises(MemoryError):
        predict(picture, tmp_path / "labels.tif", Brightness(fails_at=5))
    with pytest.raises(InvalidInputError, match="unfinished prediction with another image, range"):
        predict(picture[:500] // 2, tmp_path / "labels.tif")


@pytest.mark.parametrize("kind", ["window", "probability"])
@pytest.mark.parametrize("damage", [b"", b"\0", None], ids=["empty", "zeros", "missing"])
def test_windows_that_a_power_cut_damaged_are_done_again(kind, damage, picture, tmp_path):
    output = tmp_path / "labels.tif"
    with pytest.raises(MemoryError):
        predict(picture, output, Brightness(fails_at=9), rated=True)
    windows = sorted((tmp_path / "labels.tif.part").glob(f"{kind}_*.npz"))
    if damage is None:
        windows[2].unlink()
    else:
        windows[2].write_bytes(damage * windows[2].stat().st_size)
    content = bytearray(windows[3].read_bytes())  # one byte in the middle of the next one
    content[len(content) // 2] ^= 255
    windows[3].write_bytes(content)
    again, whole = Brightness(), Brightness()
    written = predict(picture, output, again, rated=True)
    expected = predict(picture, tmp_path / "whole.tif", whole, rated=True)
    np.testing.assert_array_equal(tifffile.imread(output), tifffile.imread(tmp_path / "whole.tif"))
    np.testing.assert_array_equal(written.confidence, expected.confidence)
    assert again.calls == whole.calls - len(windows) + 2


@pytest.mark.parametrize("record", [b"", b"\0\0\0", b"[]", b"\xff"])
def test_a_damaged_record_says_what_to_remove(record, picture, tmp_path):
    with pytest.raises(MemoryError):
        predict(picture, tmp_path / "labels.tif", Brightness(fails_at=5))
    (tmp_path / "labels.tif.part" / "facts.json").write_bytes(record)
    with pytest.raises(InvalidInputError, match=r"is damaged; remove the folder .*labels\.tif\.part"):
        predict(picture, tmp_path / "labels.tif")


def test_the_folder_for_unfinished_work_is_not_taken_from_others(picture, tmp_path):
    (tmp_path / "labels.tif.part").mkdir()
    (tmp_path / "labels.tif.part" / "notes.txt").touch()
    with pytest.raises(InvalidInputError, match="holds other files"):
        predict(picture, tmp_path / "labels.tif")


def test_what_a_kill_leaves_is_not_taken_for_files_of_others(tmp_path, monkeypatch):
    folder = tmp_path / "labels.tif.part"
    folder.mkdir()
    (folder / ".tmp-facts.json").write_text("{")
    scratch = Scratch(folder, FACTS)
    scratch.save("window", 0, np.zeros((2, 2), np.int32))
    left = []
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, **_: left.extend(inside.name for inside in path.iterdir()))
        scratch.remove()
    assert left == ["facts.json"]
    Scratch(folder, FACTS).remove()
    assert not folder.exists()
    scratch.remove()  # which another process may have done


def test_two_processes_do_not_write_one_output(picture, expected, tmp_path):
    path = tmp_path / "labels.tif"
    with pytest.raises(MemoryError):
        predict(picture, path, Brightness(fails_at=5))
    with (
        locked(tmp_path / "labels.tif.part" / ".tmp-lock"),
        pytest.raises(InvalidInputError, match=r"another one is writing .*labels\.tif; wait for it"),
    ):
        predict(picture, path)
    predict(picture, path)
    np.testing.assert_array_equal(tifffile.imread(path), expected)
    assert not (tmp_path / "labels.tif.part").exists()


@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_what_others_wrote_is_not_replaced_but_ours_is(name, picture, tmp_path):
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, picture)
    else:
        zarr.create_array(str(tmp_path / name), shape=(3, 3), dtype="u1")
    with pytest.raises(InvalidInputError, match="nucleiseg did not write it"):
        check_label_store(tmp_path / name)
    predict(picture, tmp_path / f"own_{name}")
    assert predict(picture, tmp_path / f"own_{name}").nuclei > 50


def test_labels_need_a_known_ending():
    with pytest.raises(InvalidInputError, match="must go to .zarr or .tif or .tiff, got 'a.png'; use a.zarr"):
        check_label_store("a.png")


def test_what_is_no_image(tmp_path):
    with pytest.raises(ImageFileError, match="no such file"):
        open_lazy(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ImageFileError, match="is no Zarr array or group"):
        open_lazy(tmp_path / "empty.zarr")
    zarr.open_group(str(tmp_path / "group.zarr"), mode="w").create_array("a", shape=(3, 3), dtype="u1")
    with pytest.raises(ImageFileError, match="group without an OME image; pass one of its arrays: a"):
        open_lazy(tmp_path / "group.zarr")
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(ImageFileError, match="cannot be read part by part"):
        open_lazy(tmp_path / "text.tif")
    with pytest.raises(InvalidInputError, match=r"must be \(H, W\)"):
        open_lazy(np.zeros(3))
