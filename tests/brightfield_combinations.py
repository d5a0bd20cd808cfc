"""Trains the gastruloid bundle's own configs on generated images of one combination, and prints what comes out.

Run by test_brightfield_combinations.py in a process of its own: ``python brightfield_combinations.py BUNDLE FOLDER NAME``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from monai.bundle import ConfigParser
from scipy import ndimage

# Dimensions, channels, classes with the background.
COMBINATIONS = {
    "grey": (2, 1, 2),
    "grey, two classes": (2, 1, 3),
    "grey, four classes": (2, 1, 5),
    "two channels, three classes": (2, 2, 4),
    "volume": (3, 1, 2),
    "volume of two channels, two classes": (3, 2, 3),
}
SIDES = {2: 64, 3: 32}


def draw(rng: np.random.Generator, dims: int, channels: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a ball in it, cut into layers of classes from its middle outwards; in each channel other greys.

    Returns:
        image (*sides[, channels]) uint8 and label (*sides) uint8.
    """
    side = SIDES[dims]
    axes = np.meshgrid(*[np.arange(side)] * dims, indexing="ij")
    centre, radius = rng.uniform(0.42, 0.58, dims) * side, rng.uniform(0.3, 0.38) * side
    distance = np.sqrt(sum((axis - place) ** 2 for axis, place in zip(axes, centre, strict=True)))
    layers = np.linspace(0, radius, classes)[1:]
    label = sum((distance < edge).astype(np.uint8) for edge in layers)
    # Classes 1 to n from the outside inwards; which grey is whose differs between the channels.
    greys = np.linspace(40, 210, classes)
    noise = ndimage.gaussian_filter(rng.normal(size=(channels, *label.shape)), (0, *[0.7] * dims)) * 12
    image = np.stack([np.roll(greys, channel)[label] for channel in range(channels)]) + noise
    image = np.moveaxis(image.clip(0, 255).astype(np.uint8), 0, -1)
    return image if channels > 1 else image[..., 0], label.astype(np.uint8)


def write(folder: Path, dims: int, channels: int, classes: int, count: int) -> None:
    """``images/`` + ``masks/``, each image a group of its own."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        image, label = draw(rng, dims, channels, classes)
        # As a microscope stores them: planes one after the other, in each the channels.
        stored = np.moveaxis(image, -1, dims - 2) if channels > 1 else image
        plain = {"axes": "ZYX" if dims == 3 else "YX"}
        axes = ("Z" if dims == 3 else "") + ("C" if channels > 1 else "") + "YX"
        place = folder / "images" / f"i{number}.ome.tif"
        tifffile.imwrite(place, stored, photometric="minisblack", metadata={"axes": axes})
        tifffile.imwrite(folder / "masks" / f"i{number}.ome.tif", label, photometric="minisblack", metadata=plain)


def train(bundle: Path, folder: Path, name: str) -> dict[str, Any]:
    """A short training, and the metrics of the images that it did not see."""
    dims, channels, classes = COMBINATIONS[name]
    data = folder / "data"
    write(data, dims, channels, classes, 12 if dims == 2 else 8)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    steps = 200 if dims == 2 else 120
    overrides = {
        "bundle_root": str(bundle), "dataset_dir": str(data), "ckpt_dir": str(folder / "run"), "spatial_dims": dims,
        "in_channels": channels, "num_classes": classes, "size": SIDES[dims], "generated_share": 0.0, "num_workers": 0,
        "batch_size": 8 if dims == 2 else 4, "max_epochs": 1, "val_interval": 1, "learning_rate": 0.004,
        "samples_per_epoch": steps * (8 if dims == 2 else 4), "objects": "each_class" if classes == 2 else "main",
        "average#momentum": 0.05, "average#warmup_iters": 10,
        "network_def#channels": [8, 16, 32, 64, 64] if dims == 3 else [16, 32, 64, 128, 256],
    }  # fmt: skip
    for key, value in overrides.items():
        parser[key] = value
    parser["device"] = "$torch.device('cpu')"
    parser.parse()
    parser.get_parsed_content("run")
    return dict(parser.get_parsed_content("validate#evaluator").state.metrics)


if __name__ == "__main__":
    bundle_folder, place = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path.insert(0, str(bundle_folder))
    print("RESULT " + json.dumps({"name": sys.argv[3], **train(bundle_folder, place, sys.argv[3])}))
