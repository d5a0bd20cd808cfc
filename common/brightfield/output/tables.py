"""Numbers of a run over sequences as CSV: one row per frame and object, an empty one where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...outputs.tables import write_table
from ..objects.shape import MICROMETRES, SHAPE_COLUMNS, Row, frame_shapes

FIRST_COLUMNS = ("image", "frame", "frame_name", "time_h", "object", "class")
LAST_COLUMNS = ("note",)


def frame_rows(item: Mapping[str, Any], class_names: Sequence[str], object_name: str, each_class: bool) -> list[Row]:
    """Rows of the frames of an item, in their order; a frame without object has one row in which measurements are None.

    ``frame`` counts from 1 along the whole sequence, ``frame_name`` is the name of the frame's file or its number in the
    stack, ``time_h`` hours since the first frame where the interval is known. ``object`` is its number, the same along
    time. ``class`` is ``object_name``, or where each class has an object of its own the name of the class; otherwise of
    several classes ``area_<class>_px`` says how much of the object each is.

    Args:
        item: ``name``, ``pred`` (frames, rows, columns) classes, ``numbers``, ``frames``, ``frame_notes``,
            ``object_notes``, ``pixel_size_um``, ``seconds_per_frame``, and where there are several objects ``ids``.
        class_names: of the classes from 1 on.
        object_name: what is measured.
        each_class: every class is an object.
    """
    size, interval = item.get("pixel_size_um"), item.get("seconds_per_frame")
    rows: list[Row] = []
    for index, classes in enumerate(np.asarray(item["pred"])):
        number = int(item["numbers"][index])
        base: Row = {
            "image": item["name"],
            "frame": number + 1,
            "frame_name": item["frames"][index],
            "time_h": number * interval / 3600 if interval else None,
            "note": _notes(item, index),
        }
        labels = np.asarray(item["ids"][index]) if item.get("ids") is not None else classes
        if not each_class and item.get("ids") is None:
            labels = (classes > 0).view(np.uint8)
        found = frame_shapes(labels, size)
        for row in found:
            own = str(row["object"])
            row["class"] = class_names[row["object"] - 1] if each_class else object_name
            if len(class_names) > 1 and not each_class:
                counts = np.bincount(classes[labels == int(own)], minlength=len(class_names) + 1)
                row |= {f"area_{name}_px": int(counts[i + 1]) for i, name in enumerate(class_names)}
        rows += [{**base, **row} for row in found] or [base]
    return rows


def missing_row(item: Mapping[str, Any], number: int) -> Row:
    """The row of a frame that could not be used, as of one without object.

    Args:
        item: another one of the sequence: ``name``, ``seconds_per_frame`` and ``source``, which where it is the paths of
            frames from ``first`` on tells the name of a missing one among them.
        number: of the frame, from 0.
    """
    interval, source, index = item.get("seconds_per_frame"), item.get("source"), number - int(item.get("first") or 0)
    name = str(number + 1)
    if isinstance(source, (list, tuple)):
        name = Path(source[index]).stem if 0 <= index < len(source) else ""
    return {
        "image": item["name"],
        "frame": number + 1,
        "frame_name": name,
        "time_h": number * interval / 3600 if interval else None,
        "note": "left out: see the problems in summary.json",
    }


def _notes(item: Mapping[str, Any], index: int) -> str:
    texts = [(item.get(key) or [""] * (index + 1))[index] for key in ("frame_notes", "object_notes")]
    return "; ".join(text for text in texts if text)


def measurement_columns(rows: Sequence[Row]) -> list[str]:
    """Columns of the table: those of time, micrometres and single classes only where any row has them."""
    present = {name for row in rows for name, value in row.items() if value is not None}
    areas = dict.fromkeys(name for row in rows for name in row if name.startswith("area_"))
    classes = [name for name in areas if name not in ("area_px", "area_um2")]
    optional = {"time_h", *MICROMETRES}
    names = [*FIRST_COLUMNS, *SHAPE_COLUMNS, *classes, *MICROMETRES, *LAST_COLUMNS]
    return [name for name in names if name not in optional or name in present]


def write_measurements(path: str | Path, rows: Sequence[Row]) -> None:
    """Writes ``measurements.csv``, whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    columns = measurement_columns(rows)
    write_table(path, columns, [{name: row.get(name) for name in columns} for row in rows])
