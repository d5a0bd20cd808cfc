"""The split of a run: records of a data set, divided into training and validation, as one object for configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Problem
from .class_folders import as_entries
from .folds import check_no_shared_group, divided_by, held_out, split, write_datalist
from .list_files import read_fold_lists
from .merging import merge
from .records import load_datalist


class BaseSplit:
    """What all splits have in common.

    Attributes:
        training, validation: records.
        problems: images that were left out because they cannot be used.
    """

    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    problems: list[Problem]

    @property
    def monitored(self) -> list[dict[str, Any]]:
        """What a training watches: the validation records, or where there are none a few training records, evenly spread."""
        return self.validation or self.training[:: max(1, len(self.training) // 16)]

    def exit(self) -> None:
        """End the process with status 1 if an image could not be used, so that scripts notice. To be called last."""
        if self.problems:
            raise SystemExit(1)


class Split(BaseSplit):
    """Training and validation records of one fold.

    Args:
        dataset_dir: see :func:`.records.load_datalist`.
        fold: the fold to validate on; -1 or None trains on everything.
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
        training, validation: records.
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
        self.problems = []
        tables = modality_table, mosaic_table
        records = load_datalist(
            dataset_dir, *tables, problems=self.problems, modalities=modalities, class_names=class_names
        )
        records = divided_by(records, split_by)
        if lists:
            records = read_fold_lists(lists, records, self.problems if split_by == "image" else None)
        if hold_out:
            self.training, self.validation = held_out(records, hold_out)
        else:
            self.training, self.validation = split(records, fold, num_folds, seed)
        if also_train:
            more = load_datalist(also_train, problems=self.problems, modalities=modalities, class_names=class_names)
            check_no_shared_group(more, self.validation, "also_train")
            self.training = merge({"dataset_dir": self.training, "also_train": more})

    @property
    def evaluated(self) -> list[dict[str, Any]]:
        """What an evaluation scores: the validation records of a fold, or everything if no fold is asked for."""
        return self.validation or self.training

    def write(self, path: str | Path) -> Mapping[str, int]:
        """Write the split beside the weights, so that it is known what they have seen."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        training = [{**record, "split": "training"} for record in self.training]
        validation = [{**record, "split": "validation"} for record in self.validation]
        write_datalist(path, as_entries(training + validation))
        return {"training": len(training), "validation": len(validation)}
