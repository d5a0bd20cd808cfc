"""COCO object detection files: images and instance masks as polygons or run lengths.

Decoded by hand: pycocotools needs a compiler on many machines, and the two encodings take thirty lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, Problem
from .datalist import json_of, only_json, read_json
from .patients import patient_groups
from .polygons import polygon_pixels

_EXPECTED = 'a COCO file with the lists "images" and "annotations"'


def matches(path: Path) -> bool:
    """Whether this is a COCO JSON file, or a folder with exactly one JSON file which is one."""
    return _is_coco(json_of(path))


def records(path: Path, need_labels: bool = True, problems: list[Problem] | None = None) -> list[dict[str, Any]]:
    """One record per image, sorted by name; ``label`` is the JSON file, ``coco_image_id`` tells the image in it.

    Images lie where ``file_name`` says, relative to the JSON file or its neighbour folder ``images/``. An image without
    annotations is one without objects. ``group`` is the patient where ``patients.csv`` beside the file or a TCGA barcode
    tells it (:func:`.patients.patient_groups`), else the image.

    Raises:
        InputError: no COCO file, an image that is absent, or one that ``patients.csv`` lacks (with ``need_labels``; these
            are noted in ``problems`` and left out, if given).
    """
    file = only_json(path)
    assert file is not None, "records() is for what matches()"
    images = _load(str(file.absolute()), file.stat().st_mtime_ns)[0]
    paths = {number: _image_path(file, entry) for number, entry in images.items()}
    names = sorted({image.stem for image in paths.values()})
    groups = patient_groups(file.absolute().parent, names, problems, required=need_labels)
    found = [
        {
            "name": image.stem,
            "image": str(image),
            "label": str(file),
            "coco_image_id": number,
            "group": groups[image.stem],
        }
        for number, image in paths.items()
        if image.stem in groups
    ]
    return sorted(found, key=lambda record: str(record["name"]))


def read_objects(path: str | Path, image_id: int | str, shape: tuple[int, int]) -> list[np.ndarray]:
    """Flat pixel indices (row * columns + column) of each object of one image; crowds (``iscrowd``) are left out.

    Raises:
        InputError: no such image, run lengths of another size than ``shape``, or a segmentation that is neither.
    """
    path = Path(path)
    images, annotations = _load(str(path.absolute()), path.stat().st_mtime_ns)
    if image_id not in images:
        raise InputError(path, f"no image of id {image_id!r}", f"one of {len(images)} ids in its list of images")
    return [
        _pixels(annotation.get("segmentation"), shape, path, annotation.get("id"))
        for annotation in annotations.get(image_id, [])
        if not annotation.get("iscrowd")
    ]


def decode_counts(counts: str) -> list[int]:
    """Run lengths of COCO's compressed string: 5 bits per character, later runs as changes from two back."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts.encode("ascii"):
        code = character - 48
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs


def _is_coco(content: Any) -> bool:
    lists = ("images", "annotations")
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in lists)


# One file holds the annotations of all images; parsing it once per image would take the square of the time.
@lru_cache(maxsize=2)
def _load(path: str, changed: int) -> tuple[dict[Any, dict[str, Any]], dict[Any, list[dict[str, Any]]]]:
    content = read_json(Path(path))
    if not _is_coco(content):
        raise InputError(path, "JSON of another kind", _EXPECTED)
    try:
        images = {entry["id"]: entry for entry in content["images"]}
        annotations = defaultdict(list)
        for entry in content["annotations"]:
            annotations[entry["image_id"]].append(entry)
    except (KeyError, TypeError) as error:
        raise InputError(path, "an entry without its id or image_id", _EXPECTED) from error
    return images, dict(annotations)


def _image_path(file: Path, entry: dict[str, Any]) -> Path:
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise InputError(file, f"image {entry.get('id')!r} without file_name", _EXPECTED)
    candidates = (file.parent / name, file.parent / "images" / name)
    image = next((path for path in candidates if path.is_file()), None)
    if image is None:
        raise InputError(candidates[0], "no such file", f"the image that {file.name} lists, here or in images/")
    return image.absolute()


def _pixels(segmentation: Any, shape: tuple[int, int], path: Path, number: Any) -> np.ndarray:
    if isinstance(segmentation, dict):
        return _run_pixels(segmentation, shape, path, number)
    if isinstance(segmentation, list):
        try:
            rings = [np.asarray(ring, dtype=np.float64).reshape(-1, 2) for ring in segmentation]
        except (ValueError, TypeError) as error:
            raise InputError(path, f"a polygon that is no list of x y in annotation {number}", _EXPECTED) from error
        if not all(np.isfinite(ring).all() for ring in rings):
            raise InputError(path, f"a vertex that is not finite in annotation {number}", _EXPECTED)
        parts = [polygon_pixels(ring, shape) for ring in rings]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)
    raise InputError(path, f"annotation {number} without segmentation", "polygons or run lengths")


def _run_pixels(segmentation: dict[str, Any], shape: tuple[int, int], path: Path, number: Any) -> np.ndarray:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or size != list(shape):
        raise InputError(path, f"run lengths of size {size} in annotation {number}", f"the image's size {list(shape)}")
    try:
        runs = decode_counts(counts) if isinstance(counts, str) else [int(run) for run in counts or []]
    except (ValueError, TypeError) as error:
        raise InputError(path, f"run lengths that cannot be decoded in annotation {number}", _EXPECTED) from error
    if min(runs, default=0) < 0 or sum(runs) != shape[0] * shape[1]:
        raise InputError(
            path, f"run lengths of {sum(runs)} pixels in annotation {number}", f"{shape[0] * shape[1]} pixels"
        )
    return _column_major(runs, shape)


def _column_major(runs: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    # COCO counts down the columns, background first.
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape, order="F")
    return np.flatnonzero(mask)
