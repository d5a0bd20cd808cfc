"""Figures of classes: a row is an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..metrics.classification import ClassRow
from ..metrics.classification_summary import (
    CONFUSION,
    PER_IMAGE,
    class_tables,
    confusion_svg,
    confusion_table,
    read_rows,
    reliability_svg,
    rows_table,
    summarise_classes,
)
from ..report.html import ReportImage
from .base import Figures, Plot, picture_of


class LabelledRow(NamedTuple):
    """One image with the names of the classes, which its numbers stand for.

    Attributes:
        row: what was found.
        class_names: in the order of the classes.
    """

    row: ClassRow
    class_names: tuple[str, ...]


def read_class_rows(records: Sequence[dict[str, Any]], results: Path) -> list[LabelledRow]:
    """The images of a fold from its own table, which holds all that the figures are made of, to the last digit.

    Raises:
        InputError: a table that is not there or cannot be read.
    """
    names = {record["name"] for record in records}
    rows, class_names = read_rows(results / PER_IMAGE)
    return [LabelledRow(row, class_names) for row in rows if row.image in names]


def _class_summary(rows: Sequence[LabelledRow], resamples: int = 0) -> dict[str, Any]:
    return summarise_classes(*_unlabelled(rows), resamples=resamples)


def _unlabelled(rows: Sequence[LabelledRow]) -> tuple[list[ClassRow], tuple[str, ...]]:
    """The rows, and the names of the classes, which are the same in all folds.

    Raises:
        InputError: folds with other classes.
    """
    found = {row.class_names for row in rows}
    if len(found) > 1:
        both = " and ".join(", ".join(names) for names in sorted(found))
        raise InputError(PER_IMAGE, f"folds with the classes {both}", "the same classes in all folds")
    return [row.row for row in rows], next(iter(found))


def _class_plots(rows: Sequence[LabelledRow]) -> list[Plot]:
    summary = _class_summary(rows)
    plots = [
        Plot("confusion.svg", "Confusion: true against predicted class", confusion_svg(summary)),
        Plot("reliability.svg", "Reliability: accuracy over confidence", reliability_svg(summary)),
    ]
    return [plot for plot in plots if plot.svg]


def _class_picture(labelled: LabelledRow, results: Path) -> ReportImage:
    row, names = labelled
    found = names[row.predicted] if row.predicted >= 0 else "no class"
    note = f"{row.slide}, {found}" + ("" if row.predicted == row.truth else f" (truth {names[row.truth]})")
    scores = {"probability_of_the_truth": row.probabilities[row.truth] if row.predicted >= 0 else math.nan}
    return ReportImage(row.image, picture_of(results, row.image, "votes"), sum(row.votes), note, scores, unit="patch")


CLASSES = Figures(
    columns={
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "mean F1",
        "slide_accuracy": "slide accuracy",
        "slide_balanced_accuracy": "slide balanced accuracy",
        "calibration_error": "calibration error",
    },
    counts={"n_images": "images", "n_slides": "slides", "n_groups": "cases"},
    pictures="images",
    named=lambda name: name,
    read=read_class_rows,
    summarise=_class_summary,
    tables=lambda rows: {
        PER_IMAGE: rows_table(*_unlabelled(rows)),
        CONFUSION: confusion_table(_class_summary(rows)),
    },
    plots=_class_plots,
    report_tables=class_tables,
    picture=_class_picture,
    note=(
        "The class of a slide is that of the highest mean probability of its images. Balanced accuracy and mean F1 are "
        "means over the classes that a fold tests, so that a fold with few slides says little."
    ),
    done="classified",
)
