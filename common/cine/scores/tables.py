"""Tables of cardiac scores: one row per frame, one per stack, with all digits, so that they can be read back exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ...datasets.tables import read_table
from ...errors import InputError
from ...metrics.pixel import PixelScore
from ...outputs.tables import csv_text
from .challenge import ContourScore
from .frames import QUANTITIES, FrameRow, StackVolumes, Volumes

PER_FRAME, PER_STACK = "metrics_per_image.csv", "metrics_per_patient.csv"

T = TypeVar("T")

_CONTOURS = ("endocardium", "epicardium")
_PARTS = ("dice", "iou", "apd_mm", "hausdorff_mm", "good")
_FRAME_COLUMNS = (
    *("image", "group", "stack", "phase", "slice", "moment", "pixel_accuracy"),
    *(f"{region}_{part}" for region in _CONTOURS for part in _PARTS),
    *("myocardium_dice", "myocardium_iou"),
)
_VOLUME_COLUMNS = ("stack", "group", *(f"{side}_{name}" for name in QUANTITIES for side in ("true", "predicted")))


def frames_table(rows: Sequence[FrameRow]) -> str:
    """Content of ``metrics_per_image.csv``; cells are empty where there is no number (``good`` is 1 or 0)."""
    return csv_text([_FRAME_COLUMNS, *map(_frame_cells, rows)])


def volumes_table(volumes: Sequence[StackVolumes]) -> str:
    """Content of ``metrics_per_patient.csv``: volumes by truth and by prediction, one row per stack."""
    cells = [
        [v.stack, v.group, *(getattr(side, name) for name in QUANTITIES for side in (v.truth, v.predicted))]
        for v in volumes
    ]
    return csv_text([_VOLUME_COLUMNS, *cells])


def read_frames(path: Path) -> list[FrameRow]:
    """The rows of which :func:`frames_table` was made; further columns are passed over.

    Raises:
        InputError: no such table, or a cell without the number that should be there.
    """
    return _read(path, _FRAME_COLUMNS, _frame)


def read_volumes(path: Path) -> list[StackVolumes]:
    """The rows of which :func:`volumes_table` was made.

    Raises:
        InputError: as :func:`read_frames`.
    """
    return _read(path, _VOLUME_COLUMNS, _stack)


def _frame_cells(row: FrameRow) -> list[object]:
    cells: list[object] = [*row[: FrameRow._fields.index("endocardium")]]
    for score in (row.endocardium, row.epicardium):
        known = [None] * len(_PARTS) if score is None else [*(getattr(score, p) for p in _PARTS[:-1]), int(score.good)]
        cells += known
    return cells + list(row.myocardium or (None, None))


def _frame(cells: Mapping[str, str]) -> FrameRow:
    dice, iou = (_number(cells[f"myocardium_{name}"]) for name in PixelScore._fields)
    return FrameRow(
        image=cells["image"],
        group=cells["group"],
        stack=cells["stack"],
        phase=int(cells["phase"]),
        slice=int(cells["slice"]),
        moment=cells["moment"],
        pixel_accuracy=float(cells["pixel_accuracy"]),
        endocardium=_contour(cells, "endocardium"),
        epicardium=_contour(cells, "epicardium"),
        myocardium=None if dice is None or iou is None else PixelScore(dice, iou),
    )


def _contour(cells: Mapping[str, str], region: str) -> ContourScore | None:
    numbers = [_number(cells[f"{region}_{part}"]) for part in _PARTS[:-1]]
    return None if numbers[0] is None else ContourScore(*(math.nan if n is None else n for n in numbers))


def _stack(cells: Mapping[str, str]) -> StackVolumes:
    sides = (Volumes(*(_number(cells[f"{side}_{name}"]) for name in QUANTITIES)) for side in ("true", "predicted"))
    return StackVolumes(cells["stack"], cells["group"], *sides)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _read(path: Path, columns: Sequence[str], make: Callable[[Mapping[str, str]], T]) -> list[T]:
    found = []
    for number, cells in enumerate(read_table(path, columns), start=2):
        try:
            found.append(make(cells))
        except (TypeError, ValueError) as error:
            raise InputError(path, f"line {number}, which cannot be read ({error})", "numbers") from error
    return found
