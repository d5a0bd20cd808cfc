"""Partly annotated tissue: ``12750_500_f00003_original.tif`` with ``12750_500_f00003_mask.png`` in one folder.

The layout of the nuclei of A. Janowczyk and A. Madabhushi (Deep learning for digital pathology image analysis, J Pathol
Inform 7:29, 2016). What stands before the first underscore is the patient, and one patient can have several images.

**Only some nuclei are marked.** A marked pixel is nucleus, an unmarked one is unknown and not background: the records
say so with ``"partial": True``. The masks are binary, their components are the nuclei (``"label_kind": "binary"``, see
:func:`.labels.read_instances`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import Problem
from ..images.reading import is_file_or_dead_link, is_image_name
from .folders import by_stem, refuse_alone
from .patients import patient_groups

_IMAGE, _MASK = "_original", "_mask"


def matches(folder: Path) -> bool:
    """Whether the folder holds at least one ``*_original`` image with its ``*_mask`` image."""
    if not folder.is_dir():
        return False
    files = [file for file in folder.iterdir() if is_image_name(file)]
    return bool({_base(file.stem, _IMAGE) for file in files} & {_base(file.stem, _MASK) for file in files} - {None})


def records(folder: Path, need_labels: bool = True, problems: list[Problem] | None = None) -> list[dict[str, Any]]:
    """One record per image, sorted by name (the file's, with ``_original``); ``group`` is the patient.

    ``patients.csv`` and TCGA barcodes count before the code in the name. Other files in the folder are passed over.

    Raises:
        InputError: two images or masks of one name, an image that ``patients.csv`` lacks, and with ``need_labels`` a mask
            without its image or an image without its mask (noted in ``problems`` and left out, if given).
    """
    files = [file for file in sorted(folder.iterdir()) if is_image_name(file) and is_file_or_dead_link(file)]
    images, masks = _named(files, _IMAGE), _named(files, _MASK)
    if need_labels:
        refuse_alone(folder, images, masks, "image", "mask", problems)
        refuse_alone(folder, masks, images, "mask", "image", problems)
    names = [file.stem for file in images.values()]
    groups = patient_groups(folder, names, problems, required=need_labels, otherwise=code_patient)
    return [
        {
            "name": image.stem,
            "image": str(image),
            "label": str(masks[base]) if base in masks else None,
            "label_kind": "binary",
            "group": groups[image.stem],
            "partial": True,
        }
        for base, image in images.items()
        if image.stem in groups and (base in masks or not need_labels)
    ]


def code_patient(name: str) -> str:
    """Patient of a name of this layout: what stands before the first underscore.

    Example:
        >>> code_patient("12750_500_f00003_original")
        '12750'
    """
    return name.split("_", 1)[0]


def _named(files: Iterable[Path], ending: str) -> dict[str, Path]:
    """Files whose name ends so, by the part before."""
    found = by_stem(file for file in files if _base(file.stem, ending) is not None)
    return {stem[: -len(ending)]: file for stem, file in found.items()}


def _base(stem: str, ending: str) -> str | None:
    return stem[: -len(ending)] if stem.lower().endswith(ending) and len(stem) > len(ending) else None
