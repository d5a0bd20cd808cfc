"""Truth of every kind (label image, binary masks, ImageScope outlines, COCO) to one instance map."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import InputError
from ..images.reading import image_shape, read_stored
from . import coco, imagescope
from .polygons import paint, polygon_pixels


def read_instances(record: dict[str, Any], shape: tuple[int, int] | None = None) -> np.ndarray:
    """The instance map of one record.

    ``record["label"]`` is

    - a label image of integers, 0 background. One with a single value besides 0 (0/255, 0/1) is a binary mask: its
      4-connected components become the objects. With ``record["label_kind"]`` "binary" it must be such a mask, whose
      edges may be soft (more than half of white is object); ids are then refused, as they would run together;
    - a list of binary masks, one object each; empty masks are dropped, an empty list is an image without objects;
    - an ImageScope ``.xml`` file; outlines are clipped to the frame, and a warning counts those of which nothing is left;
    - a COCO ``.json`` file, with ``record["coco_image_id"]``.

    A pixel that several objects claim goes to the smallest of them, with one warning per image. Truth is otherwise kept
    as it is: nothing is filled, split or removed.

    Args:
        record: with ``image`` and ``label``, as :func:`.records.load_datalist` gives it.
        shape: (rows, columns) of the image, if it is at hand already; else read from its header.

    Returns:
        int32 (rows, columns), 0 background, ids 1 to N in the order of the file without gaps.

    Raises:
        InputError: no label, a label of another size than the image, a colour image as mask, ids where a binary mask is
            expected, or an unreadable file.
    """
    label = record.get("label")
    if label is None:
        raise InputError(record.get("image", "record"), "no label for this image", "a mask or an annotation file")
    rows, columns = image_shape(record["image"]) if shape is None else shape
    shape = (int(rows), int(columns))
    if isinstance(label, (list, tuple)):
        return _compose([_mask_pixels(Path(mask), shape) for mask in label], shape, record)
    path = Path(label)
    if path.suffix.lower() == ".xml":
        outlines = [polygon_pixels(polygon, shape) for polygon in imagescope.read_polygons(path)]
        _warn_lost(path, outlines, shape)
        return _compose(outlines, shape, record)
    if path.suffix.lower() == ".json":
        return _compose(coco.read_objects(path, record["coco_image_id"], shape), shape, record)
    values = read_label_values(path, shape)
    return _components(_binary(values, path)) if record.get("label_kind") == "binary" else _instances(values)


def read_label_values(path: str | Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A label image as it is stored: integers (rows, columns), palettes as indices, equal channels as one.

    Raises:
        InputError: a colour image, values that are no whole numbers from 0, or another size than ``shape``.
    """
    path = Path(path)
    values, _ = read_stored(path, expand_palette=False)
    if values.ndim == 3:
        # An alpha channel says nothing about labels.
        values = values[..., : {2: 1, 4: 3}.get(values.shape[2], values.shape[2])]
        if (values != values[..., :1]).any():
            raise InputError(path, "a colour image as mask", "one channel of instance ids or a binary mask")
        values = values[..., 0]
    if shape is not None and values.shape != tuple(shape):
        raise InputError(
            path,
            f"a mask of {values.shape[0]} rows x {values.shape[1]} columns",
            f"the image's size of {shape[0]} rows x {shape[1]} columns",
        )
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise InputError(path, "a mask with fractions", "whole numbers")
        values = values.astype(np.int64)
    if values.dtype.kind == "i" and values.min(initial=0) < 0:
        raise InputError(path, f"a mask with the negative value {values.min()}", "ids from 0")
    return values


def compact_ids(labels: np.ndarray) -> np.ndarray:
    """int32 map with ids 1 to N in the order of the old ones; 0 stays 0, whether or not it occurs."""
    if labels.size and labels.max() < 1 << 20:
        # A look-up table costs a tenth of the sort in np.unique.
        present = np.bincount(labels.ravel()) > 0
        present[0] = False
        return np.where(present, np.cumsum(present), 0).astype(np.int32)[labels]
    values, inverse = np.unique(labels, return_inverse=True)
    first = 0 if values.size and values[0] == 0 else 1
    return (inverse + first).astype(np.int32).reshape(labels.shape)


def _instances(values: np.ndarray) -> np.ndarray:
    top = values.max(initial=0)
    if top > 0 and not ((values != 0) & (values != top)).any():
        return _components(values != 0)
    return compact_ids(values)


def _components(mask: np.ndarray) -> np.ndarray:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]


def _binary(values: np.ndarray, path: Path) -> np.ndarray:
    """Boolean mask of a binary one, also where drawing or compression has softened its edges."""
    top = values.max(initial=0)
    between = (values != 0) & (values != top)
    if between.any():
        # Soft edges: 8 bits and nearly all pixels close to black or white. Ids are spread over their range.
        middle = np.count_nonzero((values > 0.1 * top) & (values < 0.9 * top))
        if values.dtype != np.uint8 or top < 128 or middle > np.count_nonzero(values >= 0.9 * top):
            raise InputError(path, f"a mask of {len(np.unique(values))} values", "a binary mask (0/1 or 0/255)")
    return values > top / 2


def _warn_lost(path: Path, objects: list[np.ndarray], shape: tuple[int, int]) -> None:
    lost = sum(pixels.size == 0 for pixels in objects)
    if lost:
        warnings.warn(
            f"{path}: {lost} of {len(objects)} outlines cover no pixel of the image of {shape[0]} rows x {shape[1]} "
            "columns (outside the frame, or too small) and are left out",
            stacklevel=3,
        )


def _mask_pixels(path: Path, shape: tuple[int, int]) -> np.ndarray:
    values = read_label_values(path, shape)
    if values.dtype != np.uint8:
        return np.flatnonzero(values)
    # One nucleus in a large frame: the search for its box is vectorised, that for its pixels is not.
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(values))
    rows, columns = np.nonzero(values[top : top + height, left : left + width])
    return (rows + top) * shape[1] + columns + left


def _compose(objects: list[np.ndarray], shape: tuple[int, int], record: dict[str, Any]) -> np.ndarray:
    painted = paint(objects, shape)
    if painted.overlap:
        warnings.warn(
            f"{record['image']}: {painted.overlap} pixels belong to several objects; each went to the smallest",
            stacklevel=3,
        )
    return compact_ids(painted.instances)
