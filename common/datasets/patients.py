"""Which patient an image is of: by ``patients.csv``, by a TCGA barcode in its name, or unknown."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import InputError, Problem, leave_out, listed
from ..images.reading import IMAGE_SUFFIXES
from .tables import read_header, read_table

logger = logging.getLogger(__name__)

TABLE = "patients.csv"
# What a data set may have instead: any group that must not be split, such as an aggregate or a movie.
GROUPS, _GROUP_COLUMNS = "images.csv", ("image", "group")
# Project, tissue source site and participant: the first three fields of a TCGA barcode are the patient
# (https://docs.gdc.cancer.gov/Encyclopedia/pages/TCGA_Barcode).
_BARCODE = re.compile(r"(?<![A-Z0-9])(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(?![A-Z0-9])", re.IGNORECASE)


def barcode_patient(name: str) -> str | None:
    """Patient of the TCGA barcode in a file name (``TCGA-18-5592`` of ``TCGA-18-5592-01Z-00-DX1.tif``), else None."""
    barcode = _BARCODE.search(name)
    return barcode[1].upper() if barcode else None


def patient_groups(
    folder: Path,
    names: Sequence[str],
    problems: list[Problem] | None = None,
    required: bool = True,
    otherwise: Callable[[str], str] | None = None,
) -> dict[str, str]:
    """What must stay on one side of a split, per image: its patient, or where nobody tells it the image itself.

    The table ``patients.csv`` (image, patient) in the folder decides, else the one beside the folder if it names any of
    the images, else ``images.csv`` (image, group) in the folder, else a TCGA barcode in the name. A warning says of how many
    images nobody tells it: those of one patient may then stand on both sides of a split.

    Args:
        folder: of the data set.
        names: names of the images without their ending.
        problems: images that the table does not name are noted here and left out; without it they raise.
        required: with False (inference, where nothing is split) images that the table does not name are kept, and there is
            no warning.
        otherwise: the group of an image, by its name, where neither table nor barcode tells the patient; it is then the
            caller who knows whether that needs a warning. None takes the image itself.

    Returns:
        Patient or own name by image name, without the images that were left out.

    Raises:
        InputError: the table cannot be used, gives an image two patients, or does not name all images: without their
            patient those could stand on both sides of a split.
    """
    table = _table(folder, names)
    unlisted = [] if table is None or not required else [name for name in names if name not in table[1]]
    if table is not None and unlisted:
        _refuse(table[0], unlisted, problems)
    patients = {} if table is None else table[1]
    left_out = set(unlisted)
    kept = [name for name in names if name not in left_out]
    known = {name: patients.get(name) or barcode_patient(name) for name in kept}
    if required and otherwise is None:
        _warn_of_unknown([name for name in kept if not known[name]], len(kept))
    return {name: patient or (otherwise or str)(name) for name, patient in known.items()}


def _warn_of_unknown(names: Sequence[str], total: int) -> None:
    if names and total > 1:
        logger.warning(
            "no patient is known for %d of %d images (%s): each is taken for one of its own; %s (image, patient) can tell",
            *(len(names), total, listed(names, 3), TABLE),
        )


def _table(folder: Path, names: Sequence[str]) -> tuple[Path, dict[str, str]] | None:
    """Path and content of the table that is about these images."""
    for path in (folder / TABLE, folder.parent / TABLE):
        if path.is_file():
            patients = read_patients(path, names)
            # Beside the folder there may be another data set's table.
            if path.parent == folder or patients:
                return path, patients
    path = folder / GROUPS
    if path.is_file() and set(_GROUP_COLUMNS) <= set(read_header(path)):
        return path, read_patients(path, names, _GROUP_COLUMNS[1])
    return None


def read_patients(path: Path, names: Sequence[str], column: str = "patient") -> dict[str, str]:
    """Patient of each of the images that the table names with one; rows of other images are passed over.

    Args:
        path: CSV with the columns ``image`` (file name with or without ending, folders before it do not matter) and
            ``patient``.
        names: names of the images without their ending.
        column: what the column of the patient is called.

    Raises:
        InputError: no such table, or two patients for one image.
    """
    wanted = set(names)
    found: dict[str, str] = {}
    for row in read_table(path, ("image", column)):
        name, patient = _name(row["image"], wanted), row[column]
        if not patient or name not in wanted:
            continue
        if found.setdefault(name, patient) != patient:
            raise InputError(path, f"two {column}s, {found[name]} and {patient}, for {name}", f"one {column} per image")
    return found


def _name(cell: str, wanted: set[str]) -> str:
    file = re.split(r"[\\/]", cell)[-1]
    # A name may hold dots of its own, so an ending is cut off only where it is one of an image.
    volume = re.sub(r"\.nii(\.gz)?$", "", file, flags=re.IGNORECASE)
    stem = Path(file).stem if Path(file).suffix.lower() in IMAGE_SUFFIXES else volume
    return stem if stem in wanted else file


def _refuse(path: Path, names: list[str], problems: list[Problem] | None) -> None:
    kind = "group" if path.name == GROUPS else "patient"
    expected = f"one row (image, {kind}) per image"
    if problems is None:
        raise InputError(path, f"no {kind} for {listed(names, 3)}", expected)
    for name in names:
        leave_out(name, InputError(path, f"no {kind} for {name}", expected), problems)
