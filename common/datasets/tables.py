"""Small CSV tables that come with images: modalities, mosaics, patients."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, cells stripped of white space; further columns are kept.

    Raises:
        InputError: no such file, no text, or a column of ``columns`` is missing.
    """
    if not path.is_file():
        raise InputError(path, "no such file", "a CSV table with the columns " + ", ".join(columns))
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise InputError(path, "a file that is no UTF-8 text", "a CSV table") from error
    header = text.split("\n", 1)[0]
    # Spreadsheets of many countries separate by semicolons.
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    names = [name.strip() for name in reader.fieldnames or []]
    missing = [column for column in columns if column not in names]
    if missing:
        raise InputError(path, f"the columns {', '.join(names)}", "the columns " + ", ".join(columns))
    return [{(key or "").strip(): (value or "").strip() for key, value in row.items() if key} for row in reader]


def read_header(path: Path) -> list[str]:
    """Names of the columns of a CSV file, without looking at its rows; none where it is no text.

    Raises:
        OSError: no such file.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        line = file.readline()
    delimiter = ";" if line.count(";") > line.count(",") else ","
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
