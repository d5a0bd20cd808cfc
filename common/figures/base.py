"""What a cross-validation must know of a kind of bundle to read, sum up and show its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Problem
from ..report.html import ReportImage, ReportTable


class Plot(NamedTuple):
    """A picture of numbers: name of its file, heading in the report, SVG."""

    file: str
    title: str
    svg: str


@dataclass(frozen=True)
class Figures:
    """What differs between kinds of bundles. A row is what one picture of the report shows: an image, a stack or a sequence.

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
        group: what no fold divides, in the singular, for the head of the report.
        load: records of a data set, from where it lies and a list for problems; None:
            :func:`..datasets.records.load_datalist` with its tables and modalities.
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
    group: str = "patient"
    load: Callable[[str | Path | Sequence[str | Path], list[Problem] | None], list[dict[str, Any]]] | None = None


def picture_of(results: Path, name: str, kind: str = "overlay") -> Path | None:
    """The file ``<name>_<kind>.png`` in a folder of results; None where it is not there."""
    path = results / f"{name}_{kind}.png"
    return path if path.is_file() else None
