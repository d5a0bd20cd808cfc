"""TIFF files for :mod:`.reading`: the stored samples of one image, and its pixel size."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import defusedxml.ElementTree as SafeElementTree
import numpy as np
import tifffile
from defusedxml.common import DefusedXmlException
from PIL import Image as PilImage

from ..errors import InputError

# um per pixel that a microscope can have, from 100x with small pixels to an overview. Resolutions of screens and printers
# (72 to 1200 dots per inch, 353 to 21 um), which editors write without having measured anything, lie beyond.
_PLAUSIBLE_UM = (0.05, 10.0)
# Camera and scanner makers agree on 10 um per unit of magnification: 40x is 0.25 um per pixel.
_UM_AT_1X = 10.0
_NUMBER = r"\s*=\s*(\d+(?:[.,]\d+)?)"
_UNIT_UM = {
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "μm": 1.0,  # Greek mu
    "micron": 1.0,
    "microns": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25400.0,
}
_EXPECTED = "a TIFF with one grey or RGB image"
_ONE_CHANNEL = (
    f"{_EXPECTED}: save the channel that shows the nuclei, or the structure of interest, as a grey image of its own"
)
_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)


def read_tiff(path: Path, expand_palette: bool = True) -> tuple[np.ndarray, float | None]:
    """The one image of a TIFF file, its samples as they are stored.

    Args:
        path: a TIFF, BigTIFF, OME-TIFF or ImageJ file. Of a pyramid the full resolution is read; of an image that comes
            with smaller ones (thumbnail, label) the first.
        expand_palette: give colours for a palette image, else its indices.

    Returns:
        Samples (rows, columns) or (rows, columns, samples) in native byte order, channels last, white-is-zero
        inverted, CMYK made RGB; and the pixel size in um or None where the file gives none between 0.05 and 10.

    Raises:
        InputError: not a readable TIFF, truncated, a stack of several images or channels, or an OME header with XML
            entities.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            check_xml(page.description, path)
            series = _only_series(tiff, path)
            check_complete(series.levels[0].pages, path)
            return _decode(series, path, expand_palette), pixel_size(tiff, page)
    except InputError:
        raise
    except (tifffile.TiffFileError, ValueError, TypeError, KeyError, IndexError, struct.error, OSError) as error:
        raise InputError(path, f"a TIFF file that cannot be read ({error})", _EXPECTED) from error


def tiff_shape(path: Path) -> tuple[int, int]:
    """(rows, columns) of the image that :func:`read_tiff` reads, from the header alone; the same errors."""
    try:
        with tifffile.TiffFile(path) as tiff:
            check_xml(tiff.pages.first.description, path)
            _only_series(tiff, path)
            return int(tiff.pages.first.imagelength), int(tiff.pages.first.imagewidth)
    except InputError:
        raise
    except (tifffile.TiffFileError, ValueError, TypeError, KeyError, IndexError, struct.error, OSError) as error:
        raise InputError(path, f"a TIFF file that cannot be read ({error})", _EXPECTED) from error


def check_xml(description: str, path: Path) -> None:
    """Refuse XML entities before tifffile, whose parser expands them, sees the OME header."""
    if "<!" in description or description.lstrip().startswith("<?xml"):
        try:
            SafeElementTree.fromstring(description.encode())
        except DefusedXmlException as error:
            raise InputError(path, "XML entities in the OME header", "plain OME-XML") from error
        except (SafeElementTree.ParseError, ValueError):
            pass  # not XML after all, or broken: it then tells no pixel size


def _only_series(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The series of the one image, its axes being YX, YXS, SYX, YXC or CYX; a stack, of channels too, is refused."""
    series = tiff.series[0]
    if any(np.prod(other.shape) >= np.prod(series.shape) for other in tiff.series[1:]):
        raise InputError(path, f"{len(tiff.series)} images in one file", _EXPECTED)
    long = [(axis, int(size)) for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX"]
    axes, shape = "".join(axis for axis, _ in long), tuple(size for _, size in long)
    if axes not in ("YX", "YXS", "SYX", "CYX", "YXC"):
        raise InputError(path, f"a stack of shape {shape} (axes {axes})", _EXPECTED)
    planes = next((size for axis, size in long if axis in "SC"), 1)
    if planes > 1 and not _one_picture(series.keyframe, planes):
        raise InputError(path, f"a stack of {planes} channels of shape {shape} (axes {axes})", _ONE_CHANNEL)
    return series


def _one_picture(page: tifffile.TiffPage, planes: int) -> bool:
    """Whether the planes are the colours of one picture, or grey and its alpha: the page must say so.

    Microscopes write three or four fluorescence channels as grey planes, which no shape tells from RGB or RGBA.
    """
    if page.samplesperpixel != planes:
        return False  # each plane is a page of its own
    if page.photometric in _GREY:
        return planes == 2 and bool(page.extrasamples) and page.extrasamples[0] in _ALPHA
    return True


def check_complete(pages: Iterable[Any], path: Path) -> None:
    """Refuse a file that ends before its strips or tiles do: decoders may return zeros for the rest."""
    size = path.stat().st_size
    for page in pages:
        counts = zip(page.dataoffsets, page.databytecounts, strict=True) if page is not None else ()
        if any(offset + count > size for offset, count in counts):
            raise InputError(path, f"a truncated TIFF of {size} bytes", _EXPECTED)


def _decode(series: tifffile.TiffPageSeries, path: Path, expand_palette: bool) -> np.ndarray:
    page, axes = series.keyframe, series.axes
    try:
        pixels = series.asarray(level=0)
    except ValueError as error:
        if "imagecodecs" not in str(error) or len(series.pages) > 1:
            raise
        # LZW, JPEG and other codecs that tifffile leaves to a further package: libtiff has them.
        return _decode_libtiff(path, page, expand_palette)
    keep = [index for index, axis in enumerate(axes) if axis in "YX" or pixels.shape[index] > 1]
    pixels = pixels.reshape([pixels.shape[index] for index in keep])
    if pixels.ndim == 3 and axes[keep[0]] in "SC":
        pixels = np.moveaxis(pixels, 0, -1)
    return photometric(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), page, path, expand_palette)


def _decode_libtiff(path: Path, page: tifffile.TiffPage, expand_palette: bool) -> np.ndarray:
    """One page by Pillow (8 bits, which settles palette and white-is-zero itself) or OpenCV (more bits)."""
    data = path.read_bytes()
    if page.bitspersample <= 8:
        with PilImage.open(io.BytesIO(data), formats=("TIFF",)) as image:
            image.load()
            if image.mode == "CMYK":
                return cmyk_to_rgb(np.asarray(image))
            if image.mode == "P" and not expand_palette:
                return np.array(image)
            target = {"1": "L", "P": "RGB", "PA": "RGB", "YCbCr": "RGB", "RGBX": "RGB"}.get(image.mode, image.mode)
            return np.array(image.convert(target))
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError(path, f"TIFF compression {page.compression!s} that cannot be decoded", _EXPECTED)
    pixels = pixels[..., [2, 1, 0]] if pixels.ndim == 3 else pixels
    return photometric(pixels, page, path, expand_palette)


def photometric(pixels: np.ndarray, page: tifffile.TiffPage, path: Path, expand_palette: bool) -> np.ndarray:
    """Samples to intensities: 1 bit, palette, white-is-zero, CMYK."""
    name = tifffile.PHOTOMETRIC(page.photometric).name if page.photometric is not None else ""
    if page.bitspersample == 1:
        pixels = (pixels > 0).astype(np.uint8) * 255
    if name == "PALETTE" and pixels.ndim == 2 and expand_palette:
        colours = np.asarray(page.colormap)
        # The standard has 16-bit palettes; some writers fill the lower byte only.
        colours = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
        return colours.T[pixels]
    if name == "MINISWHITE" and pixels.dtype.kind == "u":
        return np.iinfo(pixels.dtype).max - pixels
    if name == "SEPARATED" and pixels.ndim == 3 and pixels.shape[2] >= 4 and pixels.dtype == np.uint8:
        return cmyk_to_rgb(pixels)
    if name in ("CIELAB", "ICCLAB", "LOGLUV", "CFA"):
        raise InputError(path, f"a TIFF in colour space {name}", _EXPECTED)
    return pixels


def cmyk_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 (rows, columns, 4 or more) inks, 0 none, to uint8 RGB: (255 - ink) (255 - black) / 255."""
    light = 255 - pixels[..., :4].astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def plausible_size(size: float | None) -> float | None:
    """A pixel size in um if a microscope can have it, else None."""
    return size if size is not None and _PLAUSIBLE_UM[0] <= size <= _PLAUSIBLE_UM[1] else None


def pixel_size(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """Width of a pixel in um: the first plausible of OME-XML, ImageJ's unit, Aperio's MPP or magnification, tags."""
    sizes = (
        _ome_pixel_size(page.description) if tiff.is_ome else None,
        _imagej_pixel_size(tiff, page) if tiff.is_imagej else None,
        _aperio_pixel_size(page.description),
        _tag_pixel_size(page),
    )
    return next((size for size in map(plausible_size, sizes) if size is not None), None)


def _imagej_pixel_size(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    resolution = _x_resolution(page)
    return _UNIT_UM[unit] / resolution if unit in _UNIT_UM and resolution else None


def _aperio_pixel_size(description: str) -> float | None:
    """``MPP = 0.2520``, else ``AppMag = 40``, in the description that Aperio scanners write."""
    for key, size in (("MPP", lambda value: value), ("AppMag", lambda value: _UM_AT_1X / value)):
        found = re.search(rf"\b{key}{_NUMBER}", description)
        value = float(found[1].replace(",", ".")) if found else 0.0
        if value > 0:
            return size(value)
    return None


def _tag_pixel_size(page: tifffile.TiffPage) -> float | None:
    unit_tag, resolution = page.tags.get("ResolutionUnit"), _x_resolution(page)
    # TIFF 6.0: 1 none, 2 inch (the default), 3 centimetre.
    unit_um = {2: 25400.0, 3: 10000.0}.get(int(unit_tag.value) if unit_tag is not None else 2)
    return unit_um / resolution if unit_um and resolution else None


def _x_resolution(page: tifffile.TiffPage) -> float | None:
    tag = page.tags.get("XResolution")
    if tag is None:
        return None
    numerator, denominator = tag.value if isinstance(tag.value, tuple) else (tag.value, 1)
    return float(numerator) / float(denominator) if numerator and denominator else None


def _ome_pixel_size(description: str) -> float | None:
    try:
        root = SafeElementTree.fromstring(description.encode())
    except SafeElementTree.ParseError:
        return None
    for element in root.iter():
        size = element.get("PhysicalSizeX") if element.tag.endswith("Pixels") else None
        if size:
            unit = _UNIT_UM.get(element.get("PhysicalSizeXUnit", "µm"))
            try:
                return float(size) * unit if unit else None
            except ValueError:
                return None
    return None
