"""CZI, ND2, LIF, SVS, LSM and STK: small files, by the maker's library (CZI), tifffile (SVS, LSM) or byte by byte."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
import tifffile

from nucleiseg.errors import ImageFileError
from nucleiseg.images import ReadOptions, find_images, read_image, read_micrograph

PIXELS = np.random.default_rng(0).integers(0, 60_000, (2, 3, 20, 30)).astype(np.uint16)  # depths, channels
NAMES = ("DAPI", "actin", "CD3")


def write_czi(path, scenes=1):
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(path)) as file:
        for scene in range(scenes):
            for z, c in np.ndindex(PIXELS.shape[:2]):
                file.write(PIXELS[z, c] + scene, plane={"Z": z, "C": c}, scene=scene, location=(100 * scene, 0))
        file.write_metadata("test", channel_names=dict(enumerate(NAMES)), scale_x=5e-7, scale_y=5e-7)


def write_lif(path, scenes=1):
    """A file of Leica's format, version 2: an XML header in UTF-16, then one block of memory for each image."""
    pytest.importorskip("liffile")
    depths, channels, height, width = PIXELS.shape
    sizes = [(1, width, 2), (2, height, 2 * width), (3, depths, 2 * width * height * channels)]
    dimensions = "".join(
        f'<DimensionDescription DimID="{axis}" NumberOfElements="{n}" Origin="0" Length="{(n - 1) * 5e-7}" Unit="m" '
        f'BitInc="0" BytesInc="{step}"/>'
        for axis, n, step in sizes
    )
    description = "".join(
        '<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" Max="65535" '
        f'Unit="" LUTName="Green" IsLUTInverted="0" BytesInc="{2 * width * height * c}" BitInc="0"/>'
        for c in range(channels)
    )
    images = "".join(
        f'<Element Name="Series{i}"><Data><Image><ImageDescription><Channels>{description}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{PIXELS.nbytes}" MemoryBlockID="MemBlock_{i}"/></Element>'
        for i in range(scenes)
    )
    header = (
        '<LMSDataContainerHeader Version="2"><Element Name="test"><Data><Experiment/></Data><Memory Size="0" '
        f'MemoryBlockID="MemBlock_all"/><Children>{images}</Children></Element></LMSDataContainerHeader>'
    )
    data = struct.pack("<IIBI", 0x70, 2 * len(header) + 5, 0x2A, len(header)) + header.encode("utf-16-le")
    for i in range(scenes):
        name = f"MemBlock_{i}"
        data += struct.pack("<IIBQBI", 0x70, 2 * len(name) + 14, 0x2A, PIXELS.nbytes, 0x2A, len(name))
        data += name.encode("utf-16-le") + (PIXELS + i).tobytes()
    path.write_bytes(data)


def lite(name, value):
    """An entry of Nikon's binary metadata: type, length of the name, name, value."""
    start = struct.pack("<B", len(name) + 1) + (name + "\0").encode("utf-16-le")
    if isinstance(value, dict):
        body = b"".join(lite(key, item) for key, item in value.items())
        head = 1 + len(start) + 12
        return b"\x0b" + start + struct.pack("<IQ", len(value), head + len(body)) + body + b"\0" * 8 * len(value)
    kind, packed = {
        bool: lambda: (b"\x01", struct.pack("<?", value)),
        int: lambda: (b"\x03", struct.pack("<I", value)),
        float: lambda: (b"\x06", struct.pack("<d", value)),
        str: lambda: (b"\x08", (value + "\0").encode("utf-16-le")),
    }[type(value)]()
    return kind + start + packed


def write_nd2(path, scenes=1, calibrated=True):
    """A file of Nikon's format, version 3.0: named chunks, then a map of where they are."""
    pytest.importorskip("nd2")
    depths, channels, height, width = PIXELS.shape
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": 2 * width * channels,
        "uiHeight": height,
        "uiComp": channels,
        "uiBpcInMemory": 16,
        "uiBpcSignificant": 16,
        "uiSequenceCount": scenes * depths,
    }
    planes = {
        f"a{i}": {"uiCompCount": 1, "uiSampleIndex": i, "sDescription": name, "pFluorescentProbe": {"m_sName": name}}
        for i, name in enumerate(NAMES)
    }
    picture = {
        "bCalibrated": calibrated,
        "dCalibration": 0.5,
        "sPicturePlanes": {"uiCount": channels, "sPlaneNew": planes},
    }
    focus = {"eType": 4, "uLoopPars": {"uiCount": depths, "dZStep": 1.0}}
    experiment = focus
    if scenes > 1:
        points = {f"i{i:010}": {"dPosX": 100.0 * i, "dPosY": 0.0, "dPosZ": 0.0} for i in range(scenes)}
        experiment = {"eType": 2, "uLoopPars": {"Points": points}, "ppNextLevelEx": {"i0000000000": focus}}
    frames = [PIXELS[z].transpose(1, 2, 0) + s for s in range(scenes) for z in range(depths)]
    chunks = {
        "ImageAttributesLV!": lite("SLxImageAttributes", attributes),
        "ImageMetadataSeqLV|0!": lite("SLxPictureMetadata", picture),
        "ImageMetadataLV!": lite("SLxExperiment", experiment),
        # The pixels come after a time, at a multiple of 4096 bytes.
        **{f"ImageDataSeq|{i}!": struct.pack("<d", i) + frame.tobytes() for i, frame in enumerate(frames)},
    }

    def chunk(name, data, reserved):
        return struct.pack("<IIQ", 0x0ABECEDA, reserved, len(data)) + name.ljust(reserved, b"\0") + data

    file = chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    places = b""
    for name, data in chunks.items():
        places += name.encode() + struct.pack("<QQ", len(file), len(data))
        file += chunk(name.encode(), data, 4096 - 16 - 8)
    signature = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    end = struct.pack("<32sQ", signature, len(file))
    path.write_bytes(file + chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", places + end, 32) + end)


def write_svs(path):
    """As Aperio's scanners do: the slide in tiles, a thumbnail, a smaller level."""
    pytest.importorskip("imagecodecs")
    pixels = np.random.default_rng(0).integers(0, 255, (256, 384, 3)).astype(np.uint8)
    words = "Aperio Image Library v11.2.1\r\n384x256 [0,0 384x256] (240x240) JPEG/RGB Q=90|AppMag = 20|MPP = 0.4990"
    tiled = {"tile": (64, 64), "photometric": "rgb", "compression": "deflate", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, description=words, **tiled)
        writer.write(pixels[::8, ::8], description=words, photometric="rgb", metadata=None)
        writer.write(pixels[::4, ::4], description=words, **tiled)
    return pixels


MAKERS = {"czi": write_czi, "lif": write_lif, "nd2": write_nd2}


@pytest.fixture(params=MAKERS)
def kind(request):
    return request.param


def test_channels_depths_names_and_pixel_size(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    MAKERS[kind](path)
    picture = read_micrograph(path, ReadOptions(channel=1, project="max"))
    np.testing.assert_array_equal(picture.pixels, PIXELS.max(axis=0).transpose(1, 2, 0))
    np.testing.assert_array_equal(picture.shown, PIXELS[:, 1].max(axis=0))
    assert picture.pixels.dtype == np.uint16
    assert picture.pixel_size == pytest.approx(0.5)
    np.testing.assert_array_equal(read_image(path, ReadOptions(channel=2, select={"Z": 1})), PIXELS[1, 2])
    assert picture.channels == NAMES or kind == "lif"  # which does not name them everywhere
    if kind != "lif":
        np.testing.assert_array_equal(read_image(path, ReadOptions(channel="CD3", select={"Z": 1})), PIXELS[1, 2])
    with pytest.raises(ImageFileError, match="choose from 2 along Z with --project max"):
        read_image(path, ReadOptions(channel=0))
    with pytest.raises(ImageFileError, match="has 3 channels"):
        read_image(path, ReadOptions(project="mean"))
    with pytest.raises(ImageFileError, match="20 x 30 is more than 599 pixels"):
        read_image(path, ReadOptions(max_pixels=599))


def test_scenes(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    MAKERS[kind](path, scenes=2)
    with pytest.raises(ImageFileError, match=r"got 2; choose one with --scene 0 .*: 0 .*, 1 "):
        read_image(path, ReadOptions(channel=0, project="max"))
    for scene in (0, 1):
        image = read_image(path, ReadOptions(channel=0, select={"Z": 0}, scene=scene))
        np.testing.assert_array_equal(image, PIXELS[0, 0] + scene)
    with pytest.raises(ImageFileError, match="has no scene 2"):
        read_image(path, ReadOptions(channel=0, project="max", scene=2))


def test_levels_of_czi_halve_the_size(tmp_path):
    write_czi(tmp_path / "a.czi")
    picture = read_micrograph(tmp_path / "a.czi", ReadOptions(channel=0, project="max", level=1))
    assert (picture.shown.shape, picture.pixel_size) == ((10, 15), pytest.approx(1.0))
    with pytest.raises(ImageFileError, match="has no level 9"):
        read_image(tmp_path / "a.czi", ReadOptions(channel=0, project="max", level=9))


@pytest.mark.parametrize("kind", ["lif", "nd2"], indirect=True)
def test_others_have_no_levels(tmp_path, kind):
    MAKERS[kind](tmp_path / f"a.{kind}")
    with pytest.raises(ImageFileError, match=r"has no level 1; choose one of 0 \(20 × 30\)"):
        read_image(tmp_path / f"a.{kind}", ReadOptions(channel=0, project="max", level=1))


def test_colours_of_czi_come_in_the_usual_order(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        file.write(pixels[..., ::-1])  # the format has blue first
        file.write_metadata("test", channel_names={0: "brightfield"})
    picture = read_micrograph(tmp_path / "a.czi")
    np.testing.assert_array_equal(picture.shown, pixels)
    assert (picture.channels, picture.pixel_size) == ((), None)


def test_nd2_without_calibration_has_no_pixel_size(tmp_path):
    write_nd2(tmp_path / "a.nd2", calibrated=False)
    assert read_micrograph(tmp_path / "a.nd2", ReadOptions(channel=0, project="max")).pixel_size is None


def test_svs_is_the_slide_with_its_levels(tmp_path):
    path = tmp_path / "a.svs"
    pixels = write_svs(path)
    for level, factor in ((0, 1), (1, 4)):
        picture = read_micrograph(path, ReadOptions(level=level))
        np.testing.assert_array_equal(picture.shown, pixels[::factor, ::factor])
        assert picture.pixel_size == pytest.approx(0.499 * factor)


@pytest.mark.parametrize(("ending", "module"), [("czi", "pylibCZIrw.czi"), ("nd2", "nd2"), ("lif", "liffile")])
def test_a_missing_package_is_named_with_the_command(tmp_path, monkeypatch, ending, module):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"whatever it is")
    monkeypatch.setitem(sys.modules, module, None)
    package = module.split(".", maxsplit=1)[0]
    message = (
        rf"reading it needs the package {package} .*pip install \"nucleiseg\[microscopy\]\".*pip install {package}'"
    )
    with pytest.raises(ImageFileError, match=message):
        read_image(path)


@pytest.mark.parametrize("kind", [*MAKERS, "svs"], indirect=False)
def test_damaged_files_are_one_clear_error(tmp_path, kind):
    path = tmp_path / f"whole.{kind}"
    {**MAKERS, "svs": write_svs}[kind](path)
    whole = path.read_bytes()
    for i, data in enumerate((b"", b"no image at all, but text", whole[:40], whole[: len(whole) // 3])):
        cut = tmp_path / f"cut{i}.{kind}"
        cut.write_bytes(data)
        with pytest.raises(ImageFileError) as caught:
            read_image(cut, ReadOptions(channel=0, project="max"))
        assert str(caught.value).startswith(f"{cut}: ")
        assert "\n" not in str(caught.value)


def write_lsm(path):
    """Zeiss writes a thumbnail behind each plane, and what the planes are into a tag of its own."""
    depths, channels, height, width = PIXELS.shape
    info = np.zeros(1, tifffile.TIFF.CZ_LSMINFO)
    values = {"MagicNumber": 67127628, "StructureSize": info.itemsize, "DimensionX": width, "DimensionY": height}
    for name, value in {**values, "DimensionZ": depths, "DimensionChannels": channels, "DimensionTime": 1}.items():
        info[name] = value
    tag = (34412, 1, info.nbytes, info.tobytes(), True)
    options = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        for depth, plane in enumerate(PIXELS):
            file.write(plane, **options, extratags=() if depth else [tag])
            file.write(plane[:, ::4, ::4], subfiletype=1, **options)


def write_stk(path):
    """MetaMorph has one page, with all planes one after the other, and a tag with the distance of each."""
    planes = PIXELS[:, 0]
    count, height, width = planes.shape
    distances = b"".join(struct.pack("<6I", 1, 1, 0, number, 0, 0) for number in range(count))
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 16), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    tags |= {278: (4, 1, height), 279: (4, 1, height * width * 2)}
    start = 8 + 2 + 12 * (len(tags) + 3) + 4
    tags |= {273: (4, 1, start + 8 + len(distances)), 33628: (4, 1, start), 33629: (5, count, start + 8)}
    pages = b"".join(struct.pack("<HHII", code, *tags[code]) for code in sorted(tags))
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    path.write_bytes(header + pages + bytes(4 + 8) + distances + planes.astype("<u2").tobytes())


def test_lsm_is_read_without_its_thumbnails(tmp_path):
    write_lsm(tmp_path / "a.lsm")
    picture = read_micrograph(tmp_path / "a.lsm", ReadOptions(channel=1, project="max"))
    np.testing.assert_array_equal(picture.pixels, PIXELS.max(axis=0).transpose(1, 2, 0))
    np.testing.assert_array_equal(picture.shown, PIXELS[:, 1].max(axis=0))
    with pytest.raises(ImageFileError, match="choose from 2 along Z with --project max"):
        read_image(tmp_path / "a.lsm", ReadOptions(channel=0))
    with pytest.raises(ImageFileError, match="has 3 channels"):  # a confocal has no red, green and blue
        read_image(tmp_path / "a.lsm", ReadOptions(project="max"))
    assert read_image(tmp_path / "a.lsm", ReadOptions(scene=1, select={"Z": 0, "S": 0})).shape == (5, 8)


def test_stk_has_its_planes_along_z(tmp_path):
    write_stk(tmp_path / "a.stk")
    for depth, plane in enumerate(PIXELS[:, 0]):
        np.testing.assert_array_equal(read_image(tmp_path / "a.stk", ReadOptions(select={"Z": depth})), plane)
    with pytest.raises(ImageFileError, match="choose from 2 along Z with --project max"):
        read_image(tmp_path / "a.stk")


def test_an_ending_makes_no_tiff(tmp_path):
    for name in ("a.lsm", "a.stk"):
        (tmp_path / name).write_bytes(b"no image at all")
        with pytest.raises(ImageFileError, match="is not a PNG, JPEG, BMP or TIFF image"):
            read_image(tmp_path / name)


def test_such_files_are_found_in_folders(tmp_path):
    names = ["a.czi", "b.LIF", "c.nd2", "d.svs", "e.lsm", "f.STK"]
    for name in (*names, "g.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images([tmp_path])] == names
