"""One reader for microscopy images of every kind: PNG, JPEG, BMP and TIFF to rows x columns x channels.

MONAI's PNG and TIFF readers give (x, y) order by default, fall back silently on one another and keep alpha channels and
palettes; here the order is always (rows, columns, channels) and what cannot be read is refused by name.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PilImage

from ..errors import InputError, listed
from .tiff import cmyk_to_rgb, read_tiff, tiff_shape

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPE, _PNG_PALETTE = 25, 3  # offset in the file, value
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EXPECTED = "a PNG, JPEG, BMP or TIFF image"


@dataclass(frozen=True)
class Image:
    """An image as all bundles see it.

    Attributes:
        pixels: (rows, columns, channels), 1 channel (grey) or 3 (RGB), uint8, uint16 or float32, native byte order.
        pixel_size_um: width of a pixel in um, None where the file does not tell. It is read from TIFF alone (OME-XML,
            ImageJ, Aperio, resolution tags) and only between 0.05 and 10 um believed: what PNG and JPEG say is the
            resolution of a screen or printer.
    """

    pixels: np.ndarray
    pixel_size_um: float | None = None


def read_image(path: str | Path) -> Image:
    """Read one image of any kind.

    The kind is told by the file's content, not by its name. Alpha is dropped, palettes are expanded, CMYK becomes RGB,
    1 bit becomes 0 and 255; 8 and 16 bits are kept. Grey stored as RGB (channels all equal) becomes one channel.
    Signed and 32-bit integers become uint16 where they fit without loss, else float32. An EXIF orientation is not
    applied: masks are drawn on the stored rows and columns. A TIFF must hold one image: of a pyramid the full
    resolution is read and thumbnails are passed over, but z, time and channel stacks are refused, never read by their
    first page. Three or four planes are colours only where the file says so (photometric RGB): grey ones are channels.

    Raises:
        InputError: the file is absent, no image, truncated, a stack, or holds NaN or infinite values.
    """
    pixels, size = read_stored(path)
    return Image(_normalised(pixels, Path(path)), size)


def read_stored(path: str | Path, expand_palette: bool = True) -> tuple[np.ndarray, float | None]:
    """Stored samples (rows, columns[, channels incl. alpha]) of any dtype, and the pixel size in um or None.

    For label images, whose 32-bit values :func:`read_image` would narrow and whose palette (``expand_palette=False``
    gives its indices) is only there to look at. Raises as :func:`read_image`.
    """
    path = Path(path)
    head = _head(path)
    if head.startswith(_TIFF):
        return read_tiff(path, expand_palette)
    data = path.read_bytes()
    if head.startswith(_PNG):
        return _read_png(data, path, expand_palette), None
    return _read_pillow(data, path), None


def image_shape(path: str | Path) -> tuple[int, int]:
    """(rows, columns) from the header alone; raises as :func:`read_image` for what is no image."""
    path = Path(path)
    head = _head(path)
    if head.startswith(_TIFF):
        return tiff_shape(path)
    try:
        with PilImage.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError) as error:
        raise InputError(path, f"an image that cannot be read ({_reason(error)})", _EXPECTED) from error


def list_images(path: str | Path) -> list[Path]:
    """The images of one folder (not of its subfolders) sorted by name, or the one image file given.

    Hidden files and endings other than ``IMAGE_SUFFIXES`` are left out. A link that leads nowhere is listed, so that it
    is named as a file that cannot be read.

    Raises:
        InputError: nothing is there, the file is of another kind, or the folder holds no image.
    """
    path = Path(path)
    endings = ", ".join(IMAGE_SUFFIXES)
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(path, f"a file ending in {path.suffix!r}", f"an image file ending in {endings}")
        return [path]
    if not path.is_dir():
        raise InputError(path, "no such file or folder", "an image or a folder of images")
    images = sorted(entry for entry in path.iterdir() if is_image_name(entry) and is_file_or_dead_link(entry))
    if not images:
        below = images_below(path)
        inside = f", but {len(below)} in its subfolders: {listed(below, 3)}" if below else ""
        where = " in the folder itself" if below else ""
        raise InputError(path, f"no image in this folder{inside}", f"files ending in {endings}{where}")
    return images


def images_below(folder: Path) -> list[str]:
    """The images in the subfolders of a folder, one level down, as ``sub/a.png``; hidden ones are left out."""
    # scandir knows what is a folder without a look at each of thousands of files.
    with os.scandir(folder) as entries:
        subfolders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    found: list[str] = []
    for name in subfolders:
        try:
            found += sorted(f"{name}/{entry.name}" for entry in (folder / name).iterdir() if is_image_name(entry))
        except OSError:
            continue  # not ours to look into
    return found


def warn_below(folder: Path) -> None:
    """One warning that counts and names the images in subfolders, for a caller who reads the folder alone."""
    below = images_below(folder)
    if below:
        images = "1 image in subfolders is" if len(below) == 1 else f"{len(below)} images in subfolders are"
        logger.warning("%s: %s not read: %s", folder, images, listed(below, 3))


def is_file_or_dead_link(path: Path) -> bool:
    """Whether it is a file, or a link that leads nowhere and was meant as one."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def is_image_name(path: Path) -> bool:
    """Whether the name is one of an image, hidden files left out."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _head(path: Path) -> bytes:
    if not path.is_file():
        missing = "a link that leads nowhere" if path.is_symlink() else "no such file"
        raise InputError(path, "a folder" if path.is_dir() else missing, _EXPECTED)
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise InputError(path, "an empty file", _EXPECTED)
    return head


def _read_png(data: bytes, path: Path, expand_palette: bool = True) -> np.ndarray:
    _check_png(data, path)
    if not expand_palette and data[_PNG_COLOUR_TYPE] == _PNG_PALETTE:
        with PilImage.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.array(image)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(path, f"a PNG that cannot be decoded ({error.err})", _EXPECTED) from error
    if pixels is None:
        raise InputError(path, "a PNG that cannot be decoded", _EXPECTED)
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
    return pixels


def _check_png(data: bytes, path: Path) -> None:
    """Walk the chunks and compare their checksums: OpenCV returns grey rows for what is missing, and no error."""
    position = len(_PNG)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        kind = data[position + 4 : position + 8]
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if kind[:1].isupper() and zlib.crc32(memoryview(data)[position + 4 : end - 4]) != stored:
            raise InputError(path, f"a damaged PNG (checksum of {kind.decode('latin-1')})", "an intact PNG")
        if kind == b"IEND":
            return
        position = end
    raise InputError(path, f"a truncated PNG of {len(data)} bytes", "an intact PNG")


def _read_pillow(data: bytes, path: Path) -> np.ndarray:
    """JPEG and BMP by Pillow, which refuses truncated files (OpenCV fills them up)."""
    try:
        with PilImage.open(io.BytesIO(data), formats=("JPEG", "BMP", "DIB")) as image:
            image.load()
            if image.mode == "CMYK":
                return cmyk_to_rgb(np.asarray(image))
            if image.mode in ("L", "RGB"):
                return np.array(image)
            return np.array(image.convert("L" if image.mode == "1" else "RGB"))
    except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError) as error:
        raise InputError(path, f"no image that can be read ({_reason(error)})", _EXPECTED) from error


def _reason(error: Exception) -> str:
    # Pillow's message for an unknown format holds the address of a buffer, which tells nobody anything.
    return "unknown format" if isinstance(error, PilImage.UnidentifiedImageError) else str(error)


def _normalised(pixels: np.ndarray, path: Path) -> np.ndarray:
    """(rows, columns, 1 or 3) of uint8, uint16 or float32."""
    if pixels.size == 0 or pixels.ndim not in (2, 3):
        raise InputError(path, f"an image of shape {pixels.shape}", "rows, columns and at most 4 channels")
    pixels = narrowed(pixels, path)
    if pixels.dtype.kind == "f" and not (finite := np.isfinite(pixels)).all():
        raise InputError(path, f"{int((~finite).sum())} values that are NaN or infinite", "finite values")
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels[..., None])
    channels = pixels.shape[2]
    if channels > 4:
        raise InputError(path, f"{channels} channels", "a grey or RGB image, with or without alpha")
    if channels <= 2 or _is_grey(pixels):
        return np.ascontiguousarray(pixels[..., :1])
    return np.ascontiguousarray(pixels[..., :3])


def _is_grey(pixels: np.ndarray) -> bool:
    first = pixels[..., 0]
    # The first row decides for nearly every colour image.
    return all(np.array_equal(first[:1], pixels[:1, :, c]) and np.array_equal(first, pixels[..., c]) for c in (1, 2))


def narrowed(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Samples of any type as uint8, uint16 or float32: false and true become 0 and 255, integers uint16 where they fit.

    Args:
        pixels: any shape, one sample at least.
        path: of the file, for the error.

    Returns:
        The same shape; floats need not be finite: too large ones become infinite.

    Raises:
        InputError: samples that are no numbers.
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind not in "iuf":
        raise InputError(path, f"samples of type {pixels.dtype}", "integers or floating point numbers")
    fits = pixels.dtype.kind in "iu" and pixels.min() >= 0 and pixels.max() <= np.iinfo(np.uint16).max
    with np.errstate(over="ignore"):
        return pixels.astype(np.uint16 if fits else np.float32)
