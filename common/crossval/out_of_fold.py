"""What all folds of a cross-validation say together: figures of each fold, of all images out of fold, and one report."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.datalist import read_json
from ..datasets.tables import read_table
from ..engine.results import report_problems
from ..errors import InputError, Problem, listed
from ..figures import Figures, figures_of
from ..outputs.files import write_text
from ..outputs.tables import csv_text
from ..report.html import ReportImage, ReportSection, ReportTable, write_report
from .runs import CrossValidation


@dataclass(frozen=True)
class Gathered:
    """Out-of-fold results.

    Attributes:
        figures: how the bundle is judged.
        by_fold: rows of each fold, in the order of the folds.
        fold_of: fold of each image by its name.
        metrics: content of ``metrics.json``.
        problems: what could not be used, wholly or in part, each once, and images without result.
    """

    figures: Figures
    by_fold: dict[int, list[Any]]
    fold_of: dict[str, int]
    metrics: dict[str, Any]
    problems: list[Problem]

    @property
    def rows(self) -> list[Any]:
        """Those of all folds."""
        return [row for rows in self.by_fold.values() for row in rows]


def gather(run: CrossValidation, figures: Figures | None = None) -> Gathered:
    """Score all folds that are evaluated, whichever run of the command did it.

    Args:
        run: with at least one fold evaluated.
        figures: how the bundle is judged; None: as the bundle says (:func:`..figures.figures_of`).

    Raises:
        InputError: no fold is evaluated, or a fold holds results of images that the plan tests elsewhere.
    """
    figures = figures_of(run.bundle) if figures is None else figures
    done = [fold for fold in run.plan.folds if run.is_evaluated(fold)]
    if not done:
        raise InputError(run.output_dir, "no fold that is trained and evaluated", "at least one")
    problems, fold_of = list(run.plan.problems), dict[str, int]()
    by_fold = {}
    for fold in done:
        records = _scored(run, fold, figures, problems)
        fold_of.update({record["name"]: fold for record in records})
        by_fold[fold] = figures.read(records, run.results(fold))
    rows = [row for own in by_fold.values() for row in own]
    if not rows:
        raise InputError(run.output_dir, "no result of any image", "at least one")
    each = {fold: _estimates(figures.summarise(own, 0)) for fold, own in by_fold.items() if own}
    metrics = {
        **figures.summarise(rows, 1000),
        "cross_validation": {
            "bundle": run.bundle.absolute().name,
            "seed": run.seed,
            "folds_planned": len(run.plan.folds),
            "folds": [{"fold": fold, **part} for fold, part in each.items()],
            "over_folds": over_folds([part["metrics"] for part in each.values()]),
        },
        "problems": [{"name": problem.name, "reason": problem.reason} for problem in problems],
    }
    return Gathered(figures, by_fold, fold_of, metrics, problems)


def _scored(run: CrossValidation, fold: int, figures: Figures, problems: list[Problem]) -> list[dict[str, Any]]:
    """Records of one fold that have results, in the order of the plan; what was left out goes to the problems."""
    results, records = run.results(fold), run.plan.of_fold(fold)
    # The table tells what this evaluation scored; files of an earlier one may lie beside it.
    scored = {row["image"] for row in read_table(results / "metrics_per_image.csv", ("image",))}
    foreign = sorted(scored - {figures.named(record["name"]) for record in records})
    if foreign:
        raise InputError(results, f"results of {listed(foreign)}", f"the images of fold {fold} alone")
    left_out = run.left_out(fold)
    absent = [record["name"] for record in records if figures.named(record["name"]) not in scored]
    unexplained = [name for name in absent if name not in {problem.name for problem in left_out}]
    # Of a long sequence one part may be left out and the others scored under the same name.
    found = [*left_out, *(Problem(name, f"no result in {results}") for name in unexplained)]
    problems += [problem for problem in dict.fromkeys(found) if problem not in problems]
    return [record for record in records if figures.named(record["name"]) in scored]


def _estimates(summary: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: value for name, value in summary.items() if name.startswith("n_")}
    return {**counts, "metrics": {name: value["estimate"] for name, value in summary["metrics"].items()}}


def over_folds(folds: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation (n - 1 in the denominator, None for a single fold) of each figure over folds.

    A figure that some folds do not have is taken over those that have it.

    >>> over_folds([{"dice": 0.5}, {"dice": 0.7}])["dice"]["mean"]
    0.6
    """
    found: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys(name for fold in folds for name in fold):
        values = [value for value in (fold.get(name) for fold in folds) if value is not None]
        found[name] = {
            "mean": float(np.mean(values)) if values else None,
            "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return found


def write_gathered(run: CrossValidation, gathered: Gathered, worst: int = 24) -> Path:
    """Write the tables of all images, ``metrics.json``, plots and ``report.html``, each whole or not at all.

    Args:
        run: whose output folder is written to.
        gathered: see :func:`gather`.
        worst: pictures in the report.

    Returns:
        The report.

    Raises:
        InputError: the folder holds figures of folds that are not among these, or cannot be written.
    """
    path, figures = run.output_dir / "metrics.json", gathered.figures
    folds = [part["fold"] for part in gathered.metrics["cross_validation"]["folds"]]
    _refuse_fewer_folds(path, folds)
    for name, table in _tables(gathered).items():
        write_text(run.output_dir / name, table)
    write_text(path, json.dumps(gathered.metrics, indent=2, allow_nan=False) + "\n")
    plots = figures.plots(gathered.rows)
    for plot in plots:
        write_text(run.output_dir / plot.file, plot.svg)
    report, images = run.output_dir / "report.html", _images(run, gathered)
    first = next((name for image in images for name in image.metrics), "score").replace("_", " ")
    totals = {heading: gathered.metrics[name] for name, heading in figures.counts.items()}
    by_image = any(record.get("split_by") == "image" for record in run.plan.records)
    kin = f"its {figures.group}"
    seen = f"did not see it, but perhaps others of {kin}" if by_image else f"saw neither it nor {kin}"
    write_report(
        report,
        f"Cross-validation: {run.bundle.absolute().name.replace('_', ' ')}",
        {
            "subtitle": f"{len(folds)} of {len(run.plan.folds)} folds. Every image was {figures.done} by the network that "
            f"{seen}. {figures.pictures.capitalize()} with the lowest {first} first.",
            "totals": {"folds": len(folds), **totals},
            "settings": {"bundle": run.bundle.absolute().name, "seed": run.seed, **run.overrides},
        },
        images,
        [*figures.report_tables(gathered.metrics), folds_table(gathered.metrics, figures)],
        report_problems(gathered.metrics),
        thumbnails=worst,
        sections=[ReportSection(plot.title, plot.svg) for plot in plots],
    )
    return report


def folds_table(metrics: Mapping[str, Any], figures: Figures) -> ReportTable:
    """Figures of each fold, their mean and standard deviation, from what :func:`gather` gives.

    Args:
        metrics: content of ``metrics.json``.
        figures: how the bundle is judged.
    """
    part = metrics["cross_validation"]
    rows: list[list[Any]] = [
        [str(fold["fold"]), *(fold[name] for name in figures.counts)]
        + [fold["metrics"].get(name) for name in figures.columns]
        for fold in part["folds"]
    ]
    for name, label in (("mean", "mean over folds"), ("standard_deviation", "standard deviation")):
        values = [part["over_folds"].get(figure, {}).get(name) for figure in figures.columns]
        rows.append([label, *[None] * len(figures.counts), *values])
    columns = ["fold", *figures.counts.values(), *figures.columns.values()]
    return ReportTable("Each fold", columns, rows, figures.note)


def _images(run: CrossValidation, gathered: Gathered) -> list[ReportImage]:
    """All pictures, those with the lowest first score before the others."""
    found = []
    for fold, rows in gathered.by_fold.items():
        for row in rows:
            image = gathered.figures.picture(row, run.results(fold))
            note = f"fold {fold}" + (f", {image.note}" if image.note else "")
            found.append(dataclasses.replace(image, note=note))
    return sorted(found, key=lambda image: (_first(image.metrics), image.name))


def _first(scores: Mapping[str, float]) -> float:
    value = next(iter(scores.values()), math.nan)
    return -1.0 if math.isnan(value) else value


def _tables(gathered: Gathered) -> dict[str, str]:
    """The tables of all folds by file name, with a column ``fold`` behind the first one."""
    lines: dict[str, list[list[Any]]] = {}
    for fold, rows in gathered.by_fold.items():
        for name, table in gathered.figures.tables(rows).items():
            header, *cells = csv.reader(io.StringIO(table))
            written = lines.setdefault(name, [[header[0], "fold", *header[1:]]])
            written += [[row[0], fold, *row[1:]] for row in cells]
    return {name: csv_text(rows) for name, rows in lines.items()}


def _refuse_fewer_folds(path: Path, folds: Sequence[int]) -> None:
    if not path.exists():
        return
    earlier = read_json(path).get("cross_validation", {}).get("folds", [])
    lost = [str(part["fold"]) for part in earlier if part["fold"] not in folds]
    if lost:
        raise InputError(
            path, f"figures that include fold {listed(lost)}, whose results are no longer there", "all of them again"
        )
