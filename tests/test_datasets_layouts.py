"""What is written in each layout is read back, and what is wrong with it is said."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nucleiseg import datasets
from nucleiseg.datasets.paired import is_mask
from nucleiseg.errors import DatasetError, ImageFileError, InvalidInputError
from nucleiseg.inference import Prediction
from nucleiseg.instances import write_picture
from nucleiseg.instances.run_lengths import encode_run_lengths
from nucleiseg.instances.splitting import split_components

EXAMPLES = settings(max_examples=25, deadline=None)
sizes = st.tuples(st.integers(1, 8), st.integers(1, 8))


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path)


def write_kaggle(root, labels_by_id):
    for name, labels in labels_by_id.items():
        save(root / name / "images" / f"{name}.png", np.full((*labels.shape, 4), 9, np.uint8))
        (root / name / "masks").mkdir()
        for label in range(1, labels.max() + 1):
            save(root / name / "masks" / f"{label:03}.png", (labels == label).astype(np.uint8) * 255)


def pack(folder, archive, compression=zipfile.ZIP_DEFLATED, prefix=""):
    with zipfile.ZipFile(archive, "w", compression) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, prefix + path.relative_to(folder).as_posix())


@pytest.fixture
def kaggle(tmp_path):
    first, second = np.zeros((5, 7), int), np.zeros((4, 4), int)
    first[:2, :2], first[3:, 3:] = 1, 2
    write_kaggle(tmp_path / "train", {"b": first, "a": second})
    return tmp_path / "train"


@pytest.fixture
def paired(tmp_path):
    for name in "ab":
        save(tmp_path / "set" / "images" / f"{name}.png", np.full((5, 7, 3), 9, np.uint8))
        save(tmp_path / "set" / "labels" / f"{name}_labels.tif", np.eye(5, 7, dtype=np.uint16) * 300)
    return tmp_path / "set"


def in_temporary_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("layout")


@EXAMPLES
@given(
    labels=sizes.flatmap(lambda size: hnp.arrays(np.int32, size, elements=st.integers(0, 5))),
    way=st.sampled_from(["folder", "deeper", "stored", "deflated", "prefixed"]),
)
def test_kaggle_masks_come_back_as_labels(labels, way, tmp_path_factory):
    root = in_temporary_folder(tmp_path_factory)
    write_kaggle(root / "set", {"x": labels})
    source = root / "a.zip"
    if way == "stored":
        pack(root / "set", source, zipfile.ZIP_STORED)
    elif way == "deflated":
        pack(root / "set", source)
    elif way == "prefixed":
        pack(root / "set", source, prefix="stage1_train/")
    else:
        source = root / "set" if way == "folder" else root
    sample = datasets.read(source, cache=False)[0]
    assert (sample.id, sample.labels.dtype, sample.image.shape) == ("x", np.int32, (*labels.shape, 4))
    np.testing.assert_array_equal(sample.labels, labels)


@EXAMPLES
@given(
    dtype=st.sampled_from([np.uint8, np.uint16, np.uint32, np.int32]),
    size=sizes,
    ending=st.sampled_from(["", "_labels", "_label", "_mask", "_masks"]),
    data=st.data(),
)
def test_paired_label_images_come_back(dtype, size, ending, data, tmp_path_factory):
    highest = min(np.iinfo(dtype).max, np.iinfo(np.int32).max)
    labels = data.draw(hnp.arrays(dtype, size, elements=st.integers(0, int(highest))))
    labels[0, 0] = 7  # a third value, so that it is no mask
    image = data.draw(hnp.arrays(np.uint16, size))
    root = in_temporary_folder(tmp_path_factory)
    save(root / "images" / "x.tif", image)
    save(root / "labels" / f"x{ending}.tif", labels)
    for dataset in (datasets.read(root), datasets.read(root / "images", labels=root / "labels", cache=False)):
        sample = dataset[0]
        assert (sample.id, sample.labels.dtype, sample.image.dtype) == ("x", np.int32, np.uint16)
        np.testing.assert_array_equal(sample.labels, labels)
        np.testing.assert_array_equal(sample.image, image)


@EXAMPLES
@given(st.lists(sizes.flatmap(lambda s: hnp.arrays(np.int32, s, elements=st.integers(0, 4))), min_size=1, max_size=4))
def test_run_lengths_come_back(tmp_path_factory, all_labels):
    root = in_temporary_folder(tmp_path_factory)
    rows = ["ImageId,EncodedPixels"]
    for index, labels in enumerate(all_labels):
        save(root / "images" / f"{index}.png", labels.astype(np.uint8))
        rows += [f"{index},{encode_run_lengths(labels == k)}" for k in range(1, labels.max() + 1)] or [f"{index},"]
    (root / "runs.csv").write_text("\n".join(rows))
    for dataset in (datasets.read(root / "images", labels=root / "runs.csv"), datasets.read(root / "runs.csv")):
        for index, (sample, labels) in enumerate(zip(dataset, all_labels, strict=True)):
            assert sample.id == str(index)
            # An absent label has an empty row, which is left out, so that later ones move up.
            values = np.unique(labels[labels > 0])
            np.testing.assert_array_equal(sample.labels, np.where(labels > 0, np.searchsorted(values, labels) + 1, 0))


@EXAMPLES
@given(
    images=st.sampled_from([np.uint8, np.uint16, np.float32]).flatmap(
        lambda dtype: hnp.arrays(dtype, (3, 4, 5, 2), elements=st.integers(0, 200))
    ),
    labels=st.sampled_from([bool, np.uint8, np.uint16, np.uint32, np.int64]).flatmap(
        lambda dtype: hnp.arrays(dtype, (3, 4, 5), elements=st.integers(0, 1 if dtype is bool else 200))
    ),
)
def test_arrays_come_back(images, labels, tmp_path_factory):
    root = in_temporary_folder(tmp_path_factory)
    np.savez(root / "plain.npz", images=images, labels=labels)
    np.savez_compressed(root / "named.npz", images=images, labels=labels, ids=["c", "a", "b"])
    np.save(root / "images.npy", images)
    np.save(root / "labels.npy", labels)
    named = datasets.read(root / "named.npz")
    assert named.ids == ("c", "a", "b")
    mapped = datasets.read(root / "images.npy", labels=root / "labels.npy")
    for dataset in (datasets.read(root / "plain.npz"), named, mapped, datasets.from_arrays(images, labels)):
        assert len(dataset.load()) == 3
        for sample, image, truth in zip(dataset, images, labels, strict=True):
            assert (sample.image.dtype, sample.labels.dtype) == (images.dtype, np.int32)
            np.testing.assert_array_equal(sample.image, image)
            np.testing.assert_array_equal(sample.labels, split_components(truth != 0) if is_mask(truth) else truth)


def test_binary_masks_in_arrays_come_apart_as_those_in_files_do(tmp_path):
    labels = np.zeros((2, 9, 9), np.uint8)
    labels[:, 1:4, 1:4], labels[:, 5:8, 5:8] = 1, 2
    images = 40 * labels
    for mask in (labels > 0, (labels > 0).astype(np.uint8), np.where(labels, 255, 0).astype(np.uint8)):
        np.savez(tmp_path / "mask.npz", images=images, labels=mask)
        for dataset in (datasets.from_arrays(images, mask), datasets.read(tmp_path / "mask.npz")):
            for sample in dataset:
                np.testing.assert_array_equal(sample.labels, labels[0])


def test_later_masks_cover_earlier_ones(tmp_path):
    save(tmp_path / "x" / "images" / "x.png", np.zeros((3, 6), np.uint8))
    for name, columns in {"2": slice(2, 6), "1": slice(0, 4)}.items():
        mask = np.zeros((3, 6), np.uint8)
        mask[:, columns] = 255
        save(tmp_path / "x" / "masks" / f"{name}.png", mask)
    assert datasets.read(tmp_path)[0].labels[0].tolist() == [1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("high", [1, 255, True])
def test_binary_masks_become_components(paired, high):
    mask = np.zeros((5, 7), bool if high is True else np.uint8)
    mask[0, :2] = mask[3:, 5] = high
    (paired / "labels").rename(paired / "masks")
    for path in (paired / "masks").iterdir():
        save(path.with_name(path.stem.replace("_labels", "_mask") + ".png"), mask)
        path.unlink()
    labels = datasets.read(paired)[0].labels
    assert labels[0, 0] == labels[0, 1] == 1
    assert labels[3, 5] == labels[4, 5] == 2
    assert np.count_nonzero(labels) == 4


def test_hidden_and_foreign_files_do_not_count(kaggle, tmp_path):
    for name in ("b/masks/._001.png", "b/masks/Thumbs.db", "b/images/.DS_Store"):
        (kaggle / name).write_bytes(b"?")
    pack(kaggle, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as file:
        file.writestr("__MACOSX/b/masks/001.png", b"?")
        file.writestr("readme.txt", b"?")
    for source in (kaggle, tmp_path / "a.zip"):
        assert [int(sample.labels.max()) for sample in datasets.read(source, cache=False)] == [0, 2]


def test_kaggle_samples_need_masks_and_one_image(kaggle, tmp_path):
    (kaggle / "a" / "masks").rmdir()
    with pytest.raises(DatasetError, match="1 of 2 samples have no folder 'masks': a;"):
        datasets.read(kaggle)
    (kaggle / "a" / "masks").mkdir()
    save(kaggle / "a" / "images" / "other.png", np.zeros((4, 4), np.uint8))
    pack(kaggle, tmp_path / "a.zip")
    for source in (kaggle, tmp_path / "a.zip"):
        with pytest.raises(DatasetError, match="must hold one image, got 2 in 'a'"):
            datasets.read(source)


def test_masks_of_another_size_are_refused(kaggle):
    save(kaggle / "b" / "masks" / "009.png", np.zeros((7, 5), np.uint8))
    with pytest.raises(DatasetError, match=r"sample 'b'.*\(5, 7\) and \(7, 5\).*009.png"):
        datasets.read(kaggle).load()


def test_files_that_go_or_are_damaged(kaggle):
    dataset = datasets.read(kaggle, cache=False)
    cached = datasets.read(kaggle)
    (kaggle / "b" / "masks" / "001.png").write_bytes(b"\x89PNG")
    with pytest.raises(ImageFileError, match=r"001.png: cannot be decoded"):
        dataset[1]
    (kaggle / "b" / "masks" / "001.png").unlink()
    with pytest.raises(DatasetError, match=r"001.png: cannot be read \(No such file"):
        dataset[1]
    with pytest.raises(DatasetError, match=r"001.png: has gone"):
        cached[1]


def test_zips_that_are_changed_damaged_or_packed_in_rare_ways(kaggle, tmp_path):
    archive = tmp_path / "a.zip"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        pack(kaggle, archive, method)
        data = archive.read_bytes()
        at = data.index(b"b/images/b.png") + len(b"b/images/b.png") + 3
        archive.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        with pytest.raises(DatasetError, match=r"b/images/b.png is damaged"):
            datasets.read(archive)[1]
    dataset = datasets.read(archive, cache=False)
    archive.chmod(0o600)
    assert dataset[0].id
    os.utime(archive, ns=(1, 1))
    with pytest.raises(DatasetError, match="has changed since"):
        dataset[0]
    pack(kaggle, archive, zipfile.ZIP_BZIP2)
    with pytest.raises(DatasetError, match="packed in a rare way"):
        datasets.read(archive)
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(DatasetError, match="not a readable zip"):
        datasets.read(archive)


def test_missing_pairs_are_listed(paired):
    save(paired / "images" / "c.png", np.zeros((5, 7), np.uint8))
    with pytest.raises(DatasetError, match="1 lack labels: c;"):
        datasets.read(paired)
    for name in "cdefghi":
        save(paired / "labels" / f"{name}.png", np.zeros((5, 7), np.uint8))
    with pytest.raises(DatasetError, match="6 lack an image: d, e, f, g, h and 1 more;"):
        datasets.read(paired)


def test_pairs_must_be_unambiguous_and_of_one_size(paired):
    for folder, name, both in (
        ("labels", "a.png", "a.png and a_labels.tif"),
        ("labels", "a_rois.zip", "a_labels.tif and a_rois.zip"),
        ("images", "b.tif", "b.png and b.tif"),
    ):
        save(paired / folder / "x.png", np.zeros((5, 7), np.uint8))
        (paired / folder / "x.png").rename(paired / folder / name)
        with pytest.raises(DatasetError, match=rf"{folder}: several files have one name [^:]*: {both}; keep one of"):
            datasets.read(paired)
        (paired / folder / name).unlink()
    save(paired / "labels" / "a_labels.tif", np.zeros((7, 5), np.uint8))
    with pytest.raises(DatasetError, match=r"sample 'a'.*\(5, 7\) and \(7, 5\)"):
        datasets.read(paired)[0]
    for labels in (np.full((5, 7), 2**31, np.uint32), np.full((5, 7), -1, np.int16)):
        save(paired / "labels" / "a_labels.tif", labels)
        with pytest.raises(DatasetError, match="labels must lie in 0 to 2147483647"):
            datasets.read(paired)[0]


def test_a_folder_of_results_can_be_learned_from(paired, tmp_path):
    labels = np.kron([[1, 0, 2], [0, 0, 0]], np.ones((2, 2), np.int32))
    for name in ("a", "b_mask"):
        save(paired / "images" / f"{name}.png", np.full((4, 6), 9, np.uint8))
        found = Prediction(np.zeros((4, 6)), np.zeros((4, 6), np.float32), labels)
        found.save(tmp_path / "results", name)
        found.export(tmp_path / "results", name, ["imagej", "ome"])
        write_picture(tmp_path / "results" / f"{name}_colours.png", found.overlay())
    for name in ("contact_sheet", "histograms"):
        write_picture(tmp_path / "results" / f"{name}.png", found.overlay())
    (paired / "images" / "b.png").unlink()
    data = datasets.read(paired / "images", labels=tmp_path / "results")
    assert data.ids == ("a", "b_mask")
    for sample in data:
        np.testing.assert_array_equal(sample.labels, labels)


def test_results_beside_the_images_are_no_images(paired):
    labels = np.kron([[1, 0, 2], [0, 0, 0]], np.ones((2, 2), np.int32))
    found = Prediction(np.zeros((4, 6)), np.zeros((4, 6), np.float32), labels)
    before = datasets.read(paired)
    for name in "ab":
        found.save(paired / "images", name)
        found.export(paired / "images", name, ["imagej", "ome", "geojson"])
        write_picture(paired / "images" / f"{name}_colours.png", found.overlay())
    for name in ("contact_sheet", "histograms"):
        write_picture(paired / "images" / f"{name}.png", found.overlay())
    assert datasets.read(paired).ids == before.ids == ("a", "b")
    # Those of other programs count, and lack labels, as do pictures without the labels that they are of.
    theirs = paired / "images" / "a_mask.png"
    save(theirs, np.zeros((5, 7), np.uint8))
    (paired / "images" / "b_labels.tif").unlink()
    with pytest.raises(DatasetError, match="4 lack labels: a_mask, b_colours, b_mask, b_overlay;"):
        datasets.read(paired)
    # Nor is a folder that holds nothing else empty.
    for path in (paired / "images").iterdir():
        if path == theirs or not path.stem.startswith("a_"):
            path.unlink()
    with pytest.raises(DatasetError, match="lack labels: a_colours"):
        datasets.read(paired)


def test_a_mask_by_itself_is_no_by_product(paired):
    mask = np.eye(5, 7, dtype=np.uint8) * 255
    save(paired / "labels" / "b_mask.png", mask)
    (paired / "labels" / "b_labels.tif").unlink()
    assert datasets.read(paired)[1].labels.max() == 5


def test_folders_must_hold_images(paired, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no images"):
        datasets.read(paired / "images", labels=tmp_path / "empty")


def test_run_length_tables_must_fit_the_images(paired, tmp_path):
    table = tmp_path / "runs.csv"
    for text, message in {
        "ImageId\na\nb": "needs the columns ImageId and EncodedPixels, got ImageId",
        "ImageId,EncodedPixels\na,1 1\nb,1 1\nc,1 1": "1 have none: c; pass the folder",
        "ImageId,EncodedPixels\na,1 1": "needs a row, 1 have none: b;",
        "ImageId,EncodedPixels\n": "at least one row",
    }.items():
        table.write_text(text)
        with pytest.raises(DatasetError, match=message):
            datasets.read(paired / "images", labels=table)
    table.write_text("ImageId,EncodedPixels\na,1 99\nb,")
    with pytest.raises(DatasetError, match="sample 'a': runs must"):
        datasets.read(paired / "images", labels=table)[0]


def test_run_lengths_may_lie_beside_kaggle_folders(kaggle):
    (kaggle / "runs.csv").write_text("ImageId,EncodedPixels\na,\nb,1 5\nb,6 1")
    assert [int(sample.labels.max()) for sample in datasets.read(kaggle / "runs.csv")] == [0, 2]


def test_arrays_must_fit(tmp_path):
    images, labels = np.zeros((2, 4, 5), np.uint8), np.zeros((2, 4, 5), int)
    with pytest.raises(InvalidInputError, match="got 2 images, 1 labels;"):
        datasets.from_arrays(images, labels[:1])
    with pytest.raises(InvalidInputError, match="got 2 images, 2 labels, 1 ids"):
        datasets.from_arrays(images, labels, ids=["a"])
    with pytest.raises(DatasetError, match="same height and width"):
        datasets.from_arrays(images, labels[:, :3])
    with pytest.raises(DatasetError, match=r"several of a;"):
        datasets.from_arrays(images, labels, ids=["a", "a"])
    with pytest.raises(InvalidInputError, match="labels '0000' must be integers"):
        datasets.from_arrays(images, labels / 2)


def test_array_files_must_fit(tmp_path):
    images, labels = np.zeros((2, 4, 5), np.uint8), np.zeros((2, 4, 5), int)
    np.savez(tmp_path / "short.npz", images=images)
    np.savez(tmp_path / "wrong.npz", images=images, labels=labels[:1])
    np.savez(tmp_path / "objects.npz", images=np.array([images[0], None], object), labels=labels)
    (tmp_path / "text.npz").write_text("?")
    for name, message in {
        "short": "'labels' is missing",
        "wrong": "wrong.npz: each image needs its labels",
        "objects": "cannot be read",
        "text": "cannot be read",
    }.items():
        with pytest.raises(DatasetError, match=message):
            datasets.read(tmp_path / f"{name}.npz")
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "labels.npy").write_text("?")
    with pytest.raises(DatasetError, match=r"labels.npy: cannot be read"):
        datasets.read(tmp_path / "images.npy", labels=tmp_path / "labels.npy")


def test_unknown_layouts_are_told_the_known_ones(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder").mkdir()
    pack(tmp_path / "folder", tmp_path / "empty.zip")
    for source in ("folder", "notes.txt", "empty.zip"):
        with pytest.raises(DatasetError, match=r"unknown layout; known layouts are: Kaggle.*--labels .*labels='"):
            datasets.read(tmp_path / source)
    with pytest.raises(DatasetError, match=r"with labels .*notes.txt: unknown layout"):
        datasets.read(tmp_path / "folder", labels=tmp_path / "notes.txt")
    with pytest.raises(DatasetError, match=r"missing: no such file"):
        datasets.read(tmp_path / "missing")
    with pytest.raises(DatasetError, match=r"gone: no such file"):
        datasets.read(tmp_path / "folder", labels=tmp_path / "gone")
