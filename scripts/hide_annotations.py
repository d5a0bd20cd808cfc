#!/usr/bin/env python3
"""Make partially annotated data out of a fully annotated set, to measure what missing annotations cost.

Three data lists come out, with the same images and folds, to train and validate on in the same way:

  full.json      the truth as it is
  partial.json   of the images that one fold trains on only some objects are marked, and the list says so
  ignored.json   the same marks, taken for the whole truth: every unmarked object counts as background

The images of that fold itself keep their whole truth in all three.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.datasets.datalist import write_datalist  # noqa: E402
from common.datasets.folds import with_folds  # noqa: E402
from common.datasets.labels import read_instances  # noqa: E402
from common.datasets.records import load_datalist  # noqa: E402
from common.errors import InputError  # noqa: E402
from common.images.reading import read_image  # noqa: E402
from common.outputs.labels import write_label_tiff  # noqa: E402
from common.tissue.sampling import hide_annotations  # noqa: E402

EXAMPLES = """\
examples:
  python scripts/hide_annotations.py monuseg hidden
      70 % of the nuclei hidden in every image outside of fold 0 of five
  B=bundles/pathology_nuclei_segmentation
  for kind in full partial ignored; do
      python -m monai.bundle run --config_file $B/configs/train.json --bundle_root $B \\
          --dataset_dir hidden/$kind.json --fold 0 --ckpt_dir runs/$kind
  done
      one training with each of them, validated on the same images with their whole truth
"""


def hide(
    dataset_dir: str, out_dir: Path, share: float = 0.7, fold: int = 0, num_folds: int = 5, seed: int = 0
) -> dict[str, Path]:
    """Write the reduced truth and the three data lists.

    Args:
        dataset_dir: a fully annotated set, see :func:`common.datasets.records.load_datalist`.
        out_dir: new or empty; gets ``masks/<image>.tif`` (instance ids) and the lists.
        share: of the objects of an image that are hidden, 0 to 1.
        fold: whose images keep their truth.
        num_folds: number of folds by patient, where the data set brings none.
        seed: of the folds and of what is hidden.

    Returns:
        The lists by their names.

    Raises:
        InputError: ``out_dir`` holds something, no such fold, a share that is none, or what a data set can have wrong.
    """
    if out_dir.exists() and any(out_dir.iterdir()):
        raise InputError(out_dir, "a folder that holds something", "a new or an empty folder")
    if not 0 <= share <= 1:
        raise InputError("--share", str(share), "a number from 0 to 1")
    records = with_folds(load_datalist(dataset_dir), num_folds, seed)
    if fold not in {record["fold"] for record in records}:
        raise InputError("--fold", str(fold), f"a fold from 0 to {num_folds - 1}")
    (out_dir / "masks").mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(seed)
    lists: dict[str, list[dict[str, Any]]] = {"full": records, "partial": [], "ignored": []}
    for record in tqdm(records, desc="hiding"):
        if record["fold"] == fold:
            fewer = record
        else:
            instances = read_instances(record, read_image(record["image"]).pixels.shape[:2])
            path = out_dir / "masks" / f"{record['name']}.tif"
            write_label_tiff(path, hide_annotations(instances, share, random))
            fewer = {**record, "label": str(path.absolute())}
        lists["ignored"].append(fewer)
        lists["partial"].append(fewer if fewer is record else {**fewer, "partial": True})
    files = {name: out_dir / f"{name}.json" for name in lists}
    for name, file in files.items():
        write_datalist(file, lists[name])
    return files


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset_dir", help="a fully annotated data set, in any layout that a training takes")
    parser.add_argument("out_dir", type=Path, help="a new folder for the masks and the lists")
    parser.add_argument("--share", type=float, default=0.7, help="of the objects that are hidden (default %(default)s)")
    parser.add_argument("--fold", type=int, default=0, help="whose images keep their truth (default %(default)s)")
    parser.add_argument("--num_folds", type=int, default=5, help="folds by patient (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of folds and hiding (default %(default)s)")
    options = parser.parse_args()
    try:
        files = hide(options.dataset_dir, options.out_dir, options.share, options.fold, options.num_folds, options.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(str(file) for file in files.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
