#!/usr/bin/env python3
"""Seconds per image by stage, network share and peak memory of a bundle's inference, as a Markdown table.

Each row is one run of the bundle's own inference command on a folder of equal images in a fresh process, so that nothing
is measured that a user would not get. Images are generated (cells on dark ground) unless --images names real ones.

Examples:
    scripts/benchmark.py                                      # 256x256, 512x640 and 2000x2000
    scripts/benchmark.py --sizes 256x256 --count 100 --tta
    scripts/benchmark.py --images my_folder                   # one row for the images given
    scripts/benchmark.py --sizes 8000x8000 --count 1          # peak memory of a large image
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.synthetic import fluorescence_image  # noqa: E402

STAGES = ("read", "network", "decode", "write", "wall")


@dataclass(frozen=True)
class Row:
    """One run: what was measured on a folder."""

    name: str
    images: int
    objects: int
    seconds: dict[str, float]
    network_share: float
    peak_gigabytes: float


def make_images(folder: Path, shape: tuple[int, int], count: int, seed: int = 0) -> None:
    """Write generated fluorescence images of one size, nuclei of 20 px, about one per 1,500 pixels."""
    rng = np.random.default_rng(seed)
    tile = (min(shape[0], 1000), min(shape[1], 1000))
    for number in range(count):
        pixels, _ = fluorescence_image(tile, max(1, tile[0] * tile[1] // 1500), 20.0, rng)
        repeats = [-(-n // t) for n, t in zip(shape, tile, strict=True)]
        pixels = np.tile(pixels.reshape(tile), repeats)[: shape[0], : shape[1]]
        tifffile.imwrite(folder / f"image_{number:03d}.tif", pixels, compression="zlib")


def measure(bundle: Path, images: Path, overrides: list[str], name: str) -> Row:
    """Run the bundle's inference on a folder and read what its summary says."""
    with tempfile.TemporaryDirectory() as output:
        config = bundle / "configs" / "inference.json"
        command = [
            sys.executable,
            "-m",
            "monai.bundle",
            "run",
            "--config_file",
            str(config),
            "--bundle_root",
            str(bundle),
        ]
        command += ["--dataset_dir", str(images), "--output_dir", output, *overrides]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the inference on {images} failed:\n{printed[-3000:]}")
        summary = json.loads((Path(output) / "summary.json").read_text())
    return Row(
        name,
        summary["images"],
        summary["objects"],
        summary["seconds"],
        summary["network_share_of_wall_time"],
        usage.ru_maxrss / 2**20,
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown; stages overlap in time, so that they can add up to more than the wall time."""
    lines = [
        "| images | objects per image | "
        + " | ".join(f"{s} (s)" for s in STAGES)
        + " | network share | peak memory (GB) |",
        "|---|---|" + "---|" * (len(STAGES) + 2),
    ]
    for row in rows:
        each = " | ".join(f"{row.seconds[stage] / row.images:.3f}" for stage in STAGES)
        lines.append(
            f"| {row.images} x {row.name} | {row.objects / row.images:.0f} | {each} "
            f"| {row.network_share:.0%} | {row.peak_gigabytes:.1f} |"
        )
    return "\n".join(lines)


def parse_size(text: str) -> tuple[int, int]:
    """``512x640`` to rows and columns."""
    rows, _, columns = text.partition("x")
    return int(rows), int(columns)


def main() -> None:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = REPOSITORY / "bundles" / "microscopy_nuclei_instance_segmentation"
    parser.add_argument("--bundle", type=Path, default=default, help="bundle folder (default: %(default)s)")
    parser.add_argument("--images", type=Path, help="folder of real images instead of generated ones")
    parser.add_argument("--sizes", nargs="+", default=["256x256", "512x640", "2000x2000"], help="rows x columns")
    parser.add_argument("--count", type=int, default=40, help="images per size, fewer for large ones (default: 40)")
    parser.add_argument("--tta", action="store_true", help="with test-time augmentation")
    parser.add_argument("--override", nargs="*", default=[], metavar="NAME=VALUE", help="overrides for the config")
    options = parser.parse_args()
    overrides = [f"--{pair}" for pair in options.override] + (["--tta", "true"] if options.tta else [])
    rows = []
    if options.images:
        rows.append(measure(options.bundle, options.images, overrides, options.images.name))
    else:
        for size in options.sizes:
            shape = parse_size(size)
            count = max(1, min(options.count, int(40_000_000 / (shape[0] * shape[1]))))
            with tempfile.TemporaryDirectory() as folder:
                make_images(Path(folder), shape, count)
                rows.append(measure(options.bundle, Path(folder), overrides, size))
            print(table(rows[-1:]).splitlines()[-1], file=sys.stderr)
    print(table(rows))


if __name__ == "__main__":
    main()
