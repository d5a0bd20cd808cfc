"""Reading images of every kind: order of axes, depth, colour, pixel size, and refusal of what is broken."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as PilImage

from common.errors import InputError
from common.images.reading import IMAGE_SUFFIXES, image_shape, list_images, read_image, read_stored

ROWS, COLUMNS = 11, 17


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)


@pytest.fixture
def colour(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_rgb_keeps_rows_columns_and_channel_order(tmp_path: Path, colour: np.ndarray, suffix: str) -> None:
    PilImage.fromarray(colour).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.pixels, colour)
    assert image.pixels.dtype == np.uint8
    assert image_shape(tmp_path / f"a{suffix}") == (ROWS, COLUMNS)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_grey_has_one_channel(tmp_path: Path, grey: np.ndarray, suffix: str) -> None:
    PilImage.fromarray(grey).save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels, grey[..., None])


def test_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, COLUMNS, dtype=np.uint8)
    colour = np.stack(
        [np.tile(ramp, (ROWS, 1)), np.full((ROWS, COLUMNS), 90, np.uint8), np.tile(ramp[::-1], (ROWS, 1))], -1
    )
    PilImage.fromarray(colour).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").pixels.astype(int) - colour).max() <= 6


def test_content_counts_not_the_name(tmp_path: Path, colour: np.ndarray) -> None:
    PilImage.fromarray(colour).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg").pixels, colour)


def test_grey_stored_as_rgba_becomes_one_channel(tmp_path: Path, grey: np.ndarray) -> None:
    alpha = np.full_like(grey, 255)
    PilImage.fromarray(np.stack([grey, grey, grey, alpha], -1)).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, grey[..., None])


def test_one_differing_pixel_keeps_three_channels(tmp_path: Path, grey: np.ndarray) -> None:
    colour = np.stack([grey, grey, grey], -1)
    colour[-1, -1, 2] ^= 1
    PilImage.fromarray(colour).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, colour)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped_even_where_transparent(tmp_path: Path, colour: np.ndarray, suffix: str) -> None:
    alpha = np.zeros((ROWS, COLUMNS, 1), np.uint8)
    PilImage.fromarray(np.concatenate([colour, alpha], -1)).save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels, colour)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_alpha_becomes_one_channel(tmp_path: Path, grey: np.ndarray, suffix: str) -> None:
    PilImage.fromarray(np.stack([grey, 255 - grey], -1), "LA").save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels, grey[..., None])


@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", {}), (".tif", {}), (".tif", {"compression": "tiff_lzw"}), (".bmp", {})]
)
def test_palette_is_expanded(tmp_path: Path, colour: np.ndarray, suffix: str, options: dict[str, str]) -> None:
    palette = PilImage.fromarray(colour).quantize(16)
    palette.save(tmp_path / f"a{suffix}", **options)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_palette_indices_are_given_for_labels(tmp_path: Path, colour: np.ndarray, suffix: str) -> None:
    palette = PilImage.fromarray(colour).quantize(16)
    palette.save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_stored(tmp_path / f"a{suffix}", expand_palette=False)[0], np.asarray(palette))


@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", {}), (".bmp", {}), (".tif", {}), (".tif", {"compression": "group4"})]
)
def test_one_bit_becomes_0_and_255(tmp_path: Path, grey: np.ndarray, suffix: str, options: dict[str, str]) -> None:
    PilImage.fromarray(grey > 99).save(tmp_path / f"a{suffix}", **options)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels[..., 0], np.where(grey > 99, 255, 0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_kept(tmp_path: Path, rng: np.random.Generator, suffix: str, channels: int) -> None:
    pixels = rng.integers(0, 65536, (ROWS, COLUMNS, channels), dtype=np.uint16)
    # OpenCV writes blue first, and TIFF with LZW, which takes the second decoder.
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), pixels[..., ::-1])
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.pixels, pixels)
    assert image.pixels.dtype == np.uint16


def test_big_endian_becomes_native(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 65536, (ROWS, COLUMNS), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels.astype(">u2"), byteorder=">")
    read = read_image(tmp_path / "a.tif").pixels
    assert read.dtype.isnative
    assert np.array_equal(read[..., 0], pixels)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}]
)
def test_tiff_planes_are_moved_last(tmp_path: Path, colour: np.ndarray, options: dict[str, object]) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(colour, -1, 0).copy(), photometric="rgb", planarconfig="separate", **options
    )
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, colour)


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "options",
    [
        {"ome": True, "metadata": {"axes": "CYX"}},
        {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite"}},
        {"photometric": "minisblack", "metadata": {"axes": "CYX"}},
        {"photometric": "minisblack", "planarconfig": "separate"},
    ],
    ids=["ome", "imagej", "tifffile", "samples"],
)
@pytest.mark.parametrize("read", [read_image, image_shape])
def test_grey_channels_are_never_taken_for_colours(
    tmp_path: Path, rng: np.random.Generator, read: Callable[[Path], object], options: dict[str, Any], channels: int
) -> None:
    planes = rng.integers(0, 65536, (channels, ROWS, COLUMNS), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "stained.tif", planes, **options)
    with pytest.raises(InputError, match=rf"stained\.tif: found a stack of {channels} channels.*save the channel that"):
        read(tmp_path / "stained.tif")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("options", [{}, {"ome": True}, {"metadata": {"axes": "CYX"}}], ids=["plain", "ome", "C axis"])
def test_what_a_tiff_calls_rgb_is_one_image_whatever_its_planes(
    tmp_path: Path, rng: np.random.Generator, options: dict[str, Any], planar: bool, alpha: bool
) -> None:
    pixels = rng.integers(0, 256, (ROWS, COLUMNS, 3 + alpha), dtype=np.uint8)
    if planar:
        stored = np.moveaxis(pixels, -1, 0).copy()
    else:
        stored, options = pixels, {key: value for key, value in options.items() if key != "metadata"}
    configuration = "separate" if planar else "contig"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=configuration, **options)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels[..., :3])


def test_lzw_tiff_is_read(tmp_path: Path, colour: np.ndarray) -> None:
    PilImage.fromarray(colour).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, colour)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_inverted(tmp_path: Path, grey: np.ndarray, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.iinfo(dtype).max - grey.astype(dtype), photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels[..., 0], grey)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    # No cyan, full magenta and yellow: red.
    inks = np.zeros((ROWS, COLUMNS, 4), np.uint8)
    inks[..., 1:3] = 255
    PilImage.fromarray(inks, "CMYK").save(tmp_path / f"a{suffix}")
    pixels = read_image(tmp_path / f"a{suffix}").pixels.astype(int)
    assert pixels.shape == (ROWS, COLUMNS, 3)
    assert np.abs(pixels - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_is_what_pillow_makes_of_it(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    # Coarse blocks, which JPEG keeps.
    inks = rng.integers(0, 256, (3, 4, 4), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    PilImage.fromarray(inks, "CMYK").save(tmp_path / f"a{suffix}", quality=100)
    with PilImage.open(tmp_path / f"a{suffix}") as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(read_image(tmp_path / f"a{suffix}").pixels - expected).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_an_all_white_tile_is_an_image(tmp_path: Path, suffix: str) -> None:
    PilImage.fromarray(np.full((ROWS, COLUMNS, 3), 255, np.uint8)).save(tmp_path / f"a{suffix}")
    pixels = read_image(tmp_path / f"a{suffix}").pixels
    assert pixels.shape == (ROWS, COLUMNS, 1), "grey stored as RGB, like any other"
    assert (pixels == 255).all()


def test_a_palette_with_transparency_is_rgb(tmp_path: Path, colour: np.ndarray) -> None:
    palette = PilImage.fromarray(colour).quantize(16)
    palette.save(tmp_path / "a.png", transparency=3)
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_tiff_becomes_float32(tmp_path: Path, dtype: type) -> None:
    pixels = np.linspace(-1, 3, ROWS * COLUMNS).reshape(ROWS, COLUMNS).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    read = read_image(tmp_path / "a.tif").pixels
    assert read.dtype == np.float32
    assert np.array_equal(read[..., 0], pixels.astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    pixels = np.zeros((ROWS, COLUMNS), np.float32)
    pixels[2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(InputError, match="1 values that are NaN or infinite"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("dtype", "top", "expected"),
    [(np.uint32, 60000, np.uint16), (np.int16, 9, np.uint16), (np.uint32, 70000, np.float32)],
)
def test_integers_become_16_bits_where_they_fit(tmp_path: Path, dtype: type, top: int, expected: type) -> None:
    pixels = np.full((ROWS, COLUMNS), top, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    read = read_image(tmp_path / "a.tif").pixels
    assert read.dtype == expected
    assert (read == top).all()
    assert read_stored(tmp_path / "a.tif")[0].dtype == dtype


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_a_stack_is_refused(tmp_path: Path, photometric: str) -> None:
    shape = (5, ROWS, COLUMNS) if photometric == "minisblack" else (5, ROWS, COLUMNS, 3)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros(shape, np.uint8), photometric=photometric)
    with pytest.raises(InputError, match=r"stack\.tif: found a stack of shape"):
        read_image(tmp_path / "stack.tif")


def test_pages_of_different_images_are_refused_but_a_thumbnail_is_passed_over(tmp_path: Path, grey: np.ndarray) -> None:
    for name, second in (("thumbnail.tif", grey[::2, ::2]), ("larger.tif", np.tile(grey, (2, 2)))):
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            tiff.write(grey, metadata=None)
            tiff.write(second, metadata=None)
    assert np.array_equal(read_image(tmp_path / "thumbnail.tif").pixels[..., 0], grey)
    with pytest.raises(InputError, match="2 images in one file"):
        read_image(tmp_path / "larger.tif")


def test_every_truncated_png_is_refused_by_name(tmp_path: Path, grey: np.ndarray) -> None:
    PilImage.fromarray(grey).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    for length in range(len(data) - 1):
        (tmp_path / "cut.png").write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.png"):
            read_image(tmp_path / "cut.png")


def test_a_flipped_bit_in_a_png_is_refused(tmp_path: Path, grey: np.ndarray) -> None:
    PilImage.fromarray(grey).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IDAT") + 20] ^= 4
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match="checksum of IDAT"):
        read_image(tmp_path / "a.png")


def test_bytes_after_the_end_of_a_png_do_not_matter(tmp_path: Path, grey: np.ndarray) -> None:
    PilImage.fromarray(grey).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes() + b"more")
    assert np.array_equal(read_image(tmp_path / "a.png").pixels[..., 0], grey)


def test_a_png_of_rows_that_are_missing_is_refused(tmp_path: Path, grey: np.ndarray) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in grey[:4])
    header = struct.pack(">IIBBBBB", COLUMNS, ROWS, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "short.png").write_bytes(data)
    with pytest.raises(InputError, match=r"short\.png"):
        read_image(tmp_path / "short.png")


@pytest.mark.parametrize(
    ("name", "options"), [("a.jpg", {}), ("a.bmp", {}), ("a.tif", {}), ("a.tif", {"compression": "tiff_lzw"})]
)
def test_truncated_files_are_refused_by_name(
    tmp_path: Path, rng: np.random.Generator, name: str, options: dict[str, str]
) -> None:
    PilImage.fromarray(rng.integers(0, 256, (64, 90, 3), dtype=np.uint8)).save(tmp_path / name, **options)
    data = (tmp_path / name).read_bytes()
    for part in (0.02, 0.3, 0.6, 0.95):
        (tmp_path / name).write_bytes(data[: int(part * len(data))])
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"no image at all", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM"]
)
@pytest.mark.parametrize("read", [read_image, image_shape])
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes, read) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png"):
        read(tmp_path / "a.png")


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        (101600, "INCH", 0.25),
        (40000, "CENTIMETER", 0.25),
        (72, "INCH", None),
        (96, "INCH", None),
        (300, "INCH", None),
        (1200, "INCH", None),
        (2600, "INCH", 25400 / 2600),
        (210000, "CENTIMETER", None),
        (190000, "CENTIMETER", 10 / 190),
        (28.35, "CENTIMETER", None),
        (1, "INCH", None),
        (40000, "NONE", None),
    ],
)
def test_pixel_size_from_resolution_tags(
    tmp_path: Path, grey: np.ndarray, resolution: float, unit: str, expected: float | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey, resolution=(resolution, resolution), resolutionunit=unit)
    assert read_image(tmp_path / "a.tif").pixel_size_um == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("unit", "expected"), [("µm", 0.65), ("um", 0.65), ("nm", 0.00065), ("mm", 650.0), ("pixel", None)]
)
def test_pixel_size_from_ome(tmp_path: Path, grey: np.ndarray, unit: str, expected: float | None) -> None:
    # The same length in each unit is the same length; what is no length is unknown.
    size = 0.65 * 0.65 / expected if expected else 0.65
    expected = 0.65 if expected else None
    metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", grey, metadata=metadata)
    assert read_image(tmp_path / "a.ome.tif").pixel_size_um == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("unit", "expected"), [("micron", 0.5), ("um", 0.5), ("\\u00B5m", 0.5), ("mm", None), ("pixel", None)]
)
def test_pixel_size_from_imagej(tmp_path: Path, grey: np.ndarray, unit: str, expected: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey, imagej=True, resolution=(2, 2), metadata={"unit": unit})
    assert read_image(tmp_path / "a.tif").pixel_size_um == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("content", ["0", "-0.5", "nan", "a", "650"])
def test_an_ome_size_that_cannot_be_is_unknown(tmp_path: Path, grey: np.ndarray, content: str) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", grey, metadata={"axes": "YX", "PhysicalSizeX": 0.65})
    data = (tmp_path / "a.ome.tif").read_bytes()
    assert data.count(b'PhysicalSizeX="0.65"') == 1
    new = f'PhysicalSizeX="{content}"'.encode()
    # The same number of bytes, as the file holds offsets.
    (tmp_path / "a.ome.tif").write_bytes(data.replace(b'PhysicalSizeX="0.65"', new.ljust(len(b'PhysicalSizeX="0.65"'))))
    assert read_image(tmp_path / "a.ome.tif").pixel_size_um is None


def test_an_ome_file_without_size_has_that_of_its_tags(tmp_path: Path, grey: np.ndarray) -> None:
    options = {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.ome.tif", grey, metadata={"axes": "YX"}, **options)
    assert read_image(tmp_path / "a.ome.tif").pixel_size_um == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AppMag = 40|StripeWidth = 2040|MPP = 0.2520|Left = 25.6", 0.252),
        ("AppMag = 20|MPP = 0,4990", 0.499),
        ("AppMag=20|Date = 12/29/09", 0.5),
        ("AppMag = 40|MPP = 0", 0.25),
        ("MPP = 25.4.1", None),
        ("MPP = unknown", None),
        ("COMPP = 0.25", None),
    ],
)
def test_pixel_size_from_a_scanner_s_description(
    tmp_path: Path, grey: np.ndarray, text: str, expected: float | None
) -> None:
    description = f"Aperio Image Library v10\r\n{COLUMNS}x{ROWS} Q=30|{text}"
    for name, options in (("a.tif", {}), ("72dpi.tif", {"resolution": (72, 72), "resolutionunit": "INCH"})):
        tifffile.imwrite(tmp_path / name, grey, description=description, metadata=None, **options)
        assert read_image(tmp_path / name).pixel_size_um == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("dpi", [72, 101600 / 25])
def test_what_png_and_jpeg_say_is_not_believed(tmp_path: Path, grey: np.ndarray, name: str, dpi: float) -> None:
    # 4064 dots per inch would be 6.25 um, but these fields hold the resolution of screens and printers.
    PilImage.fromarray(grey).save(tmp_path / name, dpi=(dpi, dpi))
    assert read_image(tmp_path / name).pixel_size_um is None


def test_no_pixel_size_without_tags(tmp_path: Path, grey: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey)
    PilImage.fromarray(grey).save(tmp_path / "a.png", dpi=(72, 72))
    assert read_image(tmp_path / "a.tif").pixel_size_um is None
    assert read_image(tmp_path / "a.png").pixel_size_um is None


def test_entities_in_an_ome_header_are_refused(tmp_path: Path, grey: np.ndarray) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><OME>&b;</OME>'
    tifffile.imwrite(tmp_path / "a.ome.tif", grey, description=bomb, metadata=None)
    with pytest.raises(InputError, match="entities"):
        read_image(tmp_path / "a.ome.tif")


def test_list_images_is_sorted_flat_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.tif", ".a.png", "notes.txt", "._c.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "d.png").write_bytes(b"x")
    assert [path.name for path in list_images(tmp_path)] == ["a.tif", "b.PNG"]
    assert list_images(tmp_path / "a.tif") == [tmp_path / "a.tif"]


def test_list_images_says_what_it_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        list_images(tmp_path / "absent")
    with pytest.raises(InputError, match="no image in this folder; expected files ending in .*" + IMAGE_SUFFIXES[-1]):
        list_images(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="ending in '.txt'"):
        list_images(tmp_path / "a.txt")


def test_a_folder_whose_images_are_all_in_subfolders_says_so(tmp_path: Path) -> None:
    for name in ("one/a.png", "one/b.tif", "two/c.jpg", "two/notes.txt", ".hidden/d.png", "two/deeper/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    words = (
        r"no image in this folder, but 3 in its subfolders: one/a\.png, one/b\.tif, two/c\.jpg; .* the folder itself"
    )
    with pytest.raises(InputError, match=words):
        list_images(tmp_path)


def test_a_link_that_leads_nowhere_is_an_image_that_cannot_be_read(tmp_path: Path, grey: np.ndarray) -> None:
    PilImage.fromarray(grey).save(tmp_path / "whole.png")
    (tmp_path / "alive.png").symlink_to(tmp_path / "whole.png")
    for name in ("dead.png", "dead.tif"):
        (tmp_path / name).symlink_to(tmp_path / "absent" / name)
    (tmp_path / "dead.txt").symlink_to(tmp_path / "absent.txt")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    assert [path.name for path in list_images(tmp_path)] == [
        "alive.png", "dead.png", "dead.tif", "round.png", "whole.png",
    ]  # fmt: skip
    assert np.array_equal(read_image(tmp_path / "alive.png").pixels[..., 0], grey)
    for name in ("dead.png", "dead.tif", "round.png"):
        for read in (read_image, image_shape):
            with pytest.raises(InputError, match=rf"{name}: found a link that leads nowhere"):
                read(tmp_path / name)


@pytest.mark.data
def test_real_16_bit_and_tissue_images(real_data: Path) -> None:
    camera = read_image(list_images(real_data / "bbbc039" / "images")[0])
    assert camera.pixels.shape == (520, 696, 1)
    assert camera.pixels.dtype == np.uint16
    tissue = read_image(list_images(real_data / "monuseg" / "tissue_images")[0])
    assert tissue.pixels.shape == (1000, 1000, 3)
    assert tissue.pixel_size_um == pytest.approx(0.25)
