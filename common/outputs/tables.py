"""Tables of results as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import atomic


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a CSV with a header, whole or not at all; what is None or nan stays empty, floats have seven digits.

    Raises:
        InputError: the folder cannot be written.
        KeyError: a row without one of the columns.
    """
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(row[name]) for name in columns] for row in rows)


def _text(value: object) -> str:
    if value is None or value != value:  # nan alone differs from itself
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)
