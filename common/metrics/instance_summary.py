"""What an evaluation leaves behind: ``metrics.json`` with intervals and ``metrics_per_image.csv``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..outputs.files import write_text
from ..outputs.tables import csv_text
from .annotated import AnnotatedScore, total_annotated
from .bootstrap import bootstrap_intervals
from .instances import SCORES, THRESHOLDS_PERCENT, InstanceScore, total

MEANS: tuple[str, ...] = ("ap50", "f1", "panoptic_quality", "aji", "dice", "iou")
"""Scores that are given both pooled over all objects and, as ``mean_<name>``, as mean over images."""


class ImageRow(NamedTuple):
    """The score of one image.

    Attributes:
        name: of the image.
        group: what it shares with images that are not independent of it: patient, field, slide.
        modality: for the break-down, such as "fluorescence"; "" for none.
        score: counts against the truth.
        annotated: counts over annotated objects, where not all objects are annotated.
    """

    name: str
    group: str
    modality: str
    score: InstanceScore
    annotated: AnnotatedScore | None = None


def summarise(
    per_image: Sequence[ImageRow | tuple[str, str, str, InstanceScore]],
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Content of ``metrics.json``: every score with its interval, over all images and by modality.

    ``competition_score`` and ``mean_*`` are means over images, all others are pooled over all objects. Intervals are
    percentile bootstraps over groups; with one group the bounds are None (null).

    Args:
        per_image: one row per image.
        confidence: of the intervals.
        resamples: how many sets of groups are drawn.
        seed: of the random numbers.

    Returns:
        ``{"n_images", "n_groups", "n_objects", "n_predicted_objects", "metrics": {name: {"estimate", "low", "high"}},
        "average_precision": {threshold: pooled}, "by_modality": {modality: the same keys}, "interval": settings}``; where
        not all objects are annotated also ``"partially_annotated": {"n_images", "n_annotated", "sensitivity",
        "coverage"}``, see :class:`.annotated.AnnotatedScore`.

    Raises:
        ValueError: no images.
    """
    rows = [ImageRow(*row) for row in per_image]
    settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
    result = _summarise_part(rows, **settings)
    by_modality: dict[str, list[ImageRow]] = {}
    for row in rows:
        by_modality.setdefault(row.modality, []).append(row)
    result["by_modality"] = {
        name: _summarise_part(part, **settings) for name, part in sorted(by_modality.items()) if name
    }
    partial = [row.annotated for row in rows if row.annotated is not None]
    if partial:
        whole = total_annotated(partial)
        result["partially_annotated"] = {
            "n_images": len(partial),
            "n_annotated": whole.annotated,
            "sensitivity": whole.sensitivity,
            "coverage": whole.coverage,
        }
    result["interval"] = {"method": "percentile bootstrap over groups", **settings}
    return result


def _summarise_part(rows: list[ImageRow], **settings: Any) -> dict[str, Any]:
    groups: dict[str, list[InstanceScore]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row.score)
    # Groups are drawn whole, so each enters the bootstrap as one vector of sums.
    intervals = bootstrap_intervals([_sums(scores) for scores in groups.values()], None, _statistics, **settings)
    whole = total([row.score for row in rows])
    precision = whole.average_precision
    return {
        "n_images": len(rows),
        "n_groups": len(groups),
        "n_objects": whole.truth_objects,
        "n_predicted_objects": whole.predicted_objects,
        "metrics": {name: interval.as_json() for name, interval in intervals.items()},
        "average_precision": {f"{p / 100:.2f}": float(ap) for p, ap in zip(THRESHOLDS_PERCENT, precision, strict=True)},
    }


def _sums(scores: Sequence[InstanceScore]) -> np.ndarray:
    """Number of images, sums of their scores, sums of their counts."""
    parts = [[1.0, *score.scores().values(), *score.counts()] for score in scores]
    return np.sum(parts, axis=0)


def _statistics(groups: list[np.ndarray]) -> dict[str, float]:
    summed = np.sum(groups, axis=0)
    mean = dict(zip(SCORES, summed[1 : 1 + len(SCORES)] / summed[0], strict=True))
    pooled = InstanceScore.from_counts(summed[1 + len(SCORES) :]).scores()
    pooled["competition_score"] = float(mean["competition_score"])
    return {**pooled, **{f"mean_{name}": float(mean[name]) for name in MEANS}}


def per_image_table(per_image: Sequence[ImageRow | tuple[str, str, str, InstanceScore]]) -> str:
    """Content of ``metrics_per_image.csv``: one row per image; counts of matches are those at IoU > 0.5."""
    counts = ("truth_objects", "predicted_objects", "true_positives", "false_positives", "false_negatives")
    lines: list[list[Any]] = [["image", "group", "modality", *counts, *SCORES]]
    for row in (ImageRow(*row) for row in per_image):
        score = row.score
        matched = (score.true_positives[0], score.false_positives[0], score.false_negatives[0])
        numbers = [score.truth_objects, score.predicted_objects, *(int(count) for count in matched)]
        lines.append([row.name, row.group, row.modality, *numbers, *(f"{v:.6f}" for v in score.scores().values())])
    return csv_text(lines)


def write_metrics(
    folder: str | Path,
    rows: Sequence[ImageRow | tuple[str, str, str, InstanceScore]],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes ``metrics.json`` and ``metrics_per_image.csv`` into a folder, each whole or not at all.

    Args:
        folder: made where it is missing.
        rows: one per image.
        extra: further keys for ``metrics.json``, such as the weights' hash.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ValueError: no images.
        InputError: the folder cannot be written.
    """
    summary = {**summarise(rows), **(extra or {})}
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    write_text(Path(folder) / "metrics_per_image.csv", per_image_table(rows))
    write_text(Path(folder) / "metrics.json", text)
    return summary
