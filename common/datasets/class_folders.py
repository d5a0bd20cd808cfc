"""Images with a class instead of a mask: ``<CLASS>/<slide>_<nnn>.jpg``, ``images.csv``, ``<CLASS>-<slide>_<nnn>.tif``.

The layouts of the IICBU malignant lymphoma images (Orlov et al., IEEE Trans Inf Technol Biomed 2010) and of the Caffe
tutorial for digital pathology (Janowczyk and Madabhushi, J Pathol Inform 2016). ``images.csv`` (path, class and, where
known, slide and patient) counts before what names tell. What stands before the number is the slide (:mod:`.slide_names`),
and slides that differ in a trailing ``-R<n>`` are blocks of one case: they stay together. An image whose slide nobody
tells is a slide of its own, and a warning says of how many that is true.

In memory the label of such a record is its class; in a JSON data list the class stands under ``"class"``, as a label is
a path there (:func:`as_entries`, :func:`from_entries`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError, Problem, leave_out, listed
from ..images.reading import is_image_name
from ..names import unique_names
from .patients import patient_groups
from .slide_names import case_of, complete_slides, prefix_of, slide_of, warn_of_unknown_slides, without_prefix
from .tables import read_table

__all__ = [
    "as_entries",
    "case_of",
    "check_classes",
    "found_classes",
    "from_entries",
    "matches",
    "records",
    "slide_of",
    "with_slides",
]

TABLE = "images.csv"
_COLUMNS = ("path", "class")
_NUMBERED = re.compile(r".+_\d+")
_FLAT = re.compile(r"([A-Za-z][A-Za-z0-9]*)-.+_\d+")


class _Found(NamedTuple):
    """An image, what it is called beside the folders and prefixes, and what a table tells of it ("" for nothing)."""

    image: Path
    inner: str
    label: str
    slide: str
    case: str


def matches(folder: Path, class_names: Sequence[str] | None = None) -> bool:
    """Whether this is one of the layouts.

    With ``class_names`` a folder or a prefix of one of these names is enough. Without, a table ``images.csv`` (path,
    class), or at least two classes with numbered images and nothing that speaks of another layout (a JSON file, images
    of one name in several folders, as images and masks have).
    """
    if not folder.is_dir():
        return False
    if _table(folder) is not None:
        return True
    if class_names:
        return any(found.label in class_names for found in _by_name(folder, class_names))
    return len(_guessed(folder)) > 1


def found_classes(folder: str | Path) -> tuple[str, ...]:
    """The classes that a folder of these layouts speaks of, sorted; empty if it is none.

    Raises:
        InputError: a table that cannot be used.
    """
    table = _table(Path(folder))
    if table is not None:
        return tuple(sorted({row["class"] for row in table if row["class"]}))
    return tuple(sorted(_guessed(Path(folder))))


def records(
    folder: Path,
    need_labels: bool = True,
    problems: list[Problem] | None = None,
    class_names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """One record per image, sorted by class and name.

    ``label`` and ``class`` are the name of the class (None where it is not known), ``slide`` the slide and ``group`` the
    case: by the table's ``patient``, by ``patients.csv`` or a TCGA barcode (:func:`.patients.patient_groups`), else by
    :func:`case_of`. Names are those of the files without ending, behind the class where two classes share one.

    Args:
        folder: of the data set.
        need_labels: every image must have its class.
        problems: classes that are not known (once each, with the number of images), files of the table that are absent
            and images that it does not list are noted here and left out; without it the first one raises.
        class_names: the classes that there are; None takes all that are found.

    Raises:
        InputError: what ``problems`` would hold, a table that cannot be used, or a slide with two classes.
    """
    table = _table(folder)
    if table is None:
        found = _by_name(folder, class_names or sorted(_guessed(folder)))
    else:
        found = _by_table(folder, table, need_labels, problems)
    if need_labels:
        found = _with_known_class(folder, found, class_names, problems)
    elif class_names:
        found = [image if image.label in class_names else image._replace(label="") for image in found]
    found = sorted(found, key=lambda image: (image.label, image.inner))
    shared = {stem for stem, count in Counter(image.image.stem for image in found).items() if count > 1}
    names = unique_names(
        f"{image.label or image.image.parent.name}-{image.inner}" if image.image.stem in shared else image.image.stem
        for image in found
    )
    labels, inner = [image.label for image in found], [image.inner for image in found]
    slides, untold = complete_slides(names, inner, labels, [image.slide for image in found], class_names or ())
    found = [image._replace(slide=slide) for image, slide in zip(found, slides, strict=True)]
    _refuse_two_classes(folder, found)
    groups = _groups(folder, names, found, untold, problems, need_labels)
    return [
        {
            "name": name,
            "image": str(image.image),
            "label": image.label or None,
            "class": image.label or None,
            "group": groups[name],
            "slide": image.slide,
            "modality": "",
        }
        for name, image in zip(names, found, strict=True)
        if name in groups
    ]


def with_slides(found: Sequence[dict[str, Any]], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Records of any origin with ``slide`` and, where it was but the image itself, ``group``, as their names tell.

    An image of which neither tells anything is a slide of its own; a warning says how many there are.
    """
    names = [str(record["name"]) for record in found]
    inner = [without_prefix(name, prefix_of(name, class_names)) for name in names]
    labels, known = ([str(record.get(key) or "") for record in found] for key in ("class", "slide"))
    slides, untold = complete_slides(names, inner, labels, known, class_names)
    completed, unknown = [], []
    for record, name, slide in zip(found, names, slides, strict=True):
        group = str(record.get("group") or name)
        if group == name:
            group = case_of(slide)
            unknown += [name] * (name in untold)
        completed.append({**record, "slide": slide, "group": group, "modality": ""})
    warn_of_unknown_slides(unknown, len(completed))
    return completed


def check_classes(
    found: Sequence[dict[str, Any]], path: Path, class_names: Sequence[str], problems: list[Problem] | None = None
) -> list[dict[str, Any]]:
    """The records whose label is one of the classes; the others are noted once per label.

    Raises:
        InputError: without ``problems``, a label that is no class.
    """
    strange = Counter(str(record["label"]) for record in found if record["label"] not in (None, *class_names))
    for label, count in strange.items():
        expected = f"images of the classes {', '.join(class_names)}"
        names = listed((record["name"] for record in found if str(record["label"]) == label), 3)
        error = InputError(path, f"{count} images with the label {label!r}: {names}", expected)
        leave_out(f"{path.name}: {label}", error, problems)
    return [record for record in found if record["label"] in (None, *class_names)]


def as_entries(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records as they are written into a JSON data list: a class under ``"class"`` alone."""
    return [
        {key: value for key, value in record.items() if key != "label"}
        if record.get("class") and record.get("label") == record["class"]
        else dict(record)
        for record in found
    ]


def from_entries(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of a JSON data list as records: ``"class"`` is the label where there is no other."""
    return [
        {**entry, "class": str(entry["class"]), "label": str(entry["class"]), "modality": entry.get("modality") or ""}
        if entry.get("class") and entry.get("label") is None
        else entry
        for entry in found
    ]


def _table(folder: Path) -> list[dict[str, str]] | None:
    """Rows of ``images.csv`` if it speaks of classes; tables of that name in other layouts do not."""
    path = folder / TABLE
    if not path.is_file():
        return None
    rows = read_table(path, ())
    return rows if rows and all(column in rows[0] for column in _COLUMNS) else None


def _by_table(
    folder: Path, table: Sequence[dict[str, str]], need_labels: bool, problems: list[Problem] | None
) -> list[_Found]:
    found, absent, bare = {}, [], []
    for row in table:
        image, label = folder / Path(row["path"].replace("\\", "/")), row["class"]
        if not image.is_file():
            absent.append(row["path"])
        elif need_labels and not label:
            bare.append(row["path"])
        else:
            inner = without_prefix(image.stem, label)
            found[image] = _Found(image, inner, label, row.get("slide") or "", row.get("patient") or "")
    listed_images = {folder / Path(row["path"].replace("\\", "/")) for row in table}
    others = [image for image in _images(folder) if image not in listed_images]
    if need_labels:
        _leave_out(folder, absent, "files of the table that are not there", "each file that the table lists", problems)
        _leave_out(folder, bare, "images without class", "a class for each image", problems)
        names = [image.relative_to(folder).as_posix() for image in others]
        _leave_out(folder, names, "images that the table does not list", "one row (path, class, slide) each", problems)
        return list(found.values())
    return [*found.values(), *(_Found(image, image.stem, "", "", "") for image in others)]


def _leave_out(folder: Path, names: Sequence[str], what: str, expected: str, problems: list[Problem] | None) -> None:
    """Many files with one fault are one problem, with their number."""
    if names:
        error = InputError(folder / TABLE, f"{len(names)} {what}: {listed(names, 3)}", expected)
        leave_out(TABLE, error, problems)


def _by_name(folder: Path, class_names: Sequence[str]) -> list[_Found]:
    """Of the subfolders if one is named as a class or no image lies beside them, else of the folder itself."""
    images = _images(folder)
    loose = [image for image in images if image.parent == folder]
    below = [image for image in images if image.parent != folder]
    if loose and not any(image.parent.name in class_names for image in below):
        found = []
        for image in loose:
            label = prefix_of(image.stem, class_names)
            inner = without_prefix(image.stem, label)
            found.append(_Found(image, inner, label or image.stem.partition("-")[0], "", ""))
        return found
    return [
        _Found(image, inner, image.parent.name, "", "")
        for image in below
        for inner in [without_prefix(image.stem, image.parent.name)]
    ]


def _guessed(folder: Path) -> set[str]:
    """Classes of a folder of which nobody said what classes there are; empty where it may be something else."""
    if not folder.is_dir() or any(folder.glob("*.json")):
        return set()
    images = _images(folder)
    below = [image for image in images if image.parent != folder]
    if below:
        stems = [image.stem for image in below]
        numbered = all(_NUMBERED.fullmatch(stem) for stem in stems)
        return {image.parent.name for image in below} if numbered and len(set(stems)) == len(stems) else set()
    prefixes = [_FLAT.fullmatch(image.stem) for image in images]
    return {match[1] for match in prefixes if match} if all(prefixes) else set()


def _images(folder: Path) -> list[Path]:
    """Of the folder and of its subfolders, by name; what is hidden is left out."""
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    below = [file for entry in entries if entry.is_dir() for file in sorted(entry.iterdir())]
    return [file for file in (*entries, *below) if is_image_name(file) and file.is_file()]


def _with_known_class(
    folder: Path, found: Sequence[_Found], class_names: Sequence[str] | None, problems: list[Problem] | None
) -> list[_Found]:
    if not class_names:
        return list(found)
    for label in sorted({image.label for image in found if image.label not in class_names}):
        files = [image.image.relative_to(folder).as_posix() for image in found if image.label == label]
        what = f"{len(files)} image{'s' * (len(files) > 1)} of the unknown class {label!r}: {listed(files, 3)}"
        leave_out(label, InputError(folder, what, f"the classes {', '.join(class_names)}"), problems)
    return [image for image in found if image.label in class_names]


def _groups(
    folder: Path,
    names: Sequence[str],
    found: Sequence[_Found],
    untold: set[str],
    problems: list[Problem] | None,
    required: bool,
) -> dict[str, str]:
    """Patient or case by name of the image; a warning says of how many neither a table nor the slide tells it."""
    cases = {name: image.case or case_of(image.slide) for name, image in zip(names, found, strict=True)}
    unknown: list[str] = []

    def case(name: str) -> str:
        unknown.append(name)
        return cases[name]

    groups = patient_groups(folder, names, problems, required=required, otherwise=case)
    of_table = {name for name, image in zip(names, found, strict=True) if image.case}
    warn_of_unknown_slides([name for name in unknown if name in untold - of_table], len(found))
    return groups


def _refuse_two_classes(folder: Path, found: Sequence[_Found]) -> None:
    """A slide has one disease: two of one name are two slides, and nobody could tell their images apart."""
    labels: dict[str, set[str]] = {}
    for image in found:
        labels.setdefault(image.slide, set()).add(image.label)
    for slide, own in labels.items():
        if len(own - {""}) > 1:
            raise InputError(
                folder,
                f"the slide {slide} in the classes {', '.join(sorted(own - {''}))}",
                f"one class for each slide; where names do not tell the slide, {TABLE} (path, class, slide) can",
            )
