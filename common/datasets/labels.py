"""Truth of every kind (label image, binary masks, ImageScope outlines, COCO) to one instance map."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage.measure import label as label_areas

from ..errors import InputError
from ..images.reading import image_shape, read_stored
from . import coco, imagescope
from .polygons import paint, polygon_pixels

_WHITE = 128  # a top value below is an id or a class
# Of the pixels between black and white. Measured: up to 0.001 on blurred, resized and JPEG masks of real nuclei, from 0.28
# on where their ids, as 8 bits, have as many pixels near the top.
_MOST_FLAT = 0.01


def read_instances(record: dict[str, Any], shape: tuple[int, int] | None = None) -> np.ndarray:
    """The instance map of one record.

    ``record["label"]`` is

    - a label image of integers, 0 background. One with a single value besides 0 (0/255, 0/1), or with soft edges
      between 0 and white (:func:`soft_mask`), is a binary mask: its 4-connected components become the objects. Other
      values are instance ids, unless they lie in so many separate parts that they cannot be (a class map, edges too
      soft). With ``record["label_kind"]`` "binary" ids are refused too, as they would run together;
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
        InputError: no label, a label of another size than the image, a colour image as mask, values that are neither ids
            nor a binary mask, ids where a binary mask is expected, or an unreadable file.
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
    return _components(_binary(values, path)) if record.get("label_kind") == "binary" else _instances(values, path)


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


def soft_mask(values: np.ndarray) -> np.ndarray | None:
    """The binary mask that 8-bit grey values are, sharp or with the soft edges of drawing, resizing or JPEG.

    Nearly all pixels must be close to 0 or to the top value, and the values between must lie scattered as on an edge:
    ids and classes form areas, here squares of 3 x 3 pixels of one value, which edges do not.

    Args:
        values: (..., rows, columns), 0 background.

    Returns:
        bool, the same shape, True above half of the top value; None where the values are no such mask.
    """
    top = values.max(initial=0)
    if values.dtype != np.uint8 or top < _WHITE:
        return None
    middle = np.count_nonzero((values > 0.1 * top) & (values < 0.9 * top))
    if middle > np.count_nonzero(values >= 0.9 * top):
        return None
    between = (values != 0) & (values != top)
    flat = between & _is_flat(values)
    if np.count_nonzero(flat) > _MOST_FLAT * np.count_nonzero(between):
        return None
    return values > top / 2


def _is_flat(values: np.ndarray) -> np.ndarray:
    """Where a pixel and its eight neighbours are of one value."""
    rows = np.ascontiguousarray(values.reshape(-1, values.shape[-1]))
    square = np.ones((3, 3), np.uint8)
    return (cv2.erode(rows, square) == cv2.dilate(rows, square)).reshape(values.shape)


def _instances(values: np.ndarray, path: Path) -> np.ndarray:
    top = values.max(initial=0)
    if top > 0 and not ((values != 0) & (values != top)).any():
        return _components(values != 0)
    mask = soft_mask(values)
    if mask is not None:
        return _components(mask)
    ids = compact_ids(values)
    _check_ids(ids, values, path)
    return ids


def _check_ids(ids: np.ndarray, values: np.ndarray, path: Path) -> None:
    """Refuse values that stand for many objects each: classes, or grey values of soft edges.

    Crumbs below a tenth of an id's largest part do not count, and all objects may be cut in two.
    """
    parts = label_areas(ids, background=0, connectivity=2)
    areas = np.bincount(parts.ravel())
    owner = np.zeros(areas.size, np.int64)
    owner[parts] = ids
    count = int(ids.max(initial=0))
    largest = np.zeros(count + 1)
    np.maximum.at(largest, owner[1:], areas[1:])
    pieces = np.bincount(owner[1:][areas[1:] >= 0.1 * largest[owner[1:]]], minlength=count + 1)
    if pieces.sum() >= 2 * count + 4:
        worst = int(pieces.argmax())
        raise InputError(
            path,
            f"a mask of {count} values in {pieces.sum()} separate parts, {pieces[worst]} of them of the value "
            f"{values[ids == worst][0]}",
            "instance ids (a value of its own for each object) or a binary mask of 0 and 255",
        )


def _components(mask: np.ndarray) -> np.ndarray:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]


def _binary(values: np.ndarray, path: Path) -> np.ndarray:
    """Boolean mask of a binary one, also where drawing or compression has softened its edges."""
    top = values.max(initial=0)
    if not ((values != 0) & (values != top)).any():
        return values != 0
    mask = soft_mask(values)
    if mask is None:
        raise InputError(path, f"a mask of {len(np.unique(values))} values", "a binary mask (0/1 or 0/255)")
    return mask


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
