"""Every mistake, planted in clean synthetic and real data, is named, in the right image, and nothing else is."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from nucleiseg import datasets
from nucleiseg.datasets import CheckSettings, check
from nucleiseg.datasets.doctor import check_quickly, open_for_check
from nucleiseg.datasets.doctor.kinds import KINDS

RECALL = 0.95


@dataclass
class Clean:
    """Images with labels that the check has nothing to say about; planting changes them."""

    images: list
    labels: list
    rng: np.random.Generator
    metadata: dict = field(default_factory=dict)

    @property
    def ids(self):
        return [f"image{index}" for index in range(len(self.images))]

    def nucleus(self, where, smallest=60):
        """A label that is not tiny, and its pixels."""
        values, areas = np.unique(self.labels[where][self.labels[where] > 0], return_counts=True)
        label = int(self.rng.choice(values[areas >= min(smallest, areas.max())]))
        return label, self.labels[where] == label


def draw_clean(seed, count=5, size=128):
    """Ellipses that may touch, with noise and uneven light."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    images, all_labels = [], []
    for _ in range(count):
        labels = np.zeros((size, size), np.int32)
        image = 20 + 10 * rows / size + np.zeros((size, size))
        centres = []
        for _ in range(60):
            row, column, radius = rng.uniform(16, size - 16), rng.uniform(16, size - 16), rng.uniform(6, 10)
            if any(np.hypot(row - r, column - c) < 0.9 * (radius + other) for r, c, other in centres):
                continue
            inside = ((rows - row) / radius) ** 2 + ((columns - column) / radius / 0.8) ** 2 < 1
            inside &= labels == 0
            labels[inside] = len(centres) + 1
            image[inside] = rng.uniform(90, 180)
            centres.append((row, column, radius))
        image = ndimage.gaussian_filter(image, 1) + rng.normal(0, 4, image.shape)
        images.append(np.clip(image, 0, 240).astype(np.uint8))
        all_labels.append(labels)
    return Clean(images, all_labels, rng)


# ---- Ways to hand the data over ----


def as_arrays(data, folder):
    dataset = datasets.from_arrays(data.images, data.labels, data.ids)
    if data.metadata:
        columns = list(data.metadata)
        rows = [",".join(["image_id", *columns])]
        rows += [",".join([name, *(data.metadata[c][i] for c in columns)]) for i, name in enumerate(data.ids)]
        (folder / "table.csv").write_text("\n".join(rows))
        dataset = dataset.with_metadata(folder / "table.csv")
    return dataset, []


def save_pairs(data, folder):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, image, labels in zip(data.ids, data.images, data.labels, strict=True):
        tifffile.imwrite(
            folder / "images" / f"{name}.tif", image, photometric="rgb" if image.ndim == 3 else "minisblack"
        )
        tifffile.imwrite(folder / "labels" / f"{name}.tif", labels.astype(np.uint16))
    return folder


def save_kaggle(data, folder):
    for name, image, labels in zip(data.ids, data.images, data.labels, strict=True):
        for kind in ("images", "masks"):
            (folder / name / kind).mkdir(parents=True)
        Image.fromarray(image).save(folder / name / "images" / f"{name}.png")
        for label in np.unique(labels[labels > 0]):
            Image.fromarray((labels == label).astype(np.uint8) * 255).save(folder / name / "masks" / f"{label:04}.png")
    return folder


# ---- Mistakes: each changes image 1 (or says which) and returns the dataset ----

PLANTS: dict[str, tuple[str, Callable]] = {}
K = 1
WHOLE = {f"image{K}"}


def plant(name, kind):
    def add(function):
        PLANTS[name] = (kind, function)
        return function

    return add


def on_arrays(name, kind):
    """A mistake that needs no files: the function changes the arrays in place."""

    def add(function):
        def change_and_open(data, folder):
            function(data)
            return as_arrays(data, folder)

        PLANTS[name] = (kind, change_and_open)
        return function

    return add


@on_arrays("mask as labels", "binary_mask")
def _(data):
    data.labels[K] = (data.labels[K] > 0).astype(np.int32)


@plant("mask files", "binary_mask")
def _(data, folder):
    save_pairs(data, folder)
    mask = (data.labels[K] > 0) * np.uint8(data.rng.choice([1, 255]))
    tifffile.imwrite(folder / "labels" / f"image{K}.tif", mask.astype(np.uint8))
    return open_for_check(folder)


@plant("one mask file in Kaggle's layout", "binary_mask")
def _(data, folder):
    data.labels[K] = (data.labels[K] > 0).astype(np.int32)
    return open_for_check(save_kaggle(data, folder))


@on_arrays("interpolated labels", "damaged_labels")
def _(data):
    labels = data.labels[K]
    factor = float(data.rng.choice([0.5, 0.7, 1.5, 2.0, 3.0]))
    data.labels[K] = np.rint(ndimage.zoom(labels.astype(float), factor, order=1)).astype(np.int32)
    data.images[K] = ndimage.zoom(data.images[K], (factor, factor, 1)[: data.images[K].ndim], order=1)


@on_arrays("interpolated mask", "damaged_labels")
def _(data):
    turned = ndimage.rotate((data.labels[K] > 0) * 255.0, data.rng.uniform(5, 40), reshape=False, order=1)
    data.labels[K] = np.rint(turned).astype(np.int32)


@on_arrays("labels once saved as JPEG", "damaged_labels")
def _(data):
    file = io.BytesIO()
    scaled = data.labels[K] * (255 // data.labels[K].max()) if data.rng.random() < 0.5 else data.labels[K] % 256
    quality = int(data.rng.integers(40, 91))
    Image.fromarray(scaled.astype(np.uint8)).save(file, "jpeg", quality=quality)
    data.labels[K] = np.asarray(Image.open(file)).astype(np.int32)


@plant("JPEG file of labels", "damaged_labels")
def _(data, folder):
    save_pairs(data, folder)
    (folder / "labels" / f"image{K}.tif").unlink()
    Image.fromarray((data.labels[K] > 0) * np.uint8(255)).save(folder / "labels" / f"image{K}.jpg", quality=80)
    return open_for_check(folder)


@plant("smoothed masks in Kaggle's layout", "damaged_labels")
def _(data, folder):
    save_kaggle(data, folder)
    paths = sorted((folder / f"image{K}" / "masks").iterdir())
    for path in paths:
        Image.open(path).resize((301, 301), Image.Resampling.BILINEAR).resize(
            data.labels[K].shape[::-1], Image.Resampling.BILINEAR
        ).save(path)
    return open_for_check(folder)


@on_arrays("one number for two nuclei", "pieces")
def _(data):
    labels = data.labels[K]
    first, _ = data.nucleus(K)
    touching = np.unique(labels[ndimage.binary_dilation(labels == first, iterations=2)])
    apart = np.setdiff1d(np.unique(labels[labels > 0]), touching)
    last = labels.max()
    other = int(data.rng.choice(apart))
    labels[labels == other] = first
    labels[labels == last] = min(other, last)  # no gap


@on_arrays("a stray pixel", "pieces")
def _(data):
    labels = data.labels[K]
    label, _ = data.nucleus(K)
    far = ndimage.distance_transform_edt(labels == 0) > 3
    row, column = data.rng.choice(np.argwhere(far))
    labels[row, column] = label


@on_arrays("holes", "holes")
def _(data):
    _, inside = data.nucleus(K)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(depth), depth.shape)
    radius = int(data.rng.integers(0, max(1, depth.max() - 2)))
    rows, columns = np.indices(inside.shape)
    data.labels[K][(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 0


@on_arrays("specks", "specks")
def _(data):
    labels = data.labels[K]
    for _ in range(3):
        free = ndimage.distance_transform_edt(labels == 0) > 4
        row, column = data.rng.choice(np.argwhere(free[:-3, :-3]))
        labels[row : row + data.rng.integers(1, 3), column : column + data.rng.integers(1, 4)] = labels.max() + 1


@on_arrays("a label far too small", "small_labels")
def _(data):
    magnify(data, range(len(data.images)), 3)
    labels = data.labels[K]
    free = ndimage.distance_transform_edt(labels == 0) > 4
    row, column = data.rng.choice(np.argwhere(free[:-3, :-3]))
    labels[row : row + 3, column : column + 3] = labels.max() + 1


def magnify(data, which, factor):
    for index in which:
        data.labels[index] = data.labels[index].repeat(factor, axis=0).repeat(factor, axis=1)
        data.images[index] = data.images[index].repeat(factor, axis=0).repeat(factor, axis=1)


@plant("a nucleus drawn twice", "overlaps")
def _(data, folder):
    save_kaggle(data, folder)
    _, inside = data.nucleus(K)
    again = ndimage.shift(inside.astype(np.uint8), data.rng.integers(-3, 4, 2), order=0)
    Image.fromarray(again * np.uint8(255)).save(folder / f"image{K}" / "masks" / "again.png")
    return open_for_check(folder)


@plant("empty masks", "empty_masks")
def _(data, folder):
    save_kaggle(data, folder)
    empty = np.zeros(data.labels[K].shape, np.uint8)
    Image.fromarray(empty).save(folder / f"image{K}" / "masks" / f"{data.rng.choice(['0000', '0003a', 'z'])}.png")
    return open_for_check(folder)


@on_arrays("no labels", "empty_image")
def _(data):
    data.labels[K][:] = 0


@on_arrays("labels of another image", "unrelated")
def _(data):
    data.labels[K] = data.labels[0].copy()


@on_arrays("flipped labels", "unrelated")
def _(data):
    labels = data.labels[K]
    turned = [labels[::-1], labels[:, ::-1], labels[::-1, ::-1]]
    data.labels[K] = min(turned, key=lambda one: np.count_nonzero(one * labels)).copy()  # which does not fit by chance


@on_arrays("everything labelled", "all_foreground")
def _(data):
    data.labels[K][:] = 1


@on_arrays("background labelled", "all_foreground")
def _(data):
    data.labels[K] += 1


@plant("inverted mask", "all_foreground")
def _(data, folder):
    save_pairs(data, folder)
    inverted = (data.labels[K] == 0) * np.uint8(255)
    tifffile.imwrite(folder / "labels" / f"image{K}.tif", inverted)
    return open_for_check(folder)


@on_arrays("gaps in the numbers", "id_gaps")
def _(data):
    data.labels[K] *= int(data.rng.integers(2, 9))


@plant("labels of another size", "size_mismatch")
def _(data, folder):
    save_pairs(data, folder)
    cut = data.labels[K][: -int(data.rng.integers(1, 40))]
    tifffile.imwrite(folder / "labels" / f"image{K}.tif", cut.astype(np.uint16))
    return open_for_check(folder)


@plant("masks of another size", "size_mismatch")
def _(data, folder):
    save_kaggle(data, folder)
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(folder / f"image{K}" / "masks" / "0000.png")
    return open_for_check(folder)


@plant("labels of fractions", "label_type")
def _(data, folder):
    save_pairs(data, folder)
    tifffile.imwrite(folder / "labels" / f"image{K}.tif", data.labels[K].astype(np.float32) / 2)
    return open_for_check(folder)


@plant("labels in colours", "label_type")
def _(data, folder):
    save_pairs(data, folder)
    colours = data.rng.integers(0, 256, (data.labels[K].max() + 1, 3), np.uint8)[data.labels[K]]
    tifffile.imwrite(folder / "labels" / f"image{K}.tif", colours)
    return open_for_check(folder)


@plant("negative labels", "label_type")
def _(data, folder):
    save_pairs(data, folder)
    tifffile.imwrite(folder / "labels" / f"image{K}.tif", (data.labels[K] - 1).astype(np.int16))
    return open_for_check(folder)


@plant("no label file", "missing_pair")
def _(data, folder):
    save_pairs(data, folder)
    (folder / "labels" / f"image{K}.tif").unlink()
    return open_for_check(folder)


@plant("no image file", "missing_pair")
def _(data, folder):
    save_pairs(data, folder)
    (folder / "images" / f"image{K}.tif").unlink()
    return open_for_check(folder)


@plant("no folder of masks", "missing_pair")
def _(data, folder):
    save_kaggle(data, folder)
    (folder / f"image{K}" / "masks").rename(folder / f"image{K}" / "other")
    return open_for_check(folder)


@plant("no image of the table", "missing_pair")
def _(data, folder):
    rows = ["ImageId,EncodedPixels", *(f"{name},1 2" for name in data.ids)]
    (folder / "images").mkdir()
    for name, image in zip(data.ids, data.images, strict=True):
        if name != f"image{K}":
            Image.fromarray(image).save(folder / "images" / f"{name}.png")
    (folder / "runs.csv").write_text("\n".join(rows))
    dataset, unpaired = open_for_check(folder / "runs.csv")
    assert len(dataset) == len(data.ids) - 1
    return datasets.from_arrays(data.images[K + 1 :], data.labels[K + 1 :], data.ids[K + 1 :]), unpaired


@plant("damaged file", "unreadable")
def _(data, folder):
    save_pairs(data, folder)
    path = folder / str(data.rng.choice(["images", "labels"])) / f"image{K}.tif"
    path.write_bytes(path.read_bytes()[: int(data.rng.integers(0, 60))])
    return open_for_check(folder)


@plant("NaN", "not_finite")
def _(data, folder):
    data.images = [image / np.float32(255) for image in data.images]
    data.images[K][tuple(data.rng.integers(0, 60, 2))] = data.rng.choice([np.nan, np.inf])
    return open_for_check(save_pairs(data, folder))


@on_arrays("one grey value", "constant_image")
def _(data):
    data.images[K] = np.full_like(data.images[K], data.rng.integers(0, 256))


@on_arrays("over-exposed", "saturated")
def _(data):
    image = data.images[K].astype(float)
    bright = np.quantile(image[data.labels[K] > 0], data.rng.uniform(0.3, 0.8))
    data.images[K] = np.clip(image * 255 / bright, 0, 255).astype(np.uint8)


@on_arrays("another type", "mixed_types")
def _(data):
    data.images[K] = data.images[K].astype(np.uint16) * 257


@on_arrays("another number of channels", "mixed_types")
def _(data):
    image = data.images[K]
    data.images[K] = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image[..., 0]


@on_arrays("another magnification", "size_outlier")
def _(data):
    diameters = [np.sqrt(np.median(np.unique(labels[labels > 0], return_counts=True)[1])) for labels in data.labels]
    magnify(data, [K], int(np.ceil(7 * np.median(diameters) / diameters[K])))
    data.settings = CheckSettings(crop=8192)


@on_arrays("another exposure", "brightness_outlier")
def _(data):
    data.images[K] = (data.images[K] // data.rng.uniform(15, 25)).astype(np.uint8)


@on_arrays("crops too small", "cut_nuclei")
def _(data):
    data.settings = CheckSettings(crop=12)
    data.where = set(data.ids)


@on_arrays("cut at the border", "cut_nuclei")
def _(data):
    labels = data.labels[K]
    labels[:] = 0
    data.images[K][:] //= 4
    for number in range(5):
        nucleus = np.s_[20 * number : 20 * number + 12, :9]
        labels[nucleus] = number + 1
        data.images[K][nucleus] += 100


def copied(data, change, turns):
    data.images.append(change(data.images[K]))
    data.labels.append(change(data.labels[K]) if turns else data.labels[K])
    data.where = {f"image{K}", data.ids[-1]}


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=70)
    return np.asarray(Image.open(file))


CHANGES = {
    "equal": lambda image: image.copy(),
    "compressed": jpeg,
    "turned": lambda image: np.rot90(image),
    "flipped": lambda image: image[:, ::-1],
    "turned and flipped": lambda image: np.rot90(image, 3)[::-1],
    "darkened": lambda image: (image * 0.7).astype(np.uint8),
    "blurred": lambda image: ndimage.gaussian_filter(image, (1, 1, 0)[: image.ndim]),
    "moved": lambda image: np.roll(image, (1, 1), (0, 1)),
}
for change_name, change in CHANGES.items():
    turns = "turned" in change_name or "flipped" in change_name

    @on_arrays(f"a copy, {change_name}", "duplicates")
    def _(data, change=change, turns=turns):
        copied(data, change, turns)

    @on_arrays(f"a copy in another split, {change_name}", "leakage")
    def _(data, change=change, turns=turns):
        copied(data, change, turns)
        data.metadata["split"] = ["train"] * (len(data.ids) - 1) + ["test"]


@on_arrays("a rare group", "imbalance")
def _(data):
    for _ in range(3):
        more = draw_clean(data.rng.integers(2**31))
        data.images += more.images if data.images[0].ndim == 2 else [np.stack([i] * 3, -1) for i in more.images]
        data.labels += more.labels
    data.metadata["modality"] = ["fluorescence"] * len(data.ids)
    data.metadata["modality"][K] = "brightfield"


def found_after(name, data, folder):
    """The planted kind, the findings, and where the plant is."""
    kind, function = PLANTS[name]
    dataset, unpaired = function(data, folder)
    settings = getattr(data, "settings", CheckSettings(crop=512))
    return kind, check(dataset, settings, unpaired=unpaired), getattr(data, "where", WHOLE)


def exactly(kind, report, where):
    """It is named, in these images, and the images have nothing else."""
    finding = report.find(kind)
    others = [other.kind for other in report.findings if other.kind != kind]
    return finding is not None and set(finding.ids) == where and not others


def trials(quick):
    """A few times in every run, twenty times by hand."""
    return pytest.mark.parametrize("trials", [quick, pytest.param(20, marks=pytest.mark.slow)])


@trials(5)
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_mistake_is_named_and_nothing_else(name, trials, tmp_path):
    missed = []
    for seed in range(trials):
        folder = tmp_path / str(seed)
        folder.mkdir()
        kind, report, where = found_after(name, draw_clean(seed), folder)
        if not exactly(kind, report, where):
            missed.append((seed, report.kinds, [(f.kind, f.ids) for f in report.findings][:3]))
    assert len(missed) <= (1 - RECALL) * trials, missed


def test_every_kind_is_planted():
    assert {kind for kind, _ in PLANTS.values()} == set(KINDS)


def test_clean_data_has_no_findings(tmp_path):
    for seed in range(30):
        report = check(as_arrays(draw_clean(1000 + seed), tmp_path)[0])
        assert (report.kinds, report.ok, report.samples) == ((), True, 5)


@pytest.fixture(scope="session")
def clean_real(dsb2018):
    """A function that gives five real images, each time others, whose labels have no findings of their own."""
    data = datasets.read(dsb2018 / "stage1_train.zip").with_metadata(dsb2018 / "splits.csv")
    kinds = {}
    for kind, shape in (("fluorescence", (256, 256)), ("histology", (256, 320))):
        known = zip(data.ids, data.metadata, strict=True)
        chosen = [
            name
            for name, row in known
            if (row["modality"], row["height"], row["width"]) == (kind, *shape) and row["nuclei"] >= 12
        ]
        samples = data.select(chosen[:40]).load()
        lone = check(datasets.from_arrays([s.image for s in samples], [s.labels for s in samples]))
        dirty = {int(name) for finding in lone.findings for name in finding.ids}
        kinds[kind] = [sample for index, sample in enumerate(samples) if index not in dirty]
        assert len(kinds[kind]) >= 20

    def draw(seed):
        rng = np.random.default_rng(seed)
        samples = kinds["histology" if seed % 2 else "fluorescence"]
        chosen = [samples[index] for index in rng.choice(len(samples), 5, replace=False)]
        images = [s.image[..., :3].copy() if seed % 2 else s.image[..., 0].copy() for s in chosen]
        return Clean(images, [s.labels.copy() for s in chosen], rng)

    return draw


# What depends on how images of one set compare is planted in sets of one kind above.
@trials(2)
@pytest.mark.parametrize("name", [name for name in PLANTS if name not in ("a rare group", "crops too small")])
def test_a_mistake_planted_in_real_images_is_named(name, trials, clean_real, tmp_path):
    missed = []
    for seed in range(trials):
        folder = tmp_path / str(seed)
        folder.mkdir()
        before = set(check(as_arrays(clean_real(seed), folder)[0], CheckSettings(crop=512)).kinds)
        kind, report, where = found_after(name, clean_real(seed), folder)
        finding = report.find(kind)
        others = {other.kind for other in report.findings if other.kind != kind and where & set(other.ids)} - before
        if finding is None or not where <= set(finding.ids) or others:
            missed.append((seed, report.kinds))
    assert len(missed) <= (1 - RECALL) * trials, missed


def test_the_quick_part_names_errors_only():
    data = draw_clean(0)
    data.labels[0][:] = 3
    data.labels[1][0, 0] = data.labels[1].max() + 1  # a speck is a warning only
    report = check_quickly(as_arrays(data, None)[0], semantic=False)
    assert (report.kinds, report.ok) == (("all_foreground",), False)


def test_masks_are_no_error_where_masks_are_learned():
    data = draw_clean(0)
    masks = [
        replace(sample, labels=(sample.labels > 0).astype(np.int32))
        for sample in datasets.from_arrays(data.images, data.labels)
    ]
    assert check_quickly(masks, semantic=True).ok
    assert check_quickly(masks, semantic=False).kinds == ("binary_mask",)
