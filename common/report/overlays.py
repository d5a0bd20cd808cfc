"""Outlines of the objects over the image, to be judged by eye."""

from __future__ import annotations

import base64
from typing import NamedTuple

import cv2
import numpy as np

from ..images.boundaries import boundary_mask
from ..images.normalise import intensity_range, is_dark_field

Colour = tuple[int, int, int]


class Palette(NamedTuple):
    """Colours of the lines, red, green, blue from 0 to 255.

    Attributes:
        alone: outlines without truth.
        truth: red.
        prediction: blue.
        both: violet, where both outlines run through one pixel.
    """

    alone: Colour
    truth: Colour
    prediction: Colour
    both: Colour


ON_DARK = Palette((190, 255, 40), (255, 60, 50), (50, 140, 255), (205, 80, 255))
ON_BRIGHT = Palette((0, 150, 60), (230, 0, 20), (0, 85, 255), (145, 0, 200))
"""Green stands out from white background and from purple and black nuclei alike; dark blue vanishes on the latter."""

SMALL, LARGE = 512, 4096
"""Images whose longest side is below SMALL are doubled; longer sides than LARGE are reduced to it."""


def overlay(
    image: np.ndarray,
    predicted: np.ndarray,
    truth: np.ndarray | None = None,
    colour: Colour | None = None,
    longest: int | None = None,
) -> np.ndarray:
    """Image with the outline of every object, one pixel thin.

    Small images are doubled and the lines drawn at the doubled size, so that they hide half as much; huge ones are
    reduced. With truth: truth red, prediction blue, violet where both outlines run through one pixel.

    Args:
        image: (rows, columns), (rows, columns, 1) or (rows, columns, 3), any number type; its contrast is stretched
            between percentiles, for all channels alike; what is not finite counts as 0.
        predicted: (rows, columns) integers, 0 background.
        truth: the same, or None.
        colour: red, green, blue of the outlines without truth; by default yellow-green on dark and green on bright
            images.
        longest: reduces to this longest side at most; for thumbnails, in which the lines stay sharp only if they are
            drawn at that size.

    Returns:
        uint8 RGB, (rows, columns, 3) times the scale.

    Raises:
        ValueError: shapes that do not agree.
    """
    image = np.asarray(image)
    image = image[:, :, None] if image.ndim == 2 else image
    for labels in (predicted,) if truth is None else (predicted, truth):
        if labels.shape != image.shape[:2]:
            raise ValueError(f"image and labels do not agree: {image.shape[:2]} and {labels.shape}")
    if image.shape[2] not in (1, 3):
        raise ValueError(f"an image has 1 or 3 channels, not {image.shape[2]}")
    if image.dtype.kind == "f":
        image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    size = _output_size(image.shape[0], image.shape[1], longest)
    canvas = _stretched(_resized(image, size))
    palette = ON_DARK if is_dark_field(image) else ON_BRIGHT
    outline = boundary_mask(_resized_labels(predicted, size))
    if truth is None:
        canvas[outline] = colour or palette.alone
        return canvas
    true_outline = boundary_mask(_resized_labels(truth, size))
    canvas[outline] = palette.prediction
    canvas[true_outline] = palette.truth
    canvas[outline & true_outline] = palette.both
    return canvas


def _output_size(rows: int, columns: int, longest: int | None) -> tuple[int, int]:
    side, limit = max(rows, columns), longest or LARGE
    if side < SMALL and 2 * side <= limit:
        return 2 * rows, 2 * columns
    if side <= limit:
        return rows, columns
    return max(1, rows * limit // side), max(1, columns * limit // side)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(rows, columns, channels) at the output size: pixels repeated when doubled, averaged when reduced."""
    if image.shape[:2] == size:
        return image
    if size[0] > image.shape[0]:
        return image.repeat(2, axis=0).repeat(2, axis=1)
    kept = image if image.dtype in (np.uint8, np.uint16, np.float32) else image.astype(np.float32)
    reduced = cv2.resize(kept, size[::-1], interpolation=cv2.INTER_AREA)
    return reduced[:, :, None] if reduced.ndim == 2 else reduced


def _resized_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if labels.shape == size:
        return labels
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def _stretched(image: np.ndarray) -> np.ndarray:
    """uint8 RGB with 0.5 and 99.7 % percentiles at black and white."""
    low, high = intensity_range(image)
    if image.dtype in (np.uint8, np.uint16):
        # One entry per grey value: an exact table, several times faster than arithmetic on the pixels.
        values = np.arange(np.iinfo(image.dtype).max + 1, dtype=np.float32)
        scaled = _to_bytes(values, low, high)[image]
    else:
        scaled = _to_bytes(image.astype(np.float32), low, high)
    return np.repeat(scaled, 3, axis=2) if scaled.shape[2] == 1 else scaled


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) * (255 / (high - low)), 0, 255).astype(np.uint8)


def thumbnail(rgb: np.ndarray, side: int = 400, quality: int = 80) -> str:
    """JPEG data URI whose longest side is at most ``side`` pixels, for pages that stand alone.

    Best made of ``overlay(..., longest=400)``: lines in a picture that is reduced afterwards fade.

    Args:
        rgb: (rows, columns, 3) uint8.
        side: longest side in pixels.
        quality: of the JPEG, 0 to 100.
    """
    factor = side / max(rgb.shape[:2])
    if factor < 1:
        size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    # Colours at full resolution: the usual subsampling would blur lines of one pixel.
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data = _encoded(rgb, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _encoded(rgb: np.ndarray, ending: str, options: list[int]) -> bytes:
    """Encoded in memory, since OpenCV itself cannot write to every path."""
    done, data = cv2.imencode(ending, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise RuntimeError(f"a picture of {rgb.shape} could not be encoded as {ending}")
    return data.tobytes()
