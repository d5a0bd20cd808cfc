"""What an evaluation leaves behind: scores of every frame, their means with intervals, over all and by group."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.tables import read_table
from ...errors import InputError
from ...metrics.bootstrap import bootstrap_intervals
from ...outputs.files import write_text
from ...outputs.tables import table_text
from ...report.html import ReportTable, interval_cell

PER_FRAME = "metrics_per_image.csv"

_KEYS = ("image", "frame", "group")
_FEW = 10  # groups: a bootstrap of fewer gives intervals that are too narrow


@dataclass(frozen=True)
class FrameScore:
    """Scores of one frame.

    Attributes:
        image: the sequence.
        frame: number of the frame, from 1 on.
        group: what it shares with frames that are not independent of it: aggregate, well, movie.
        scores: by name, nan where there is none; see :func:`...metrics.frames.score_frames`.
    """

    image: str
    frame: int
    group: str
    scores: Mapping[str, float]


def summarise(
    rows: Sequence[FrameScore], confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Content of ``metrics.json``: the mean of every score over frames, ``mean_<name>``, with its interval.

    Intervals are percentile bootstraps over groups; with one group the bounds are None. Scores that are nan are left
    out of their mean, which is None where all are.

    Args:
        rows: one per frame, one at least.
        confidence, resamples, seed: of the intervals.

    Returns:
        ``{"n_frames", "n_images", "n_groups", "metrics": {name: {"estimate", "low", "high"}}, "by_group": {group:
        {"n_frames", "metrics": {name: mean}}}, "interval": settings}``.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    settings: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    groups: dict[str, list[FrameScore]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)

    def means(sums: list[np.ndarray]) -> dict[str, float]:
        totals = np.sum(sums, axis=0)
        return {
            f"mean_{name}": float(total / count) if count else math.nan
            for name, total, count in zip(names, *totals, strict=True)
        }

    # Groups are drawn whole, so each enters the bootstrap as its sums and counts.
    sums = {group: _sums(own, names) for group, own in groups.items()}
    intervals = bootstrap_intervals(list(sums.values()), None, means, **settings)
    return {
        "n_frames": len(rows),
        "n_images": len({row.image for row in rows}),
        "n_groups": len(groups),
        "metrics": {name: found.as_json() for name, found in intervals.items()},
        "by_group": {
            group: {
                "n_frames": len(groups[group]),
                "metrics": {name: None if math.isnan(value) else value for name, value in means([own]).items()},
            }
            for group, own in sorted(sums.items())
        },
        "interval": {"method": "percentile bootstrap over groups", **settings},
    }


def _sums(rows: Sequence[FrameScore], names: Sequence[str]) -> np.ndarray:
    """(2, scores): sum of each score and how many are known."""
    values = np.array([[row.scores.get(name, math.nan) for name in names] for row in rows], np.float64)
    known = np.isfinite(values)
    return np.stack([np.where(known, values, 0).sum(axis=0), known.sum(axis=0)])


def mean_scores(rows: Sequence[FrameScore]) -> dict[str, float]:
    """Mean of each score over the frames that have it (a Hausdorff distance needs two outlines); nan where none has."""
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row.scores):
        values = [value for row in rows if math.isfinite(value := row.scores.get(name, math.nan))]
        found[name] = float(np.mean(values)) if values else math.nan
    return found


def write_scores(folder: Path, rows: Sequence[FrameScore]) -> dict[str, Any]:
    """Writes ``metrics.json`` and ``metrics_per_image.csv``, each whole or not at all; returns what the first holds.

    Raises:
        InputError: the folder cannot be written.
    """
    metrics = summarise(rows)
    write_text(folder / PER_FRAME, scores_table(rows))
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def scores_table(rows: Sequence[FrameScore]) -> str:
    """Content of ``metrics_per_image.csv``: one line per frame; scores have seven digits, nan stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    cells = [
        {"image": row.image, "frame": row.frame, "group": row.group, **dict.fromkeys(names), **row.scores}
        for row in rows
    ]
    return table_text([*_KEYS, *names], cells)


def read_scores(path: Path) -> list[FrameScore]:
    """The rows of a ``metrics_per_image.csv``, as :func:`scores_table` wrote them: to seven digits, nan where empty.

    Raises:
        InputError: no such table, or a cell that is no number; its line is named.
    """
    found = []
    for number, cells in enumerate(read_table(path, _KEYS), start=2):
        try:
            scores = {name: float(text) if text else math.nan for name, text in cells.items() if name not in _KEYS}
            found.append(FrameScore(cells["image"], int(cells["frame"]), cells["group"], scores))
        except ValueError as error:
            raise InputError(path, f"line {number}, which cannot be read ({error})", "numbers") from error
    return found


def group_note(metrics: Mapping[str, Any]) -> str:
    """How many groups the figures rest on, and what may be concluded from so many.

    Args:
        metrics: the dictionary of ``metrics.json``.
    """
    groups, interval = metrics["n_groups"], f"{100 * metrics['interval']['confidence']:g} % interval"
    if groups == 1:
        return f"Means over frames of one group, which say nothing of how other groups would do: no {interval}."
    if groups < _FEW:
        return (
            f"Means over frames of only {groups} groups: a {interval} (bootstrap over groups) reaches at most from the "
            "lowest group to the highest, and says little of other groups."
        )
    return f"Means over frames of {groups} groups; {interval}s are a bootstrap over groups."


def score_table(metrics: Mapping[str, Any]) -> ReportTable:
    """The means with their intervals, and those of each group where there are several."""
    names = list(metrics["metrics"])
    rows: list[list[Any]] = [["all", metrics["n_frames"], *map(interval_cell, metrics["metrics"].values())]]
    if len(metrics["by_group"]) > 1:
        rows += [
            [group, part["n_frames"], *(part["metrics"].get(name) for name in names)]
            for group, part in metrics["by_group"].items()
        ]
    labels = [name.removeprefix("mean_").replace("_", " ") for name in names]
    note = group_note(metrics) + (" Small numbers: the interval." if metrics["n_groups"] > 1 else "")
    return ReportTable("Agreement with the truth", ["group", "frames", *labels], rows, note)
