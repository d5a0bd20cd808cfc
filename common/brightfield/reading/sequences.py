"""What a run reads as sequences of frames: pictures, stacks in one file, movies that are folders of pictures.

A record says where some frames of a sequence come from, it holds no pixels; :mod:`.records` reads it:

- ``name`` of the sequence (unique in the run, safe as a file name) and ``group`` (aggregate, well, movie, or the name);
- ``image``: a path, or the paths of these frames of a movie in files; ``label`` likewise, or None;
- ``first``, ``count``: which frames of the sequence; ``of``: how many it has. A long sequence is several records, in
  order, so that no more than some dozens of its frames are in memory.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...datasets import folders
from ...datasets.records import images_only
from ...errors import InputError
from ...flags import as_flag
from ...images.reading import is_image_name, list_images
from ...names import unique_names
from .records import frame_count

logger = logging.getLogger(__name__)

Record = dict[str, Any]

_TIME = re.compile(r"(?:^|(?<=[_\-. ]))(?:t|tp|time|timepoint|frame|fr)[_\-]?(\d+)(?=$|[_\-. ])", re.IGNORECASE)
_PIXELS = 2**26  # of a record, where its frames are large
_FEWEST = 2  # files that are a movie


def sequence_records(
    path: str | Path, movies: bool | str = "auto", frames_per_item: int = 64, spatial_dims: int = 2
) -> list[Record]:
    """Records of all sequences for inference.

    A file of several frames is a sequence. A folder of pictures holds sequences of one frame each, or movies; ``images/``
    and ``masks/``, a data list and the other layouts of :func:`...datasets.records.images_only` are read as such.

    Args:
        path: an image, a stack, a folder of them, or a folder of folders of them (one level).
        movies: "auto": pictures whose names differ in a time token alone (``well3_t000.png``, ``frame_0001.tif``) are the
            frames of one movie, and so are those of a subfolder that are of one size and differ in one number alone;
            true: each folder is one movie, in the order of the numbers in its names; false: each file is by itself.
        frames_per_item: frames of a record at most.
        spatial_dims: 3 takes each sequence as one volume, which is never cut.

    Raises:
        InputError: there is no such file or folder, nothing in it, or ``movies`` is no switch.
    """
    root = Path(path).expanduser().absolute()
    wanted = None if str(movies).strip().lower() == "auto" else as_flag(movies, "movies")
    if _has_layout(root):
        return sequences_of(images_only(root), frames_per_item, spatial_dims)
    made: list[Record] = []
    for folder, inner in _folders(root):
        made += _movies_of(list_images(folder), folder.name if folder.is_dir() else "", wanted, inner)
    names = unique_names(record["name"] for record in made)
    named = [{**record, "name": name, "label": None, "group": name} for record, name in zip(made, names, strict=True)]
    return sequences_of(named, frames_per_item, spatial_dims)


def sequences_of(records: Sequence[Record], frames_per_item: int = 64, spatial_dims: int = 2) -> list[Record]:
    """Records of sequences, with truth or without, cut into records of some dozens of frames each.

    Args:
        records: with ``name``, ``image`` (a path, or the paths of a movie's frames), ``label``, ``group``; what else they
            have is kept.
        frames_per_item, spatial_dims: as for :func:`sequence_records`.
    """
    if frames_per_item < 1:
        raise InputError("--frames_per_item", str(frames_per_item), "1 or more")
    return [part for record in records for part in _cut(record, frames_per_item if spatial_dims == 2 else None)]


def _cut(record: Record, most: int | None) -> list[Record]:
    source = record["image"]
    in_files = not isinstance(source, (str, Path))
    try:
        frames, rows, columns = frame_count(source[0] if in_files else source)
    except InputError:
        frames, rows, columns = 1, 1, 1  # named when it is read, and the rest goes on
    frames = len(source) if in_files else frames
    step = frames if most is None else max(1, min(most, _PIXELS // max(rows * columns, 1)))
    parts = []
    for first in range(0, frames, step):
        count = min(step, frames - first)
        part = {**record, "first": first, "count": count, "of": frames}
        for key in ("image", "label"):
            if in_files and isinstance(record.get(key), (list, tuple)):
                part[key] = [str(file) for file in record[key][first : first + count]]
        parts.append(part)
    return parts


def _has_layout(root: Path) -> bool:
    if root.is_file():
        return not is_image_name(root)
    return root.is_dir() and folders.matches(root)


def _folders(root: Path) -> list[tuple[Path, bool]]:
    """Folders of pictures (or the file given), and whether they lie inside the one that was given."""
    if not root.is_dir():
        return [(root, False)]
    inner = root / "images"
    root = inner if inner.is_dir() else root
    subfolders = [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    found = [(folder, folder != root) for folder in (root, *subfolders) if any(map(_is_picture, folder.iterdir()))]
    if not found:
        list_images(root)  # says what is wrong
    return found


def _is_picture(entry: Path) -> bool:
    return is_image_name(entry) and entry.is_file()


def _movies_of(files: list[Path], folder: str, wanted: bool | None, inner: bool) -> list[Record]:
    """Files of one folder as sequences; stacks are sequences of their own."""
    if wanted is False or len(files) < _FEWEST:
        return [_alone(file) for file in files]
    if wanted or (inner and _is_series(files)):
        return [{"name": folder, "image": [str(file) for file in sorted(files, key=_by_numbers)]}]
    groups: dict[tuple[str, str, str], list[tuple[int, Path]]] = {}
    for file in files:
        token = _TIME.search(file.stem)
        if token is None:
            groups[(str(file), "", "")] = [(0, file)]
        else:
            key = (file.stem[: token.start()], file.stem[token.end() :], file.suffix.lower())
            groups.setdefault(key, []).append((int(token[1]), file))
    made = []
    for (before, after, _), members in groups.items():
        frames = [file for _, file in sorted(members)]
        if len(frames) < _FEWEST or _has_stack(frames):
            made += [_alone(file) for file in frames]
        else:
            name = (before.rstrip("_-. ") + after).strip("_-. ") or folder
            made.append({"name": name, "image": [str(file) for file in frames]})
            logger.info("%s: %d frames of one movie, by the time in their names", name, len(frames))
    return made


def _alone(file: Path) -> Record:
    return {"name": file.stem, "image": str(file)}


def _is_series(files: Sequence[Path]) -> bool:
    """Whether the names differ in one number alone, and all pictures are single and of one size."""
    parts = [re.split(r"(\d+)", file.stem) for file in files]
    if len({len(part) for part in parts}) > 1:
        return False
    varying = [number for number, texts in enumerate(zip(*parts, strict=True)) if len(set(texts)) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:
        return False
    try:
        return len({frame_count(file) for file in files}) == 1 and frame_count(files[0])[0] == 1
    except InputError:
        return False


def _has_stack(files: Sequence[Path]) -> bool:
    """Whether any is a stack; the first and last are looked at, since a folder may hold thousands."""
    for file in {files[0], files[-1]}:
        try:
            if frame_count(file)[0] > 1:
                return True
        except InputError:
            continue
    return False


def _by_numbers(file: Path) -> list[tuple[int, str]]:
    """Names in the order in which people count: frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (0, part.lower()) for part in re.split(r"(\d+)", file.stem)]
