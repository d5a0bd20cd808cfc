"""Frames of a TIFF with one page or thousands: how many there are, and any run of them without reading the others.

:mod:`...images.tiff` refuses stacks on purpose; its parts that look at one page are used here as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import defusedxml.ElementTree as SafeElementTree
import numpy as np
import tifffile

from ...errors import InputError
from ...images.tiff import check_complete, check_xml, photometric, pixel_size

_EXPECTED = "a TIFF of one frame or a stack of frames of one size, grey, RGB or with channels"
_BROKEN = (tifffile.TiffFileError, ValueError, TypeError, KeyError, IndexError, struct.error, OSError)
_SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class TiffFrames:
    """What a TIFF holds, known without its pixels.

    Attributes:
        frames: how many, along time or depth.
        rows, columns: of each.
        channels: of each, RGB counting 3; 1 for grey.
        pixel_size_um: width of a pixel, None where the file tells nothing between 0.05 and 10.
        seconds_per_frame: from ImageJ's or OME's header, or None.
    """

    frames: int
    rows: int
    columns: int
    channels: int
    pixel_size_um: float | None = None
    seconds_per_frame: float | None = None


def tiff_frames(path: Path) -> TiffFrames:
    """The frames of a file from its headers alone.

    Raises:
        InputError: not a readable TIFF, truncated, frames of several sizes, or time and depth both.
    """
    with _opened(path) as tiff:
        return _described(tiff, _all_series(tiff, path), path)


def read_tiff_frames(path: Path, first: int = 0, count: int | None = None) -> tuple[np.ndarray, TiffFrames]:
    """Frames ``first`` to ``first + count`` (None: to the end).

    Returns:
        (frames, rows, columns[, channels]) as they are stored, native byte order, white-is-zero inverted, palettes
        expanded, CMYK made RGB, alpha dropped; and what the whole file holds.

    Raises:
        InputError: as :func:`tiff_frames`, or a compression that cannot be decoded.
    """
    with _opened(path) as tiff:
        series = _all_series(tiff, path)
        whole = _described(tiff, series, path)
        last = whole.frames if count is None else min(first + count, whole.frames)
        if len(series) > 1:
            parts = [_one_series(series[number], path, 0, 1) for number in range(first, last)]
            return np.concatenate(parts), whole
        return _one_series(series[0], path, first, last), whole


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    try:
        with tifffile.TiffFile(path) as tiff:
            check_xml(tiff.pages.first.description, path)
            _check_last_page(tiff, path)
            yield tiff
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(path, f"a TIFF file that cannot be read ({error})", _EXPECTED) from error


def _check_last_page(tiff: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file whose pages go on beyond its end: tifffile takes those that are there."""
    last, form = tiff.pages[len(tiff.pages) - 1], tiff.tiff
    if last is None:
        return
    with path.open("rb") as file:
        file.seek(last.offset)
        (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
        file.seek(last.offset + form.tagnosize + count * form.tagsize)
        (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    if following:
        raise InputError(path, f"a truncated TIFF: its page {len(tiff.pages) + 1} cannot be read", _EXPECTED)


def _all_series(tiff: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPageSeries]:
    """The first series, or all that are single frames like it; thumbnails are passed over."""
    first = tiff.series[0]
    alike = [series for series in tiff.series if series.shape == first.shape and series.dtype == first.dtype]
    larger = [series for series in tiff.series if series not in alike and np.prod(series.shape) >= np.prod(first.shape)]
    if larger or (len(alike) > 1 and _count(first, path) > 1):
        raise InputError(
            path, f"{len(tiff.series)} images of shapes {first.shape}, {tiff.series[1].shape} ...", _EXPECTED
        )
    for series in alike:
        check_complete(series.levels[0].pages, path)
    return alike


def _axes(series: tifffile.TiffPageSeries, path: Path) -> tuple[str | None, str | None]:
    """The axis along which frames lie and that of channels, None where there is none."""
    sizes = dict(zip(series.axes, series.shape, strict=True))
    long = [axis for axis, size in sizes.items() if size > 1 and axis not in "YXSC"]
    colour = [axis for axis in "SC" if sizes.get(axis, 1) > 1]
    if "Y" not in sizes or "X" not in sizes or len(long) > 1 or len(colour) > 1:
        raise InputError(path, f"a stack of shape {series.shape} (axes {series.axes})", _EXPECTED)
    return (long[0] if long else None), (colour[0] if colour else None)


def _count(series: tifffile.TiffPageSeries, path: Path) -> int:
    axis = _axes(series, path)[0]
    return int(series.shape[series.axes.index(axis)]) if axis else 1


def _described(tiff: tifffile.TiffFile, series: list[tifffile.TiffPageSeries], path: Path) -> TiffFrames:
    one, page = series[0], tiff.pages.first
    colour = _axes(one, path)[1]
    sizes = dict(zip(one.axes, one.shape, strict=True))
    channels = sizes[colour] if colour else 1
    if colour == "S":
        channels = 1 if channels == 2 else 3
    elif page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.bitspersample <= 8 and page.colormap is not None:
        channels = 3
    count = len(series) if len(series) > 1 else _count(one, path)
    return TiffFrames(count, sizes["Y"], sizes["X"], channels, pixel_size(tiff, page), _seconds(tiff, page))


def _one_series(series: tifffile.TiffPageSeries, path: Path, first: int, last: int) -> np.ndarray:
    """Frames of one series, (frames, rows, columns[, channels])."""
    frame_axis, colour = _axes(series, path)
    stored = _stored(series, path, frame_axis, first, last)
    kept = [axis for axis in (frame_axis, "Y", "X", colour) if axis]
    moved = np.moveaxis(stored, [series.axes.index(axis) for axis in kept], range(len(kept)))
    moved = moved.reshape(moved.shape[: len(kept)] if frame_axis else (1, *moved.shape[: len(kept)]))
    moved = moved.astype(moved.dtype.newbyteorder("="), copy=False)
    frames = [photometric(frame, series.keyframe, path, True) for frame in moved]
    return np.stack([frame if colour == "C" else _without_alpha(frame) for frame in frames])


def _stored(series: tifffile.TiffPageSeries, path: Path, frame_axis: str | None, first: int, last: int) -> np.ndarray:
    """Samples in the order of the series' axes, the axis of the frames cut to those that are wanted."""
    axis = series.axes.index(frame_axis) if frame_axis else None
    wanted = slice(first, last)
    page = series.keyframe
    lead = series.shape[: series.ndim - page.ndim]
    in_pages = int(np.prod(lead, dtype=np.int64)) == len(series.pages) and (axis is None or axis < len(lead))
    if series.dataoffset is None and in_pages:
        # Only the pages of these frames are decoded.
        index = np.arange(len(series.pages)).reshape(lead)
        index = index if axis is None else np.moveaxis(np.moveaxis(index, axis, 0)[wanted], 0, axis)
        pages = np.stack([_page(series.pages[int(number)], path) for number in index.ravel()])
        return pages.reshape(*index.shape, *page.shape)
    whole = series.asarray(level=0) if series.dataoffset is None else series.asarray(level=0, out="memmap")
    return np.array(whole if axis is None else np.moveaxis(np.moveaxis(whole, axis, 0)[wanted], 0, axis))


def _page(page: tifffile.TiffPage | tifffile.TiffFrame | None, path: Path) -> np.ndarray:
    """Samples of one page as they are stored."""
    if page is None:
        raise InputError(path, "a page that is not there", _EXPECTED)
    try:
        return page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        # LZW, JPEG and other codecs that tifffile leaves to a further package: OpenCV's libtiff has them.
        done, found = cv2.imreadmulti(str(path), start=int(page.index), count=1, flags=cv2.IMREAD_UNCHANGED)
        if not done or len(found) != 1:
            raise InputError(
                path, f"TIFF compression {page.compression!s} that cannot be decoded", _EXPECTED
            ) from error
        pixels = np.asarray(found[0])
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels


def _without_alpha(frame: np.ndarray) -> np.ndarray:
    """Grey with alpha to grey, RGB with alpha to RGB."""
    if frame.ndim == 2:
        return frame
    return frame[..., 0] if frame.shape[-1] <= 2 else frame[..., :3]


def _seconds(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """Seconds from frame to frame, as ImageJ (``finterval``) or OME (``TimeIncrement``) write it."""
    found: object = None
    unit = "s"
    if tiff.is_imagej:
        found = (tiff.imagej_metadata or {}).get("finterval")
        unit = str((tiff.imagej_metadata or {}).get("tunit", "sec"))
    elif tiff.is_ome:
        try:
            elements = SafeElementTree.fromstring(page.description.encode()).iter()
        except SafeElementTree.ParseError:
            return None
        pixels = next((element for element in elements if element.tag.endswith("Pixels")), None)
        if pixels is not None:
            found, unit = pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")
    try:
        seconds = float(str(found)) * _SECONDS.get(unit, 0.0)
    except ValueError:
        return None
    return seconds if seconds > 0 else None
