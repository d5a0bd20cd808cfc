"""The folder that a run writes into: never that of its images, nor one with the results of a run of other images."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError

logger = logging.getLogger(__name__)

WHAT_WAS_READ = ("dataset_dir", "fold", "hold_out")
"""Settings by which two runs are of the same images."""

_ANOTHER = "another output_dir, one without images"


def check_inputs(folder: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Results must not lie among what is read: a truth named ``a_label.tif`` would be replaced by the prediction.

    Args:
        folder: of the results.
        records: ``image`` and ``label`` are looked at: absolute paths, lists of them, or ``frames``, records themselves.

    Raises:
        InputError: an image or its truth lies in the folder.
    """
    paths = {path for record in records for path in _paths(record)}
    home = folder.resolve()
    for parent in {path.parent for path in paths}:
        if parent.resolve() == home:
            name = min(path.name for path in paths if path.parent == parent)
            raise InputError(folder, f"the folder of what is read ({name})", _ANOTHER)
    for path in paths:
        if path.is_dir() and _is_read_within(path.resolve(), home):
            raise InputError(folder, "a folder in which everything is read", _ANOTHER)


def _is_read_within(source: Path, home: Path) -> bool:
    """Whether a folder that is read as a whole is, or has within, the one of the results; a run's own may lie there."""
    if source == home:
        return True
    own = (home / "summary.json").is_file()
    return source in home.parents and not own and any(entry.is_file() for entry in home.iterdir())


def _paths(record: Mapping[str, Any]) -> Iterator[Path]:
    values = [record.get("image"), record.get("label")]
    while values:
        value = values.pop()
        if isinstance(value, (list, tuple)):
            values += value
        elif isinstance(value, (str, Path)) and Path(value).is_absolute():  # a label may be the name of a class
            yield Path(value)
    frames = record.get("frames")
    for frame in frames if isinstance(frames, (list, tuple)) else ():
        if isinstance(frame, Mapping):
            yield from _paths(frame)


def earlier_files(folder: Path, settings: Mapping[str, Any]) -> set[str] | None:
    """Files of an earlier run of the same images in the folder, relative to it; None where there was no run.

    Args:
        folder: of the results.
        settings: of the run to come; those of :data:`WHAT_WAS_READ` tell whether it reads the same.

    Raises:
        InputError: the folder holds results of another run, or what might be some.
    """
    path = folder / "summary.json"
    expected = "a new or empty output_dir, or that of an earlier run of the same images, whose results are replaced"
    if not path.is_file():
        if (folder / "report.html").exists():
            raise InputError(folder, "a report.html that is not of such a run", expected)
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        then = dict(summary["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(folder, "a summary.json that is not of such a run", expected) from error
    if any(not _same(then.get(name), settings.get(name)) for name in WHAT_WAS_READ):
        what = ", ".join(f"{name} {then[name]}" for name in WHAT_WAS_READ if then.get(name) is not None)
        raise InputError(folder, f"the results of another run ({what or 'without dataset_dir'})", expected)
    logger.warning("%s: the results of an earlier run of the same images are replaced", folder)
    return {name for name in summary.get("files") or () if _is_inside(name)}


def _same(then: Any, now: Any) -> bool:
    if then is None or now is None:
        return then is None and now is None
    return str(then) == str(now) or Path(str(then)).absolute() == Path(str(now)).absolute()


def _is_inside(name: Any) -> bool:
    path = Path(str(name))
    return not path.is_absolute() and ".." not in path.parts


def relative_names(folder: Path, files: Iterable[Path]) -> set[str]:
    """Names of the files below the folder, relative to it, with ``/``."""
    return {path.relative_to(folder).as_posix() for path in files if path.is_relative_to(folder)}


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove what an earlier run left and this one did not replace, and the folders that are empty then."""
    for name in names:
        path = folder / name
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == folder or any(parent.iterdir()):
                break
            parent.rmdir()
