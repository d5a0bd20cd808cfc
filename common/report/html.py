"""One page with everything a person wants to see of a run: it can be mailed, printed and opened without a network."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from ..outputs.files import write_text
from .overlays import thumbnail
from .svg import histogram
from .template import PAGE, SCRIPT, STYLE

LEGEND = (
    '<p class="note legend">Outlines:<i style="background:#e6001e"></i>truth<i style="background:#2a75ff"></i>'
    'prediction<i style="background:#a83ae0"></i>both</p>'
)


@dataclass(frozen=True)
class ReportImage:
    """One image of the report.

    Attributes:
        name: shown as it is.
        overlay_path: the full picture, to which the page links (relative to the page); None without one.
        count: objects found.
        note: a few words, such as "10 % background skipped"; "" for none.
        metrics: scores against the truth by name; empty without truth.
        thumbnail: JPEG data URI (:func:`.overlays.thumbnail`); "" makes it from ``overlay_path``.
        unit: what is counted, in the singular.
    """

    name: str
    overlay_path: str | Path | None
    count: int
    note: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    thumbnail: str = ""
    unit: str = "object"


@dataclass(frozen=True)
class ReportTable:
    """A table of the report.

    Attributes:
        title: heading.
        columns: names.
        rows: cells: text, numbers, None for an empty cell, or (estimate, low, high).
        note: below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class ReportSection:
    """A part of the report that is no table of scores and no card: plots, an animation.

    Attributes:
        title: heading.
        content: HTML or SVG, put into the page as it is. Texts in it must be escaped, pictures embedded
            (:func:`embedded_picture`); :func:`folded_table` makes tables for it.
    """

    title: str
    content: str


def write_report(
    path: str | Path,
    title: str,
    summary: Mapping[str, Any],
    images: Sequence[ReportImage],
    tables: Sequence[ReportTable] = (),
    problems: Sequence[str] = (),
    histograms: Mapping[str, Sequence[float]] | None = None,
    thumbnails: int = 300,
    sections: Sequence[ReportSection] = (),
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: the page to be, beside or above the overlays.
        title: heading.
        summary: ``"subtitle"`` (text) and ``"totals"`` ({label: number or text}) fill the header; every other key
            becomes part of the folded details: a mapping as a table of its own, anything else as a row.
        images: in the order of the page.
        tables: between header and pictures, such as :func:`metrics_table`.
        problems: one line each, such as files that could not be read or what was assumed; without any the box is left out.
        histograms: values by axis label, such as {"diameter (px)": [...]}.
        thumbnails: how many pictures are embedded at most, about 25 KB each; the table of images always holds all.
        sections: between histograms and pictures.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(path).parent
    details = {key: value for key, value in summary.items() if key not in ("subtitle", "totals")}
    subtitle = summary.get("subtitle")
    page = Template(PAGE).substitute(
        title=escape(title),
        style=STYLE,
        script=SCRIPT,
        subtitle=f'<p class="sub">{escape(str(subtitle))}</p>' if subtitle else "",
        tiles="".join(_tile(label, value) for label, value in summary.get("totals", {}).items()),
        problems=_problems(problems),
        tables="".join(_panel(table) for table in tables),
        histograms=_histograms(histograms or {}),
        sections="".join(_section(section) for section in sections),
        pictures=_pictures(images, folder, thumbnails),
        images=_image_table(images, folder),
        details=_details(details),
    )
    write_text(path, page)


def metrics_table(
    metrics: Mapping[str, Any],
    names: Sequence[str] = ("competition_score", "ap50", "f1", "panoptic_quality", "mean_aji", "mean_dice"),
) -> ReportTable:
    """Scores with intervals, over all images and by modality, from ``common.metrics.instance_summary.summarise``.

    Args:
        metrics: the dictionary of ``metrics.json``.
        names: of the scores to show.
    """
    parts = {"all": metrics, **metrics.get("by_modality", {})}
    if len(parts) == 2:
        parts = {"all": metrics}
    rows = [
        [
            name,
            part["n_images"],
            part["n_groups"],
            part["n_objects"],
            *(interval_cell(part["metrics"][score]) for score in names),
        ]
        for name, part in parts.items()
    ]
    confidence = metrics.get("interval", {}).get("confidence", 0.95)
    note = (
        f"Below each score its {confidence * 100:g} % interval: bootstrap over groups of images that belong together."
    )
    columns = ["modality", "images", "groups", "objects", *(name.replace("_", " ") for name in names)]
    return ReportTable("Agreement with the truth", columns, rows, note)


def interval_cell(interval: Mapping[str, float | None] | None) -> tuple[float | None, ...] | None:
    """The cell of a score in ``metrics.json``: (estimate, low, high), or None where there is no estimate."""
    if interval is None or interval["estimate"] is None:
        return None
    return interval["estimate"], interval["low"], interval["high"]


def _number(value: object) -> str:
    """A number to be read by people; other things as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        if not value.is_integer() or abs(value) < 10:
            return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{int(value):,}"


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        estimate, low, high = value
        bounds = "" if low is None or high is None else f"<small>{_number(low)} – {_number(high)}</small>"
        return f'<td class="number" data-value="{estimate!r}">{_number(estimate)}{bounds}</td>'
    if _is_number(value):
        known = not (isinstance(value, float) and math.isnan(value))
        return f'<td class="number" data-value="{value if known else ""}">{_number(value)}</td>'
    return f'<td class="name">{escape(_number(value))}</td>'


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, tuple)) and not isinstance(value, bool)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], links: Sequence[str] | None = None) -> str:
    """A sortable table; a link, where there is one, goes around the first cell of its row."""
    numeric = [any(_is_number(row[index]) for row in rows) for index in range(len(columns))]
    head = "".join(
        f'<th class="number">{escape(name)}</th>' if number else f"<th>{escape(name)}</th>"
        for name, number in zip(columns, numeric, strict=True)
    )
    body = []
    for number, row in enumerate(rows):
        cells = [
            _cell(value) if value is not None or not numeric[index] else '<td class="number" data-value=""></td>'
            for index, value in enumerate(row)
        ]
        if links and links[number]:
            cells[0] = f'<td class="name"><a href="{links[number]}">{escape(_number(row[0]))}</a></td>'
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _panel(table: ReportTable) -> str:
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f'<h2>{escape(table.title)}</h2><div class="panel">{_table(table.columns, table.rows)}{note}</div>'


def _section(section: ReportSection) -> str:
    return f'<h2>{escape(section.title)}</h2><div class="panel">{section.content}</div>'


def folded_table(table: ReportTable) -> str:
    """A table for a section, closed until its title is clicked."""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f"<details><summary>{escape(table.title)}</summary>{_table(table.columns, table.rows)}{note}</details>"
        if table.rows
        else ""
    )


def embedded_picture(source: str | bytes, alternative: str, link: str | Path | None = None, kind: str = "") -> str:
    """A picture for a section, inside the page itself.

    Args:
        source: data URI, such as that of :func:`.overlays.thumbnail`, or the bytes of a file.
        alternative: what the picture shows, for those who cannot see it.
        link: file that it links to, relative to the page; None without one.
        kind: of the bytes: "image/gif", "image/png", "image/jpeg".
    """
    if isinstance(source, bytes):
        source = f"data:{kind};base64,{base64.b64encode(source).decode('ascii')}"
    picture = f'<img src="{escape(source)}" alt="{escape(alternative)}" loading="lazy">'
    return picture if link is None else f'<a href="{escape(quote(Path(link).as_posix()))}">{picture}</a>'


def _tile(label: str, value: object) -> str:
    return f'<div class="tile"><b>{escape(_number(value))}</b><span>{escape(label)}</span></div>'


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    lines = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    heading = "One thing to know first" if len(problems) == 1 else f"{len(problems)} things to know first"
    return f'<section class="problems"><h2>{heading}</h2><ul>{lines}</ul></section>'


def _histograms(histograms: Mapping[str, Sequence[float]]) -> str:
    drawn = [histogram(values, label) for label, values in histograms.items()]
    panels = "".join(f'<div class="panel">{picture}</div>' for picture in drawn if picture)
    return f'<h2>Objects</h2><div class="histograms">{panels}</div>' if panels else ""


def _pictures(images: Sequence[ReportImage], folder: Path, limit: int) -> str:
    cards = [_card(image, folder) for image in images[:limit] if image.thumbnail or image.overlay_path]
    if not cards:
        return ""
    note = f'<p class="note">The first {limit} of {len(images)} images.</p>' if len(images) > limit else ""
    legend = LEGEND if any(image.metrics for image in images) else ""
    return f'<h2>Pictures</h2>{legend}<div class="cards">{"".join(cards)}</div>{note}'


def _card(image: ReportImage, folder: Path) -> str:
    source = image.thumbnail or _thumbnail_of(image.overlay_path)
    link, name = _link(image.overlay_path, folder), escape(image.name)
    picture = f'<img src="{escape(source)}" alt="Outlines in {name}" loading="lazy">' if source else ""
    facts = [f"<b>{image.count:,}</b> {image.unit}{'' if image.count == 1 else 's'}"]
    facts += [f"{escape(key.replace('_', ' '))} <b>{value:.3f}</b>" for key, value in list(image.metrics.items())[:1]]
    facts += [escape(image.note)] if image.note else []
    opened = f'<a href="{link}">{picture}</a>' if link else f"<a>{picture}</a>"
    return (
        f'<article class="card">{opened}<div><span class="title" title="{name}">{name}</span>'
        f'<span class="facts">{" · ".join(facts)}</span></div></article>'
    )


def _thumbnail_of(path: str | Path | None) -> str:
    """Made from the full picture; "" where there is none to read."""
    if path is None or not Path(path).is_file():
        return ""
    picture = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    return "" if picture is None else thumbnail(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


def _link(path: str | Path | None, folder: Path) -> str:
    """Relative to the page, so that both can be moved together."""
    if path is None:
        return ""
    return escape(quote(Path(os.path.relpath(path, folder)).as_posix()))


def _image_table(images: Sequence[ReportImage], folder: Path) -> str:
    if not images:
        return ""
    scores = list(dict.fromkeys(name for image in images for name in image.metrics))
    notes = any(image.note for image in images)
    columns = [
        "image",
        f"{images[0].unit}s",
        *(score.replace("_", " ") for score in scores),
        *(["note"] if notes else []),
    ]
    rows = [
        [image.name, image.count, *(image.metrics.get(s) for s in scores), *([image.note] if notes else [])]
        for image in images
    ]
    links = [_link(image.overlay_path, folder) for image in images]
    return f'<h2>Images</h2><div class="panel">{_table(columns, rows, links)}</div>'


def _details(details: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in details.items() if not isinstance(value, Mapping)}
    parts = {**({"general": plain} if plain else {}), **{k: v for k, v in details.items() if isinstance(v, Mapping)}}
    blocks = "".join(
        f"<h2>{escape(key.replace('_', ' '))}</h2><table><tbody>{''.join(_row(*item) for item in value.items())}"
        "</tbody></table>"
        for key, value in parts.items()
    )
    return f"<details><summary>Settings and versions</summary>{blocks}</details>" if blocks else ""


def _row(key: str, value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else _number(value)
    return f"<tr><td>{escape(str(key).replace('_', ' '))}</td><td>{escape(text)}</td></tr>"
