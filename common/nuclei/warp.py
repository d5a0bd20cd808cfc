"""Random crops by one warp: scale, rotation, flips and position at once, with the size of the objects under control.

MONAI's affine transforms interpolate image and label one after the other through torch's sampling grid, several times
slower on a CPU than OpenCV's, and know neither the objects' size nor several sources in one crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..tissue.sampling import Sites


@dataclass(frozen=True)
class Source:
    """One field to draw crops from, all maps (rows, columns[, channels]).

    Attributes:
        pixels: float16, normalised, 1 or 3 channels.
        instances: int32.
        distance: uint8, normalised distance times 255.
        diameter: of a typical object, in pixels; NaN without objects.
        modality: imaging modality.
        tiles: number of images that the field was put together from.
        scale: what brings the field to the pixel size of the training; NaN goes by the objects' diameter.
        sites: where crops are drawn; None draws them near objects.
        known: (rows, columns) bool, where the truth is complete; None is everywhere.
    """

    pixels: np.ndarray
    instances: np.ndarray
    distance: np.ndarray
    diameter: float
    modality: str
    tiles: int = 1
    scale: float = float("nan")
    sites: Sites | None = None
    known: np.ndarray | None = None


@dataclass(frozen=True)
class Crop:
    """A crop: pixels (rows, columns, 3) float32, instances int32, distance float32, inside (in the field, known) bool."""

    pixels: np.ndarray
    instances: np.ndarray
    distance: np.ndarray
    inside: np.ndarray


@dataclass(frozen=True)
class WarpSettings:
    """How crops are drawn.

    Attributes:
        size: rows and columns of the crop.
        diameter: what the diameter of the source's typical object becomes, in pixels of the crop, unless the source
            brings its scale.
        smallest_diameter: sources that bring their scale but whose typical object would be smaller than this go by the
            diameter too.
        spread: standard deviation of the natural logarithm of a further random scale.
        free_probability: share of crops at a free scale instead: the source's own times ``free_range``.
        free_range: lowest and highest free scale, drawn uniformly in its logarithm.
        rotation: largest angle in degrees, on top of quarter turns and flips.
        on_object_probability: share of crops centred near an object, or at one of the source's sites; the others lie
            anywhere.
    """

    size: int = 256
    diameter: float = 32.0
    smallest_diameter: float = 0.0
    spread: float = 0.25
    free_probability: float = 0.25
    free_range: tuple[float, float] = (0.5, 2.0)
    rotation: float = 15.0
    on_object_probability: float = 0.8


def draw_crop(source: Source, settings: WarpSettings, rng: np.random.RandomState) -> Crop:
    """One random crop of a field. Beyond the field's border the image is mirrored and ``inside`` is false."""
    scale = _draw_scale(source, settings, rng)
    matrix = _crop_to_source(source, settings, scale, rng)
    return _warp(source, matrix, settings.size, scale)


def _draw_scale(source: Source, settings: WarpSettings, rng: np.random.RandomState) -> float:
    by_scale = source.scale * source.diameter >= settings.smallest_diameter or np.isnan(source.diameter)
    known = source.scale if by_scale and np.isfinite(source.scale) else settings.diameter / source.diameter
    if not np.isfinite(known) or rng.rand() < settings.free_probability:
        low, high = np.log(settings.free_range)
        return float(np.exp(rng.uniform(low, high)))
    scale = known * np.exp(settings.spread * rng.randn())
    return float(np.clip(scale, 0.2, 5.0))


def _crop_to_source(source: Source, settings: WarpSettings, scale: float, rng: np.random.RandomState) -> np.ndarray:
    """(2, 3) affine matrix that takes (x, y, 1) of the crop to the source."""
    angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation)) + rng.randint(4) * np.pi / 2
    flip = 1.0 if rng.rand() < 0.5 else -1.0
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([flip, 1.0]) / scale
    rows, columns = source.instances.shape
    half = settings.size / 2 / scale
    # Stay inside where the field is large enough, else centre it.
    low = np.array([min(half, columns / 2), min(half, rows / 2)]) - 0.5  # pixel 0 begins half a pixel before its centre
    high = np.array([max(columns - half, columns / 2), max(rows - half, rows / 2)]) - 0.5
    centre = rng.uniform(low, high)
    if rng.rand() < settings.on_object_probability:
        point = _site(source.sites, rng) if source.sites else _random_object_pixel(source.instances, rng)
        if point is not None:
            centre = np.clip(point + rng.uniform(-half, half, 2) * 0.7, low, high)
    middle = (settings.size - 1) / 2
    return np.hstack([linear, (centre - linear @ np.array([middle, middle]))[:, None]])


def _site(sites: Sites, rng: np.random.RandomState) -> np.ndarray:
    site = sites.draw(rng)
    return np.array([site.column, site.row], float)


def _random_object_pixel(instances: np.ndarray, rng: np.random.RandomState, tries: int = 200) -> np.ndarray | None:
    rows = rng.randint(instances.shape[0], size=tries)
    columns = rng.randint(instances.shape[1], size=tries)
    hits = np.flatnonzero(instances[rows, columns])
    return np.array([columns[hits[0]], rows[hits[0]]], float) if hits.size else None


def _warp(source: Source, matrix: np.ndarray, size: int, scale: float) -> Crop:
    matrix, box = _bounding_box(matrix, size, source.instances.shape)
    pixels = source.pixels[box].astype(np.float32)
    if scale < 0.7:  # what the smaller grid cannot show must go before it is sampled
        sigma = 0.4 * (1 / scale - 1)
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32).reshape(pixels.shape)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shape = (size, size)
    pixels = np.asarray(cv2.warpAffine(pixels, matrix, shape, flags=flags, borderMode=cv2.BORDER_REFLECT_101))
    distance = cv2.warpAffine(source.distance[box], matrix, shape, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    # Nearest neighbour by hand: OpenCV's warps do not take 32-bit integers.
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    columns = np.rint(matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]).astype(np.int32)
    rows = np.rint(matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]).astype(np.int32)
    part = source.instances[box]
    inside = (rows >= 0) & (rows < part.shape[0]) & (columns >= 0) & (columns < part.shape[1])
    instances = np.zeros(shape, np.int32)
    instances[inside] = part[rows[inside], columns[inside]]
    if source.known is not None:
        inside[inside] = source.known[box][rows[inside], columns[inside]]
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return Crop(pixels, instances, distance.astype(np.float32) / 255.0, inside)


def _bounding_box(
    matrix: np.ndarray, size: int, shape: tuple[int, ...], margin: int = 16
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The part of the source that a crop touches, and the matrix moved to it. Large fields need not be converted whole."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], float)
    low = np.maximum(np.floor(corners.min(1)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(corners.max(1)).astype(int) + margin, [shape[1], shape[0]])
    moved = matrix.copy()
    moved[:, 2] -= low
    return moved, (slice(low[1], high[1]), slice(low[0], high[0]))


def paste_mosaic(crops: list[Crop], rng: np.random.RandomState) -> Crop:
    """Four crops to one: each fills a quadrant around a random point (Bochkovskiy et al., YOLOv4, 2020, for instances)."""
    size = crops[0].instances.shape[0]
    row, column = rng.randint(size // 4, 3 * size // 4 + 1, 2)
    quadrants = [
        (slice(None, row), slice(None, column)),
        (slice(None, row), slice(column, None)),
        (slice(row, None), slice(None, column)),
        (slice(row, None), slice(column, None)),
    ]
    pixels, distance = crops[0].pixels.copy(), crops[0].distance.copy()
    instances, inside = crops[0].instances.copy(), crops[0].inside.copy()
    offset = int(instances.max())
    for crop, place in zip(crops[1:], quadrants[1:], strict=True):
        pixels[place], distance[place], inside[place] = crop.pixels[place], crop.distance[place], crop.inside[place]
        part = crop.instances[place]
        instances[place] = np.where(part > 0, part + offset, 0)
        offset += int(crop.instances.max())
    return Crop(pixels, instances, distance, inside)
