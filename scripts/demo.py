#!/usr/bin/env python3
"""The collection at work without any download: each bundle's inference with its shipped weights on embedded images.

Writes generated images with known truth and a real image that scikit-image ships, runs the same command that a user
would, prints the metrics and says where the pictures and tables are.

Examples:
    scripts/demo.py
    scripts/demo.py --output_dir /tmp/demo --bundle microscopy_nuclei_instance_segmentation
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from skimage import data

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.synthetic import stained_image  # noqa: E402

SCORES = {
    "competition_score": "competition score",
    "ap50": "AP at IoU 0.5",
    "panoptic_quality": "PQ",
    "mean_dice": "Dice",
}


def nuclei_data(folder: Path) -> None:
    """Images for the nuclei bundle in the Data Science Bowl's layout."""
    script = REPOSITORY / "scripts" / "make_demo_data.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, stdout=subprocess.DEVNULL)


def tissue_data(folder: Path) -> None:
    """Generated sections at 0.25 um per pixel with truth, and the real one that scikit-image ships, without."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)

    def tags(um: float) -> dict[str, Any]:
        return {"photometric": "rgb", "resolution": (1e4 / um, 1e4 / um), "resolutionunit": "CENTIMETER"}

    for number, eosin in enumerate((0.15, 0.35, 0.6)):
        made = stained_image((400, 400), 110, 24, np.random.default_rng(number), eosin)
        name = f"section_{number}.tif"
        tifffile.imwrite(folder / "images" / name, made.pixels, **tags(0.25))
        tifffile.imwrite(folder / "masks" / name, made.instances.astype(np.uint16))
    # Its magnification is not told; its nuclei have the size that they have at 20x. Stained for a protein, not with eosin.
    tifffile.imwrite(folder / "images" / "colon.tif", data.immunohistochemistry(), **tags(0.5))


# Bundle: what makes its images. A new bundle joins the demo by a line here.
DEMOS: dict[str, Callable[[Path], None]] = {
    "microscopy_nuclei_instance_segmentation": nuclei_data,
    "pathology_nuclei_segmentation": tissue_data,
}


def run_bundle(name: str, folder: Path) -> None:
    """Make the images, run the bundle's inference, print what came out."""
    bundle, images, output = REPOSITORY / "bundles" / name, folder / "data", folder / "results"
    began = time.perf_counter()
    if not images.exists():
        DEMOS[name](images)
    command = ["-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "inference.json")]
    command += ["--bundle_root", str(bundle), "--dataset_dir", str(images), "--output_dir", str(output)]
    print(f"\n{name}\n  $ python {' '.join(command)}")
    with (folder / "log.txt").open("w") as log:
        status = subprocess.run([sys.executable, *command], stdout=log, stderr=subprocess.STDOUT).returncode
    if status:
        raise SystemExit(
            f"  failed with status {status}, see {folder / 'log.txt'}:\n{(folder / 'log.txt').read_text()[-2000:]}"
        )
    summary = json.loads((output / "summary.json").read_text())
    print(
        f"  {summary['objects']} objects in {summary['images']} images, {time.perf_counter() - began:.0f} s altogether"
    )
    for score, label in SCORES.items():
        if score in summary.get("metrics", {}):
            value = summary["metrics"][score]
            print(f"  {label:18s} {value['estimate']:.3f}  (95 % interval {value['low']:.3f} to {value['high']:.3f})")
    print("  on generated images: they show that everything works, not how good it is on yours; see the model card")
    print(f"  pictures:     {output / 'report.html'}\n  measurements: {output / 'measurements.csv'}")


def main() -> None:
    """Parse the command line and run the demos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=REPOSITORY / "demo_output", help="default: %(default)s")
    parser.add_argument("--bundle", choices=sorted(DEMOS), help="only this bundle")
    options = parser.parse_args()
    for name in [options.bundle] if options.bundle else DEMOS:
        folder = options.output_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        run_bundle(name, folder)


if __name__ == "__main__":
    main()
