"""Figures of frames: a row is a sequence of them, or a single image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..brightfield.output.scores import (
    PER_FRAME,
    FrameScore,
    mean_scores,
    read_scores,
    score_table,
    scores_table,
    summarise,
)
from ..brightfield.reading.groups import load_records
from ..report.html import ReportImage
from .base import Figures, picture_of


class SequenceRow(NamedTuple):
    """What is known of one sequence.

    Attributes:
        name: of the sequence.
        frames: scores of its frames, in their order; one at least.
    """

    name: str
    frames: list[FrameScore]


def read_sequence_rows(records: Sequence[dict[str, Any]], results: Path) -> list[SequenceRow]:
    """The sequences of a fold from its own table, which holds all that the figures are made of, to seven digits.

    Raises:
        InputError: a table that is not there or cannot be read.
    """
    names = {record["name"] for record in records}
    sequences: dict[str, list[FrameScore]] = {}
    for frame in read_scores(results / PER_FRAME):
        if frame.image in names:
            sequences.setdefault(frame.image, []).append(frame)
    return [SequenceRow(name, frames) for name, frames in sequences.items()]


def _frames(rows: Sequence[SequenceRow]) -> list[FrameScore]:
    return [frame for row in rows for frame in row.frames]


def _sequence_picture(row: SequenceRow, results: Path) -> ReportImage:
    notes = [row.frames[0].group] if row.frames[0].group != row.name else []
    known = [
        (frame.scores["iou"], frame.frame) for frame in row.frames if math.isfinite(frame.scores.get("iou", math.nan))
    ]
    if len(known) > 1:
        notes.append("lowest IoU {:.3f} in frame {}".format(*min(known)))
    picture = picture_of(results, row.name)
    return ReportImage(row.name, picture, len(row.frames), ", ".join(notes), mean_scores(row.frames), unit="frame")


FRAMES = Figures(
    columns={
        "mean_iou": "IoU",
        "mean_dice": "Dice",
        "mean_pixel_accuracy": "pixel accuracy",
        "mean_boundary_f1": "boundary F1",
        "mean_hausdorff_px": "Hausdorff in px",
    },
    counts={"n_frames": "frames", "n_images": "images or sequences", "n_groups": "groups"},
    pictures="images and sequences",
    named=lambda name: name,
    read=read_sequence_rows,
    summarise=lambda rows, resamples: summarise(_frames(rows), resamples=resamples),
    tables=lambda rows: {PER_FRAME: scores_table(_frames(rows))},
    plots=lambda rows: [],
    report_tables=lambda metrics: [score_table(metrics)],
    picture=_sequence_picture,
    note=(
        "Each row is the mean over the frames of the groups of that fold. Hausdorff distances are means over the frames "
        "with an outline on both sides."
    ),
    group="group",
    load=load_records,
)
