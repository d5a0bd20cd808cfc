#!/usr/bin/env python3
"""The collection at work without any download: each bundle with its shipped weights on images that come with it.

Writes generated images with known truth and a real image that scikit-image ships, runs the same commands that a user
would, prints the metrics and says where the pictures and tables are.

Examples:
    python scripts/demo.py
    python scripts/demo.py --output_dir my_demo --bundle microscopy_nuclei_instance_segmentation
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from skimage import data

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.nuclei.synthetic import stained_image  # noqa: E402
from common.outputs.labels import read_label_tiff  # noqa: E402

SCORES = {
    "competition_score": "competition score",
    "ap50": "AP at IoU 0.5",
    "panoptic_quality": "PQ",
    "mean_dice": "Dice",
    "epicardium_mean_dice": "Dice of epicardium",
    "mean_iou": "IoU",
    "mean_pixel_accuracy": "pixel accuracy",
    "bias_ejection_fraction_percent": "bias of EF in %",
}
FUNCTION = {"edv_ml": "EDV in ml", "esv_ml": "ESV in ml", "ejection_fraction_percent": "EF in %"}


def demo_data(folder: Path, *options: str) -> None:
    """Images of ``scripts/make_demo_data.py``: nuclei in the Data Science Bowl's layout, the heart, aggregates."""
    script = REPOSITORY / "scripts" / "make_demo_data.py"
    subprocess.run([sys.executable, str(script), str(folder), *options], check=True, stdout=subprocess.DEVNULL)


def rgb_tags(um: float) -> dict[str, Any]:
    """TIFF tags of a colour image whose pixels are so wide."""
    return {"photometric": "rgb", "resolution": (1e4 / um, 1e4 / um), "resolutionunit": "CENTIMETER"}


def tissue_data(folder: Path) -> None:
    """Generated sections at 0.25 um per pixel with truth, and the real one that scikit-image ships, without."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)

    for number, eosin in enumerate((0.15, 0.35, 0.6)):
        made = stained_image((400, 400), 110, 24, np.random.default_rng(number), eosin)
        name = f"section_{number}.tif"
        tifffile.imwrite(folder / "images" / name, made.pixels, **rgb_tags(0.25))
        tifffile.imwrite(folder / "masks" / name, made.instances.astype(np.uint16))
    # Its magnification is not told; its nuclei have the size that they have at 20x. Stained for a protein, not with eosin.
    tifffile.imwrite(folder / "images" / "colon.tif", data.immunohistochemistry(), **rgb_tags(0.5))


def lymph_node_data(folder: Path) -> None:
    """Generated sections crowded with small nuclei, at 0.3 of 40x as the training images; two slides."""
    folder.mkdir(parents=True)
    for slide, eosin in enumerate((0.2, 0.45)):
        for image in range(2):
            made = stained_image((312, 417), 1500, 7, np.random.default_rng([slide, image]), eosin)
            tifffile.imwrite(folder / f"made-{slide}_{image:03d}.tif", made.pixels, **rgb_tags(0.25 / 0.3))


def class_results(data: Path, output: Path) -> list[str]:
    """What each image was taken for."""
    with (output / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        "generated tissue is no lymphoma: the classes below only show that everything works",
        *(f"{row['image']}: {row['predicted_class']}, margin {float(row['margin']):.2f}" for row in rows),
        f"predictions:  {output / 'predictions.csv'}",
    ]


def object_results(data: Path, output: Path) -> list[str]:
    """What was found in images of nuclei."""
    summary = read_json(output / "summary.json")
    found = f"{summary['objects']} objects in {summary['images']} images"
    return [found, *scores(summary), f"measurements: {output / 'measurements.csv'}"]


def heart_results(data: Path, output: Path) -> list[str]:
    """The heart's function of a generated study beside the truth, and how well the areas agree."""
    truth, summary = read_json(data / "truth" / "function.json"), read_json(output / "summary.json")
    with (output / "function.csv").open(newline="") as file:
        (found,) = csv.DictReader(file)
    paths = sorted((data / "truth").glob("*_label.tif"))
    drawn, made = (
        np.concatenate([read_label_tiff(folder / path.name) for path in paths]) for folder in (data / "truth", output)
    )
    regions = {"cavity": (drawn == 1, made == 1), "with its muscle": (drawn > 0, made > 0)}
    return [
        f"{summary['frames']} frames of one generated study; the truth in brackets",
        *(f"{label:18s} {float(found[name]):5.1f}  ({truth[name]:.1f})" for name, label in FUNCTION.items()),
        *(f"{'Dice, ' + name:22s} {dice(*masks):.3f}" for name, masks in regions.items()),
        f"volumes:      {output / 'function.csv'}",
    ]


def dice(truth: np.ndarray, found: np.ndarray) -> float:
    """Of two masks; :mod:`common.metrics.pixel` has it too, but imports MONAI, which takes seconds."""
    return 2 * np.count_nonzero(truth & found) / (np.count_nonzero(truth) + np.count_nonzero(found))


def heart_scores(data: Path, output: Path) -> list[str]:
    """The evaluation of generated patients."""
    summary = read_json(output / "summary.json")
    found = f"evaluation of {summary['stacks']} generated patients, {summary['frames']} frames drawn"
    return [found, *scores(summary), f"metrics:      {output / 'metrics.json'}"]


def movie_results(data: Path, output: Path) -> list[str]:
    """How well the outlines of a generated movie agree, and what its first and last frame measure."""
    truth, found = (tifffile.imread(folder / "growing_label.tif") > 0 for folder in (data / "movie_truth", output))
    each = [
        float(np.count_nonzero(t & f) / np.maximum(np.count_nonzero(t | f), 1))
        for t, f in zip(truth, found, strict=True)
    ]
    with (output / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ends = " to ".join(f"{float(row['elongation']):.2f}" for row in (rows[0], rows[-1]))
    return [
        f"one object in each of {len(rows)} frames of a generated movie",
        f"IoU                {np.mean(each):.3f} on average, {min(each):.3f} in the worst frame",
        f"elongation         {ends}",
        f"measurements: {output / 'measurements.csv'}",
    ]


def frame_scores(data: Path, output: Path) -> list[str]:
    """The evaluation of generated frames."""
    summary = read_json(output / "summary.json")
    found = f"evaluation of {summary['frames']} generated frames of three sizes"
    return [found, *scores(summary), f"metrics:      {output / 'metrics.json'}"]


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def scores(summary: Mapping[str, Any]) -> list[str]:
    """The metrics of a run, if it has any, with their intervals."""
    lines = []
    for score, label in SCORES.items():
        if score in summary.get("metrics", {}):
            value = summary["metrics"][score]
            interval = f"95 % interval {value['low']:.3f} to {value['high']:.3f}"
            lines.append(f"{label:18s} {value['estimate']:.3f}  ({interval})")
    return lines


class Run(NamedTuple):
    """One command of a bundle.

    Attributes:
        images: folder within the data that it reads.
        results: folder that it writes, beside the data.
        tell: from the folders of the data and of the results, what came out.
        configs: files of the bundle.
    """

    images: str
    results: str
    tell: Callable[[Path, Path], list[str]]
    configs: tuple[str, ...] = ("inference.json",)


class Demo(NamedTuple):
    """How a bundle is shown: what makes its images, and what is run on them."""

    make: Callable[[Path], None]
    runs: tuple[Run, ...]


# A new bundle joins the demo by a line here.
DEMOS = {
    "microscopy_nuclei_instance_segmentation": Demo(demo_data, (Run(".", "results", object_results),)),
    "pathology_nuclei_segmentation": Demo(tissue_data, (Run(".", "results", object_results),)),
    "pathology_lymphoma_classification": Demo(lymph_node_data, (Run(".", "results", class_results),)),
    "cardiac_cine_mr_lv_segmentation": Demo(
        lambda folder: demo_data(folder, "--cine"),
        (
            Run("study", "results", heart_results),
            Run("drawn", "evaluation", heart_scores, ("train.json", "evaluate.json")),
        ),
    ),
    "brightfield_gastruloid_segmentation": Demo(
        lambda folder: demo_data(folder, "--gastruloid"),
        (
            Run("movie", "results", movie_results),
            Run("frames", "evaluation", frame_scores, ("train.json", "evaluate.json")),
        ),
    ),
}


def made_data(name: str, folder: Path) -> Path:
    """The bundle's images in ``folder / "data"``, made where there are none or what makes them has changed.

    They appear there when all are made, with the version of the generators beside them: a run that was broken off leaves
    none. A folder without a version, which may be someone's own, is moved aside.
    """
    data, stamp, partial = folder / "data", folder / "data.version", folder / "data.partial"
    version = generators_version()
    if data.is_dir() and stamp.is_file() and stamp.read_text() == version:
        return data
    shutil.rmtree(partial, ignore_errors=True)
    DEMOS[name].make(partial)
    if data.exists() and stamp.is_file():
        shutil.rmtree(data)
    elif data.exists():
        data.rename(next(name for name in (folder / f"data.earlier{n}" for n in range(1, 1000)) if not name.exists()))
    partial.rename(data)
    stamp.write_text(version)
    return data


def generators_version() -> str:
    """Of the code that draws the images: it changes with every change to it."""
    common, scripts = REPOSITORY / "common", REPOSITORY / "scripts"
    files = [scripts / "demo.py", scripts / "make_demo_data.py", common / "nuclei" / "synthetic.py"]
    files += sorted([*(common / "cine" / "phantom").glob("*.py"), *(common / "brightfield" / "generated").glob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def run_bundle(name: str, folder: Path) -> None:
    """Make the images, run the bundle on them, print what came out."""
    began = time.perf_counter()
    data = made_data(name, folder)
    print(f"\n{name}")
    for run in DEMOS[name].runs:
        output = folder / run.results
        run_config(REPOSITORY / "bundles" / name, run.configs, data / run.images, output, folder / f"{output.name}.log")
        for line in run.tell(data, output):
            print(f"  {line}")
        print(f"  pictures:     {output / 'report.html'}")
    print(f"  {time.perf_counter() - began:.0f} s altogether")
    print("  on generated images: they show that everything works, not how good it is on yours; see the model card")


def run_config(bundle: Path, names: tuple[str, ...], images: Path, output: Path, log: Path) -> None:
    """The command that a user would give; what it prints goes to ``log``."""
    files = [str(bundle / "configs" / name) for name in names]
    command = ["-m", "monai.bundle", "run", "--config_file", files[0] if len(files) == 1 else str(files)]
    command += ["--bundle_root", str(bundle), "--dataset_dir", str(images), "--output_dir", str(output)]
    print("  $ python " + " ".join(f'"{part}"' if " " in part else part for part in command))
    with log.open("w") as file:
        status = subprocess.run([sys.executable, *command], stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        raise SystemExit(f"  failed with status {status}, see {log}:\n{log.read_text()[-2000:]}")


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
