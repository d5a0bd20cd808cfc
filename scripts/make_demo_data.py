"""Write a small data set with known truth, in the layout of the 2018 Data Science Bowl."""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.synthetic import GeneratedImage, fluorescence_image, stained_image, write_bowl_layout  # noqa: E402

EXAMPLES = """\
examples:
  python scripts/make_demo_data.py demo_data
      seven generated images with truth and one real one without
  python scripts/make_demo_data.py train_data --labelled-only --copies 10
      seventy generated images with truth, enough to try a training
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
    if out_dir.exists() and any(out_dir.iterdir()):
        raise FileExistsError(f"{out_dir}: found a folder that is not empty; expected a new or empty one")
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
    parser.add_argument("--copies", type=int, default=1, help="images of each of the seven kinds (default 1)")
    parser.add_argument(
        "--labelled-only", action="store_true", help="only images with truth, as training and evaluation need them"
    )
    options = parser.parse_args()
    try:
        files = write_demo_data(options.out_dir, options.seed, options.copies, options.labelled_only)
    except FileExistsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(files)} images in {options.out_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
