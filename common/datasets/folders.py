"""The users' own layout: ``images/`` and ``masks/`` with equal stems, optionally ``patients.csv`` (image, patient).

A mask is a label image ``masks/<stem>.png`` or ``.tif`` (instance ids of 8, 16 or 32 bits; a mask of two values, such
as 0/255 or 0/1, is binary and its 4-connected components are the objects), or a folder ``masks/<stem>/`` of one binary
mask per object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError, Problem, leave_out, listed
from ..images.reading import is_file_or_dead_link, is_image_name, list_images, warn_below
from .patients import patient_groups

_MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


def matches(folder: Path) -> bool:
    """Whether the folder holds ``images/`` and ``masks/``."""
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def records(folder: Path, need_labels: bool = True, problems: list[Problem] | None = None) -> list[dict[str, Any]]:
    """One record per image, sorted by name; ``group`` is the patient where it is known, else the image.

    The patient is known by ``patients.csv`` or a TCGA barcode, see :func:`.patients.patient_groups`. Images in
    subfolders of ``images/`` are not read, which a warning says.

    Raises:
        InputError: two images or masks of one stem, images that ``patients.csv`` lacks, and with ``need_labels`` a mask
            without its image or an image without its mask (these are noted in ``problems`` and left out, if given).
    """
    images = by_stem(list_images(folder / "images"))
    warn_below(folder / "images")
    masks = _masks(folder / "masks")
    if need_labels:
        refuse_alone(folder / "images", images, masks, "image", "mask", problems)
        refuse_alone(folder / "masks", masks, images, "mask", "image", problems)
    groups = patient_groups(folder, list(images), problems, required=need_labels)
    return [
        {"name": stem, "image": str(image), "label": masks.get(stem), "group": groups[stem]}
        for stem, image in images.items()
        if stem in groups and (stem in masks or not need_labels)
    ]


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Files by their name without ending; InputError where two share one."""
    files = list(files)
    twice = [stem for stem, count in Counter(file.stem for file in files).items() if count > 1]
    if twice:
        both = ", ".join(file.name for file in files if file.stem == twice[0])
        raise InputError(files[0].parent, f"several files of one name: {both}", "names that differ before the ending")
    return {file.stem: file for file in files}


def refuse_alone(
    folder: Path,
    names: Iterable[str],
    partners: Iterable[str],
    kind: str,
    partner: str,
    problems: list[Problem] | None = None,
) -> None:
    """Raise InputError with the first of the names that have no partner, or note each of them in ``problems``."""
    alone = sorted(set(names) - set(partners))
    if alone:
        plural = "s" if len(alone) > 1 else ""
        expected = f"{kind} and {partner} of one name"
        if problems is None:
            raise InputError(folder, f"{len(alone)} {kind}{plural} without {partner}: {listed(alone, 3)}", expected)
        for name in alone:
            leave_out(name, InputError(folder / name, f"{kind} without {partner}", expected), problems)


def _masks(folder: Path) -> dict[str, str | list[str]]:
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    files = by_stem(
        entry for entry in entries if entry.suffix.lower() in _MASK_SUFFIXES and is_file_or_dead_link(entry)
    )
    masks: dict[str, str | list[str]] = {stem: str(file) for stem, file in files.items()}
    for entry in entries:
        # An empty folder says that the image has no objects.
        if entry.is_dir():
            if entry.name in masks:
                raise InputError(folder, f"a file and a folder of masks for {entry.name}", "one of the two")
            masks[entry.name] = [str(file) for file in sorted(entry.iterdir()) if is_image_name(file)]
    return masks
