"""Labels of the left ventricle: cavity and myocardium on one image, from contour text and masks alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, Problem, note
from ..outputs.nifti import NIFTI_SUFFIXES, plane_number
from .acdc import read_drawn
from .contours import check_inside, contour_to_mask, mask_to_contours, read_contour
from .labels import read_label_values


@dataclass(frozen=True)
class LvLabel:
    """The left ventricle on one image.

    Attributes:
        classes: uint8 (rows, columns): 0 background, 1 cavity (papillary muscles included), 2 myocardium.
        myocardium_known: False where nobody drew the epicardium: the myocardium is then among the zeros.
        cavity_outside: pixels of the cavity that the epicardium does not contain; they stay cavity.
    """

    classes: np.ndarray
    myocardium_known: bool
    cavity_outside: int = 0


def read_lv_label(
    record: dict[str, Any],
    shape: tuple[int, int],
    outline_included: bool = True,
    problems: list[Problem] | None = None,
) -> LvLabel:
    """Class map of a record, from contour text and masks alike.

    Args:
        record: with ``label`` and ``epicardium`` as :func:`.sunnybrook.records` gives them. Without ``epicardium`` a label
            image of the values 0, 1 and 2 is taken as the class map itself, pixel by pixel. A label that is NIfTI is a
            class map always, of which ``plane`` is taken (:func:`.acdc.read_drawn`); it may be empty.
        shape: (rows, columns) of the image.
        outline_included: which pixels a line owns, see :mod:`.contours`. With True contour text gives what the Sunnybrook
            masks hold, to the pixel. With False the pixels whose centres it encloses, which is right in area (the
            masks are 7 % too large); masks are then reduced by their outline, which brings them within 1 % of it.
        problems: where to note a contour that leaves the image and a cavity that leaves the epicardium; without it they
            are logged as warnings.

    Raises:
        InputError: no label, an unusable contour, or a mask of another size than the image.
    """
    if record.get("label") is None:
        raise InputError(record.get("image", "record"), "no contour of the endocardium", "contour text or a mask")
    if str(record["label"]).lower().endswith(NIFTI_SUFFIXES):
        return _plane_label(Path(record["label"]), record.get("plane"), shape)
    known, outside = record.get("epicardium") is not None, 0
    if not known and (drawn := _class_map(Path(record["label"]), shape)) is not None:
        return LvLabel(drawn, myocardium_known=True)
    found: list[Problem] = []
    cavity = _read_mask(record, "label", shape, outline_included, found)
    classes = np.zeros(shape, dtype=np.uint8)
    if known:
        heart = _read_mask(record, "epicardium", shape, outline_included, found)
        outside = int(np.count_nonzero(cavity & ~heart))
        classes[heart] = 2
        if outside:
            reason = f"{outside} of {np.count_nonzero(cavity)} pixels of the cavity lie outside the epicardium"
            found.append(Problem(_label_name(record), f"{reason}; they stay cavity"))
    classes[cavity] = 1
    note(found, problems)
    return LvLabel(classes, known, outside)


def _plane_label(path: Path, plane: int | None, shape: tuple[int, int]) -> LvLabel:
    drawn = read_drawn(path)
    if drawn.classes.shape[1:] != tuple(shape):
        rows, columns = drawn.classes.shape[1:]
        expected = f"the image's size of {shape[0]} rows x {shape[1]} columns"
        raise InputError(path, f"a mask of {rows} rows x {columns} columns", expected)
    number = plane_number(path, plane, len(drawn.classes))
    return LvLabel(drawn.classes[number].copy(), bool(drawn.myocardium_known[number]))


def _class_map(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """A label image that holds both classes already, 1 and 2; None where it is a mask or contour text."""
    if path.suffix.lower() == ".txt":
        return None
    values = read_label_values(path, shape)
    return values.astype(np.uint8) if np.array_equal(np.unique(values[values > 0]), (1, 2)) else None


def _read_mask(
    record: dict[str, Any], key: str, shape: tuple[int, int], outline_included: bool, found: list[Problem]
) -> np.ndarray:
    path = Path(record[key])
    if path.suffix.lower() == ".txt":
        contour = read_contour(path)
        found += check_inside(contour, shape, path, _label_name(record))
        return contour_to_mask(contour, shape, outline_included)
    values = read_label_values(path, shape)
    mask = values > values.max(initial=0) / 2
    if outline_included:
        return mask
    parts = [contour_to_mask(contour, shape) for contour in mask_to_contours(mask, outline_included=True)]
    return np.logical_or.reduce([np.zeros(shape, dtype=bool), *parts])


def _label_name(record: dict[str, Any]) -> str:
    return str(record.get("name") or record["label"])
