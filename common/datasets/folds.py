"""Cross-validation folds that never split a patient, slide or mosaic and hold each kind of image alike."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError, listed
from .datalist import read_datalist, write_datalist

logger = logging.getLogger(__name__)

__all__ = [
    "assign_folds",
    "by_image",
    "check_folds",
    "check_no_shared_group",
    "class_of",
    "divided_by",
    "group_of",
    "held_out",
    "read_datalist",
    "split",
    "unit_of",
    "warn_of_leak",
    "with_folds",
    "write_datalist",
]

SPLIT_BY = ("group", "image")


def assign_folds(
    groups: Sequence[Hashable], strata: Sequence[Hashable] | None = None, num_folds: int = 5, seed: int = 0
) -> np.ndarray:
    """One fold per image, whole groups together, each stratum spread evenly.

    Greedy: the largest groups first, each into the fold where it keeps the strata most even. A fold is never left empty
    while there are as many groups as folds. The answer depends on the set of images, not on their order.

    Args:
        groups: one per image: patient, slide or mosaic.
        strata: one per image (modality, class), or None to balance the number of images alone.
        num_folds: at least 2.
        seed: orders groups of equal size.

    Returns:
        int64 (images,), values 0 to num_folds - 1.

    Raises:
        InputError: fewer than two folds, fewer groups than folds, or lengths that differ.

    Example:
        >>> assign_folds(["a", "a", "b", "b"], num_folds=2).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
        True
    """
    strata = [""] * len(groups) if strata is None else strata
    if len(strata) != len(groups):
        raise InputError("strata", f"{len(strata)} strata for {len(groups)} images", "one stratum per image")
    if num_folds < 2:
        raise InputError("num_folds", str(num_folds), "at least 2 folds")
    names = sorted(set(groups), key=str)
    if len(names) < num_folds:
        raise InputError(
            "num_folds", f"{len(names)} groups for {num_folds} folds", "at least one patient, slide or field per fold"
        )
    kinds = {kind: column for column, kind in enumerate(sorted(set(strata), key=str))}
    rows = {name: row for row, name in enumerate(names)}
    members = np.array([rows[group] for group in groups])
    counts = np.zeros((len(names), len(kinds)))
    np.add.at(counts, (members, np.array([kinds[kind] for kind in strata])), 1)
    return _fold_of_group(counts, num_folds, np.random.default_rng(seed))[members]


def _fold_of_group(counts: np.ndarray, num_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Greedy assignment of groups (rows) with their images per stratum (columns)."""
    shuffled = rng.permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]
    # A stratum of few images weighs as much as one of many, and the number of images as much as one stratum.
    weighted = np.hstack([counts, counts.sum(axis=1, keepdims=True)]) / np.sqrt(
        np.append(counts.sum(axis=0), counts.sum())
    )
    filled = np.zeros((num_folds, weighted.shape[1]))
    folds = np.zeros(len(counts), dtype=np.int64)
    for group in order:
        # Growth of the sum of squares: smallest in the fold that lacks most of what this group brings.
        growth = filled @ weighted[group]
        best = np.flatnonzero(growth <= growth.min() + 1e-9)
        folds[group] = rng.choice(best)
        filled[folds[group]] += weighted[group]
    return folds


def split(
    datalist: Sequence[dict[str, Any]], fold: int | None, num_folds: int = 5, seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and validation records of one fold.

    The records' own ``"fold"`` counts if all have one; otherwise folds are assigned by ``"group"`` and, where all have
    it, stratified by class or ``"modality"``. Records that are divided by image (:func:`by_image`) may have images of
    one group on both sides; a warning then says how many.

    Args:
        datalist: records as :func:`.records.load_datalist` gives them.
        fold: the fold to validate on; None or -1 trains on everything and validates on nothing.
        num_folds: number of folds to assign; not used for records that bring their own.
        seed: of the assignment.

    Raises:
        InputError: no such fold, a fold without images, a fold for some of the images only, fewer groups than folds, or
            a group on both sides.
    """
    records = list(datalist)
    if fold is None or fold == -1:
        return records, []
    assigned = not any(record.get("fold") is not None for record in records)
    if assigned and not 0 <= fold < num_folds:
        raise InputError("fold", str(fold), f"a fold from 0 to {num_folds - 1}, or -1 to train on all images")
    folds = [record["fold"] for record in with_folds(records, num_folds, seed)]
    validation = [record for record, own in zip(records, folds, strict=True) if own == fold]
    training = [record for record, own in zip(records, folds, strict=True) if own != fold]
    if not training or not validation:
        side = "training" if not training else "validation"
        present = sorted(set(folds))
        raise InputError(
            "fold", f"{fold}, which leaves no image for {side}", f"images in several of the folds {present}"
        )
    check_no_shared_group(training, validation)
    _check_classes_seen(training, validation, "fold")
    warn_of_leak([*training, *validation], [0] * len(training) + [1] * len(validation))
    return training, validation


def held_out(datalist: Sequence[dict[str, Any]], which: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and validation records where the data set itself says which is which.

    Args:
        datalist: records as :func:`.records.load_datalist` gives them.
        which: ``key=value``; records whose ``key`` has this value are validated on, the others trained on.

    Raises:
        InputError: no ``key=value``, no record on one of the sides (the values that there are are named), or a group on
            both.
    """
    key, equals, value = which.partition("=")
    if not key or not equals:
        raise InputError("hold_out", repr(which), "key=value, such as challenge_group=validation")
    validation = [record for record in datalist if str(record.get(key)) == value]
    training = [record for record in datalist if str(record.get(key)) != value]
    if not training or not validation:
        present = listed(sorted({str(record.get(key)) for record in datalist}))
        side = "validation" if not validation else "training"
        raise InputError("hold_out", f"{which}, which leaves no image for {side}", f"{key} with one of {present}")
    check_no_shared_group(training, validation, "hold_out")
    _check_classes_seen(training, validation, "hold_out")
    return training, validation


def with_folds(datalist: Sequence[dict[str, Any]], num_folds: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """The records, each with its ``"fold"``: their own if all have one, otherwise assigned as :func:`split` does.

    Args:
        datalist: records as :func:`.records.load_datalist` gives them.
        num_folds: number of folds to assign; not used for records that bring their own.
        seed: of the assignment.

    Raises:
        InputError: a fold for some of the images only, fewer groups than folds, or a class with a single group.
    """
    own = [record.get("fold") for record in datalist]
    bare = [record["name"] for record, fold in zip(datalist, own, strict=True) if fold is None]
    if datalist and not bare:
        return [{**record, "fold": int(fold)} for record, fold in zip(datalist, own, strict=True) if fold is not None]
    if len(bare) < len(own):
        raise InputError("fold", f"no fold for {listed(bare)}", "a fold for each image of the data list, or for none")
    strata = [class_of(record) or record.get("modality") for record in datalist]
    stratify = all(kind is not None for kind in strata)
    _refuse_single_units(datalist)
    folds = assign_folds([unit_of(record) for record in datalist], strata if stratify else None, num_folds, seed)
    return [{**record, "fold": fold} for record, fold in zip(datalist, folds.tolist(), strict=True)]


def check_folds(datalist: Sequence[dict[str, Any]]) -> list[int]:
    """The folds of a whole plan, in order, if every image can be tested once by a network that never saw its patient.

    Args:
        datalist: records, each with ``"fold"``; folds count from 0 or from 1.

    Raises:
        InputError: a record without fold, a single fold, a fold without images, a group in several folds, or a class in
            one fold alone; with names.
    """
    bare = [record["name"] for record in datalist if record.get("fold") is None]
    if bare:
        raise InputError("fold", f"no fold for {listed(bare)}", "a fold for each image")
    folds = sorted({int(record["fold"]) for record in datalist})
    if len(folds) < 2:
        raise InputError("fold", f"all {len(datalist)} images in one fold", "at least 2 folds")
    empty = [str(fold) for fold in range(min(folds[0], 1), folds[-1]) if fold not in folds]
    if empty:
        raise InputError("fold", f"no image in fold {listed(empty)}", f"images in each fold up to {folds[-1]}")
    places: dict[str, set[int]] = {}
    for record in datalist:
        places.setdefault(unit_of(record), set()).add(int(record["fold"]))
    torn = [
        f"{group} (in folds {' and '.join(map(str, sorted(own)))})"
        for group, own in sorted(places.items())
        if len(own) > 1
    ]
    if torn:
        classes = any(class_of(record) is not None for record in datalist)
        expected = "each patient in one fold" + (", or split_by image, which leaks" if classes else "")
        raise InputError("fold", f"images of one patient in several folds: {listed(torn)}", expected)
    for fold in folds:
        sides: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for record in datalist:
            sides[int(record["fold"]) == fold].append(record)
        _check_classes_seen(sides[False], sides[True], f"fold {fold}")
    return folds


def check_no_shared_group(
    training: Sequence[dict[str, Any]], validation: Sequence[dict[str, Any]], option: str = "fold"
) -> None:
    """Raise InputError with their names if groups (patients, slides, mosaics) are on both sides; ``option`` is at fault."""
    shared = sorted({unit_of(record) for record in training} & {unit_of(record) for record in validation})
    if shared:
        raise InputError(
            option, f"{listed(shared)} in training and validation", "each patient, slide or field on one side"
        )


def group_of(record: Mapping[str, Any]) -> str:
    """What must not be split: the record's patient, slide or field, else the image itself."""
    return str(record.get("group") or record["name"])


def unit_of(record: Mapping[str, Any]) -> str:
    """What folds are made of: the group, or the image alone where records are divided :func:`by_image`."""
    return str(record["name"]) if record.get("split_by") == "image" else group_of(record)


def class_of(record: Mapping[str, Any]) -> str | None:
    """The class where it is the truth of an image; None where the truth is a mask or unknown."""
    name = record.get("class")
    return str(name) if name and record.get("label") in (None, name) else None


def divided_by(datalist: Sequence[dict[str, Any]], split_by: str) -> list[dict[str, Any]]:
    """Records to be divided by ``"group"`` (as they are) or :func:`by_image`.

    Raises:
        InputError: another word.
    """
    if split_by not in SPLIT_BY:
        raise InputError("split_by", repr(split_by), f"one of {', '.join(SPLIT_BY)}")
    return by_image(datalist) if split_by == "image" else list(datalist)


def by_image(datalist: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records that say that they may be divided within a patient or slide (``"split_by": "image"``).

    For protocols that were published so: a network then knows the patient, the stain and the focus of what it is tested
    on, and its figures say nothing of patients that it has not seen. The key goes along into data lists, and
    :func:`warn_of_leak` speaks up wherever such records are divided.
    """
    return [{**record, "split_by": "image"} for record in datalist]


def warn_of_leak(datalist: Sequence[dict[str, Any]], folds: Sequence[int]) -> int:
    """Number of images whose patient or slide is in several folds, which is logged as a warning unless it is 0."""
    places: dict[str, set[int]] = {}
    for record, fold in zip(datalist, folds, strict=True):
        places.setdefault(group_of(record), set()).add(fold)
    leaking = sum(len(places[group_of(record)]) > 1 for record in datalist)
    if leaking:
        logger.warning(
            "divided by image: %d of %d images have images of their own patient or slide on the other side, so the "
            "figures are too good for new patients",
            leaking,
            len(datalist),
        )
    return leaking


def _refuse_single_units(datalist: Sequence[dict[str, Any]]) -> None:
    """A class with a single patient cannot be tested by a network that was trained on the class."""
    units: dict[str, set[str]] = {}
    for record in datalist:
        name = class_of(record)
        if name is not None:
            units.setdefault(name, set()).add(unit_of(record))
    for name, own in units.items():
        if len(own) == 1:
            raise InputError(
                "dataset_dir",
                f"the class {name} with one patient or slide, {next(iter(own))}",
                "at least two of each class, to train on one and test the other (fold -1 trains on all, untested)",
            )


def _check_classes_seen(training: Sequence[dict[str, Any]], validation: Sequence[dict[str, Any]], option: str) -> None:
    """Nobody can tell a class that was not trained on."""
    unseen = sorted({class_of(record) or "" for record in validation} - {class_of(r) or "" for r in training} - {""})
    if unseen:
        of = listed(sorted({unit_of(record) for record in validation if class_of(record) in unseen}))
        raise InputError(
            option, f"the class {listed(unseen)} ({of}) in validation alone", "images of each class in the training"
        )
