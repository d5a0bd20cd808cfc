"""The pixel size of an image, and the factor that brings it to the one that a network was trained at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import InputError, listed
from .tiff import plausible_size

logger = logging.getLogger(__name__)

Origin = Literal["file", "given", "assumed"]
"""Who told the pixel size: the image file, the user, or nobody."""

_EXPECTED = "um per pixel from 0.05 to 10 (0.25 at 40x, 0.5 at 20x)"


class PixelSize(NamedTuple):
    """Width of a pixel.

    Attributes:
        mpp: um per pixel.
        origin: who told it.
    """

    mpp: float
    origin: Origin


def resolve_mpp(
    image_pixel_size_um: float | None, given_mpp: float | None = None, assumed_mpp: float = 0.25
) -> PixelSize:
    """The pixel size to work with: what the user gives, else what the file tells, else the assumption.

    An assumption is logged as a warning, once per process and assumed value. A size that no microscope has counts as
    unknown in a file (None and NaN do, too) and as a mistake where the user gives it.

    Args:
        image_pixel_size_um: of the file, see :class:`.reading.Image`.
        given_mpp: the user's, in um per pixel, or None.
        assumed_mpp: that of the training images.

    Raises:
        InputError: ``given_mpp`` is no number from 0.05 to 10.

    Example:
        >>> resolve_mpp(0.5, None, 0.25)
        PixelSize(mpp=0.5, origin='file')
    """
    if given_mpp not in (None, ""):
        return PixelSize(_given(given_mpp), "given")
    size = plausible_size(image_pixel_size_um)
    if size is not None:
        return PixelSize(float(size), "file")
    _warn_assumed(float(assumed_mpp))
    return PixelSize(float(assumed_mpp), "assumed")


def _given(value: object) -> float:
    try:
        size = plausible_size(float(str(value)))
    except ValueError:
        size = None
    if size is None:
        raise InputError("mpp", repr(value), _EXPECTED)
    return size


@cache
def _warn_assumed(mpp: float) -> None:
    logger.warning(
        "the pixel size of at least one image is unknown: %g um per pixel (%.3gx) is assumed; --mpp can tell it",
        mpp,
        10 / mpp,
    )


def assumption(names: Sequence[str], images: int, what: str, assumed: str, option: str) -> list[str]:
    """What a report has to say of images that do not tell their size: one line, or none.

    Args:
        names: of these images; they are listed where others do tell it.
        images: that there are in all.
        what: they do not tell.
        assumed: instead.
        option: that tells it.

    >>> assumption(["a", "b"], 3, "pixel size", "0.25 um", "--mpp")
    ['2 of 3 images (a, b) do not tell their pixel size: 0.25 um is assumed (--mpp can tell it)']
    """
    if not names:
        return []
    which = f" ({listed(names, 3)})" if len(names) < images else ""
    told = "does not tell its" if images == 1 else "do not tell their"
    count = "the image" if images == 1 else f"{len(names)} of {images} images"
    return [f"{count}{which} {told} {what}: {assumed} is assumed ({option} can tell it)"]


def scale_to(
    mpp: float, target_mpp: float, path: str | Path = "image", tolerance: float = 0.05, most: float = 4.0
) -> float:
    """Factor by which an image is to be enlarged so that its pixels have the target size.

    Args:
        mpp: um per pixel of the image.
        target_mpp: um per pixel that the network was trained at.
        path: of the image, for the error.
        tolerance: relative difference that is not worth a resampling (scanners at 40x have 0.243 to 0.253 um per pixel,
            and training varies the size by more); the factor is then exactly 1.
        most: largest enlargement. Beyond, the objects are too coarse to be seen, and memory grows with its square.

    Raises:
        InputError: the image is coarser than ``most`` times the target.
    """
    scale = mpp / target_mpp
    if abs(scale - 1) <= tolerance:
        return 1.0
    if scale > most:
        raise InputError(path, f"{mpp:g} um per pixel", f"at most {most * target_mpp:g}; if the file errs, --mpp helps")
    return scale
