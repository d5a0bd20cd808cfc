#!/usr/bin/env python3
"""Train and test a bundle on every fold of a data set, and write one report of what came out.

Images are divided by patient (or slide, or field: whatever the data set tells), so that no network is tested on a
patient that it has seen. Each fold is a training of its own: five folds take five times as long as one. A run that was
stopped goes on where it was when the same command is given again; folds that are finished are left alone.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.crossval.out_of_fold import Gathered, folds_table, gather, write_gathered  # noqa: E402
from common.crossval.processes import parse_overrides  # noqa: E402
from common.crossval.runs import CrossValidation, FoldFailed, make_plan  # noqa: E402
from common.datasets.datalist import read_json  # noqa: E402
from common.datasets.folds import SPLIT_BY  # noqa: E402
from common.datasets.list_files import write_fold_lists  # noqa: E402
from common.errors import InputError, Problem  # noqa: E402
from common.figures import figures_of  # noqa: E402

EXAMPLES = """\
examples:
  python scripts/cross_validate.py bundles/microscopy_nuclei_instance_segmentation \\
      --dataset_dir stage1_train --output_dir cv
      five folds by field, with the settings of the bundle's train.json

  python scripts/cross_validate.py bundles/microscopy_nuclei_instance_segmentation \\
      --dataset_dir my_images --output_dir cv --num_folds 3 -- --max_epochs 20 --learning_rate 0.001
      three folds of your own images/ + masks/ + patients.csv; what follows the -- goes to every training and evaluation

  python scripts/cross_validate.py bundles/microscopy_nuclei_instance_segmentation \\
      --dataset_dir stage1_train --output_dir cv --plan_only --write_lists lists
      look at the folds before anything is trained, as cv/datalist.json and lists/test_w32_parent_1.txt, ...

  python scripts/cross_validate.py bundles/microscopy_nuclei_instance_segmentation \\
      --dataset_dir stage1_train --output_dir cv --folds 0 2
      only these folds; the report covers all folds that are finished by then

  python scripts/cross_validate.py bundles/pathology_lymphoma_classification \\
      --dataset_dir lymphoma --output_dir cv_images --lists lymphoma/image_level_folds --split_by image
      a published protocol that tests slides that were trained on: for comparison alone, and a warning says so

  python scripts/cross_validate.py bundles/brightfield_gastruloid_segmentation \\
      --dataset_dir gastruloid --output_dir cv --num_folds 4
      as many folds as images.csv (image, group) has groups: each aggregate is tested by a network trained on the others

which figures a bundle is judged by stands in its configs/metadata.json: "figures": "instances" (default), "cardiac",
"classes" or "frames"

what is in the output folder:
  datalist.json            the plan: every image with its fold; a training of one fold can start from it as well
  fold0/                   model.pt, checkpoint.pt, train.log (follow it with tail -f), eval/ with the fold's own report
  metrics.json             all images out of fold with 95 % intervals by patient or group (none for a single one),
                           each fold, mean and standard deviation
  metrics_per_image.csv    one row per image (or frame of a sequence) with its fold and patient or group
  report.html              the figures as tables and the worst images
  of the cardiac bundle also metrics_per_patient.csv and bland_altman.svg: volumes and ejection fractions
  of a bundle for classes also confusion.csv, confusion.svg and reliability.svg

exit status: 0 all is well, 1 something failed or an image could not be used (it is named), 2 wrong command line
"""


def parse(words: list[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """Options and the overrides behind the ``--``."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.usage = "%(prog)s BUNDLE --dataset_dir DIR --output_dir DIR [options] [-- --override value ...]"
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument(
        "--dataset_dir", required=True, help="images with truth, or a JSON data list; several with commas"
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="where everything goes; the same to go on")
    parser.add_argument("--num_folds", type=int, help="default: as many as the data list or the lists have, else 5")
    parser.add_argument("--folds", type=int, nargs="+", metavar="K", help="train only these, from 0 (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the division and of the training (default: 0)")
    parser.add_argument(
        "--lists",
        type=Path,
        metavar="DIR",
        help="take the folds from train_w32_parent_1.txt, test_w32_parent_1.txt, ...",
    )
    parser.add_argument(
        "--split_by",
        choices=SPLIT_BY,
        default="group",
        help="group: a patient or slide is on one side (default); image: it may be on both, so the figures are too good",
    )
    parser.add_argument("--write_lists", type=Path, metavar="DIR", help="write the folds as such lists too")
    parser.add_argument("--modality_table", type=Path, help="classes.csv, if it lies elsewhere (not for frames)")
    parser.add_argument("--mosaic_table", type=Path, help="mosaics.csv, likewise (not for frames)")
    parser.add_argument(
        "--modalities", help="only images of these kinds, with commas: purple_on_* is H&E (not for frames)"
    )
    parser.add_argument("--plan_only", action="store_true", help="write the plan and stop")
    own, _, rest = _divide(words)
    return parser.parse_args(own), parse_overrides(rest)


def _divide(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place : place + 1], words[place + 1 :]


def cross_validate(options: argparse.Namespace, overrides: dict[str, str]) -> list[Problem]:
    """Plan, train, evaluate, gather; what went wrong on the way.

    Raises:
        InputError: wrong input.
        FoldFailed: a training or an evaluation that did not reach its end.
    """
    plan = make_plan(
        options.dataset_dir,
        options.num_folds,
        options.seed,
        options.lists,
        options.modality_table,
        options.mosaic_table,
        options.modalities,
        options.split_by,
        _class_names(options.bundle),
        _load(options.bundle),
    )
    chosen = plan.folds if options.folds is None else options.folds
    unknown = [str(fold) for fold in chosen if fold not in plan.folds]
    if unknown:
        raise InputError("--folds", ", ".join(unknown), f"some of {', '.join(map(str, plan.folds))}")
    run = CrossValidation(options.bundle, options.output_dir, plan, options.seed, overrides)
    run.prepare()
    for fold in plan.folds:
        records = plan.of_fold(fold)
        print(
            f"fold {fold}: {len(records)} images of {len({record['group'] for record in records})} patients or groups"
        )
    if options.write_lists:
        write_fold_lists(options.write_lists, plan.records)
    if options.plan_only:
        print(f"the plan is in {run.datalist}")
        return plan.problems
    problems: list[Problem] = []
    for fold in chosen:
        problems += run.run_fold(fold, lambda text: print(text, flush=True))
    gathered = gather(run)
    report = write_gathered(run, gathered)
    print_figures(gathered)
    print(f"report: {report}")
    return gathered.problems + problems


def _class_names(bundle: Path) -> list[str] | None:
    """The classes that a bundle tells apart; None for one whose truth is masks."""
    config = bundle / "configs" / "train.json"
    return read_json(config).get("class_names") if config.is_file() else None


def _load(bundle: Path) -> Callable[..., list[dict[str, Any]]] | None:
    """How the records of a bundle are read; None for one that reads them as most do."""
    # A folder that is no bundle is refused later, and its data set is looked at first.
    return figures_of(bundle).load if (bundle / "configs" / "metadata.json").is_file() else None


def print_figures(gathered: Gathered) -> None:
    """The table of the folds, and all images together with their intervals."""
    figures = gathered.figures
    table = folds_table(gathered.metrics, figures)
    rows = [[_text(cell) for cell in row] for row in [table.columns, *table.rows]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    print(table.note)
    groups = gathered.metrics["n_groups"]
    intervals = (
        f"with 95 % intervals by patient or group ({groups} of them)"
        if groups > 1
        else "of one patient or group, so without intervals"
    )
    print(f"all images out of fold, {intervals}:")
    width = max(18, *(len(label) + 1 for label in figures.columns.values()))
    for name, label in figures.columns.items():
        value = gathered.metrics["metrics"].get(name)
        if value is not None and value["estimate"] is not None:
            bounds = "" if value["low"] is None else f"  ({value['low']:.3f} to {value['high']:.3f})"
            print(f"  {label:<{width}}{value['estimate']:.3f}{bounds}")


def _text(cell: object) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else "" if cell is None else str(cell)


def _stop(number: int, frame: object) -> None:
    """Ended from outside: an exception, so that the training that is going on ends too."""
    raise SystemExit(128 + number)


def main() -> int:
    """The command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    signal.signal(signal.SIGTERM, _stop)
    try:
        options, overrides = parse(sys.argv[1:])
        problems = cross_validate(options, overrides)
    except (InputError, FoldFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    for problem in problems:
        print(f"problem: {problem.name}: {problem.reason}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
