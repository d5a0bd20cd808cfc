"""Records of a data set divided by group (aggregate, well, movie), and a search for frames that are copies of others."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets import datalist, folders
from ...datasets.folds import check_no_shared_group, group_of, held_out, split
from ...datasets.merging import merge
from ...datasets.records import load_datalist
from ...datasets.sections import by_section, is_sectioned, without_test
from ...datasets.splits import PARTS, BaseSplit
from ...errors import InputError, Problem, listed
from ...outputs.files import write_text
from .copies import Copies, find_copies

logger = logging.getLogger(__name__)


class GroupSplit(BaseSplit):
    """Training, validation and test records, no group in two of them.

    Args:
        dataset_dir: ``images/`` + ``masks/`` with ``patients.csv`` (image, patient) or ``images.csv`` (image, group), or a
            JSON data list, or another layout of :func:`...datasets.records.load_datalist`.
        fold: None, or the text "none" (what a command line can say), divides by ``ratios``; a number validates on that fold
            of ``num_folds``; -1 trains on everything. A data list with truth in several sections (``training``,
            ``validation``, ``test``) brings its split, see :func:`...datasets.sections.by_section`.
        num_folds: number of folds.
        seed: of the division.
        ratios: shares of the frames for training, validation and test, as near as whole groups allow.
        hold_out: ``key=value``: test on these records (``group=gastruloid_B``), train on all others; ``fold`` is not used.
        also_train: further data sets that are trained on always.
        most: train on so many records only, evenly taken from the groups; None takes all.
        look_for_copies: search for frames that are copies of others, turned or mirrored (two-dimensional ones).

    Attributes:
        training, validation, test: records.
        fold: the fold, None where there is none.
        stops: whether a training may be ended by the validation, because other images are kept for a test.
        copies: see :class:`.copies.Copies`.
        problems: what could not be used.

    Raises:
        InputError: see the layouts; a group on both sides; fewer groups than folds.
    """

    def __init__(
        self,
        dataset_dir: str | Path | Sequence[str | Path],
        fold: int | str | None = None,
        num_folds: int = 5,
        seed: int = 0,
        ratios: Sequence[float] = (0.7, 0.2, 0.1),
        hold_out: str | None = None,
        also_train: str | Path | Sequence[str | Path] | None = None,
        most: int | None = None,
        look_for_copies: bool = True,
    ) -> None:
        self.problems = []
        self.fold = fold = _fold(fold)
        records = load_records(dataset_dir, self.problems)
        self.test: list[dict[str, Any]] = []
        if hold_out:
            self.training, self.validation = held_out(records, hold_out)
        elif is_sectioned(records):
            self.training, self.validation, self.test = by_section(records, fold, num_folds, seed)
        elif fold is None and not all(record.get("fold") is not None for record in records):
            self.training, self.validation, self.test = divide(records, ratios, seed)
        else:
            self.training, self.validation = split(records, 0 if fold is None else fold, num_folds, seed)
        if also_train:
            more = without_test(load_records(also_train, self.problems), "also_train")
            check_no_shared_group(more, [*self.validation, *self.test], "also_train")
            self.training = merge({"dataset_dir": self.training, "also_train": more})
        self.stops = bool(self.test)
        self.copies = self._copies() if look_for_copies else Copies()
        self.training = thinned(self.training, most)

    def _copies(self) -> Copies:
        side = {record["name"]: name for name in PARTS for record in getattr(self, name)}
        copies = find_copies([record for name in PARTS for record in getattr(self, name)])
        across = [pair for pair in copies.pairs if side[pair[0]] != side[pair[1]]]
        if across:
            logger.warning(
                "%d pairs of frames look like copies but are in different parts of the split: %s. Give both one group.",
                len(across),
                listed(" and ".join(pair[:2]) for pair in across),
            )
        elif copies.pairs:
            logger.info("%d pairs of frames look like copies, each within one part of the split", len(copies.pairs))
        return copies

    def write(self, path: str | Path) -> Mapping[str, int]:
        """Write the split beside the weights: which records each part has, how many groups, which are copies."""
        parts = {name: getattr(self, name) for name in PARTS}
        groups = {name: sorted({group_of(record) for record in records}) for name, records in parts.items()}
        content = {
            "groups": groups,
            "copies": [list(pair) for pair in self.copies.pairs],
            **{name: [{**record, "split": name} for record in records] for name, records in parts.items()},
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content, indent=2) + "\n")
        counts = {name: len(records) for name, records in parts.items()}
        for name in PARTS:
            logger.info("%s: %d images of %d groups (%s)", name, counts[name], len(groups[name]), listed(groups[name]))
        return counts


def _fold(fold: int | str | None) -> int | None:
    """MONAI drops an override that is None, so that a command line has to say it in a word."""
    if fold is None or str(fold).strip().lower() in ("none", "null", ""):
        return None
    try:
        return int(fold)
    except ValueError as error:
        raise InputError("fold", repr(fold), "a number from 0, -1 (everything), or none (divided by ratios)") from error


def load_records(
    dataset_dir: str | Path | Sequence[str | Path], problems: list[Problem] | None = None
) -> list[dict[str, Any]]:
    """Records with ``name``, ``image``, ``label`` and ``group``; stacks and volumes too, whatever their colours."""
    path = Path(dataset_dir).expanduser().absolute() if isinstance(dataset_dir, (str, Path)) else None
    if path is not None and path.is_dir() and folders.matches(path):
        found = folders.records(path, True, problems)
    elif path is not None and "," not in path.name and datalist.matches(path):
        found = datalist.records(path)
    else:
        return load_datalist(dataset_dir, problems=problems)
    if not found:
        raise InputError(path or "dataset_dir", "no image", "at least one image with its mask")
    return found


def divide(
    records: Sequence[dict[str, Any]], ratios: Sequence[float] = (0.7, 0.2, 0.1), seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Training, validation and test records by whole groups, as near to the ratios as these allow.

    The largest groups come first, each into the part that lacks most. With three groups or more every part with a ratio
    above 0 gets one; with two the second is validated on and nothing is tested; a single one is all trained on.

    Raises:
        InputError: ratios that are no three shares of 1.
    """
    if len(ratios) != 3 or min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
        raise InputError("ratios", str(list(ratios)), "three shares that add up to 1, such as 0.7, 0.2, 0.1")
    members: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        members.setdefault(group_of(record), []).append(record)
    names = sorted(members)
    shuffled = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    order = sorted(shuffled, key=lambda name: -len(members[name]))
    wanted = np.array(ratios) * len(records)
    open_parts = [part for part in range(3) if ratios[part] > 0][: len(names)]
    home: dict[str, int] = {}
    filled = np.zeros(3)
    for left, name in zip(range(len(order), 0, -1), order, strict=True):
        empty = [part for part in open_parts if not filled[part]]
        # Every part gets a group while there are enough.
        choice = empty if len(empty) >= left else open_parts
        part = max(choice, key=lambda part: wanted[part] - filled[part])
        home[name], filled[part] = part, filled[part] + len(members[name])
    parts: tuple[list[dict[str, Any]], ...] = ([], [], [])
    for record in records:
        parts[home[group_of(record)]].append(record)
    return parts[0], parts[1], parts[2]


def thinned(records: Sequence[dict[str, Any]], most: int | None) -> list[dict[str, Any]]:
    """At most so many records, each group giving in turn, evenly along its own order."""
    if most is None or len(records) <= int(most):
        return list(records)
    members: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        members.setdefault(group_of(record), []).append(index)
    share: dict[str, int] = dict.fromkeys(members, 0)
    for turn in range(int(most) * len(members)):
        name = list(members)[turn % len(members)]
        if sum(share.values()) < int(most) and share[name] < len(members[name]):
            share[name] += 1
    chosen: set[int] = set()
    for name, own in members.items():
        chosen.update(own[index] for index in np.linspace(0, len(own) - 1, share[name]).round().astype(int))
    return [record for index, record in enumerate(records) if index in chosen]
