"""Which figures a kind of bundle is judged by in a cross-validation: how they are read, summed up and shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .datasets.datalist import read_json
from .datasets.folds import group_of
from .datasets.labels import read_instances, read_label_values
from .errors import InputError
from .metrics.annotated import score_annotated, score_truth
from .metrics.cardiac_frames import FrameRow, StackVolumes
from .metrics.cardiac_summary import agreement_table, bland_altman_svg, cardiac_table, summarise_cardiac
from .metrics.cardiac_tables import PER_FRAME, PER_STACK, frames_table, read_frames, read_volumes, volumes_table
from .metrics.classification import ClassRow
from .metrics.classification_summary import (
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
from .metrics.summary import ImageRow, per_image_table, summarise
from .names import safe_name
from .report.html import ReportImage, ReportTable, metrics_table


class Plot(NamedTuple):
    """A picture of numbers: name of its file, heading in the report, SVG."""

    file: str
    title: str
    svg: str


@dataclass(frozen=True)
class Figures:
    """What differs between kinds of bundles. A row is what one picture of the report shows: an image, or a stack of them.

    Attributes:
        columns: heading of each figure by its name in ``metrics.json``, for the tables of folds and of everything.
        counts: heading of each count by its name in ``metrics.json``, likewise.
        pictures: what a row is called, in the plural; the report shows those first whose first score is the lowest.
        named: what the tables call an image, from the name of its record.
        read: rows of a fold, from the records that it scored and the folder with its results.
        summarise: content of ``metrics.json`` from rows and the number of resamples.
        tables: CSV tables by file name.
        plots: pictures of all rows, of those that there is anything to draw of.
        report_tables: tables of everything for the report, from the content of ``metrics.json``.
        picture: entry in the report, from a row and the folder with the results of its fold.
        note: what the headings leave open.
        done: what the network did to an image, for the head of the report.
    """

    columns: Mapping[str, str]
    counts: Mapping[str, str]
    pictures: str
    named: Callable[[str], str]
    read: Callable[[Sequence[dict[str, Any]], Path], list[Any]]
    summarise: Callable[[Sequence[Any], int], dict[str, Any]]
    tables: Callable[[Sequence[Any]], dict[str, str]]
    plots: Callable[[Sequence[Any]], list[Plot]]
    report_tables: Callable[[Mapping[str, Any]], list[ReportTable]]
    picture: Callable[[Any, Path], ReportImage]
    note: str
    done: str = "segmented"


def figures_of(bundle: Path) -> Figures:
    """The figures that a bundle's ``metadata.json`` names under ``figures``; without it those of instances.

    The bundle says it itself, as a folder is copied, renamed and exported, and what its evaluation writes is its own.

    Raises:
        InputError: a name that is none of :data:`FIGURES`.
    """
    path = Path(bundle) / "configs" / "metadata.json"
    name = read_json(path).get("figures", "instances")
    if name not in FIGURES:
        raise InputError(path, f'"figures": {name!r}', f"one of {', '.join(FIGURES)}")
    return FIGURES[name]


def _picture_of(results: Path, name: str, kind: str = "overlay") -> Path | None:
    path = results / f"{name}_{kind}.png"
    return path if path.is_file() else None


# Instances: a row is an image.

_INSTANCE_SCORES = ("aji", "dice", "iou", "f1", "panoptic_quality", "ap50", "competition_score")
_INSTANCE_COLUMNS = {
    "mean_dice": "Dice",
    "mean_iou": "IoU",
    "mean_aji": "AJI",
    "f1": "F1 at IoU 0.5",
    "panoptic_quality": "PQ",
    "ap50": "AP50",
    "competition_score": "competition score",
}


def read_instance_row(record: dict[str, Any], results: Path) -> ImageRow:
    """Score ``<name>_label.tif`` against the truth again: pooled figures need counts that no table holds.

    Raises:
        InputError: a result or truth that cannot be read, or results of another size than the image.
    """
    predicted = read_label_values(results / f"{record['name']}_label.tif")
    truth = read_instances(record, (predicted.shape[0], predicted.shape[1]))
    partial = bool(record.get("partial"))
    score, annotated = score_truth(truth, predicted, partial), score_annotated(truth, predicted) if partial else None
    return ImageRow(record["name"], group_of(record), str(record.get("modality") or ""), score, annotated)


def _instance_tables(metrics: Mapping[str, Any]) -> list[ReportTable]:
    table = metrics_table(metrics, tuple(_INSTANCE_COLUMNS))
    columns = [*table.columns[: -len(_INSTANCE_COLUMNS)], *_INSTANCE_COLUMNS.values()]
    return [dataclasses.replace(table, title="All images, out of fold", columns=columns)]


def _instance_picture(row: ImageRow, results: Path) -> ReportImage:
    scores = row.score.scores()
    return ReportImage(
        row.name,
        _picture_of(results, row.name),
        row.score.predicted_objects,
        row.group if row.group != row.name else "",
        {name: scores[name] for name in _INSTANCE_SCORES},
    )


INSTANCES = Figures(
    columns=_INSTANCE_COLUMNS,
    counts={"n_images": "images", "n_groups": "groups", "n_objects": "objects"},
    pictures="images",
    named=lambda name: name,
    read=lambda records, results: [read_instance_row(record, results) for record in records],
    summarise=lambda rows, resamples: summarise(rows, resamples=resamples),
    tables=lambda rows: {"metrics_per_image.csv": per_image_table(rows)},
    plots=lambda rows: [],
    report_tables=_instance_tables,
    picture=_instance_picture,
    note="Dice, IoU, AJI and competition score are means over images; F1, PQ and AP50 are counted over all objects. "
    "Groups are patients, slides or fields.",
)


# The left ventricle: a row is a stack of frames.


class StackRow(NamedTuple):
    """What is known of one stack.

    Attributes:
        name: of the stack.
        frames: scores of its drawn frames.
        volumes: None where there are none to compare.
    """

    name: str
    frames: list[FrameRow]
    volumes: StackVolumes | None


def read_stack_rows(records: Sequence[dict[str, Any]], results: Path) -> list[StackRow]:
    """The stacks of a fold from its own tables, which hold all that the figures are made of, to the last digit.

    Raises:
        InputError: a table that is not there or cannot be read.
    """
    names = {safe_name(record["name"]) for record in records}
    volumes = {row.stack: row for row in read_volumes(results / PER_STACK)}
    stacks: dict[str, list[FrameRow]] = {}
    for frame in read_frames(results / PER_FRAME):
        if frame.image in names:
            stacks.setdefault(frame.stack, []).append(frame)
    return [StackRow(name, frames, volumes.get(name)) for name, frames in stacks.items()]


def _frames(rows: Sequence[StackRow]) -> list[FrameRow]:
    return [frame for row in rows for frame in row.frames]


def _volumes(rows: Sequence[StackRow]) -> list[StackVolumes]:
    return [row.volumes for row in rows if row.volumes is not None]


def _stack_plots(rows: Sequence[StackRow]) -> list[Plot]:
    svg = bland_altman_svg(_volumes(rows))
    return [Plot("bland_altman.svg", "Ejection fraction against the truth", svg)] if svg else []


def _stack_picture(row: StackRow, results: Path) -> ReportImage:
    contours = [frame.endocardium for frame in row.frames if frame.endocardium is not None]
    scores = {
        "dice": float(np.mean([contour.dice for contour in contours])) if contours else math.nan,
        "good_percent": 100 * float(np.mean([contour.good for contour in contours])) if contours else math.nan,
    }
    sides = (None, None) if row.volumes is None else (row.volumes.truth, row.volumes.predicted)
    truth, found = (None if side is None else side.ejection_fraction_percent for side in sides)
    note = row.frames[0].group if row.frames[0].group != row.name else ""
    if truth is not None and found is not None:
        note += f"{', ' if note else ''}ejection fraction {found:.1f} % (truth {truth:.1f} %)"
    drawn = sum(contour.found for contour in contours)
    return ReportImage(row.name, _picture_of(results, row.name), drawn, note, scores, unit="contour")


CARDIAC = Figures(
    columns={
        "mean_dice": "endocardium Dice",
        "mean_iou": "IoU",
        "endocardium_good_percent": "good in %",
        "endocardium_apd_mm_of_good": "APD of good in mm",
        "epicardium_mean_dice": "epicardium Dice",
        "epicardium_good_percent": "epicardium good in %",
        "epicardium_apd_mm_of_good": "epicardium APD of good in mm",
        "mean_pixel_accuracy": "pixel accuracy",
        "bias_ejection_fraction_percent": "bias of EF in %",
    },
    counts={"n_images": "frames", "n_groups": "patients"},
    pictures="stacks",
    named=safe_name,
    read=read_stack_rows,
    summarise=lambda rows, resamples: summarise_cardiac(_frames(rows), _volumes(rows), resamples=resamples),
    tables=lambda rows: {PER_FRAME: frames_table(_frames(rows)), PER_STACK: volumes_table(_volumes(rows))},
    plots=_stack_plots,
    report_tables=lambda metrics: [table for table in (cardiac_table(metrics), agreement_table(metrics)) if table.rows],
    picture=_stack_picture,
    note="Dice, IoU and pixel accuracy are plain means over all drawn frames; a contour is good if its average "
    "perpendicular distance (APD) is below 5 mm; EF: ejection fraction, predicted minus true.",
)

# Classes: a row is an image.


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
    return ReportImage(row.image, _picture_of(results, row.image, "votes"), sum(row.votes), note, scores, unit="patch")


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
    note="The class of a slide is that of the highest mean probability of its images. Balanced accuracy and mean F1 are "
    "means over the classes that a fold tests, so that a fold with few slides says little.",
    done="classified",
)

FIGURES: Mapping[str, Figures] = {"instances": INSTANCES, "cardiac": CARDIAC, "classes": CLASSES}
"""Kinds of figures by the name that a bundle's ``metadata.json`` gives."""
