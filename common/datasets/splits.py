"""The split of a run: records of a data set, divided into training and validation, as one object for configs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Problem, listed
from ..outputs.files import write_text
from .class_folders import as_entries
from .datalist import read_json
from .folds import check_no_shared_group, divided_by, group_of, held_out, split, unit_of, write_datalist
from .list_files import read_fold_lists
from .merging import merge
from .records import load_datalist
from .sections import by_section, is_sectioned, without_test

logger = logging.getLogger(__name__)

PARTS = ("training", "validation", "test")
FILE = "split.json"
"""The split lies beside the weights under this name, or under the weights' own: ``model_split.json`` of ``model.pt``."""
_TRUTH = ("label", "epicardium")
# What a training takes from a record besides its files.
_TOLD = ("class", "modality", "spacing_mm", "partial")


class BaseSplit:
    """What all splits have in common.

    Attributes:
        training, validation, test: records; most splits keep none for a test.
        problems: images that were left out because they cannot be used.
    """

    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    problems: list[Problem]

    @property
    def evaluated(self) -> list[dict[str, Any]]:
        """What an evaluation scores: the test records, else the validation's, else everything."""
        return self.test or self.validation or self.training

    @property
    def fingerprint(self) -> str:
        """How many images there are to train on and to validate on, and a hash of which: of names, groups, classes, the
        sizes of image files and the content of label files, in whatever folder they lie."""
        read: dict[Path, str] = {}
        parts = {name: sorted(_identity(record, read) for record in getattr(self, name)) for name in PARTS}
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        return f"{len(self.training)} + {len(self.validation)} images, {digest}"

    @property
    def monitored(self) -> list[dict[str, Any]]:
        """What a training watches: the validation records, or where there are none a few training records, evenly spread."""
        return self.validation or self.training[:: max(1, len(self.training) // 16)]

    def seen_by(self, weights: str | Path) -> str | None:
        """How many of the images to be scored the weights were trained on, by the split beside them.

        That is ``<stem of the weights>_split.json`` (see :meth:`write_seen`), else ``split.json``. An image counts if its
        name, or its patient, slide or field, was in the training; a warning is logged then.

        Args:
            weights: the file of the weights.

        Returns:
            "3 of 10"; None where no such file is there.

        Raises:
            InputError: one that cannot be read.
        """
        beside = (Path(weights).with_name(f"{Path(weights).stem}_{FILE}"), Path(weights).with_name(FILE))
        path = next((file for file in beside if file.is_file()), None)
        if path is None:
            return None
        trained = _trained_on(read_json(path))
        names, units = {entry.get("name") for entry in trained}, {unit_of({"name": "", **entry}) for entry in trained}
        scored = self.evaluated
        seen = [record["name"] for record in scored if record["name"] in names or unit_of(record) in units]
        if seen:
            logger.warning(
                "%d of the %d images to be scored are in the training part of %s, or others of their patient, slide or "
                "field are (%s): their figures say nothing of new images",
                *(len(seen), len(scored), path, listed(seen, 3)),
            )
        return f"{len(seen)} of {len(scored)}"

    def write_seen(self, path: str | Path) -> None:
        """Write what :meth:`seen_by` needs and no more, to go with weights that are given away: name and group of each
        training image, the group where it is not the name."""
        seen = [{"name": str(record["name"]), "group": group_of(record)} for record in self.training]
        slim = [entry if entry["group"] != entry["name"] else {"name": entry["name"]} for entry in seen]
        write_text(path, json.dumps({"training": slim}, separators=(",", ":"), ensure_ascii=False) + "\n")

    def exit(self) -> None:
        """End the process with status 1 if an image could not be used, so that scripts notice. To be called last."""
        if self.problems:
            raise SystemExit(1)


class Split(BaseSplit):
    """Training and validation records of one fold.

    Args:
        dataset_dir: see :func:`.records.load_datalist`.
        fold: the fold to validate on; -1 or None trains on everything. A data list with truth in several sections
            (``training``, ``validation``, ``test``) brings its split, see :func:`.sections.by_section`.
        num_folds: number of folds.
        seed: of the assignment to folds.
        modality_table: modalities by image, where the data set's own place does not have them.
        mosaic_table: fields by image, likewise.
        modalities: only images of these, see :func:`.records.keep_modalities`; None takes all.
        hold_out: validate on the records of one value instead of a fold, as ``key=value``: a split that the data set brings
            (``challenge_group=validation``). ``fold`` and ``num_folds`` are then not used.
        also_train: further data sets, as ``dataset_dir``, whose images are trained on in every fold and never validated
            on, whatever folds they bring; None or empty: no more.
        split_by: "group", or "image": images of one patient or slide may then be on both sides, and a warning says of how
            many that is true. Records of a data list that were divided by image stay so.
        class_names: where the truth of an image is a class: the classes.
        lists: folder of ``test_w32_parent_1.txt``, ... with the folds, see :func:`.list_files.read_fold_lists`;
            with ``split_by`` "image" names of images that are not here are a problem and passed over.

    Attributes:
        training, validation, test: records; ``test`` is what a data list has under ``test``.
        problems: images that were left out because they cannot be used.

    Raises:
        InputError: see :func:`.records.load_datalist`, :func:`.folds.split` and
            :func:`.folds.held_out`, or a patient, slide or field of ``also_train`` that is validated on.
    """

    def __init__(
        self,
        dataset_dir: str | Path | Sequence[str | Path],
        fold: int | None = 0,
        num_folds: int = 5,
        seed: int = 0,
        modality_table: str | Path | None = None,
        mosaic_table: str | Path | None = None,
        modalities: Sequence[str] | str | None = None,
        also_train: str | Path | Sequence[str | Path] | None = None,
        hold_out: str | None = None,
        split_by: str = "group",
        class_names: Sequence[str] | None = None,
        lists: str | Path | None = None,
    ) -> None:
        self.problems, self.test = [], []
        tables = modality_table, mosaic_table
        records = load_datalist(
            dataset_dir, *tables, problems=self.problems, modalities=modalities, class_names=class_names
        )
        records = divided_by(records, split_by)
        if lists:
            records = read_fold_lists(lists, records, self.problems if split_by == "image" else None)
        if hold_out:
            self.training, self.validation = held_out(records, hold_out)
        elif is_sectioned(records):
            self.training, self.validation, self.test = by_section(
                records, -1 if fold is None else fold, num_folds, seed
            )
        else:
            self.training, self.validation = split(records, fold, num_folds, seed)
        if also_train:
            more = load_datalist(also_train, problems=self.problems, modalities=modalities, class_names=class_names)
            more = without_test(more, "also_train")
            check_no_shared_group(more, [*self.validation, *self.test], "also_train")
            self.training = merge({"dataset_dir": self.training, "also_train": more})

    def write(self, path: str | Path) -> Mapping[str, int]:
        """Write the split beside the weights, so that it is known what they have seen."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        entries = [{**record, "split": name} for name in PARTS for record in getattr(self, name)]
        write_datalist(path, as_entries(entries))
        return {name: len(getattr(self, name)) for name in PARTS}


def _trained_on(content: Any) -> list[dict[str, Any]]:
    """Entries of a split that were trained on: by their own ``split``, else by the section that they are in."""
    sections = content.items() if isinstance(content, dict) else ()
    entries = [(name, entry) for name, section in sections if isinstance(section, list) for entry in section]
    return [e for name, e in entries if isinstance(e, dict) and e.get("split", name) == "training"]


def _identity(record: Mapping[str, Any], read: dict[Path, str]) -> list[str]:
    """What makes an image the same one in another folder. Pictures are large and not read; a mask that was corrected may
    well have its old size, so truth is, each file once (``read``)."""
    sizes = [str(file.stat().st_size) for file in _files(record.get("image"))]
    truth = [_content(file, read) for key in _TRUTH for file in _files(record.get(key))]
    told = [str(record.get(key) or "") for key in _TOLD]
    return [str(record["name"]), unit_of(record), *told, " ".join(sizes), " ".join(truth)]


def _content(file: Path, read: dict[Path, str]) -> str:
    if file not in read:
        digest = hashlib.sha256()
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
        read[file] = digest.hexdigest()[:16]
    return read[file]


def _files(value: Any) -> list[Path]:
    """The files given, of a folder all that are in it; what is no path (a class) is none."""
    found: list[Path] = []
    for path in map(Path, _each(value)):
        if path.is_absolute() and path.is_file():
            found.append(path)
        elif path.is_absolute() and path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.is_file())
    return found


def _each(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
