"""The page of a run over cine stacks: function of every heart, volumes over the beat, contours to be judged by eye."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ...engine.results import report_details, report_problems
from ...report.html import ReportSection, ReportTable, embedded_picture, folded_table, write_report
from ...report.moving import Animations
from ..function import HeartFunction
from ..plots import volume_curve
from ..scores.summary import agreement_table, cardiac_table
from ..tiles import ENDOCARDIUM, EPICARDIUM, TRUTH
from .tables import VOLUME_COLUMNS, function_row, volume_rows

_UNITS = {"edv_ml": "EDV in ml", "esv_ml": "ESV in ml", "stroke_volume_ml": "SV in ml"}
_UNITS |= {"ejection_fraction_percent": "EF in %", "mass_g": "mass in g"}
_COUNTS = {"ed_phase": "ED phase", "es_phase": "ES phase", "ed_slices": "ED slices", "es_slices": "ES slices"}


@dataclass(frozen=True, eq=False)
class StackReport:
    """One stack of the report.

    Attributes:
        name: of the stack; its files in the report's folder begin with it.
        function: of the heart.
        phase_numbers: what the phases are called.
        overlay: data URI of the picture that is shown for ``<name>_overlay.png``.
        animation: a GIF in the report's folder, or None.
    """

    name: str
    function: HeartFunction
    phase_numbers: Sequence[int]
    overlay: str
    animation: Path | None = None


def write_cine_report(
    folder: Path,
    title: str,
    summary: Mapping[str, Any],
    stacks: Sequence[StackReport],
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``report.html``, whole or not at all.

    Args:
        folder: of the results.
        title: heading.
        summary: content of ``summary.json``.
        stacks: in the order of the page.
        metrics: content of ``metrics.json``, where there was truth; the plot of the ejection fractions beside it is
            shown.

    Raises:
        InputError: the folder cannot be written.
    """
    tables = [function_table(stacks)] if stacks else []
    sections = list(_sections(stacks, truth=metrics is not None))
    if metrics is not None:
        tables += [table for table in (cardiac_table(metrics), agreement_table(metrics)) if table.rows]
        plot = folder / "bland_altman.svg"
        if plot.is_file():
            sections.insert(0, ReportSection("Ejection fraction against the truth", plot.read_text(encoding="utf-8")))
    write_report(
        folder / "report.html",
        title,
        {"totals": _totals(summary, stacks), **report_details(summary)},
        (),
        tables,
        report_problems(summary),
        sections=sections,
    )


def function_table(stacks: Sequence[StackReport]) -> ReportTable:
    """One row per stack: what ``function.csv`` holds."""
    rows = [function_row(stack.name, stack.function, stack.phase_numbers) for stack in stacks]
    cells = [
        [
            row["stack"],
            *(None if row[name] is None else round(row[name], 1) for name in _UNITS),
            *(row[name] for name in _COUNTS),
            row["notes"],
        ]
        for row in rows
    ]
    note = "Sums of discs over the slices in which a cavity was found; papillary muscles belong to the cavity."
    return ReportTable("Function", ["stack", *_UNITS.values(), *_COUNTS.values(), "notes"], cells, note)


def _totals(summary: Mapping[str, Any], stacks: Sequence[StackReport]) -> dict[str, Any]:
    totals: dict[str, Any] = {"stacks": summary["stacks"], "frames": summary["frames"]}
    if len(stacks) == 1:
        function = stacks[0].function
        found = {label: getattr(function, name) for name, label in _UNITS.items() if name != "stroke_volume_ml"}
        totals = {"frames": summary["frames"]}
        totals |= {label: f"{value:.0f}" for label, value in found.items() if value is not None}
    totals["seconds per stack"] = round(summary["seconds"]["wall"] / max(summary["stacks"], 1), 2)
    return totals


def _sections(stacks: Sequence[StackReport], truth: bool) -> Iterator[ReportSection]:
    animations = Animations()
    for stack in stacks:
        moving = animations.shown(stack.animation, f"All phases of {stack.name} with contours")
        yield ReportSection(stack.name, _content(stack, moving, truth))


def _content(stack: StackReport, moving: str, truth: bool) -> str:
    curve = volume_curve(stack.function, phase_numbers=stack.phase_numbers)
    beside = f'<div class="beside"><div>{curve}</div><div>{moving}</div></div>' if curve or moving else ""
    text = f"Contours in all slices of {stack.name}"
    overlay = embedded_picture(stack.overlay, text, f"{stack.name}_overlay.png")
    notes = f'<p class="note">{escape("; ".join(stack.function.notes))}</p>' if stack.function.notes else ""
    return f"{beside}{_legend(truth)}{overlay}{notes}{_volumes(stack)}"


def _legend(truth: bool) -> str:
    lines = {"endocardium": ENDOCARDIUM, "epicardium": EPICARDIUM, **({"truth": TRUTH} if truth else {})}
    marks = "".join(f'<i style="background:rgb{colour}"></i>{name}' for name, colour in lines.items())
    return f'<p class="note legend">Outlines:{marks}</p>'


def _volumes(stack: StackReport) -> str:
    rows = volume_rows(stack.name, stack.function, stack.phase_numbers)
    columns = [name for name in VOLUME_COLUMNS if name != "stack" and any(row[name] is not None for row in rows)]
    if "cavity_ml" not in columns:
        return ""
    cells = [[round(row[n], 1) if isinstance(row[n], float) else row[n] for n in columns] for row in rows]
    labels = [name.replace("_ml", " in ml").replace("_time_ms", " time in ms").replace("_", " ") for name in columns]
    return folded_table(ReportTable("Volumes of all phases", labels, cells))
