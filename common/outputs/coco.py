"""Objects as COCO instance annotations (cocodataset.org, "Data format")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import write_text


class CocoImage(NamedTuple):
    """An image and its objects.

    Attributes:
        file_name: as it shall stand in the file.
        rows: height in pixels.
        columns: width in pixels.
        polygons: (id, rings) per object, rings (vertices, 2) x y from the top left corner, one per part, without holes.
        scores: confidence of each object, or None.
    """

    file_name: str
    rows: int
    columns: int
    polygons: Sequence[tuple[int, Sequence[np.ndarray]]]
    scores: Sequence[float] | None = None


def coco_annotations(images: Sequence[CocoImage], category: str = "nucleus") -> dict[str, Any]:
    """The COCO dictionary: images and annotations numbered from 1, one category.

    ``area`` is that of the outlines, in pixels; ``bbox`` is [x, y, width, height].

    >>> square = np.array([[1, 0], [3, 0], [3, 2], [1, 2]])
    >>> [found] = coco_annotations([CocoImage("a.png", 4, 4, [(1, [square])])])["annotations"]
    >>> found["bbox"], found["area"], found["segmentation"]
    ([1.0, 0.0, 2.0, 2.0], 4.0, [[1.0, 0.0, 3.0, 0.0, 3.0, 2.0, 1.0, 2.0]])
    """
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        scores = image.scores if image.scores is not None else [None] * len(image.polygons)
        for (_, rings), score in zip(image.polygons, scores, strict=True):
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0, **_outline(rings)}
            annotations.append(entry if score is None else {**entry, "score": round(float(score), 4)})
    return {
        "info": {"description": f"{category} instances"},
        "images": [
            {"id": number, "file_name": image.file_name, "height": image.rows, "width": image.columns}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": category, "supercategory": category}],
    }


def _outline(rings: Sequence[np.ndarray]) -> dict[str, Any]:
    parts = [np.round(np.asarray(ring, dtype=np.float64), 2) for ring in rings]
    low, high = np.concatenate(parts).min(axis=0), np.concatenate(parts).max(axis=0)
    return {
        "segmentation": [part.ravel().tolist() for part in parts],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float(sum(_area(part) for part in parts)),
    }


def _area(ring: np.ndarray) -> float:
    """Shoelace formula; the orientation does not matter."""
    x, y = ring[:, 0], ring[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def write_coco(path: str | Path, images: Sequence[CocoImage], category: str = "nucleus") -> None:
    """Writes :func:`coco_annotations`, whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(path, json.dumps(coco_annotations(images, category), separators=(",", ":"), allow_nan=False))
