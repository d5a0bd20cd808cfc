"""What an evaluation of the left ventricle leaves behind: ``metrics.json`` with intervals, its tables and its plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...metrics.bootstrap import Interval, bootstrap_intervals
from ...outputs.files import write_text
from ...report.html import ReportTable, interval_cell
from ..plots import bland_altman_plot
from .challenge import GOOD_APD_MM, Agreement, ContourScore, bland_altman, challenge_intervals
from .frames import QUANTITIES, FrameRow, StackVolumes, Volumes, score_stack, volumes_of
from .tables import PER_FRAME, PER_STACK, frames_table, volumes_table

__all__ = [
    "FrameRow",
    "StackVolumes",
    "Volumes",
    "agreement_table",
    "bland_altman_svg",
    "cardiac_table",
    "score_stack",
    "summarise_cardiac",
    "volumes_of",
    "write_cardiac_metrics",
]

MOMENTS = {"ed": "end-diastole", "es": "end-systole"}

_NAMES = {
    "edv_ml": "end-diastolic volume in ml",
    "esv_ml": "end-systolic volume in ml",
    "ejection_fraction_percent": "ejection fraction in percent",
    "mass_g": "myocardial mass in g",
}
_AGREEMENT = ("bias", "lower_limit", "upper_limit", "correlation")
_FIGURES = {
    "mean_dice": "Dice",
    "mean_iou": "IoU",
    "mean_apd_mm": "APD in mm",
    "mean_hausdorff_mm": "Hausdorff in mm",
    "good_percent": "good in %",
    "dice_of_good": "Dice of good",
    "apd_mm_of_good": "APD of good in mm",
    "per_patient_good_percent": "good in %, by patient",
    "per_patient_dice_of_good": "Dice of good, by patient",
    "per_patient_apd_mm_of_good": "APD of good in mm, by patient",
}


def summarise_cardiac(
    rows: Sequence[FrameRow],
    volumes: Sequence[StackVolumes] = (),
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Content of ``metrics.json``: every score with its interval, over all frames and by moment.

    The names of the ``metrics``:

    - ``mean_dice`` and ``mean_iou``: plain means over all contours of the endocardium, missing ones as 0, under the names
      that the reports of all bundles have. ``mean_pixel_accuracy``: over all frames.
    - ``endocardium_*`` and ``epicardium_*``: each key of :func:`.challenge.challenge_intervals`, so by the
      challenge's rule and plainly, over all contours and as means of the patients' own (``per_patient_*``).
      ``endocardium_mean_dice`` is ``mean_dice`` again.
    - ``myocardium_mean_dice``, ``myocardium_mean_iou``: over the frames in which it is known.
    - ``bias_<quantity>``: mean of predicted minus true edv_ml, esv_ml, ejection_fraction_percent, mass_g.

    What nothing is known of is absent. Intervals are percentile bootstraps over patients, those of the agreement of
    volumes over stacks; with one patient the bounds are None (null).

    Args:
        rows: one per drawn frame.
        volumes: one per stack with both moments, or with one of them.
        confidence: of the intervals.
        resamples: how many sets of patients are drawn.
        seed: of the random numbers.

    Returns:
        ``{"n_images" (frames), "n_groups" (patients), "n_contours": {region: number}, "metrics": {name: {"estimate",
        "low", "high"}}, "by_moment": {"ed" and "es": the same keys, of the endocardium}, "agreement": {quantity: {"n",
        "left_out", "bias", "lower_limit", "upper_limit", "correlation", "standard_deviation"}}, "interval": settings}``.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("no frames to summarise")
    settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
    result = _part(rows, ("endocardium", "epicardium"), **settings)
    agreements = _agreements(volumes, QUANTITIES, **settings)
    result["metrics"].update({f"bias_{name}": found.bias.as_json() for name, found in agreements.items()})
    parts = {moment: [row for row in rows if row.moment == moment] for moment in MOMENTS}
    result["by_moment"] = {moment: _part(part, ("endocardium",), **settings) for moment, part in parts.items() if part}
    result["agreement"] = {name: _agreement(found) for name, found in agreements.items()}
    result["interval"] = {"method": "percentile bootstrap over groups", **settings}
    return result


def _part(rows: Sequence[FrameRow], regions: Sequence[str], **settings: Any) -> dict[str, Any]:
    scored = {name: _scored(rows, name) for name in regions}
    intervals: dict[str, Interval] = {}
    for name, (scores, patients) in scored.items():
        if scores:
            found = challenge_intervals(scores, patients, **settings)
            intervals.update({f"{name}_{key}": value for key, value in found.items()})
    overall = {key: intervals[f"endocardium_{key}"] for key in ("mean_dice", "mean_iou") if scored["endocardium"][0]}
    accuracy = [(row.group, (row.pixel_accuracy,)) for row in rows]
    overall |= _means(("mean_pixel_accuracy",), accuracy, **settings)
    if "epicardium" in regions:
        muscle = [(row.group, tuple(row.myocardium)) for row in rows if row.myocardium is not None]
        intervals.update(_means(("myocardium_mean_dice", "myocardium_mean_iou"), muscle, **settings))
    return {
        "n_images": len(rows),
        "n_groups": len({row.group for row in rows}),
        "n_contours": {name: len(scores) for name, (scores, _) in scored.items()},
        "metrics": {name: interval.as_json() for name, interval in {**overall, **intervals}.items()},
    }


def _scored(rows: Sequence[FrameRow], region: str) -> tuple[list[ContourScore], list[str]]:
    """Scores of the contours of a region, and the patient of each."""
    found = [(getattr(row, region), row.group) for row in rows if getattr(row, region) is not None]
    return [score for score, _ in found], [group for _, group in found]


def _means(
    names: Sequence[str], values: Sequence[tuple[str, tuple[float, ...]]], **settings: Any
) -> dict[str, Interval]:
    """Means over frames, of which (patient, values) are given; nothing without frames."""
    if not values:
        return {}
    # Patients are drawn whole, so each enters the bootstrap as one vector: number of frames, sums.
    sums: dict[str, np.ndarray] = {}
    for group, own in values:
        sums[group] = sums.get(group, 0.0) + np.array([1.0, *own])

    def statistics(chosen: list[np.ndarray]) -> dict[str, float]:
        total = np.sum(chosen, axis=0)
        return dict(zip(names, (total[1:] / total[0]).tolist(), strict=True))

    return bootstrap_intervals(list(sums.values()), None, statistics, **settings)


def _agreements(volumes: Sequence[StackVolumes], names: Sequence[str], **settings: Any) -> dict[str, Agreement]:
    """Of the quantities that two stacks at least have both ways."""
    found = {}
    for name in names:
        pairs = [(getattr(v.predicted, name), getattr(v.truth, name)) for v in volumes]
        if sum(None not in pair for pair in pairs) > 1:
            measured, reference = zip(*pairs, strict=True)
            found[name] = bland_altman(measured, reference, **settings)
    return found


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "n": len(found.differences),
        "left_out": found.left_out,
        **{name: getattr(found, name).as_json() for name in _AGREEMENT},
        "standard_deviation": found.standard_deviation,
    }


def bland_altman_svg(volumes: Sequence[StackVolumes]) -> str:
    """Plot of predicted against true ejection fractions; "" for fewer than two stacks with both."""
    name = "ejection_fraction_percent"
    found = _agreements(volumes, (name,)).get(name)
    return "" if found is None else bland_altman_plot(found, _NAMES[name])


def write_cardiac_metrics(
    output_dir: str | Path, rows: Sequence[FrameRow], volumes: Sequence[StackVolumes]
) -> dict[str, Any]:
    """Writes ``metrics.json``, ``metrics_per_image.csv``, ``metrics_per_patient.csv`` and, where there are ejection
    fractions to compare, ``bland_altman.svg``, each whole or not at all.

    Args:
        output_dir: made where it is missing.
        rows: of all stacks, see :func:`score_stack`.
        volumes: of all stacks that have any, see :func:`volumes_of`.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ValueError: no rows.
        InputError: the folder cannot be written.
    """
    folder = Path(output_dir)
    summary, plot = summarise_cardiac(rows, volumes), bland_altman_svg(volumes)
    write_text(folder / PER_FRAME, frames_table(rows))
    write_text(folder / PER_STACK, volumes_table(volumes))
    if plot:
        write_text(folder / "bland_altman.svg", plot)
    else:  # that of an earlier run would speak of other stacks
        (folder / "bland_altman.svg").unlink(missing_ok=True)
    write_text(folder / "metrics.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


def cardiac_table(metrics: Mapping[str, Any]) -> ReportTable:
    """Contours against the truth, with intervals: of each region, and the endocardium's of each moment.

    Args:
        metrics: the dictionary of ``metrics.json``.
    """
    parts = [(name, name, metrics) for name in ("endocardium", "epicardium")]
    parts[1:1] = [
        (f"endocardium, {MOMENTS[moment]}", "endocardium", part) for moment, part in metrics["by_moment"].items()
    ]
    rows: list[list[Any]] = [
        [
            title,
            part["n_contours"][region],
            *(interval_cell(part["metrics"].get(f"{region}_{name}")) for name in _FIGURES),
        ]
        for title, region, part in parts
        if part["n_contours"][region]
    ]
    muscle = [interval_cell(metrics["metrics"].get(f"myocardium_{name}")) for name in _FIGURES]
    if any(cell is not None for cell in muscle):
        rows.append(["myocardium", None, *muscle])
    accuracy = metrics["metrics"]["mean_pixel_accuracy"]["estimate"]
    confidence = 100 * metrics["interval"]["confidence"]
    note = (
        f"{metrics['n_images']} drawn frames of {metrics['n_groups']} patients; below each score its {confidence:g} % "
        f"interval over patients. A contour is good if its average perpendicular distance (APD) is below "
        f"{GOOD_APD_MM:g} mm; one that is missing is not good and has Dice 0. Pixel accuracy {accuracy:.4f}, which says "
        "little: most pixels are background."
    )
    return ReportTable("Contours against the truth", ["", "contours", *_FIGURES.values()], rows, note)


def agreement_table(metrics: Mapping[str, Any]) -> ReportTable:
    """Volumes against those of the truth (Bland and Altman), with intervals; without rows where there are none.

    Args:
        metrics: the dictionary of ``metrics.json``.
    """
    rows = [
        [_NAMES[name], part["n"], *(interval_cell(part[key]) for key in _AGREEMENT)]
        for name, part in metrics["agreement"].items()
    ]
    note = (
        "Predicted minus true, both over the slices that were drawn; limits of agreement at 1.96 standard deviations."
    )
    columns = ["", "stacks", "bias", "lower limit", "upper limit", "correlation"]
    return ReportTable("Volumes against the truth", columns, rows, note)
