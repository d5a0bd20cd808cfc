"""Figures of instances: a row is an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..datasets.folds import group_of
from ..datasets.labels import read_instances, read_label_values
from ..metrics.annotated import score_annotated, score_truth
from ..metrics.instance_summary import ImageRow, per_image_table, summarise
from ..report.html import ReportImage, ReportTable, metrics_table
from .base import Figures, picture_of

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
        picture_of(results, row.name),
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
    note=(
        "Dice, IoU, AJI and competition score are means over images; F1, PQ and AP50 are counted over all objects. "
        "Groups are patients, slides or fields."
    ),
)
