"""The split that a data list brings: its sections ``training``, ``validation`` and ``test``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import InputError
from .datalist import SECTION
from .folds import check_no_shared_group, split

logger = logging.getLogger(__name__)


class Parts(NamedTuple):
    """Records to train on, to validate on and to be tested alone."""

    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]


def is_sectioned(records: Sequence[dict[str, Any]]) -> bool:
    """Whether a data list divided these into sections; where every record has a fold, the folds count instead."""
    return any(SECTION in record for record in records) and any(record.get("fold") is None for record in records)


def by_section(records: Sequence[dict[str, Any]], fold: int | None, num_folds: int = 5, seed: int = 0) -> Parts:
    """The sections as the split. What stands under ``test`` is never trained on.

    Args:
        records: such that :func:`is_sectioned`; those without a section count as ``training``.
        fold: -1 trains on ``training`` and ``validation``. Otherwise ``validation`` is validated on, for which ``fold``
            must be 0 or None; where the list has no such section, this fold of ``training``.
        num_folds: see :func:`.folds.split`.
        seed: likewise.

    Raises:
        InputError: a fold from 1 beside a section ``validation``, nothing to train on, a group in two sections, or what
            :func:`.folds.split` refuses.
    """
    own = [(record.get(SECTION, "training"), record) for record in records]
    parts = Parts(*([record for section, record in own if section == name] for name in Parts._fields))
    counts = ", ".join(f"{name} {len(part)}" for name, part in zip(Parts._fields, parts, strict=True))
    if fold not in (None, -1, 0) and parts.validation:
        expected = "fold 0 (these sections), -1 (training and validation), or a fold for each entry of the list"
        raise InputError("fold", f"{fold} of a data list whose sections are its split ({counts})", expected)
    check_no_shared_group([*parts.training, *parts.validation], parts.test, "the sections of the data list")
    check_no_shared_group(parts.training, parts.validation, "the sections of the data list")
    logger.warning("the sections of the data list are taken for its split: %s images", counts)
    if fold == -1:
        return Parts([*parts.training, *parts.validation], [], parts.test)
    if not parts.training:
        raise InputError("fold", f"{fold} of a data list with {counts}", "entries under training")
    if parts.validation:
        return parts
    return Parts(*split(parts.training, 0 if fold is None else fold, num_folds, seed), parts.test)


def without_test(records: Sequence[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    """The records that may be trained on; says of how many that is not true."""
    kept = [record for record in records if record.get(SECTION) != "test"]
    if len(kept) < len(records):
        logger.warning("%s: %d images of the section test are not trained on", what, len(records) - len(kept))
    return kept


def warn_of_new_division(records: Sequence[dict[str, Any]]) -> None:
    """Say so where sections of a data list are divided anew into folds."""
    if is_sectioned(records):
        counts = Counter(record.get(SECTION, "training") for record in records)
        logger.warning(
            "the data list has the sections %s: all of them are divided anew into folds, also what was kept for a test",
            ", ".join(f"{name} ({count})" for name, count in counts.items()),
        )
