"""What all folds of a cross-validation say together: figures of each fold, of all images out of fold, and one report."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .crossval import CrossValidation
from .datasets.datalist import read_json
from .datasets.folds import group_of
from .datasets.labels import read_instances, read_label_values
from .datasets.tables import read_table
from .errors import InputError, Problem, listed
from .metrics.annotated import score_annotated, score_truth
from .metrics.summary import ImageRow, per_image_table, summarise
from .outputs.files import write_text
from .report.html import ReportImage, ReportTable, metrics_table, write_report


@dataclass(frozen=True)
class Figures:
    """Which figures a kind of bundle is judged by: the one place to change or to add to.

    Attributes:
        columns: heading of each figure by its name in ``metrics.json``, for the tables of folds and of all images.
        per_image: scores of single images in the report; the images with the lowest of the first one come first.
        read: the row of one image, from its record and the folder with the results of its fold.
        note: what the headings leave open.
    """

    columns: Mapping[str, str]
    per_image: Sequence[str]
    read: Callable[[dict[str, Any], Path], ImageRow]
    note: str


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


INSTANCES = Figures(
    columns={
        "mean_dice": "Dice",
        "mean_iou": "IoU",
        "mean_aji": "AJI",
        "f1": "F1 at IoU 0.5",
        "panoptic_quality": "PQ",
        "ap50": "AP50",
        "competition_score": "competition score",
    },
    per_image=("aji", "dice", "iou", "f1", "panoptic_quality", "ap50", "competition_score"),
    read=read_instance_row,
    note="Dice, IoU, AJI and competition score are means over images; F1, PQ and AP50 are counted over all objects.",
)


@dataclass(frozen=True)
class Gathered:
    """Out-of-fold results.

    Attributes:
        rows: one per image, in the order of the folds.
        fold_of: fold of each image by its name.
        metrics: content of ``metrics.json``.
        problems: images without result.
    """

    rows: list[ImageRow]
    fold_of: dict[str, int]
    metrics: dict[str, Any]
    problems: list[Problem]


def gather(run: CrossValidation, figures: Figures = INSTANCES) -> Gathered:
    """Score all folds that are evaluated, whichever run of the command did it.

    Args:
        run: with at least one fold evaluated.
        figures: how the bundle is judged.

    Raises:
        InputError: no fold is evaluated, or a fold holds results of images that the plan tests elsewhere.
    """
    done = [fold for fold in run.plan.folds if run.is_evaluated(fold)]
    if not done:
        raise InputError(run.output_dir, "no fold that is trained and evaluated", "at least one")
    problems = list(run.plan.problems)
    by_fold = {fold: _read_fold(run, fold, figures, problems) for fold in done}
    rows = [row for own in by_fold.values() for row in own]
    if not rows:
        raise InputError(run.output_dir, "no result of any image", "at least one")
    each = {fold: summarise(own, resamples=0) for fold, own in by_fold.items() if own}
    metrics = {
        **summarise(rows),
        "cross_validation": {
            "bundle": run.bundle.absolute().name,
            "seed": run.seed,
            "folds_planned": len(run.plan.folds),
            "folds": [{"fold": fold, **_estimates(part)} for fold, part in each.items()],
            "over_folds": over_folds([_estimates(part)["metrics"] for part in each.values()]),
        },
        "problems": [{"name": problem.name, "reason": problem.reason} for problem in problems],
    }
    return Gathered(rows, {row.name: fold for fold, own in by_fold.items() for row in own}, metrics, problems)


def _read_fold(run: CrossValidation, fold: int, figures: Figures, problems: list[Problem]) -> list[ImageRow]:
    """Rows of one fold in the order of the plan; images without result go to the problems."""
    results, records = run.results(fold), run.plan.of_fold(fold)
    # The table tells what this evaluation scored; files of an earlier one may lie beside it.
    scored = {row["image"] for row in read_table(results / "metrics_per_image.csv", ("image",))}
    foreign = sorted(scored - {record["name"] for record in records})
    if foreign:
        raise InputError(results, f"results of {listed(foreign)}", f"the images of fold {fold} alone")
    reasons = {entry["name"]: entry["reason"] for entry in read_json(results / "summary.json").get("problems", [])}
    rows = []
    for record in records:
        if record["name"] in scored:
            rows.append(figures.read(record, results))
        else:
            problems.append(Problem(record["name"], reasons.get(record["name"], f"no result in {results}")))
    return rows


def _estimates(summary: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: summary[name] for name in ("n_images", "n_groups", "n_objects", "n_predicted_objects")}
    return {**counts, "metrics": {name: value["estimate"] for name, value in summary["metrics"].items()}}


def over_folds(folds: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation (n - 1 in the denominator, None for a single fold) of each figure over folds.

    >>> over_folds([{"dice": 0.5}, {"dice": 0.7}])["dice"]["mean"]
    0.6
    """
    found: dict[str, dict[str, float | None]] = {}
    for name in folds[0]:
        values = [value for value in (fold[name] for fold in folds) if value is not None]
        found[name] = {
            "mean": float(np.mean(values)) if values else None,
            "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return found


def write_gathered(run: CrossValidation, gathered: Gathered, figures: Figures = INSTANCES, worst: int = 24) -> Path:
    """Write ``metrics_per_image.csv``, ``metrics.json`` and ``report.html``, each whole or not at all.

    Args:
        run: whose output folder is written to.
        gathered: see :func:`gather`.
        figures: how the bundle is judged.
        worst: pictures in the report.

    Returns:
        The report.

    Raises:
        InputError: the folder holds figures of folds that are not among these, or cannot be written.
    """
    path = run.output_dir / "metrics.json"
    folds = [part["fold"] for part in gathered.metrics["cross_validation"]["folds"]]
    _refuse_fewer_folds(path, folds)
    write_text(run.output_dir / "metrics_per_image.csv", _with_fold(per_image_table(gathered.rows), gathered.fold_of))
    write_text(path, json.dumps(gathered.metrics, indent=2, allow_nan=False) + "\n")
    report = run.output_dir / "report.html"
    totals = {name: gathered.metrics[f"n_{name}"] for name in ("images", "groups", "objects")}
    write_report(
        report,
        f"Cross-validation: {run.bundle.absolute().name.replace('_', ' ')}",
        {
            "subtitle": f"{len(folds)} of {len(run.plan.folds)} folds. Every image was segmented by the network that saw "
            f"neither it nor its patient. Images with the lowest {figures.per_image[0].replace('_', ' ')} first.",
            "totals": {"folds": len(folds), **totals},
            "settings": {"bundle": run.bundle.absolute().name, "seed": run.seed, **run.overrides},
        },
        _images(run, gathered, figures),
        [_all_images_table(gathered.metrics, figures), folds_table(gathered.metrics, figures)],
        [f"{problem.name}: {problem.reason}" for problem in gathered.problems],
        thumbnails=worst,
    )
    return report


def folds_table(metrics: Mapping[str, Any], figures: Figures = INSTANCES) -> ReportTable:
    """Figures of each fold, their mean and standard deviation, from what :func:`gather` gives.

    Args:
        metrics: content of ``metrics.json``.
        figures: how the bundle is judged.
    """
    part = metrics["cross_validation"]
    rows: list[list[Any]] = [
        [str(fold["fold"]), fold["n_images"], fold["n_groups"], fold["n_objects"]]
        + [fold["metrics"][name] for name in figures.columns]
        for fold in part["folds"]
    ]
    for name, label in (("mean", "mean over folds"), ("standard_deviation", "standard deviation")):
        rows.append([label, None, None, None, *(part["over_folds"][figure][name] for figure in figures.columns)])
    columns = ["fold", "images", "groups", "objects", *figures.columns.values()]
    return ReportTable("Each fold", columns, rows, f"Groups are patients, slides or fields. {figures.note}")


def _all_images_table(metrics: Mapping[str, Any], figures: Figures) -> ReportTable:
    table = metrics_table(metrics, tuple(figures.columns))
    columns = [*table.columns[: -len(figures.columns)], *figures.columns.values()]
    return dataclasses.replace(table, title="All images, out of fold", columns=columns)


def _images(run: CrossValidation, gathered: Gathered, figures: Figures) -> list[ReportImage]:
    """All images, the worst first."""
    found = []
    for row in gathered.rows:
        scores, fold = row.score.scores(), gathered.fold_of[row.name]
        picture = run.results(fold) / f"{row.name}_overlay.png"
        found.append(
            ReportImage(
                row.name,
                picture if picture.is_file() else None,
                row.score.predicted_objects,
                f"fold {fold}" + (f", {row.group}" if row.group != row.name else ""),
                {name: scores[name] for name in figures.per_image},
            )
        )
    first = figures.per_image[0]
    return sorted(
        found, key=lambda image: (-1.0 if math.isnan(image.metrics[first]) else image.metrics[first], image.name)
    )


def _with_fold(table: str, fold_of: Mapping[str, int]) -> str:
    """A column ``fold`` behind the image's name."""
    rows = list(csv.reader(io.StringIO(table)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([rows[0][0], "fold", *rows[0][1:]])
    writer.writerows([row[0], fold_of[row[0]], *row[1:]] for row in rows[1:])
    return text.getvalue()


def _refuse_fewer_folds(path: Path, folds: Sequence[int]) -> None:
    if not path.exists():
        return
    earlier = read_json(path).get("cross_validation", {}).get("folds", [])
    lost = [str(part["fold"]) for part in earlier if part["fold"] not in folds]
    if lost:
        raise InputError(
            path, f"figures that include fold {listed(lost)}, whose results are no longer there", "all of them again"
        )
