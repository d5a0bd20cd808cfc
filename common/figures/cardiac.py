"""Figures of the left ventricle: a row is a stack of frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..cine.scores.frames import FrameRow, StackVolumes
from ..cine.scores.summary import agreement_table, bland_altman_svg, cardiac_table, summarise_cardiac
from ..cine.scores.tables import PER_FRAME, PER_STACK, frames_table, read_frames, read_volumes, volumes_table
from ..names import safe_name
from ..report.html import ReportImage
from .base import Figures, Plot, picture_of


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
    return ReportImage(row.name, picture_of(results, row.name), drawn, note, scores, unit="contour")


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
    note=(
        "Dice, IoU and pixel accuracy are plain means over all drawn frames; a contour is good if its average "
        "perpendicular distance (APD) is below 5 mm; EF: ejection fraction, predicted minus true."
    ),
)
