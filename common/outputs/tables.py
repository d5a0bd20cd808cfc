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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(row[name]) for name in columns] for row in rows)
    return text.getvalue()


def _text(value: object) -> str:
    if value is None or value != value:  # nan alone differs from itself
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)
