"""Run-length encoding and submission table of the 2018 Data Science Bowl.

Pixels are numbered from 1, top to bottom, then left to right; a mask is "start length start length ...".
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from .files import atomic


def encode(labels: np.ndarray) -> dict[int, str]:
    """Run-length encoding of every object, all in one pass.

    Args:
        labels: (rows, columns) integers, 0 background, or a boolean mask (one object, id 1).

    Returns:
        Encoding by id, ids ascending.

    >>> encode(np.array([[0, 2], [1, 2]]))
    {1: '2 1', 2: '3 2'}
    """
    flat = np.asarray(labels).T.ravel()
    if not flat.size:
        return {}
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths, ids = np.diff(starts, append=flat.size), flat[starts].astype(np.int64)
    keep = np.flatnonzero(ids)
    order = keep[np.argsort(ids[keep], kind="stable")]
    runs = np.stack([starts[order] + 1, lengths[order]], axis=1)
    present, first = np.unique(ids[order], return_index=True)
    parts = np.split(runs, first[1:])
    return {int(identity): " ".join(map(str, part.ravel())) for identity, part in zip(present, parts, strict=False)}


def decode(encodings: Iterable[str], shape: tuple[int, int]) -> np.ndarray:
    """Instance map of encoded objects, numbered from 1 in their order; later ones lie on top.

    Args:
        encodings: one string per object; an empty one gives no object, but uses up its number.
        shape: rows, columns of the image.

    Returns:
        (rows, columns) int32.

    Raises:
        ValueError: an odd number of numbers, or a run that leaves the image.

    >>> decode(["2 1", "3 2"], (2, 2)).tolist()
    [[0, 2], [1, 2]]
    """
    flat = np.zeros(shape[0] * shape[1], dtype=np.int32)
    for identity, encoding in enumerate(encodings, start=1):
        numbers = np.array(encoding.split(), dtype=np.int64)
        if len(numbers) % 2:
            raise ValueError(f"object {identity}: a run-length encoding holds pairs, found {len(numbers)} numbers")
        for start, length in (numbers.reshape(-1, 2) - (1, 0)).tolist():
            if start < 0 or length < 1 or start + length > flat.size:
                raise ValueError(f"object {identity}: run {start + 1} {length} leaves an image of {flat.size} pixels")
            flat[start : start + length] = identity
    return np.ascontiguousarray(flat.reshape(shape[1], shape[0]).T)


def write_submission(path: str | Path, labels: Mapping[str, np.ndarray]) -> None:
    """Writes the submission table ``ImageId,EncodedPixels``, whole or not at all.

    Args:
        path: usually ``submission.csv``.
        labels: instance map of each image by its id. One row per object; an image without objects has one row with an
            empty encoding.

    Raises:
        InputError: the folder cannot be written.
    """
    write_encodings(path, {image: encode(instances) for image, instances in labels.items()})


def write_encodings(path: str | Path, encodings: Mapping[str, Mapping[int, str]]) -> None:
    """The same from what :func:`encode` gave for each image, which takes far less memory than the instance maps.

    Raises:
        InputError: the folder cannot be written.
    """
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ImageId", "EncodedPixels"])
        for image, objects in encodings.items():
            writer.writerows((image, encoding) for encoding in objects.values() or [""])
