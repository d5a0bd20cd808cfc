"""Folds as text files: ``train_w32_parent_1.txt`` and ``test_w32_parent_1.txt``, one patient per line.

The layout of the Caffe tutorial for digital pathology (Janowczyk and Madabhushi, Journal of Pathology Informatics 2016):
folds count from 1, and a line is the code before the first underscore of a patient's file names
(``12750`` for ``12750_500_f00003_original.tif``) or, in the lists of the tutorial's lymphomas, an image
(``CLL/sj-03-2810_003.tif``), whose slides are then on both sides. The lists of patches beside them
(``train_w32_1.txt``) are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, Problem, leave_out, listed
from ..images.reading import is_image_name
from ..outputs.files import write_text
from .folds import check_folds, class_of, group_of, unit_of

_NAME = re.compile(r"(train|test)_w\d+_parent_(\d+)\.txt")
_EXPECTED = (
    "test_w32_parent_1.txt, test_w32_parent_2.txt, ... and train_w32_parent_1.txt, ... with one patient per line"
)
# What the names of the original's image files end in, before the file's own ending.
_IMAGE_ENDING = "_original"


def read_fold_lists(
    folder: str | Path, datalist: Sequence[dict[str, Any]], problems: list[Problem] | None = None
) -> list[dict[str, Any]]:
    """The records, each with the ``"fold"`` in whose test list it is: 0 for ``test_w32_parent_1.txt``, and so on.

    A line names a patient (the record's group), an image (with or without folder and ending) or the code before the
    first underscore of images. A record that has no group but its own name takes such a code for its group. Lists that
    name single images and put those of one patient on both sides need records that are divided by image
    (:func:`.folds.by_image`).

    Args:
        folder: with a test list for each fold; train lists are checked against them where they are there.
        datalist: records as :func:`.records.load_datalist` gives them.
        problems: names that no image has are passed over and noted here as one problem, with their number; without it
            the first list with one raises.

    Raises:
        InputError: no lists, a list that is missing or empty or of which no image is here, a name that no image has, an
            image in no test list or in several, an image on both sides or on neither side of one fold, or a patient in
            several folds; with names.
    """
    folder = Path(folder)
    lists = _find(folder)
    index = _Index(datalist, strict=problems is None)
    tested = {fold: index.read(lists["test", fold]) for fold in _folds(folder, lists)}
    homes: dict[int, list[int]] = {}
    for fold, members in tested.items():
        for image in members:
            homes.setdefault(image, []).append(fold)
    _refuse(folder, index, [i for i in range(len(datalist)) if i not in homes], "in no test list", "each image in one")
    twice = [image for image in sorted(homes) if len(homes[image]) > 1]
    _refuse(folder, index, twice, "in several test lists", "each image in one")
    for fold in tested:
        if ("train", fold) in lists:
            _check_sides(index, lists["train", fold], set(index.read(lists["train", fold])), set(tested[fold]), fold)
    if index.absent:
        found = f"{len(index.absent)} of {index.lines} names without an image here: {listed(index.absent, 3)}"
        leave_out(folder.name, InputError(folder, found, "lists of the images that are here"), problems)
    codes = {image: code for members in tested.values() for image, code in members.items() if code}
    records = []
    for image, record in enumerate(datalist):
        group = codes.get(image, group_of(record)) if group_of(record) == record["name"] else group_of(record)
        records.append({**record, "group": group, "fold": homes[image][0] - 1})
    check_folds(records)
    return records


def write_fold_lists(folder: str | Path, datalist: Sequence[dict[str, Any]]) -> list[Path]:
    """Write the lists of a plan, patients in the order of their names; :func:`read_fold_lists` gives the folds back.

    Args:
        folder: made where it is missing; it may hold these very lists already.
        datalist: records, each with ``"fold"`` from 0.

    Returns:
        The files: train and test list of the first fold, of the second, ...

    Raises:
        InputError: what :func:`.folds.check_folds` refuses, folds that do not count from 0, a patient whose name does
            not fit on a line, or lists of other folds in the folder.
    """
    folder, folds = Path(folder), check_folds(datalist)
    if folds[0] != 0:
        raise InputError("fold", f"folds from {folds[0]}", "folds from 0: the lists count one higher")
    home = {unit_of(record): int(record["fold"]) for record in datalist}
    odd = [name for name in home if name != name.strip() or len(name.splitlines()) != 1]
    if odd:
        raise InputError("group", f"the name {odd[0]!r}", "names on one line, without white space at their ends")
    texts = {}
    for fold in folds:
        for side, inside in (("train", False), ("test", True)):
            names = sorted(name for name, own in home.items() if (own == fold) is inside)
            texts[folder / f"{side}_w32_parent_{fold + 1}.txt"] = "".join(f"{name}\n" for name in names)
    for path in _find(folder).values() if folder.is_dir() else ():
        if path not in texts or path.read_bytes() != texts[path].encode():
            raise InputError(path, "a list of other folds", "a folder without lists, or with the same")
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


class _Index:
    """Which images a line of a list means: the most exact reading wins."""

    def __init__(self, datalist: Sequence[dict[str, Any]], strict: bool = True) -> None:
        self.strict = strict
        self.seen: dict[str, bool] = {}
        self.names = [str(record["name"]) for record in datalist]
        self.patients = [unit_of(record) for record in datalist]
        self.groups: dict[str, list[int]] = {}
        self.images: dict[str, list[int]] = {}
        self.codes: dict[str, list[int]] = {}
        self.in_class: dict[str, list[int]] = {}
        for number, record in enumerate(datalist):
            self.groups.setdefault(self.patients[number], []).append(number)
            for name in {self.names[number], Path(record["image"]).stem}:
                self.images.setdefault(name.removesuffix(_IMAGE_ENDING), []).append(number)
            for name in _names_in_class(record):
                self.in_class.setdefault(name, []).append(number)
            self.codes.setdefault(self.names[number].split("_")[0], []).append(number)

    @property
    def absent(self) -> list[str]:
        """Names of the lists that no image has."""
        return [line for line, known in self.seen.items() if not known]

    @property
    def lines(self) -> int:
        """How many names the lists have."""
        return len(self.seen)

    def read(self, path: Path) -> dict[int, str]:
        """Images that the list means, each with its patient's code where the list gives no more than that, else ""."""
        found: dict[int, str] = {}
        unknown = []
        for line in _lines(path):
            images, code = self._find(line)
            found.update(dict.fromkeys(images, code))
            self.seen[line] = bool(images)
            if not images:
                unknown.append(line)
        if unknown and not (found and not self.strict):
            raise InputError(path, f"{listed(unknown)}, which no image has", "patients or names of the images")
        if not found:
            raise InputError(path, "an empty list", "at least one patient per fold")
        return found

    def _find(self, line: str) -> tuple[list[int], str]:
        file = Path(line)
        name = (file.stem if is_image_name(file) else file.name).removesuffix(_IMAGE_ENDING)
        within = f"{file.parent.name}-{name}" if file.parent.name else name
        for known, key in ((self.in_class, within), (self.groups, line), (self.images, name), (self.groups, name)):
            if key in known:
                return known[key], ""
        return self.codes.get(name, []), name


def _names_in_class(record: dict[str, Any]) -> set[str]:
    """``<class>-<image>``, by which a line with or without folder means an image of a class in either layout."""
    label = class_of(record)
    if label is None:
        return set()
    return {f"{label}-{name.removeprefix(f'{label}-')}" for name in (str(record["name"]), Path(record["image"]).stem)}


def _find(folder: Path) -> dict[tuple[str, int], Path]:
    """The lists of a folder by side and number."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", f"a folder with {_EXPECTED}")
    found: dict[tuple[str, int], Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match:
            key = (match[1], int(match[2]))
            if key in found:
                raise InputError(folder, f"{found[key].name} and {path.name}", "one list per fold and side")
            found[key] = path
    return found


def _folds(folder: Path, lists: dict[tuple[str, int], Path]) -> list[int]:
    """Numbers of the folds, from 1 without gaps."""
    if not any(side == "test" for side, _ in lists):
        raise InputError(folder, "no test list", _EXPECTED)
    first, last = min(number for _, number in lists), max(number for _, number in lists)
    if first < 1:
        raise InputError(folder, f"a list with the number {first}", _EXPECTED)
    missing = [str(fold) for fold in range(1, last + 1) if ("test", fold) not in lists]
    if missing:
        raise InputError(folder, f"no test list of fold {listed(missing)}", _EXPECTED)
    return list(range(1, last + 1))


def _check_sides(index: _Index, path: Path, train: set[int], test: set[int], fold: int) -> None:
    both = sorted({index.patients[image] for image in train & test})
    if both:
        where = f"in the train and in the test list of fold {fold}"
        raise InputError(path, f"{listed(both)} {where}", "each patient on one side")
    neither = [image for image in range(len(index.names)) if image not in train | test]
    _refuse(path, index, neither, f"in neither list of fold {fold}", "each patient in one of the two")


def _refuse(path: Path, index: _Index, images: Iterable[int], where: str, expected: str) -> None:
    names = [index.names[image] for image in images]
    if names:
        raise InputError(path, f"{listed(names)} {where}", expected)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"no readable text ({error})", "one patient per line") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
