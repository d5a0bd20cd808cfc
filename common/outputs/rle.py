"""Run-length encoding and submission table of the 2018 Data Science Bowl.

Pixels are numbered from 1, top to bottom, then left to right; a mask is "start length start length ...".
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
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


def write_encodings(path: str | Path, encodings: Mapping[str, Mapping[int, str]]) -> None:
    """Writes the submission table ``ImageId,EncodedPixels``, whole or not at all.

    Args:
        path: usually ``submission.csv``.
        encodings: what :func:`encode` gave for each image, by its id. One row per object; an image without objects has one
            row with an empty encoding.

    Raises:
        InputError: the folder cannot be written.
    """
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ImageId", "EncodedPixels"])
        for image, objects in encodings.items():
            writer.writerows((image, encoding) for encoding in objects.values() or [""])
