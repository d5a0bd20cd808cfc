"""Tables of results as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import write_text


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes :func:`table_text`, whole or not at all.

    Raises:
        InputError: the folder cannot be written.
        KeyError: a row without one of the columns.
    """
    write_text(path, table_text(columns, rows))


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A CSV with a header; what is None or nan stays empty, floats have seven digits.

    Raises:
        KeyError: a row without one of the columns.
    """
    return csv_text([columns, *([_seven_digits(row[name]) for name in columns] for row in rows)])


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """A CSV of lines of cells; what is None or nan stays empty, floats have all digits, so that they can be read back."""
    text = io.StringIO()
    # Python writes the shortest text that gives the same float back; nan alone differs from itself.
    csv.writer(text, lineterminator="\n").writerows([cell if cell == cell else None for cell in row] for row in rows)
    return text.getvalue()


def _seven_digits(value: object) -> object:
    return f"{value:.7g}" if isinstance(value, float) and value == value else value
