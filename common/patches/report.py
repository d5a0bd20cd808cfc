"""The page of a run that classifies images: classes of images and slides, what went wrong, maps of the votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..engine.results import report_details, report_problems
from ..metrics.classification_summary import class_tables
from ..report.html import ReportSection, ReportTable, embedded_picture, folded_table, write_report
from .predictions import Prediction, SlidePrediction, class_name
from .vote_map import CLASS_COLOURS

_MOST_PICTURES = 300  # embedded in the page, about 20 KB each; the others are files
_PLOTS = {"confusion.svg": "Truth and prediction", "reliability.svg": "Calibration"}


def write_class_report(
    folder: Path,
    title: str,
    summary: Mapping[str, Any],
    predictions: Sequence[Prediction],
    slides: Sequence[SlidePrediction],
    class_names: Sequence[str],
    pictures: Mapping[str, str],
    telling: str = "",
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``report.html``, whole or not at all.

    Args:
        folder: of the results; the plots of the metrics lie in it.
        title: heading.
        summary: content of ``summary.json``.
        predictions: of the images, in the order of the page.
        slides: likewise.
        class_names: in the order of the probabilities.
        pictures: data URI of the small vote map by name of the image; ``<name>_votes.png`` is what it links to.
        telling: data URI of ``telling_patches.png``, "" without it.
        metrics: content of ``metrics.json``, where there was truth.

    Raises:
        InputError: the folder cannot be written.
    """
    wrong = [image for image in predictions if image.wrong]
    tables = [] if metrics is None else class_tables(metrics)
    tables += [_slide_table(slides, class_names)] if slides else []
    sections = [] if metrics is None else list(_plots(folder))
    if wrong:
        cards = _cards(wrong, pictures, class_names, _MOST_PICTURES)
        sections.append(ReportSection(f"Misclassified images ({len(wrong)} of {_with_truth(predictions)})", cards))
    if predictions:
        table = folded_table(_image_table(predictions, class_names))
        sections.append(ReportSection("Images", table.replace("<details>", "<details open>", 1)))
    if telling:
        picture = embedded_picture(telling, "The patches most certain of each class", "telling_patches.png")
        sections.append(ReportSection("Telling patches", picture))
    rest = [image for image in predictions if not image.wrong]
    room = max(_MOST_PICTURES - len(wrong), 0)
    if rest and pictures and room:
        content = _legend(class_names) + _cards(rest, pictures, class_names, room)
        sections.append(ReportSection("Votes over the images", content))
    write_report(
        folder / "report.html",
        title,
        {"totals": _totals(summary, metrics), **report_details(summary)},
        (),
        tables,
        report_problems(summary),
        sections=sections,
    )


def _totals(summary: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    totals: dict[str, Any] = {"images": summary["images"], "slides": summary["slides"]}
    totals |= {f"images of {name}": count for name, count in summary["images_of_class"].items()}
    totals["uncertain images"] = len(summary["uncertain_images"])
    if metrics is not None and "accuracy" in metrics.get("metrics", {}):
        totals["accuracy per image"] = metrics["metrics"]["accuracy"]["estimate"]
    totals["seconds per image"] = round(summary["seconds"]["wall"] / max(summary["images"], 1), 2)
    return totals


def _with_truth(predictions: Sequence[Prediction]) -> int:
    return sum(image.truth is not None for image in predictions)


def _plots(folder: Path) -> list[ReportSection]:
    files = {folder / name: title for name, title in _PLOTS.items()}
    return [ReportSection(title, path.read_text(encoding="utf-8")) for path, title in files.items() if path.is_file()]


def _image_table(predictions: Sequence[Prediction], class_names: Sequence[str]) -> ReportTable:
    truth = any(image.truth is not None for image in predictions)
    votes = [f"votes {name}" for name in class_names]
    columns = ["image", "slide", *_class_columns(class_names, truth), *votes, "note"]
    rows = [
        [image.name, image.slide, *_class_cells(image, class_names, truth), *image.votes, image.note]
        for image in predictions
    ]
    note = "Below the name of each class its probability for the image; the margin is by how much the best class leads."
    return ReportTable("Classes and votes", columns, rows, note)


def _slide_table(slides: Sequence[SlidePrediction], class_names: Sequence[str]) -> ReportTable:
    truth = any(slide.truth is not None for slide in slides)
    columns = ["slide", *_class_columns(class_names, truth), "images", *(f"images {name}" for name in class_names)]
    rows = [[slide.slide, *_class_cells(slide, class_names, truth), slide.images, *slide.counts] for slide in slides]
    return ReportTable("Slides", columns, rows, "The class of a slide is that of its images' mean probabilities.")


def _class_columns(class_names: Sequence[str], truth: bool) -> list[str]:
    return ["class", *(["truth"] if truth else []), "certain", "margin", *class_names]


def _class_cells(found: Prediction | SlidePrediction, class_names: Sequence[str], truth: bool) -> list[Any]:
    return [
        class_name(found.predicted, class_names),
        *([class_name(found.truth, class_names)] if truth else []),
        "yes" if found.certain else "no",
        found.margin,
        *(found.probabilities if found.predicted >= 0 else [None] * len(class_names)),
    ]


def _cards(images: Sequence[Prediction], pictures: Mapping[str, str], class_names: Sequence[str], most: int) -> str:
    cards = "".join(_card(image, pictures.get(image.name, ""), class_names) for image in images[:most])
    note = f'<p class="note">The first {most} of {len(images)} images.</p>' if len(images) > most else ""
    return f'<div class="cards">{cards}</div>{note}'


def _card(image: Prediction, picture: str, class_names: Sequence[str]) -> str:
    name, found = escape(image.name), class_name(image.predicted, class_names)
    facts = [f"<b>{escape(found or 'no class')}</b>"]
    if found:
        facts[0] += f" {image.probabilities[image.predicted]:.2f}"
    facts += [f"truth <b>{escape(class_name(image.truth, class_names))}</b>"] if image.wrong else []
    facts += ["uncertain"] if found and not image.certain else []
    facts += [escape(image.note)] if image.note else []
    # The whole picture, where other pages show a square part.
    shown = f'<img src="{escape(picture)}" alt="Votes over {name}" loading="lazy" style="aspect-ratio:auto">'
    link = escape(quote(f"{image.name}_votes.png"))
    opened = f'<a href="{link}">{shown}</a>' if picture else ""
    return (
        f'<article class="card">{opened}<div><span class="title" title="{name}">{name}</span>'
        f'<span class="facts">{" · ".join(facts)}</span></div></article>'
    )


def _legend(class_names: Sequence[str]) -> str:
    marks = "".join(
        '<i style="background:#{:02x}{:02x}{:02x};height:10px"></i>'.format(*CLASS_COLOURS[index % len(CLASS_COLOURS)])
        + escape(name)
        for index, name in enumerate(class_names)
    )
    return f'<p class="note legend">Patches vote for{marks}; grey: no tissue</p>'
