#!/usr/bin/env python3
"""Pictures of the patches that a training on tissue draws, kind by kind: inside nuclei, on their edge, in background."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.datasets.labels import read_instances  # noqa: E402
from common.datasets.records import load_datalist  # noqa: E402
from common.errors import InputError  # noqa: E402
from common.images.reading import read_image  # noqa: E402
from common.outputs.png import write_png  # noqa: E402
from common.report.contact_sheet import draw_sheet  # noqa: E402
from common.tissue.sampling import SamplingSettings, find_sites  # noqa: E402

EXAMPLES = """\
examples:
  python scripts/contact_sheet.py my_data sheets
      one <image>_patches.png per image with truth
  python scripts/contact_sheet.py monuseg sheets --images 3 --size 64
      the first three images, larger patches
"""


def write_sheets(dataset_dir: str, out_dir: Path, images: int | None, size: int, seed: int) -> list[Path]:
    """Draw the sites of each image as a training does and write their patches.

    Args:
        dataset_dir: a data set with truth, see :func:`common.datasets.records.load_datalist`.
        out_dir: made where it is missing.
        images: only the first so many; None takes all.
        size: of the patches, in pixels of the image.
        seed: of the sites and of which of them are shown.

    Returns:
        The pictures.

    Raises:
        InputError: what a data set can have wrong.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    written = []
    for record in tqdm(load_datalist(dataset_dir)[:images], desc="contact sheets"):
        pixels = read_image(record["image"]).pixels
        pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
        instances = read_instances(record, pixels.shape[:2])
        sites = find_sites(instances, pixels, SamplingSettings(seed=seed))
        written.append(out_dir / f"{record['name']}_patches.png")
        write_png(written[-1], draw_sheet(pixels, sites, instances, size=size, seed=seed))
    return written


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset_dir", help="stained tissue with truth, in any layout that a training takes")
    parser.add_argument("out_dir", type=Path, help="folder for the pictures")
    parser.add_argument("--images", type=int, help="only the first so many (default all)")
    parser.add_argument("--size", type=int, default=32, help="of the patches in pixels (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other patches (default %(default)s)")
    options = parser.parse_args()
    try:
        files = write_sheets(options.dataset_dir, options.out_dir, options.images, options.size, options.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(files)} pictures in {options.out_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
