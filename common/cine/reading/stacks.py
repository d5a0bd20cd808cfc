"""What a run reads as cine stacks: DICOM studies, NIfTI files, and pictures that records put in their place.

A record says where a stack comes from, it holds no pixels; :mod:`.records` reads it:

- ``name`` (unique in the run, safe as a file name, never from a DICOM tag) and ``group`` (patient, or the name);
- ``kind``: "dicom", ``image`` being a folder or one file, may give several stacks; "nifti", ``image`` being the file; or
  "pictures", ``image`` being the paths of all frames and ``frames`` their records, which may be DICOM files or planes of
  NIfTI volumes too;
- ``same_stems``: stems of its DICOM files that another file of the run has too, in lower case;
- ``clashing``: names of the run, in lower case, that begin with this one and an underscore, as those of its stacks may;
- ``notes``: what a reader of the results should know, in words.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...datasets.records import images_only
from ...errors import InputError
from ...images.reading import IMAGE_SUFFIXES, is_image_name
from ...names import unique_names
from ...outputs.nifti import NIFTI_SUFFIXES
from .dicom import DICOM_SUFFIXES, DicomFrame, is_dicom, read_frame

logger = logging.getLogger(__name__)

Record = dict[str, Any]

_ENDINGS = (*NIFTI_SUFFIXES, *DICOM_SUFFIXES, *IMAGE_SUFFIXES)
_TRUTH_NAMES = ("_gt", "_label")  # ACDC's drawn maps, and ours
_LOOKED_AT = 5  # files of a folder until one can be read


def stack_records(path: str | Path) -> list[Record]:
    """Records of all stacks for inference; the first kind counts of which there is any.

    - DICOM, anywhere below a folder, or one file. A record is a folder that holds files itself or whose subfolders are
      series of one study (a series per breath-hold often has a folder of its own); other folders are entered.
    - NIfTI, anywhere below a folder, or one file. Drawn maps (``*_gt*``, ``*_label*``) are passed over, unless the
      file itself is given.
    - Pictures in any layout of :func:`...datasets.records.load_datalist`, put together by :func:`stacks_of`.

    What is passed over for its kind is logged and stands in ``notes`` of the first record. Hidden files are never looked at.

    Raises:
        InputError: there is no such file or folder, nothing of these kinds in it, or a layout's own reader refuses it.
    """
    root = Path(path).expanduser().absolute()
    dicom, nifti, pictures = _kinds(root)
    if not dicom and not nifti:
        try:
            return stacks_of(images_only(root))
        except InputError as error:
            raise InputError(error.path, error.found, f"DICOM or NIfTI files, or {error.expected}") from error
    made = _dicom_records(root, dicom) if dicom else _nifti_records(root, nifti)
    passed_over = {"NIfTI files": len(nifti) if dicom else 0, "pictures": len(pictures)}
    counts = [f"{count} {kind}" for kind, count in passed_over.items() if count]
    if counts:
        kind = "DICOM" if dicom else "NIfTI"
        made[0]["notes"] = [f"{' and '.join(counts)} passed over, since there are {kind} files"]
        logger.warning("%s: %s", root, made[0]["notes"][0])
    return made


def stacks_of(records: Sequence[Record]) -> list[Record]:
    """Records of images, with truth or without, as records of stacks, in the order of their first image.

    Images with ``slice`` and ``phase`` are one stack per data set and ``stack`` (without that, ``group``), from the
    lowest slice to the highest and with the phases that occur; any other image is a stack of its own. Of two images at one
    place the first is taken, the other is named when the stack is read. An image that is a NIfTI file without ``plane``, or
    a folder of DICOM, is read as such.
    """
    members: dict[tuple, list[Record]] = {}
    for number, record in enumerate(records):
        placed = isinstance(record.get("slice"), int) and isinstance(record.get("phase"), int)
        key = (record.get("dataset"), record.get("stack") or record["group"]) if placed else (number,)
        members.setdefault(key, []).append(record)
    names = [str(key[1] if len(key) == 2 else own[0]["name"]) for key, own in members.items()]
    made = [_from_images(own) for own in members.values()]
    files = [_kinds(Path(record["image"]))[0] if record["kind"] == "dicom" else [] for record in made]
    return _named(names, _with_same_stems(made, files))


def file_stem(path: str | Path) -> str:
    """The name of a file without its ending, where that is one of a known format: UIDs and numbers are no endings.

    >>> file_stem("a/heart.nii.gz"), file_stem("IM-0001.dcm"), file_stem("1.2.840.7")
    ('heart', 'IM-0001', '1.2.840.7')
    """
    name = Path(path).name
    return next((name[: -len(ending)] for ending in _ENDINGS if name.lower().endswith(ending)), name)


def _kinds(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Files of DICOM, NIfTI and pictures, each in the order of their paths."""
    found: tuple[list[Path], list[Path], list[Path]] = ([], [], [])
    if root.is_dir():
        below = [file for file in root.rglob("*") if not _hidden(file, root) and file.name != "DICOMDIR"]
        files = sorted((file for file in below if file.is_file()), key=str)
    else:
        files = [root] if root.is_file() else []
    for file in files:
        if file.name.lower().endswith(NIFTI_SUFFIXES):
            truth = any(word in file_stem(file).lower() for word in _TRUTH_NAMES)
            if file == root or not truth:
                found[1].append(file)
        elif is_image_name(file):
            found[2].append(file)
        elif is_dicom(file):
            found[0].append(file)
    return found


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _dicom_records(root: Path, files: list[Path]) -> list[Record]:
    folders = [root] if root.is_file() else _studies(root, files)
    own: dict[Path, list[Path]] = {folder: [] for folder in folders}
    for file in files:
        own[next(folder for folder in (file, *file.parents) if folder in own)].append(file)
    made: list[Record] = [{"kind": "dicom", "image": str(folder)} for folder in folders]
    return _named([_relative_name(folder, root) for folder in folders], _with_same_stems(made, list(own.values())))


def _with_same_stems(records: list[Record], files: list[list[Path]]) -> list[Record]:
    stems = [[file_stem(file).lower() for file in own] for own in files]
    counts = Counter(stem for own in stems for stem in own)
    same = [sorted({stem for stem in own if counts[stem] > 1}) for own in stems]
    return [{**record, "same_stems": own} for record, own in zip(records, same, strict=True)]


def _studies(folder: Path, files: list[Path]) -> list[Path]:
    """Folders that hold a study each; ``files`` are those below the folder."""
    if any(file.parent == folder for file in files):
        return [folder]
    below: dict[Path, list[Path]] = {}
    for file in files:
        below.setdefault(folder / file.relative_to(folder).parts[0], []).append(file)
    if _one_study(list(below.values())):
        return [folder]
    return [study for inner, own in below.items() for study in _studies(inner, own)]


def _one_study(folders: list[list[Path]]) -> bool:
    """Whether series of one study lie in several of the folders."""
    series: dict[str, str] = {}
    for files in folders if len(folders) > 1 else ():
        frame = _first_frame(files)
        if frame is None or not frame.study_uid:
            continue
        # The same series again is no series beside another, but what careless anonymising gives every patient.
        if series.setdefault(frame.study_uid, frame.series_uid) != frame.series_uid:
            return True
    return False


def _first_frame(files: list[Path]) -> DicomFrame | None:
    for file in files[:_LOOKED_AT]:
        try:
            return read_frame(file)
        except InputError:  # it is named when the study is read
            continue
    return None


def _nifti_records(root: Path, files: list[Path]) -> list[Record]:
    stems = Counter(file_stem(file).lower() for file in files)
    alone = [file_stem(file) if stems[file_stem(file).lower()] == 1 else _relative_name(file, root) for file in files]
    return _named(alone, [{"kind": "nifti", "image": str(file)} for file in files])


def _from_images(own: list[Record]) -> Record:
    """The record of a stack, without its name."""
    first = own[0]
    group = {"group": str(first["group"])} if first.get("group") else {}
    source = Path(first["image"])
    whole = source.name.lower().endswith(NIFTI_SUFFIXES) and first.get("plane") is None
    if len(own) == 1 and (source.is_dir() or whole):
        kind = "dicom" if source.is_dir() else "nifti"
        notes = [f"its truth is not read, as it is a {kind} stack"] if first.get("label") else []
        return {"kind": kind, "image": str(source), **group, "notes": notes}
    return {"kind": "pictures", "image": [str(record["image"]) for record in own], "frames": own, **group}


def _relative_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return "_".join([*parts[:-1], file_stem(parts[-1])]) if parts else _folder_name(root)


def _folder_name(root: Path) -> str:
    return file_stem(root.resolve())


def _named(names: Iterable[str], records: list[Record]) -> list[Record]:
    unique = unique_names(names)
    lower = [name.lower() for name in unique]
    made = []
    for name, record in zip(unique, records, strict=True):
        inside = f"{name.lower()}_"
        clashing = [other for other in lower if other.startswith(inside)] if record["kind"] == "dicom" else []
        made.append({"group": name, "notes": [], **record, "name": name, "clashing": clashing})
    return made
