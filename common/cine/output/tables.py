"""Numbers of a run over cine stacks: areas of every frame, volumes of every phase, function of every heart, as CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import listed
from ..areas import frame_areas
from ..function import HeartFunction, VolumeCurve, heart_function, measure_volumes

Row = dict[str, Any]

FRAME_COLUMNS = (
    *("image", "stack", "phase", "slice", "instance", "cavity_area_mm2", "myocardium_area_mm2"),
    *("centroid_x_px", "centroid_y_px", "clean_up"),
)
VOLUME_COLUMNS = ("stack", "phase", "trigger_time_ms", "cavity_ml", "myocardium_ml", "slices")
FUNCTION_COLUMNS = (
    *("stack", "edv_ml", "esv_ml", "stroke_volume_ml", "ejection_fraction_percent", "mass_g"),
    *("ed_phase", "es_phase", "ed_slices", "es_slices", "notes"),
)

_PHASE_BY_INDEX = re.compile(r"\bphase(/slice\):)? \d")


def stack_function(item: Mapping[str, Any]) -> HeartFunction:
    """The heart's function from a predicted stack, with notes on whatever limits it, those of the item included.

    Without a slice distance there are no volumes; end-diastole and end-systole are still known, since the sum of areas
    is largest and smallest there too.

    Args:
        item: ``pred`` (phases, slices, rows, columns) classes, ``present`` (phases, slices), ``spacing_mm`` (row, column),
            ``spacing_assumed``, ``slice_distance_mm`` or None, ``trigger_times_ms`` (phases,) or None,
            ``phase_numbers``, ``notes``.
    """
    pred, present = np.asarray(item["pred"]), np.asarray(item["present"], bool)
    row, column = (float(size) for size in item["spacing_mm"])
    distance, times = item.get("slice_distance_mm"), item.get("trigger_times_ms")
    function = heart_function(measure_volumes(pred, (row, column), float(distance or 1.0), present, times, True))
    notes = list(item.get("notes") or ())
    if item.get("spacing_assumed") and not any("assumed" in note for note in notes):
        notes.append(f"pixel size assumed ({row:g} x {column:g} mm): areas and volumes are as uncertain as that")
    if present.any(axis=0).sum() == 1:
        notes.append("one slice only: not the volumes of a heart")
    if distance:
        notes += function.notes
        counted = list(item["phase_numbers"]) == list(range(1, len(pred) + 1))
        if not counted and any(map(_PHASE_BY_INDEX.search, function.notes)):
            notes.append(f"phases named here count from 1, being number {listed(item['phase_numbers'], len(pred))}")
    else:
        function = _without_volumes(function)
        notes.append("the distance between slices is unknown: no volumes")
        notes += [] if pred.any() else function.notes
    return replace(function, notes=tuple(dict.fromkeys(notes)))


def _without_volumes(function: HeartFunction) -> HeartFunction:
    curve = function.curve
    unknown = np.full(len(curve.cavity_ml), np.nan)
    return replace(
        function,
        curve=VolumeCurve(unknown, unknown, curve.slices, curve.trigger_times_ms),
        edv_ml=None,
        esv_ml=None,
        stroke_volume_ml=None,
        ejection_fraction_percent=None,
        mass_g=None,
    )


def frame_rows(item: Mapping[str, Any]) -> list[Row]:
    """One row per frame that exists, phase by phase, with :data:`FRAME_COLUMNS`.

    ``image`` is what the frame's own files are called, or the stack's name where it has none; phases are called as in the
    item, slices count from 1. Areas are those inside the lines (:func:`..areas.frame_areas`). The centroid is that of the
    cavity: mean column and row, whole numbers being pixel centres; None where no cavity was found. ``clean_up`` says
    "removed" where the anatomical clean-up left nothing of what the network found, "filled" where it interpolated an
    empty frame.
    """
    pred, present = np.asarray(item["pred"]), np.asarray(item["present"], bool)
    pixel_mm2 = float(item["spacing_mm"][0]) * float(item["spacing_mm"][1])
    cavity = pred == 1
    areas, walls = frame_areas(pred, outline_included=True)
    along_x, along_y = (cavity.sum(axis=axis) for axis in (2, 3))
    states = dict.fromkeys(map(tuple, item.get("removed_frames") or ()), "removed")
    states |= dict.fromkeys(map(tuple, item.get("filled_frames") or ()), "filled")
    rows = []
    for phase, part in np.argwhere(present).tolist():
        pixels = int(along_x[phase, part].sum())
        centre = [
            float(counts[phase, part] @ np.arange(counts.shape[2])) / pixels if pixels else None
            for counts in (along_x, along_y)
        ]
        values = [
            *(item["stems"][phase][part] or item["name"], item["name"], item["phase_numbers"][phase], part + 1),
            *(
                int(item["instances"][phase][part]),
                float(areas[phase, part]) * pixel_mm2,
                float(walls[phase, part]) * pixel_mm2,
            ),
            *(*centre, states.get((phase, part), "")),
        ]
        rows.append(dict(zip(FRAME_COLUMNS, values, strict=True)))
    return rows


def volume_rows(stack: str, function: HeartFunction, phase_numbers: Sequence[int]) -> list[Row]:
    """One row per phase, with :data:`VOLUME_COLUMNS`; None where a volume or time is unknown."""
    rows = function.curve.rows()
    return [{"stack": stack, **row, "phase": number} for row, number in zip(rows, phase_numbers, strict=True)]


def function_row(stack: str, function: HeartFunction, phase_numbers: Sequence[int]) -> Row:
    """The row of a stack, with :data:`FUNCTION_COLUMNS`: phases by their number, notes in one text."""
    row: Row = {name: getattr(function, name, None) for name in FUNCTION_COLUMNS}
    for name in ("ed_phase", "es_phase"):
        row[name] = None if row[name] is None else phase_numbers[row[name]]
    return {**row, "stack": stack, "notes": "; ".join(function.notes)}
