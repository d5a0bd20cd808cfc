"""One row of numbers per object, all objects in one pass over the image.

Written by hand because ``skimage.measure.regionprops`` loops over the objects in Python; the definitions are its own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..images.modality import guess_modality
from ..tissue.masks import haematoxylin, slide_light
from .files import atomic
from .perimeter import perimeters
from .solidity import solidities

Columns = dict[str, np.ndarray]

LENGTHS = ("perimeter", "equivalent_diameter", "major_axis", "minor_axis")
"""Measurements in pixels that are repeated in micrometres where the pixel size is known."""


def measure(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    confidence: Mapping[int, float] | Sequence[float] | np.ndarray | None = None,
    pixel_size_um: float | None = None,
) -> Columns:
    """Position, size, shape and intensity of every object.

    Columns, in this order (length N, objects by ascending id):

    - ``object``: id.
    - ``centroid_x_px``, ``centroid_y_px``: mean column and row; whole numbers are pixel *centres*, as in scikit-image,
      so that the same point has 0.5 more in the corner-based coordinates of QuPath.
    - ``area_px``, ``perimeter_px`` (:func:`.perimeter.perimeters`), ``equivalent_diameter_px``.
    - ``major_axis_px``, ``minor_axis_px``, ``eccentricity``, ``orientation_deg``: of the ellipse with the same second
      moments; the angle between the row axis and the major axis, counter-clockwise, -90 to 90.
    - ``solidity``: pixels of the object over pixels of its convex hull (:func:`.solidity.solidities`).
    - ``area_um2``, ``perimeter_um``, ``equivalent_diameter_um``, ``major_axis_um``, ``minor_axis_um``: with a pixel
      size.
    - ``intensity_mean``, ``intensity_sum``; for several channels each with ``_red``, ``_green``, ``_blue`` (three
      channels) or ``_1``, ``_2``, ...; in the units of ``image``.
    - ``haematoxylin_mean_od``: for colour images of stained tissue alone (:func:`..images.modality.guess_modality`), mean
      optical density of haematoxylin, decadic as microscopes and QuPath count it (those of :mod:`..tissue.stain` are
      natural logarithms, 2.303 times as large); :func:`..tissue.masks.slide_light` estimates the empty slide.
    - ``touches_border``: 1 where the object reaches the outermost rows or columns.
    - ``confidence``, where given.

    Args:
        labels: (rows, columns) integers, 0 background, any positive ids.
        image: (rows, columns) or (rows, columns, channels), any number type.
        confidence: by id, or one number per object in the order of the ids.
        pixel_size_um: edge of a pixel in micrometres.

    Raises:
        ValueError: shapes that do not agree, or another number of confidences than of objects.

    >>> columns = measure(np.array([[0, 4, 4], [0, 4, 4]]), pixel_size_um=0.5)
    >>> columns["object"].tolist(), columns["area_px"].tolist(), columns["area_um2"].tolist()
    ([4], [4], [1.0])
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or (image is not None and np.shape(image)[:2] != labels.shape):
        found = None if image is None else np.shape(image)
        raise ValueError(f"labels (rows, columns) and image do not agree: {labels.shape} and {found}")
    pixels = np.flatnonzero(labels)
    ids, index = compact(labels.ravel()[pixels])
    rows, columns = np.divmod(pixels, labels.shape[1])
    table: Columns = {"object": ids}
    table.update(_shape(index, len(ids), rows, columns))
    table["solidity"] = solidities(pixels, columns, rows, index, len(ids))
    table["perimeter_px"] = perimeters(labels, pixels, index, len(ids))
    table = _ordered(table)
    if pixel_size_um:
        table["area_um2"] = table["area_px"] * pixel_size_um**2
        table.update({f"{name}_um": table[f"{name}_px"] * pixel_size_um for name in LENGTHS})
    if image is not None:
        table.update(_intensity(np.asarray(image), pixels, index, table["area_px"]))
        table.update(_haematoxylin(np.asarray(image), pixels, index, table["area_px"]))
    last_row, last_column = labels.shape[0] - 1, labels.shape[1] - 1
    at_border = (rows == 0) | (columns == 0) | (rows == last_row) | (columns == last_column)
    table["touches_border"] = (np.bincount(index[at_border], minlength=len(ids)) > 0).astype(np.int64)
    if confidence is not None:
        table["confidence"] = _confidences(confidence, ids)
    return table


def compact(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids that occur, ascending, and the position of each value among them; without sorting while ids are small."""
    largest = int(values.max()) if values.size else 0
    if largest > 16 * values.size + 1024:
        ids, index = np.unique(values, return_inverse=True)
        return ids.astype(np.int64), index
    present = np.zeros(largest + 1, dtype=bool)
    present[values] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[values]


def _shape(index: np.ndarray, count: int, rows: np.ndarray, columns: np.ndarray) -> Columns:
    """Measurements that follow from the moments up to order two."""

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, weights=values, minlength=count) / area

    area = np.bincount(index, minlength=count)
    x, y = mean(columns), mean(rows)
    dx, dy = columns - x[index], rows - y[index]
    xx, yy, xy = mean(dx * dx), mean(dy * dy), mean(dx * dy)
    half, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    large, small = half + root, np.clip(half - root, 0, None)
    ratio = np.divide(small, large, out=np.ones_like(large), where=large > 0)
    # Where both variances are equal, the sign of the covariance decides, as in scikit-image.
    angle = np.where(xx == yy, np.where(xy > 0, np.pi / 4, -np.pi / 4), 0.5 * np.arctan2(2 * xy, yy - xx))
    return {
        "centroid_x_px": x,
        "centroid_y_px": y,
        "area_px": area,
        "equivalent_diameter_px": np.sqrt(4 * area / np.pi),
        "major_axis_px": 4 * np.sqrt(large),
        "minor_axis_px": 4 * np.sqrt(small),
        "eccentricity": np.sqrt(1 - ratio),
        "orientation_deg": np.degrees(angle),
    }


def _ordered(table: Columns) -> Columns:
    """The perimeter beside the area."""
    names = list(table)
    names.insert(names.index("area_px") + 1, names.pop(names.index("perimeter_px")))
    return {name: table[name] for name in names}


def _intensity(image: np.ndarray, pixels: np.ndarray, index: np.ndarray, area: np.ndarray) -> Columns:
    channels = image.reshape(image.shape[0] * image.shape[1], -1)
    suffixes = {1: [""], 3: ["_red", "_green", "_blue"]}.get(
        channels.shape[1], [f"_{channel + 1}" for channel in range(channels.shape[1])]
    )
    sums = {
        suffix: np.bincount(index, weights=channels[pixels, channel], minlength=len(area))
        for channel, suffix in enumerate(suffixes)
    }
    means = {f"intensity_mean{suffix}": total / area for suffix, total in sums.items()}
    return {**means, **{f"intensity_sum{suffix}": total for suffix, total in sums.items()}}


def _haematoxylin(image: np.ndarray, pixels: np.ndarray, index: np.ndarray, area: np.ndarray) -> Columns:
    """Of stained tissue alone; a table of other images has no such column."""
    # Not by the dark field of `common.images.normalise`: densely stained tissue is darker than it is light.
    if image.ndim != 3 or image.shape[2] != 3 or not image.size or not guess_modality(image).startswith("purple"):
        return {}
    amount = haematoxylin(image.reshape(-1, 3)[pixels][None], slide_light(image))[0]
    return {"haematoxylin_mean_od": np.bincount(index, weights=amount, minlength=len(area)) / (area * np.log(10))}


def _confidences(confidence: Mapping[int, float] | Sequence[float] | np.ndarray, ids: np.ndarray) -> np.ndarray:
    if isinstance(confidence, Mapping):
        return np.array([confidence.get(int(identity), np.nan) for identity in ids], dtype=np.float64)
    values = np.asarray(confidence, dtype=np.float64)
    if values.shape != ids.shape:
        raise ValueError(f"{len(ids)} objects, but confidences of shape {values.shape}")
    return values


def write_measurements(path: str | Path, tables: Mapping[str, Columns]) -> None:
    """Writes the objects of all images into one CSV, whole or not at all.

    Args:
        path: usually ``measurements.csv``.
        tables: columns of each image by its name, which becomes the first column, ``image``. The header holds every
            column that occurs in any image; what an image lacks stays empty, as do values that are nan.

    Raises:
        InputError: the folder cannot be written.
    """
    names = list(dict.fromkeys(name for table in tables.values() for name in table)) or ["object"]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", *names])
        for image, table in tables.items():
            size = len(table["object"])
            columns = [_texts(table[name]) if name in table else [""] * size for name in names]
            writer.writerows(zip([image] * size, *columns, strict=True))


def _texts(column: np.ndarray) -> list[str]:
    if column.dtype.kind != "f":
        return [str(value) for value in column.tolist()]
    return [f"{value:.7g}" if value == value else "" for value in column.tolist()]
