"""What an evaluation of classes leaves behind: ``metrics.json`` with intervals, its tables and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.tables import read_table
from ..errors import InputError
from ..outputs.files import write_text
from ..outputs.tables import csv_text
from ..report.class_plots import confusion_plot, reliability_plot
from ..report.html import ReportTable, interval_cell
from .bootstrap import bootstrap_intervals
from .classification import (
    BINS,
    ClassRow,
    Reliability,
    class_scores,
    confusion_matrix,
    reliability,
    slide_rows,
)

PER_IMAGE, CONFUSION = "metrics_per_image.csv", "confusion.csv"

_COLUMNS = ("image", "group", "slide", "true_class", "predicted_class", "correct")
_HEADINGS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "mean F1"}


def summarise_classes(
    rows: Sequence[ClassRow],
    class_names: Sequence[str],
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Content of ``metrics.json``.

    The names of the ``metrics``: ``accuracy``, ``balanced_accuracy`` and ``macro_f1`` over images, the same over slides
    as ``slide_*``, ``precision_<class>``, ``recall_<class>`` and ``f1_<class>`` over images, and ``calibration_error`` of
    the images' probabilities. Intervals are percentile bootstraps over groups (cases: all slides of a patient are drawn
    together); what is unknown, and the bounds of a single group, are None (null). Dice, IoU and patch-level accuracy have
    no meaning here: only images have a truth.

    Args:
        rows: one per image.
        class_names: in the order of the classes.
        confidence: of the intervals.
        resamples: how many sets of groups are drawn.
        seed: of the random numbers.

    Returns:
        ``{"n_images", "n_slides", "n_groups", "n_without_class", "class_names", "metrics": {name: {"estimate", "low",
        "high"}}, "confusion": (classes, classes + 1) counts of true and predicted class (the last column: none),
        "slide_confusion": likewise, "reliability": {"bins", "counts", "confidence", "accuracy"}, "interval": settings}``.

    Raises:
        ValueError: no rows, or probabilities of another number of classes.
    """
    if not rows:
        raise ValueError("no images to summarise")
    if any(len(row.probabilities) != len(class_names) for row in rows):
        raise ValueError(f"a probability for each of the classes {', '.join(class_names)}")
    settings: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    groups: dict[str, list[ClassRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    # All figures follow from sums, so each group enters the bootstrap as one vector of them.
    sums = [_sums(own, len(class_names)) for own in groups.values()]
    intervals = bootstrap_intervals(sums, None, lambda chosen: _figures(chosen, class_names), **settings)
    images, slides, bins = _divided(np.sum(sums, axis=0), len(class_names))
    return {
        "n_images": len(rows),
        "n_slides": int(slides.sum()),
        "n_groups": len(groups),
        "n_without_class": sum(row.predicted < 0 for row in rows),
        "class_names": list(class_names),
        "metrics": {name: interval.as_json() for name, interval in intervals.items()},
        "confusion": images.astype(int).tolist(),
        "slide_confusion": slides.astype(int).tolist(),
        "reliability": _bins(bins),
        "interval": {"method": "percentile bootstrap over groups", **settings},
    }


def _sums(rows: Sequence[ClassRow], classes: int) -> np.ndarray:
    """Confusion of images, confusion of slides and sums of the bins of confidence, one behind the other."""
    matrices = [confusion_matrix(part, classes).ravel() for part in (rows, slide_rows(rows))]
    return np.concatenate([*matrices, *reliability(rows)]).astype(np.float64)


def _divided(sums: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, Reliability]:
    size = classes * (classes + 1)
    shape = (classes, classes + 1)
    return (
        sums[:size].reshape(shape),
        sums[size : 2 * size].reshape(shape),
        Reliability(*sums[2 * size :].reshape(3, BINS)),
    )


def _figures(chosen: Sequence[np.ndarray], class_names: Sequence[str]) -> dict[str, float]:
    images, slides, bins = _divided(np.sum(chosen, axis=0), len(class_names))
    of_images, of_slides = class_scores(images), class_scores(slides)
    figures = {name: float(getattr(of_images, name)) for name in _HEADINGS}
    figures |= {f"slide_{name}": float(getattr(of_slides, name)) for name in _HEADINGS}
    figures["calibration_error"] = bins.calibration_error
    for index, name in enumerate(class_names):
        for score in ("precision", "recall", "f1"):
            figures[f"{score}_{name}"] = float(getattr(of_images, score)[index])
    return figures


def _bins(bins: Reliability) -> dict[str, Any]:
    def means(sums: np.ndarray) -> list[float | None]:
        return [float(own / count) if count else None for own, count in zip(sums, bins.counts, strict=True)]

    return {
        "bins": BINS,
        "counts": bins.counts.astype(int).tolist(),
        "confidence": means(bins.confidence),
        "accuracy": means(bins.correct),
    }


def write_class_metrics(output_dir: str | Path, rows: Sequence[ClassRow], class_names: Sequence[str]) -> dict[str, Any]:
    """Writes ``metrics.json``, ``metrics_per_image.csv``, ``confusion.csv``, ``confusion.svg`` and ``reliability.svg``,
    each whole or not at all.

    Args:
        output_dir: made where it is missing.
        rows: one per image.
        class_names: in the order of the classes.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ValueError: see :func:`summarise_classes`.
        InputError: the folder cannot be written.
    """
    folder, summary = Path(output_dir), summarise_classes(rows, class_names)
    texts = {
        PER_IMAGE: rows_table(rows, class_names),
        CONFUSION: confusion_table(summary),
        "confusion.svg": confusion_svg(summary),
        "reliability.svg": reliability_svg(summary),
        "metrics.json": json.dumps(summary, indent=2, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        if text:
            write_text(folder / name, text)
        else:  # that of an earlier run would speak of other images
            (folder / name).unlink(missing_ok=True)
    return summary


def rows_table(rows: Sequence[ClassRow], class_names: Sequence[str]) -> str:
    """Content of ``metrics_per_image.csv`` with all digits: :func:`read_rows` gives the rows back."""
    columns = [*_COLUMNS, *(f"{kind}_{name}" for kind in ("probability", "votes") for name in class_names)]
    cells = [
        [
            *(row.image, row.group, row.slide, class_names[row.truth]),
            *("" if row.predicted < 0 else class_names[row.predicted], int(row.predicted == row.truth)),
            *row.probabilities,
            *row.votes,
        ]
        for row in rows
    ]
    return csv_text([columns, *cells])


def read_rows(path: str | Path) -> tuple[list[ClassRow], tuple[str, ...]]:
    """The rows of which :func:`rows_table` was made, and the names of the classes.

    Raises:
        InputError: no such table, or a line that cannot be read.
    """
    path = Path(path)
    table = read_table(path, _COLUMNS)
    prefix = "probability_"
    names = tuple(column.removeprefix(prefix) for column in (table[0] if table else ()) if column.startswith(prefix))
    rows = []
    for number, cells in enumerate(table, start=2):
        try:
            rows.append(_row(cells, names))
        except (KeyError, ValueError) as error:
            raise InputError(
                path, f"line {number}, which cannot be read ({error})", "classes with probabilities and votes"
            ) from error
    return rows, names


def _row(cells: Mapping[str, str], names: Sequence[str]) -> ClassRow:
    return ClassRow(
        image=cells["image"],
        group=cells["group"],
        slide=cells["slide"],
        truth=names.index(cells["true_class"]),
        predicted=names.index(cells["predicted_class"]) if cells["predicted_class"] else -1,
        probabilities=tuple(float(cells[f"probability_{name}"]) for name in names),
        votes=tuple(int(cells[f"votes_{name}"]) for name in names),
    )


def confusion_table(metrics: Mapping[str, Any]) -> str:
    """Content of ``confusion.csv``: per true class the number of images, then of slides, that were given each class."""
    names = metrics["class_names"]
    columns = ["true_class", "counted", *(f"predicted_{name}" for name in names), "no_class"]
    parts = (("images", metrics["confusion"]), ("slides", metrics["slide_confusion"]))
    return csv_text(
        [
            columns,
            *([name, unit, *counts] for unit, matrix in parts for name, counts in zip(names, matrix, strict=True)),
        ]
    )


def confusion_svg(metrics: Mapping[str, Any]) -> str:
    """Confusion matrix of the images, from the dictionary of ``metrics.json``."""
    return confusion_plot(np.array(metrics["confusion"]), metrics["class_names"])


def reliability_svg(metrics: Mapping[str, Any]) -> str:
    """Accuracy over confidence, from the dictionary of ``metrics.json``; "" where no image was given a class."""
    bins = metrics["reliability"]
    error = metrics["metrics"]["calibration_error"]["estimate"]
    return reliability_plot(bins["counts"], bins["confidence"], bins["accuracy"], error)


def class_tables(metrics: Mapping[str, Any]) -> list[ReportTable]:
    """Tables of the report: everything per image and per slide, then each class.

    Args:
        metrics: the dictionary of ``metrics.json``.
    """
    figures, confidence = metrics["metrics"], 100 * metrics["interval"]["confidence"]
    parts = (("image", "", metrics["n_images"]), ("slide", "slide_", metrics["n_slides"]))
    whole: list[list[Any]] = [
        [f"per {name}", count, *(interval_cell(figures[f"{prefix}{score}"]) for score in _HEADINGS)]
        for name, prefix, count in parts
    ]
    whole[0].append(interval_cell(figures["calibration_error"]))
    whole[1].append(None)
    note = (
        f"Below each figure its {confidence:g} % interval: bootstrap over {metrics['n_groups']} cases. The class of a slide "
        "is that of the highest mean probability of its images. An image without class counts as wrong."
    )
    each: list[list[Any]] = [
        [name, sum(counts), sum(row[index] for row in metrics["confusion"])]
        + [interval_cell(figures[f"{score}_{name}"]) for score in ("precision", "recall", "f1")]
        for index, (name, counts) in enumerate(zip(metrics["class_names"], metrics["confusion"], strict=True))
    ]
    columns = ["", "number", *_HEADINGS.values(), "calibration error"]
    return [
        ReportTable("Classes against the truth", columns, whole, note),
        ReportTable("Each class, over images", ["class", "images", "predicted", "precision", "recall", "F1"], each),
    ]
