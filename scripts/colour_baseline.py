#!/usr/bin/env python3
"""How far colour alone gets: the class of the training image whose mean colour and contrast are the most similar.

An image becomes six numbers, the mean and the standard deviation of red, green and blue (or of CIE Lab), z-scored over
the training images. They know nothing of nuclei and their arrangement, only of stain, scanner and focus. If this says
the right class, it has recognised the slide. So it stands beside every accuracy of a data set: what a network reaches
above it, it may have learnt of the disease.

Each protocol leaves out something else of the training images: the image itself alone, its whole slide, its whole case
(blocks of one patient together), or what published lists say.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.color import rgb2lab

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.datasets.class_folders import found_classes  # noqa: E402
from common.datasets.folds import by_image, class_of, group_of  # noqa: E402
from common.datasets.list_files import read_fold_lists  # noqa: E402
from common.datasets.records import load_datalist  # noqa: E402
from common.errors import InputError, Problem  # noqa: E402
from common.images.reading import read_image  # noqa: E402
from common.metrics.classification import ClassRow  # noqa: E402
from common.metrics.classification_summary import summarise_classes  # noqa: E402
from common.outputs.files import write_text  # noqa: E402

EXAMPLES = """\
examples:
  python scripts/colour_baseline.py lymphoma
      with the image left out, with its slide left out and with its case left out

  python scripts/colour_baseline.py lymphoma --lists lymphoma/image_level_folds --output colour_baseline.json
      also by the published lists (restricted to the images here), all figures into a file

  python scripts/colour_baseline.py lymphoma --space lab --unscaled
      in CIE Lab, where distances are those that the eye sees, so that the numbers need no z-scores

how to read it:
  A high accuracy with the image left out and a low one with the slide left out means that images of one slide look
  alike: folds by image then measure how well a slide is recognised, not a disease. Intervals draw whole cases.

data: <CLASS>/<slide>_<nnn>.jpg, images.csv (path, class, slide) or <CLASS>-<slide>_<nnn>.tif

exit status: 0 all is well, 1 an image or a list could not be used (it is named), 2 wrong command line
"""


def colour_statistics(pixels: np.ndarray, space: str = "rgb") -> np.ndarray:
    """Mean and standard deviation of each channel.

    Args:
        pixels: (rows, columns, 1 or 3) of any number type; grey counts as three equal channels.
        space: "rgb", or "lab": CIE Lab by D65.

    Returns:
        (6,) float64: three means, three standard deviations.
    """
    colour = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    values = (rgb2lab(colour) if space == "lab" else colour).reshape(-1, 3).astype(np.float64)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)])


def nearest_classes(features: np.ndarray, classes: np.ndarray, left_out: np.ndarray, scaled: bool = True) -> np.ndarray:
    """Class of the nearest of the images that are left, for each image.

    Args:
        features: (images, numbers) float.
        classes: (images,) integers.
        left_out: (images, images) bool: row i tells what image i must not be compared with; itself must be among them.
        scaled: numbers are z-scored over the images that are left.

    Returns:
        (images,) integers, -1 where nothing is left.
    """
    found = np.full(len(classes), -1)
    for image, out in enumerate(left_out):
        known = features[~out]
        if len(known):
            spread = known.std(axis=0) if scaled else np.ones(features.shape[1])
            distances = np.square((known - features[image]) / np.where(spread > 0, spread, 1)).sum(axis=1)
            found[image] = classes[~out][distances.argmin()]
    return found


def equal(names: Sequence[Any]) -> np.ndarray:
    """(images, images) bool: which share a name."""
    numbers = np.unique(np.array(names, dtype=str), return_inverse=True)[1]
    return numbers[:, None] == numbers[None, :]


def protocols(records: list[dict[str, Any]], lists: Path | None, problems: list[Problem]) -> dict[str, np.ndarray]:
    """What each image must not be compared with, by the name of the protocol."""
    found = {
        "image left out": np.eye(len(records), dtype=bool),
        "slide left out": equal([record["slide"] for record in records]),
        "case left out": equal([group_of(record) for record in records]),
    }
    if lists is not None:
        folds = [record["fold"] for record in read_fold_lists(lists, by_image(records), problems)]
        found[f"lists of {lists.name}"] = equal(folds)
    return found


def score(records: list[dict[str, Any]], class_names: Sequence[str], predicted: np.ndarray) -> dict[str, Any]:
    """Figures of :func:`summarise_classes`; a nearest neighbour is certain, so its calibration says nothing."""
    rows = []
    for record, index in zip(records, predicted.tolist(), strict=True):
        votes = tuple(int(index == number) for number in range(len(class_names)))
        probabilities = tuple(map(float, votes)) if index >= 0 else (1 / len(class_names),) * len(class_names)
        truth = class_names.index(record["label"])
        rows.append(ClassRow(record["name"], group_of(record), record["slide"], truth, index, probabilities, votes))
    return summarise_classes(rows, class_names)


def baseline(
    dataset_dir: Path,
    lists: Path | None,
    class_names: Sequence[str] | None,
    problems: list[Problem],
    space: str = "rgb",
    scaled: bool = True,
) -> dict[str, dict[str, Any]]:
    """Figures of each protocol, see :func:`protocols`.

    Args:
        dataset_dir: images by class.
        lists: folder of the published lists, or None.
        class_names: None: those that are found.
        problems: what could not be used is noted here.
        space: see :func:`colour_statistics`.
        scaled: see :func:`nearest_classes`.

    Raises:
        InputError: no classes, or what a data set or lists can have wrong.
    """
    names = list(class_names or found_classes(dataset_dir))
    if len(names) < 2:
        raise InputError(dataset_dir, f"the classes {', '.join(names) or 'of no layout'}", "images of two classes")
    records = load_datalist(dataset_dir, problems=problems, class_names=names)
    records = [record for record in records if class_of(record) is not None]
    features, readable = [], []
    for record in records:
        try:
            features.append(colour_statistics(read_image(record["image"]).pixels, space))
            readable.append(record)
        except InputError as error:
            problems.append(Problem(record["name"], str(error)))
    if not readable:
        raise InputError(dataset_dir, "no image that can be read", "at least one")
    classes = np.array([names.index(record["label"]) for record in readable])
    return {
        name: score(readable, names, nearest_classes(np.array(features), classes, out, scaled))
        for name, out in protocols(readable, lists, problems).items()
    }


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Accuracy with its interval, balanced accuracy and accuracy of slides, by protocol."""
    first = next(iter(results.values()))
    print(f"{first['n_images']} images of {first['n_slides']} slides of {first['n_groups']} cases")
    chance = max(map(sum, first["confusion"])) / first["n_images"]
    print(f"always the most frequent class ({len(first['class_names'])} classes): {chance:.3f}")
    width = max(map(len, results))
    print(f"{'':{width}}  accuracy (95 % by case)    balanced  by slide")
    for name, metrics in results.items():
        figures = metrics["metrics"]
        accuracy = figures["accuracy"]
        bounds = "" if accuracy["low"] is None else f"({accuracy['low']:.3f} to {accuracy['high']:.3f})"
        rest = f"{figures['balanced_accuracy']['estimate']:>8.3f}  {figures['slide_accuracy']['estimate']:>8.3f}"
        print(f"{name:{width}}  {accuracy['estimate']:.3f} {bounds:<19} {rest}")


def main() -> int:
    """The command line."""
    logging.basicConfig(level=logging.CRITICAL)
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset_dir", type=Path, help="images by class")
    parser.add_argument("--lists", type=Path, metavar="DIR", help="test_w32_parent_1.txt, ...: a protocol of its own")
    parser.add_argument("--class_names", nargs="+", metavar="CLASS", help="default: those that are found")
    parser.add_argument("--space", choices=("rgb", "lab"), default="rgb", help="colours (default: rgb)")
    parser.add_argument("--unscaled", action="store_true", help="distances of the numbers as they are, not z-scored")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    options = parser.parse_args()
    problems: list[Problem] = []
    try:
        results = baseline(
            options.dataset_dir, options.lists, options.class_names, problems, options.space, not options.unscaled
        )
        print_table(results)
        if options.output:
            write_text(options.output, json.dumps(results, indent=2, allow_nan=False) + "\n")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"problem: {problem.name}: {problem.reason}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
