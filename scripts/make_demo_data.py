"""Write a small data set with known truth: nuclei in the layout of the 2018 Data Science Bowl, the heart, aggregates."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.brightfield.generated.movies import draw_movie  # noqa: E402
from common.cine.phantom.files import write_phantom_pictures, write_phantom_study  # noqa: E402
from common.cine.phantom.study import Phantom, phantom_cine  # noqa: E402
from common.errors import InputError  # noqa: E402
from common.nuclei.synthetic import GeneratedImage, fluorescence_image, stained_image, write_bowl_layout  # noqa: E402
from common.outputs.labels import write_label_tiff  # noqa: E402

EXAMPLES = """\
examples:
  python scripts/make_demo_data.py demo_data
      seven generated images with truth and one real one without
  python scripts/make_demo_data.py train_data --labelled_only --copies 10
      seventy generated images with truth, enough to try a training
  python scripts/make_demo_data.py heart --cine
      a generated cine MR study as DICOM in heart/study with its truth in heart/truth, and three patients as pictures
      with masks, in the layout of the Sunnybrook data, in heart/drawn
  python scripts/make_demo_data.py aggregates --gastruloid
      a generated movie of an aggregate with its outlines, and frames of others with masks in aggregates/frames
"""


@dataclass(frozen=True)
class _Kind:
    """One image of the set: its name, how it is made, and what classes.csv says of it."""

    name: str
    shape: tuple[int, int]
    count: int
    diameter: float
    eosin: float | None = None
    sixteen_bits: bool = False
    photons: float = 60.0

    @property
    def colours(self) -> tuple[str, str]:
        """Foreground and background, in the words of classes.csv."""
        if self.eosin is None:
            return "white", "black"
        return "purple", "purple" if self.eosin > 0.4 else "white"

    def make(self, rng: np.random.Generator) -> GeneratedImage:
        if self.eosin is not None:
            return stained_image(self.shape, self.count, self.diameter, rng, self.eosin)
        dtype = np.uint16 if self.sixteen_bits else np.uint8
        return fluorescence_image(self.shape, self.count, self.diameter, rng, dtype, self.photons)


KINDS = (
    _Kind("fluorescence_small", (256, 256), 45, 20),
    _Kind("fluorescence_large", (400, 400), 16, 60),
    _Kind("fluorescence_wide", (256, 400), 60, 24),
    _Kind("fluorescence_16bit", (320, 320), 50, 26, sixteen_bits=True),
    _Kind("fluorescence_dim", (256, 320), 110, 15, photons=8),
    _Kind("tissue_pale", (360, 360), 110, 20, eosin=0.15),
    _Kind("tissue_pink", (320, 448), 90, 26, eosin=0.5),
)
REAL = "immunohistochemistry"


def write_demo_data(out_dir: Path, seed: int = 0, copies: int = 1, labelled_only: bool = False) -> list[Path]:
    """Write the images, their masks and classes.csv.

    Args:
        out_dir: new or empty folder.
        seed: of everything random; each image depends on it and on its own number alone.
        copies: how many images of each kind.
        labelled_only: leave out the real image, which has no truth.

    Returns:
        The image files.

    Raises:
        FileExistsError: the folder holds something already.
    """
    _must_be_empty(out_dir)
    files, rows = [], []
    for number in range(copies * len(KINDS)):
        copy, kind = number // len(KINDS), KINDS[number % len(KINDS)]
        name = kind.name if copies == 1 else f"{kind.name}_{copy:02d}"
        made = kind.make(np.random.default_rng([seed, number]))
        files.append(write_bowl_layout(out_dir, name, made.pixels, made.instances))
        rows.append((f"{name}.png", *kind.colours))
    if not labelled_only:
        files.append(write_bowl_layout(out_dir, REAL, _real_image()))
        rows.append((f"{REAL}.png", "purple", "white"))
    with (out_dir / "classes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("filename", "foreground", "background"), *rows])
    return files


def write_cine_data(out_dir: Path, seed: int = 0, copies: int = 1) -> list[Path]:
    """Write a generated cine MR study with its truth, and patients to evaluate or train on.

    ``study/`` holds DICOM files, or where pydicom is not installed pictures; ``truth/`` a class map
    ``<name of the image>_label.tif`` for each and ``function.json`` with the volumes; ``drawn/`` three patients in the
    layout of the Sunnybrook data.

    Args:
        out_dir: new or empty folder.
        seed: of everything random.
        copies: how many times three patients there are in ``drawn/``.

    Returns:
        The image files.

    Raises:
        FileExistsError: the folder holds something already.
    """
    _must_be_empty(out_dir)
    study = phantom_cine(slices=6, slice_distance_mm=10.0, rotated=True, seed=seed)
    try:
        files = write_phantom_study(out_dir / "study", study)
    except InputError as error:  # no pydicom
        print(f"{error}; pictures instead", file=sys.stderr)
        images = write_phantom_pictures(out_dir / "study", study, labelled_only=False)
        files = dict(zip(np.ndindex(study.truth.shape[:2]), images, strict=True))
    _write_truth(out_dir / "truth", study, files)
    drawn = []
    for number in range(3 * copies):
        made = phantom_cine(phases=2, slices=6, slice_distance_mm=10.0, seed=seed + 1 + number)
        drawn += write_phantom_pictures(out_dir / "drawn", made, f"SC-N-{90 + number}")
    return [*files.values(), *drawn]


def write_gastruloid_data(out_dir: Path, seed: int = 0, copies: int = 1) -> list[Path]:
    """Write a generated movie of an aggregate, and single frames of others with their masks, each a group of its own.

    ``movie/growing.tif`` is a stack of 24 frames of 2 um per pixel, ``movie_truth/growing_label.tif`` its outlines;
    ``frames/images``, ``frames/masks`` and ``frames/images.csv`` (image, group) are to evaluate or train on.

    Args:
        out_dir: new or empty folder.
        seed: of everything random.
        copies: how many times six frames there are.

    Returns:
        The image files.

    Raises:
        FileExistsError: the folder holds something already.
    """
    _must_be_empty(out_dir)
    for name in ("movie", "movie_truth", "frames/images", "frames/masks"):
        (out_dir / name).mkdir(parents=True)
    movie = draw_movie(24, 160, seed)
    files = [out_dir / "movie" / "growing.tif"]
    resolution: dict[str, Any] = {"resolution": (1e4 / 2.0, 1e4 / 2.0), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(files[0], movie.pixels, photometric="minisblack", **resolution)
    tifffile.imwrite(out_dir / "movie_truth" / "growing_label.tif", movie.truth, photometric="minisblack")
    rows = []
    for number in range(6 * copies):
        made = draw_movie(1, (160, 256, 400)[number % 3], seed + 1 + number, bits=(8, 16)[number % 2])
        files.append(out_dir / "frames" / "images" / f"aggregate{number + 1}.png")
        cv2.imwrite(str(files[-1]), made.pixels[0])
        cv2.imwrite(str(out_dir / "frames" / "masks" / files[-1].name), made.truth[0] * 255)
        rows.append((files[-1].name, files[-1].stem))
    with (out_dir / "frames" / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "group"), *rows])
    return files


def _write_truth(folder: Path, study: Phantom, files: dict[tuple[int, int], Path]) -> None:
    for place, path in files.items():
        write_label_tiff(folder / f"{path.stem}_label.tif", study.truth[place], 1000 * study.spacing_mm[0])
    names = ("edv_ml", "esv_ml", "stroke_volume_ml", "ejection_fraction_percent", "mass_g")
    truth = {name: getattr(study.function, name) for name in names}
    (folder / "function.json").write_text(json.dumps(truth, indent=2) + "\n")


def _must_be_empty(out_dir: Path) -> None:
    if out_dir.exists() and any(out_dir.iterdir()):
        raise FileExistsError(f"{out_dir}: found a folder that is not empty; expected a new or empty one")


def _real_image() -> np.ndarray:
    """Colonic glands, haematoxylin and DAB, 512 x 512 RGB: an image that scikit-image brings with it."""
    from skimage import data

    return np.asarray(data.immunohistochemistry())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="new or empty folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other images (default 0)")
    parser.add_argument(
        "--copies",
        type=int,
        default=1,
        help="images of each of the seven kinds, sets of three patients or of six frames (default 1)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--cine", action="store_true", help="the heart in cine MR instead of nuclei")
    kind.add_argument("--gastruloid", action="store_true", help="aggregates in brightfield instead of nuclei")
    kind.add_argument(
        "--labelled_only", action="store_true", help="only images with truth, as training and evaluation need them"
    )
    kind.add_argument("--labelled-only", dest="labelled_only", action="store_true", help=argparse.SUPPRESS)  # as it was
    options = parser.parse_args()
    try:
        if options.cine:
            files = write_cine_data(options.out_dir, options.seed, options.copies)
        elif options.gastruloid:
            files = write_gastruloid_data(options.out_dir, options.seed, options.copies)
        else:
            files = write_demo_data(options.out_dir, options.seed, options.copies, options.labelled_only)
    except (FileExistsError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(files)} images in {options.out_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
