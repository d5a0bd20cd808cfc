"""Several data sets as one: which set each record is of, and names that stay unique."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, listed
from .patients import barcode_patient

logger = logging.getLogger(__name__)


def dataset_paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    """Absolute paths of one or several data sets, given as a path, a comma-separated text or a list.

    A text that is the path of something existing is one path, whatever commas it has.

    Raises:
        InputError: nothing given, nothing there, or one path twice.
    """
    if isinstance(given, str):
        whole = given.strip() != "" and Path(given).expanduser().exists()
        given = [given] if whole else [part.strip() for part in given.split(",") if part.strip()]
    paths = [Path(path).expanduser().absolute() for path in ([given] if isinstance(given, Path) else given)]
    if not paths:
        raise InputError("dataset_dir", "no path", "one or several folders of images")
    for number, path in enumerate(paths):
        if not path.exists():
            raise InputError(path, "no such file or folder", "a folder of images, an image or a JSON data list")
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise InputError(path, "this data set twice", "each data set once")
    return paths


def dataset_names(paths: Sequence[Path]) -> list[str]:
    """A short name of each data set: its folder's, with as many folders above it as are needed to tell them apart."""
    folders = [path.parent if path.is_file() else path for path in paths]
    if len(set(folders)) < len(folders):  # two lists in one folder
        folders = [path.with_suffix("") if path.is_file() else path for path in paths]
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["_".join(folder.parts[-depth:]).strip("/\\") for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def merge(datasets: Mapping[str, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Records of several data sets (by the set's name) as one list, each with ``dataset``.

    An image name that occurs in several sets gets the set's name before it (``monuseg_1`` and ``tnbc_1``), so that
    results do not overwrite one another. Groups are left as they are: **the same patient name in two sets is taken for
    the same patient**, because two folders often hold parts of one study and a patient on both sides of a split is worse
    than two that stay together for nothing. A warning names them (not for TCGA barcodes, which are the same patient).

    Returns:
        New records in the order of the sets. Each keeps the ``dataset`` that it has already (from a data list).
    """
    merged = [
        {**record, "dataset": record.get("dataset") or dataset} for dataset, own in datasets.items() for record in own
    ]
    names = _shared(datasets, "name")
    groups = [group for group in _shared(datasets, "group") if not barcode_patient(str(group))]
    if names:
        logger.warning("images named %s in several data sets, which now stand before the names", listed(names))
    if groups:
        logger.warning(
            "patients or groups named %s in several data sets, taken for the same and kept on one side of each split; "
            "if they are not, rename them in patients.csv",
            listed(groups),
        )
    clashing = set(names)
    for record, dataset in zip(merged, (name for name, own in datasets.items() for _ in own), strict=True):
        if record["name"] in clashing:
            record["name"] = f"{dataset}_{record['name']}"
    return merged


def _shared(datasets: Mapping[str, Sequence[dict[str, Any]]], key: str) -> list[Hashable]:
    """Values that occur in more than one of the sets, sorted."""
    where: dict[Hashable, set[str]] = defaultdict(set)
    for dataset, own in datasets.items():
        for record in own:
            where[record[key]].add(dataset)
    return sorted((value for value, sets in where.items() if len(sets) > 1), key=str)
