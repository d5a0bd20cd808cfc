"""The page of a run over sequences: movies with outlines, shape over time, pictures of single images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.results import report_details, report_problems
from ...report.html import ReportImage, ReportSection, ReportTable, embedded_picture, folded_table, write_report
from ...report.moving import Animations
from ..objects.shape import Row
from .pictures import TRUTH
from .plots import time_curves
from .scores import score_table

_MOST_ROWS = 400  # of a folded table
_SHAPES = ("circularity", "solidity")


@dataclass(frozen=True, eq=False)
class SequenceReport:
    """One sequence, or one image, of the report.

    Attributes:
        name: its files in the report's folder begin with it.
        rows: of ``measurements.csv``.
        overlay: data URI of the picture that is shown for ``<name>_overlay.png``.
        movie: a GIF in the report's folder, or None.
        frames: how many there are.
        notes: on all frames.
        scores: means over its frames, by name; empty without truth.
    """

    name: str
    rows: Sequence[Row]
    overlay: str
    movie: Path | None
    frames: int
    notes: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)


def write_frames_report(
    folder: Path,
    title: str,
    summary: Mapping[str, Any],
    sequences: Sequence[SequenceReport],
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``report.html``, whole or not at all.

    Args:
        folder: of the results.
        title: heading.
        summary: content of ``summary.json``.
        sequences: in the order of the page; those of one frame become cards.
        metrics: content of ``metrics.json``, where there was truth.

    Raises:
        InputError: the folder cannot be written.
    """
    singles = [one for one in sequences if one.frames == 1]
    column = _unit([row for one in singles for row in one.rows], "equivalent_diameter")
    diameters = [row[column] for one in singles for row in one.rows if row.get(column)]
    several = [one for one in sequences if one.frames > 1]
    write_report(
        folder / "report.html",
        title,
        {"totals": _totals(summary), **report_details(summary)},
        [_card(folder, one) for one in singles],
        [score_table(metrics)] if metrics else [],
        report_problems(summary),
        {column.replace("_", " "): diameters} if len(diameters) > 1 else None,
        sections=list(_sections(several, truth=metrics is not None)),
    )


def _totals(summary: Mapping[str, Any]) -> dict[str, Any]:
    frames = summary["frames"]
    if summary["images"] == frames:
        totals: dict[str, Any] = {"images": frames}
    else:
        totals = {"images and sequences": summary["images"], "frames": frames}
    totals["objects"] = summary["objects"]
    if summary["frames_without_object"]:
        totals["frames without object"] = summary["frames_without_object"]
    totals["seconds per frame"] = round(summary["seconds"]["wall"] / max(frames, 1), 3)
    return totals


def _card(folder: Path, one: SequenceReport) -> ReportImage:
    found = [row for row in one.rows if row.get("object") is not None]
    texts = [*one.notes, *dict.fromkeys(row["note"] for row in one.rows if row.get("note"))]
    texts += [] if found else ["nothing found"]
    scores = {name: value for name, value in one.scores.items() if value == value}
    overlay = folder / f"{one.name}_overlay.png"
    return ReportImage(one.name, overlay, len(found), "; ".join(texts), scores, one.overlay)


def _sections(sequences: Sequence[SequenceReport], truth: bool) -> Iterator[ReportSection]:
    animations = Animations()
    for one in sequences:
        moving = animations.shown(one.movie, f"Frames of {one.name} with outlines", "Movie")
        yield ReportSection(f"{one.name}: {one.frames} frames", _content(one, moving, truth))


def _content(one: SequenceReport, moving: str, truth: bool) -> str:
    beside = f'<div class="beside"><div>{shape_curves(one.rows)}</div><div>{moving}</div></div>'
    colour = f'<p class="note legend">Outlines:<i style="background:rgb{TRUTH}"></i>truth, below the prediction</p>'
    overlay = embedded_picture(one.overlay, f"Outlines in frames of {one.name}", f"{one.name}_overlay.png")
    notes = f'<p class="note">{escape("; ".join(one.notes))}</p>' if one.notes else ""
    return f"{beside}{colour if truth else ''}{overlay}{notes}{_table(one.rows)}"


def shape_curves(rows: Sequence[Row]) -> str:
    """Area, then circularity and solidity, then elongation over time, as SVG; several objects with a line each."""
    timed = all(row.get("time_h") is not None for row in rows)
    place = "time_h" if timed else "frame"
    axis = "time in h" if timed else "frame"
    area = _unit(rows, "area")
    unit = "um\u00b2" if area.endswith("um2") else "px"
    x = sorted({row[place] for row in rows})
    numbers = sorted({row["object"] for row in rows if row.get("object") is not None})
    if len(numbers) > 1:
        plots = [
            ({f"object {n}": _along(rows, x, place, name, n) for n in numbers}, label)
            for name, label in ((area, f"area in {unit}"), ("circularity", "circularity"))
        ]
    else:
        plots = [
            ({"area": _along(rows, x, place, area)}, f"area in {unit}"),
            ({name: _along(rows, x, place, name) for name in _SHAPES}, "1 for a disc, without unit"),
            ({"elongation": _along(rows, x, place, "elongation")}, "major over minor axis"),
        ]
    return "".join(time_curves(x, series, f"{axis}; {label}") for series, label in plots)


def _along(
    rows: Sequence[Row], x: Sequence[float], place: str, name: str, number: int | None = None
) -> list[float | None]:
    found = {row[place]: row.get(name) for row in rows if number is None or row.get("object") == number}
    return [found.get(value) for value in x]


def _unit(rows: Sequence[Row], name: str) -> str:
    """The column in micrometres where any row has it, else that in pixels."""
    metric = "area_um2" if name == "area" else f"{name}_um"
    return metric if any(row.get(metric) is not None for row in rows) else f"{name}_px"


def _table(rows: Sequence[Row]) -> str:
    columns = [
        "frame",
        "object",
        _unit(rows, "area"),
        _unit(rows, "equivalent_diameter"),
        *_SHAPES,
        "elongation",
        "note",
    ]
    cells = [[_rounded(row.get(name)) for name in columns] for row in rows[:_MOST_ROWS]]
    more = f"The first {_MOST_ROWS} of {len(rows)} rows; all are in measurements.csv." if len(rows) > _MOST_ROWS else ""
    labels = [
        name.replace("_um2", " in um\u00b2").replace("_px", " in px").replace("_um", " in um") for name in columns
    ]
    return folded_table(ReportTable("Measurements", [label.replace("_", " ") for label in labels], cells, more))


def _rounded(value: Any) -> Any:
    return float(np.round(value, 3)) if isinstance(value, float) else value
