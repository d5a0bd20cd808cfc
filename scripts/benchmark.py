#!/usr/bin/env python3
"""Seconds per image by stage, network share and peak memory of a bundle's inference, as a Markdown table.

Each row is one run of the bundle's own inference command on a folder of equal images in a fresh process, so that nothing
is measured that a user would not get. Images are generated (cells on dark ground, or with --stained tissue) unless
--images names real ones; with --sizes these are cropped or mirrored to each size. --study generates a cine MR study instead.

With --compare a second table follows, for stained tissue: the same images by what a network has to beat. The learning-free
baseline (colour deconvolution, Otsu, watershed) is scored too where --images is a data set with truth; a network that
classifies one patch per pixel is timed on 20,000 patches of the first images and the time of all follows in proportion.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from tqdm import tqdm

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.cine.phantom.files import write_phantom_study  # noqa: E402
from common.cine.phantom.study import phantom_cine  # noqa: E402
from common.datasets.folds import group_of  # noqa: E402
from common.datasets.labels import read_instances  # noqa: E402
from common.datasets.records import images_only  # noqa: E402
from common.errors import InputError  # noqa: E402
from common.images.reading import read_image  # noqa: E402
from common.metrics.annotated import score_truth  # noqa: E402
from common.metrics.instance_summary import ImageRow, summarise  # noqa: E402
from common.nuclei.baselines import nuclei_without_learning  # noqa: E402
from common.nuclei.pixelwise import time_pixelwise  # noqa: E402
from common.nuclei.synthetic import fluorescence_image, stained_image  # noqa: E402

STAGES = ("read", "network", "decode", "write", "wall")
SCORES = {"mean_dice": "Dice", "mean_aji": "AJI", "f1": "F1 at IoU 0.5", "panoptic_quality": "PQ"}
SIZES = ((256, 256), (512, 640), (2000, 2000))
PIXELWISE_IMAGES = 4
"""Its time does not depend on what the image shows."""
EXAMPLES = """\
examples:
  python scripts/benchmark.py
      the default sizes, 256x256, 512x640 and 2000x2000
  python scripts/benchmark.py --sizes 256x256 --count 100 --tta true
  python scripts/benchmark.py --sizes 8000x8000 --count 1
      peak memory of a large image
  python scripts/benchmark.py --images my_folder
      one row for the images given
  python scripts/benchmark.py --bundle bundles/pathology_nuclei_segmentation --images monuseg --sizes 2000x2000 \\
      --count 4 --compare
      four images of MoNuSeg made 2000x2000; the baseline and the time of the pixel-wise method beside
  python scripts/benchmark.py --bundle bundles/pathology_nuclei_segmentation --images monuseg --only_compare
      the figures of the learning-free baseline on all of MoNuSeg
  python scripts/benchmark.py --bundle bundles/cardiac_cine_mr_lv_segmentation --study 20x12
      a study of 20 phases and 12 slices of 256x256, as DICOM
"""


@dataclass(frozen=True)
class Row:
    """One run of the bundle: what was measured on a folder of images or of studies.

    Objects are those of the images, the frames of studies, or the patches of a classifier; None where none are counted.
    """

    name: str
    images: int
    objects: int | None
    seconds: dict[str, float]
    network_share: float
    peak_gigabytes: float


@dataclass(frozen=True)
class Rival:
    """Another method on the same images: seconds per image, and its scores where truth is known."""

    name: str
    images: int
    seconds: float
    metrics: dict[str, Any] | None = None


def make_images(folder: Path, shape: tuple[int, int], count: int, stained: bool = False, seed: int = 0) -> None:
    """Write generated images of one size, nuclei of 20 px, about one per 1,500 pixels."""
    rng = np.random.default_rng(seed)
    tile = (min(shape[0], 1000), min(shape[1], 1000))
    make = stained_image if stained else fluorescence_image
    for number in range(count):
        pixels = np.squeeze(make(tile, max(1, tile[0] * tile[1] // 1500), 20.0, rng).pixels)
        tifffile.imwrite(folder / f"image_{number:03d}.tif", fitted(pixels, shape), compression="zlib")


def fitted(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image (rows, columns[, channels]) cropped, or mirrored beyond its border, to a size."""
    missing = [(0, max(0, wanted - there)) for wanted, there in zip(shape, pixels.shape, strict=False)]
    return np.pad(pixels, [*missing, *[(0, 0)] * (pixels.ndim - 2)], "symmetric")[: shape[0], : shape[1]]


def make_study(folder: Path, phases: int, slices: int) -> None:
    """Write a generated cine MR study of 256x256 frames as DICOM."""
    write_phantom_study(folder, phantom_cine(phases, slices, size=(256, 256), spacing_mm=1.37, slice_distance_mm=8.0))


def resize_images(source: Path, folder: Path, shape: tuple[int, int], count: int) -> None:
    """Write the first images of a folder or data set at a size, see :func:`fitted`, as TIFF."""
    for record in images_only(source)[:count]:
        image = read_image(record["image"])
        tags: dict[str, Any] = {}
        if image.pixel_size_um:
            tags = {"resolution": (1e4 / image.pixel_size_um,) * 2, "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(folder / f"{record['name']}.tif", fitted(image.pixels.squeeze(), shape), **tags)


def measure(bundle: Path, images: Path, overrides: list[str], name: str) -> Row:
    """Run the bundle's inference on a folder and read what its summary says."""
    with tempfile.TemporaryDirectory() as output:
        config = bundle / "configs" / "inference.json"
        command = [sys.executable, "-m", "monai.bundle", "run", f"--config_file={config}", f"--bundle_root={bundle}"]
        command += [f"--dataset_dir={images}", f"--output_dir={output}", *overrides]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the inference on {images} failed:\n{printed[-3000:]}")
        summary = json.loads((Path(output) / "summary.json").read_text())
    return Row(
        name,
        summary.get("images", summary.get("stacks")),
        next((summary[key] for key in ("objects", "frames", "patches") if key in summary), None),
        summary["seconds"],
        summary["network_share_of_wall_time"],
        usage.ru_maxrss / 2**20,
    )


def compare(images: Path, name: str, strides: Sequence[int] = (1, 4)) -> Iterator[Rival]:
    """The methods without the bundle's network on the same images, one after the other."""
    records = images_only(images)
    rows, seconds = [], 0.0
    pixelwise: dict[int, list[float]] = {stride: [] for stride in strides}
    for number, record in enumerate(tqdm(records, desc="baseline and pixel-wise", leave=False)):
        began = time.perf_counter()
        image = read_image(record["image"])
        if image.pixels.shape[2] != 3:
            raise InputError(record["image"], "a grey image", "stained tissue in colour, to compare methods on")
        labels = nuclei_without_learning(image.pixels, pixel_size_um=image.pixel_size_um or 0.25)
        seconds += time.perf_counter() - began
        for stride in strides if number < PIXELWISE_IMAGES else ():
            pixelwise[stride].append(time_pixelwise(image.pixels, stride).seconds)
        if record["label"] is not None:
            score = score_truth(read_instances(record, labels.shape), labels, bool(record.get("partial")))
            rows.append(ImageRow(record["name"], group_of(record), "", score))
    metrics = summarise(rows)["metrics"] if rows else None
    yield Rival(f"learning-free baseline, {name}", len(records), seconds / len(records), metrics)
    for stride, taken in pixelwise.items():
        which = "each pixel" if stride == 1 else f"every {stride}th pixel each way"
        yield Rival(f"patch network at {which}, {name}", len(taken), sum(taken) / len(taken))


def table(rows: list[Row]) -> str:
    """The rows as Markdown; stages overlap in time, so that they can add up to more than the wall time."""
    stages = " | ".join(f"{stage} (s)" for stage in STAGES)
    lines = [
        f"| images or studies | objects, frames or patches in each | {stages} | network share | peak memory (GB) |",
        "|---|---|" + "---|" * (len(STAGES) + 2),
    ]
    for row in rows:
        found = "" if row.objects is None else f"{row.objects / row.images:.0f}"
        each = " | ".join(f"{row.seconds[stage] / row.images:.3f}" for stage in STAGES)
        lines.append(
            f"| {row.images} x {row.name} | {found} | {each} | {row.network_share:.0%} | {row.peak_gigabytes:.1f} |"
        )
    return "\n".join(lines)


def rivals_table(rivals: list[Rival]) -> str:
    """Other methods as Markdown; scores with their 95 % intervals by patient."""
    lines = [
        "| method | images | s per image | " + " | ".join(SCORES.values()) + " |",
        "|---" * (3 + len(SCORES)) + "|",
    ]
    for rival in rivals:
        scores = " | ".join("" if rival.metrics is None else _score(rival.metrics[name]) for name in SCORES)
        lines.append(f"| {rival.name} | {rival.images} | {rival.seconds:.2f} | {scores} |")
    return "\n".join(lines)


def _score(value: dict[str, float | None]) -> str:
    bounds = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['estimate']:.3f}{bounds}"


def parse_size(text: str) -> tuple[int, int]:
    """``512x640`` to rows and columns.

    Raises:
        argparse.ArgumentTypeError: another text.
    """
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected two numbers from 1 on, such as 512x640")
    return int(rows), int(columns)


def run(options: argparse.Namespace) -> tuple[list[Row], list[Rival]]:
    """Measure what was asked for.

    Raises:
        InputError: images that cannot be read.
    """
    compares = options.compare or options.only_compare
    overrides = [f"--{pair}" for pair in options.override] + ([f"--tta={options.tta}"] if options.tta else [])
    rows: list[Row] = []
    rivals: list[Rival] = []

    def take(folder: Path, name: str) -> None:
        if not options.only_compare:
            rows.append(measure(options.bundle, folder, overrides, name))
            print(table(rows[-1:]).splitlines()[-1], file=sys.stderr)
        if compares:
            rivals.extend(compare(folder, name))

    if options.images and not options.sizes:
        take(options.images, options.images.name)
    for study in options.study:
        with tempfile.TemporaryDirectory() as folder:
            make_study(Path(folder), *study)
            take(Path(folder), f"study of {study[0]}x{study[1]}")
    for shape in options.sizes or ([] if options.images or options.study else SIZES):
        count = max(1, min(options.count, int(40_000_000 / (shape[0] * shape[1]))))
        with tempfile.TemporaryDirectory() as folder:
            if options.images:
                resize_images(options.images, Path(folder), shape, count)
            else:
                make_images(Path(folder), shape, count, options.stained or compares)
            take(Path(folder), f"{shape[0]}x{shape[1]}")
    return rows, rivals


def main() -> int:
    """Parse the command line, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = REPOSITORY / "bundles" / "microscopy_nuclei_instance_segmentation"
    parser.add_argument("--bundle", type=Path, default=default, help="bundle folder (default: %(default)s)")
    parser.add_argument("--images", type=Path, help="folder or data set of real images instead of generated ones")
    parser.add_argument(
        "--sizes", nargs="+", type=parse_size, metavar="ROWSxCOLUMNS", help="(default: 256x256 512x640 2000x2000)"
    )
    parser.add_argument(
        "--study", nargs="+", type=parse_size, default=[], metavar="PHASESxSLICES", help="cine MR studies"
    )
    parser.add_argument("--count", type=int, default=40, help="images per size, fewer for large ones (default: 40)")
    parser.add_argument("--stained", action="store_true", help="generate stained tissue, as --compare does")
    parser.add_argument("--compare", action="store_true", help="also time what needs no such network (stained tissue)")
    parser.add_argument("--only_compare", action="store_true", help="that alone")
    parser.add_argument(
        "--tta",
        choices=("true", "false"),
        help="with or without test-time augmentation (default: as the bundle has it)",
    )
    parser.add_argument("--override", nargs="*", default=[], metavar="NAME=VALUE", help="overrides for the config")
    options = parser.parse_args()
    try:
        rows, rivals = run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n\n".join(text for text in (table(rows) if rows else "", rivals_table(rivals) if rivals else "") if text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
