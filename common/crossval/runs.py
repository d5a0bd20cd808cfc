"""Cross-validation of a bundle: one plan for all folds, each fold trained and evaluated in a process of its own.

An output folder holds ``datalist.json`` (the plan: every record with its ``fold``), ``cross_validation.json`` (with
which settings) and for each fold ``fold<k>/`` (weights, checkpoint, logs) with ``fold<k>/eval/`` (its results).
What is finished is not done again, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datasets.class_folders import as_entries
from ..datasets.datalist import datalist_content, read_json, write_datalist
from ..datasets.folds import check_folds, divided_by, warn_of_leak, with_folds
from ..datasets.list_files import read_fold_lists
from ..datasets.records import load_datalist
from ..datasets.sections import warn_of_new_division
from ..engine.checkpoints import file_hash, load_tensors
from ..engine.overrides import check_names
from ..errors import InputError, Problem, listed
from ..outputs.files import write_text
from .processes import failure, run_logged

logger = logging.getLogger(__name__)

# What the plan and the folders decide; everything else of a config can be overridden.
_OWN = frozenset(
    ("config_file", "bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "ckpt_path", "fold", "num_folds", "seed")
    + ("modality_table", "mosaic_table", "modalities", "split_by", "lists", "hold_out")
)
# Where a run computes is no part of what it computes.
_FREE = ("device", "num_workers")


class FoldFailed(RuntimeError):
    """A fold's training or evaluation ended without its result; the text says with which status and its last words."""


@dataclass(frozen=True)
class Plan:
    """Which image is tested in which fold.

    Attributes:
        records: of all images, each with ``"fold"``.
        folds: their numbers, in order.
        problems: images that were left out because they cannot be used.
    """

    records: list[dict[str, Any]]
    folds: list[int]
    problems: list[Problem] = field(default_factory=list)

    def of_fold(self, fold: int) -> list[dict[str, Any]]:
        """The records that are tested in a fold."""
        return [record for record in self.records if record["fold"] == fold]


def make_plan(
    dataset_dir: str | Path | Sequence[str | Path],
    num_folds: int | None = None,
    seed: int = 0,
    lists: str | Path | None = None,
    modality_table: str | Path | None = None,
    mosaic_table: str | Path | None = None,
    modalities: str | Sequence[str] | None = None,
    split_by: str = "group",
    class_names: Sequence[str] | None = None,
    load: Callable[..., list[dict[str, Any]]] | None = None,
) -> Plan:
    """Divide a data set into folds by patient; the same arguments give the same plan.

    Args:
        dataset_dir: see :func:`..datasets.records.load_datalist`. A data list that has folds keeps them.
        num_folds: None: as many as the data list or the lists have, else 5.
        seed: of the assignment, which is the one that a training with ``--fold`` makes for itself.
        lists: folder of ``test_w32_parent_1.txt``, ..., see :func:`..datasets.list_files.read_fold_lists`.
        modality_table: see :func:`..datasets.records.load_datalist`.
        mosaic_table: likewise.
        modalities: likewise.
        split_by: "group" (patient, slide), or "image" for protocols that leak, with a warning.
        class_names: see :func:`..datasets.records.load_datalist`.
        load: reads the records instead, from ``dataset_dir`` and a list for problems, see :class:`..figures.Figures`;
            tables and modalities are then refused, ``class_names`` is not used.

    Raises:
        InputError: a data set that cannot be read, fewer patients than folds, a patient in several folds, a fold
            without images, another number of folds than the data set or the lists bring, or a table or modalities
            beside ``load``.
    """
    problems: list[Problem] = []
    kinds: dict[str, Any] = {"modality_table": modality_table, "mosaic_table": mosaic_table, "modalities": modalities}
    if load is None:
        records = load_datalist(dataset_dir, **kinds, problems=problems, class_names=class_names)
    else:
        _refuse_kinds(kinds)
        records = load(dataset_dir, problems)
    records = divided_by(records, split_by)
    warn_of_new_division(records)
    if lists is None:
        records = with_folds(records, 5 if num_folds is None else num_folds, seed)
    else:
        records = read_fold_lists(lists, records, problems if split_by == "image" else None)
    folds = check_folds(records)
    warn_of_leak(records, [record["fold"] for record in records])
    if num_folds not in (None, len(folds)):
        raise InputError("num_folds", f"{num_folds}, but {len(folds)} folds in {lists or dataset_dir}", str(len(folds)))
    return Plan(records, folds, problems)


@dataclass(frozen=True)
class CrossValidation:
    """A plan at work in its output folder.

    Attributes:
        bundle: the bundle's folder.
        output_dir: see the head of this module.
        plan: see :func:`make_plan`.
        seed: of the training.
        overrides: for the configs of training and evaluation, by name.
    """

    bundle: Path
    output_dir: Path
    plan: Plan
    seed: int = 0
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def datalist(self) -> Path:
        """The written plan, from which every fold trains."""
        return self.output_dir / "datalist.json"

    def folder(self, fold: int) -> Path:
        """Weights, checkpoint and logs of a fold."""
        return self.output_dir / f"fold{fold}"

    def results(self, fold: int) -> Path:
        """What the evaluation of a fold leaves."""
        return self.folder(fold) / "eval"

    def prepare(self) -> None:
        """Write the plan and its settings, before anything is trained; settings may change until a fold is started.

        Raises:
            InputError: no bundle, an override that the plan decides or that the bundle's ``train.json`` does not know, or
                the folder holds another plan, or folds with other settings.
        """
        for name in ("train.json", "evaluate.json"):
            if not (self.bundle / "configs" / name).is_file():
                raise InputError(self.bundle, f"no configs/{name}", "a bundle's folder")
        taken = [name for name in self.overrides if name in _OWN]
        if taken:
            raise InputError(f"--{taken[0]}", "an override of what the cross-validation itself sets", "its own options")
        check_names(self.bundle / "configs" / "train.json", self.overrides)
        settings = {
            "bundle": self.bundle.absolute().name,
            "seed": self.seed,
            "folds": self.plan.folds,
            "overrides": {name: value for name, value in sorted(self.overrides.items()) if name not in _FREE},
        }
        path = self.output_dir / "cross_validation.json"
        entries = as_entries(self.plan.records)
        _refuse_other_plan(self.datalist, datalist_content(self.datalist, entries))
        started = any(self.folder(fold).exists() for fold in self.plan.folds)
        if started:
            _refuse_other_settings(path, settings)
        if not self.datalist.exists():
            write_datalist(self.datalist, entries)
        if not (started and path.exists()):
            write_text(path, json.dumps(settings, indent=2) + "\n")

    def run_fold(self, fold: int, say: Callable[[str], None] = logger.info) -> list[Problem]:
        """Train and evaluate one fold; what is finished already is left as it is.

        Args:
            fold: one of the plan's.
            say: told what happens.

        Returns:
            What went wrong without keeping the fold from its end; images that could not be evaluated: :meth:`left_out`.

        Raises:
            FoldFailed: training or evaluation ended before its end.
        """
        problems = []
        if self.is_trained(fold):
            say(f"fold {fold}: trained already")
        else:
            log = self.folder(fold) / "train.log"
            say(f"fold {fold}: training, see {log}")
            status = run_logged(self.train_command(fold), log)
            # A finished training that had to leave out an image ends with a status of its own.
            if status and not self.is_trained(fold):
                raise FoldFailed(failure(f"the training of fold {fold}", status, log))
            if status:
                problems.append(Problem(f"fold {fold}", f"its training ended with status {status}, see {log}"))
        if self.is_evaluated(fold):
            say(f"fold {fold}: evaluated already")
        else:
            log = self.folder(fold) / "evaluate.log"
            say(f"fold {fold}: evaluation, see {log}")
            status = run_logged(self.evaluate_command(fold), log)
            if not self.is_evaluated(fold):
                raise FoldFailed(failure(f"the evaluation of fold {fold}", status, log))
            # What could not be used gives status 1 and stands in the summary; any other reason would be lost.
            if status and not self.left_out(fold):
                problems.append(Problem(f"fold {fold}", f"its evaluation ended with status {status}, see {log}"))
        return problems

    def train_command(self, fold: int) -> list[str]:
        """``python -m monai.bundle run`` for the training of a fold."""
        return self._command(["train.json"], fold, {"ckpt_dir": self.folder(fold)})

    def evaluate_command(self, fold: int) -> list[str]:
        """``python -m monai.bundle run`` for the images that the training of a fold did not see."""
        places = {"ckpt_path": self.folder(fold) / "model.pt", "output_dir": self.results(fold)}
        return self._command(["train.json", "evaluate.json"], fold, {"ckpt_dir": self.folder(fold), **places})

    def _command(self, configs: Sequence[str], fold: int, places: Mapping[str, Path]) -> list[str]:
        files = [str(self.bundle.absolute() / "configs" / name) for name in configs]
        given = {
            "config_file": files[0] if len(files) == 1 else str(files),
            "bundle_root": self.bundle.absolute(),
            "dataset_dir": self.datalist.absolute(),
            **{name: path.absolute() for name, path in places.items()},
            **self._signature(fold),
            **self.overrides,
        }
        # Name and value in one word, as a value may begin with a minus.
        return [sys.executable, "-m", "monai.bundle", "run", *(f"--{name}={value}" for name, value in given.items())]

    def _signature(self, fold: int) -> dict[str, Any]:
        return {"fold": fold, "num_folds": len(self.plan.folds), "seed": self.seed}

    def is_trained(self, fold: int) -> bool:
        """Whether the weights are there and the checkpoint beside them is that of this run behind its last epoch."""
        weights, checkpoint = self.folder(fold) / "model.pt", self.folder(fold) / "checkpoint.pt"
        if not (weights.is_file() and checkpoint.is_file()):
            return False
        content = load_tensors(checkpoint)
        signature = content.get("signature", {})
        if any(signature.get(name) != str(value) for name, value in self._signature(fold).items()):
            return False
        epochs = self.overrides.get("max_epochs", read_json(self.bundle / "configs" / "train.json").get("max_epochs"))
        return signature.get("max_epochs") == str(epochs) and content.get("epoch", 0) >= int(signature["max_epochs"])

    def is_evaluated(self, fold: int) -> bool:
        """Whether the results are complete and come from the weights that are there."""
        weights, summary = self.folder(fold) / "model.pt", self.results(fold) / "summary.json"
        tables = ("metrics.json", "metrics_per_image.csv")
        if not (
            weights.is_file() and summary.is_file() and all((self.results(fold) / name).is_file() for name in tables)
        ):
            return False
        # Copying a folder changes its files' times, so it is the weights' hash that counts.
        return (read_json(summary).get("weights") or {}).get("sha256") == file_hash(weights, 64)

    def left_out(self, fold: int) -> list[Problem]:
        """What the evaluation of a fold could not use, wholly or in part, as its summary says."""
        found = read_json(self.results(fold) / "summary.json").get("problems", [])
        return [Problem(entry["name"], entry["reason"]) for entry in found]


def _refuse_kinds(given: Mapping[str, Any]) -> None:
    asked = [f"--{name}" for name, value in given.items() if value]
    if asked:
        raise InputError(
            asked[0], "an option for kinds of images, which this bundle does not tell apart", "no such option"
        )


def _refuse_other_plan(path: Path, content: dict[str, Any]) -> None:
    if not path.exists():
        return
    found = read_json(path)
    if found == content:
        return
    there = {entry.get("name"): entry for entry in found.get("training", [])} if isinstance(found, dict) else {}
    here = {entry["name"]: entry for entry in content["training"]}
    changes = [f"{name} is not in it" for name in sorted(here.keys() - there.keys())]
    changes += [f"{name} is in it" for name in sorted(map(str, there.keys() - here.keys()))]
    for name in sorted(here.keys() & there.keys()):
        keys = [key for key in {**here[name], **there[name]} if here[name].get(key) != there[name].get(key)]
        if keys:
            changes.append(f"{name} has another {' and '.join(keys)}")
    raise InputError(
        path, f"another plan ({listed(changes) or 'another order'})", "the same plan or another output_dir"
    )


def _refuse_other_settings(path: Path, settings: Mapping[str, Any]) -> None:
    if not path.exists():
        return
    found = read_json(path)
    if found != settings:
        differing = [name for name in settings if not isinstance(found, dict) or found.get(name) != settings[name]]
        values = (
            "; ".join(f"{name} {found.get(name)}" for name in differing) if isinstance(found, dict) else "no settings"
        )
        wanted = "; ".join(f"{name} {settings[name]}" for name in differing)
        raise InputError(path, f"a cross-validation with other settings ({values})", f"{wanted}, or another output_dir")
