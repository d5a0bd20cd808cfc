"""JSON data lists: the users' own list of images, and the list with which a training was run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..names import safe_name
from ..outputs.files import write_text

SECTION = "list_section"
"""Key of a record whose data list has labelled entries in several sections: "training", "validation" or "test"."""
_SECTIONS = {
    "training": "training",
    "validation": "validation",
    "validating": "validation",
    "test": "test",
    "testing": "test",
}
_EXPECTED = '{"training": [{"image": ..., "label": ..., "patient": ..., "fold": ...}, ...]}'


def matches(path: Path) -> bool:
    """Whether this is a JSON data list, or a folder with exactly one JSON file which is one."""
    return is_datalist(json_of(path))


def records(path: Path) -> list[dict[str, Any]]:
    """The records of the data list, see :func:`read_datalist`."""
    file = only_json(path)
    assert file is not None, "records() is for what matches()"
    return read_datalist(file)


def only_json(path: Path) -> Path | None:
    """The JSON file given, or the only one in the folder given, else None."""
    if path.is_dir():
        files = [file for file in sorted(path.glob("*.json")) if not file.name.startswith(".")]
        return files[0] if len(files) == 1 else None
    return path if path.suffix.lower() == ".json" and path.is_file() else None


def json_of(path: Path) -> Any:
    """The content of the JSON file given, or of the only one in a folder, where one that is unreadable is none (None).

    A file that has nothing to do with the images may lie beside them.

    Raises:
        InputError: the file that is given itself is unreadable.
    """
    file = only_json(path)
    if file is None:
        return None
    try:
        return read_json(file)
    except InputError:
        if file == path:
            raise
        return None


def read_json(path: Path) -> Any:
    """The content of a JSON file; InputError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(path, f"no readable JSON ({error})", "a JSON file") from error


def is_datalist(content: Any) -> bool:
    """Whether the JSON content has the sections of a data list."""
    return isinstance(content, dict) and any(isinstance(content.get(section), list) for section in _SECTIONS)


def read_datalist(path: str | Path) -> list[dict[str, Any]]:
    """Records of a JSON data list, all sections together, each with ``name``, ``image``, ``label`` and ``group``.

    Relative paths are resolved against the file's folder. ``group`` is the entry's own, else its ``patient``, else its
    name. Further keys (``fold``, ``modality``, ...) are kept as they are. A ``name`` that is no file name ("plate1/g16")
    is made one ("plate1_g16"). Where several sections have entries with truth, each record tells its own
    (:data:`SECTION`).

    Raises:
        InputError: no data list, an entry without image, a file that is absent, a fold that is no whole number.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file", _EXPECTED)
    content = read_json(path)
    if not is_datalist(content):
        raise InputError(path, "JSON without any of the sections " + ", ".join(_SECTIONS), _EXPECTED)
    found = [
        (name, _record(entry, path)) for section, name in _SECTIONS.items() for entry in content.get(section) or []
    ]
    if not found:
        raise InputError(path, "an empty data list", _EXPECTED)
    known = {name for name, record in found if record["label"] is not None or record.get("class")}
    return [{**record, SECTION: name} if len(known) > 1 else record for name, record in found]


def _record(entry: Any, path: Path) -> dict[str, Any]:
    if isinstance(entry, str):
        entry = {"image": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise InputError(path, f"the entry {json.dumps(entry)[:200]}", 'entries with an "image" path')
    image = _resolved(entry["image"], path)
    label = entry.get("label")
    if isinstance(label, list):
        label = [_resolved(item, path) for item in label]
    elif label is not None:
        label = _resolved(label, path)
    fold = entry.get("fold")
    if fold is not None and (not isinstance(fold, int) or isinstance(fold, bool) or fold < 0):
        raise InputError(path, f"fold {fold!r} of {entry['image']}", "a whole number from 0")
    name = str(entry.get("name") or Path(image).stem)
    group = entry.get("group")
    group = entry.get("patient") if group in (None, "") else group
    group = name if group in (None, "") else str(group)
    # Results are files of this name. Other characters are left to the users, who know their file system.
    name = safe_name(name) if re.search(r"[/\\\x00-\x1f]", name) or not name.strip(".") else name
    kept = {key: value for key, value in entry.items() if key != SECTION}
    return {**kept, "name": name, "image": image, "label": label, "group": group}


def _resolved(item: Any, path: Path) -> str:
    if not isinstance(item, str):
        raise InputError(path, f"the path {item!r}", "a path in quotes")
    file = path.parent.absolute() / Path(item).expanduser()
    if not file.exists():
        raise InputError(file, f"no such file, although {path} lists it", "paths relative to the data list's folder")
    return str(file)


def write_datalist(path: str | Path, datalist: Sequence[dict[str, Any]]) -> None:
    """Write records as a JSON data list, whole or not at all; :func:`read_datalist` gives them back.

    Paths below the file's folder are written relative to it, so that the folder can be moved, others absolute.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(path, json.dumps(datalist_content(path, datalist), indent=1) + "\n")


def datalist_content(path: str | Path, datalist: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What :func:`write_datalist` writes, to be compared with what is there already."""
    path = Path(path).absolute()
    entries = []
    for record in datalist:
        entry = {**record, "image": _relative(record["image"], path)}
        label = record.get("label")
        if isinstance(label, (list, tuple)):
            entry["label"] = [_relative(item, path) for item in label]
        elif label is not None:
            entry["label"] = _relative(label, path)
        entries.append(entry)
    return {"training": entries}


def _relative(item: str, path: Path) -> str:
    file = Path(item).absolute()
    return file.relative_to(path.parent).as_posix() if file.is_relative_to(path.parent) else str(file)
