"""Generated microscopy with known truth: shining nuclei on a dark ground and stained tissue, for demo and tests.

Plausible enough to look at and to train a network for a minute, no substitute for real images. Everything derives from
the generator that is given: the same seed gives the same image.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..images.noise import noise
from ..tissue.stain import combine_stains

# Places tried for each object before the image counts as full.
_TRIES = 60
_GAP = 2
_NUCLEAR_DYE = 0.9  # optical density of haematoxylin in a nucleus


class GeneratedImage(NamedTuple):
    """An image and its truth.

    Attributes:
        pixels: (rows, columns, 1 or 3) uint8 or uint16.
        instances: (rows, columns) int32, 0 background, ids 1..N, every one present.
    """

    pixels: np.ndarray
    instances: np.ndarray


def nuclei(
    shape: tuple[int, int], count: int, diameter: float, rng: np.random.Generator, touching: float = 0.3
) -> np.ndarray:
    """An instance map of irregular ellipses that do not overlap.

    Args:
        shape: rows and columns.
        count: objects wanted; fewer where no place for the next one is found in 60 tries.
        diameter: of a circle of the objects' mean area, in pixels; single objects vary by about a fifth.
        rng: source of everything random.
        touching: share of objects laid against another one; all others keep a gap of two pixels at least.

    Returns:
        (rows, columns) int32, ids 1..N. Objects may be cut by the frame.
    """
    instances = np.zeros(shape, np.int32)
    centres: list[np.ndarray] = []
    for _ in range(count):
        wants_touch = bool(centres) and rng.random() < touching
        for _ in range(_TRIES):
            size = diameter * np.exp(0.2 * rng.standard_normal())
            centre = rng.uniform((0, 0), shape)
            if wants_touch:
                angle = rng.uniform(0, 2 * np.pi)
                direction = np.array([np.sin(angle), np.cos(angle)])
                centre = centres[rng.integers(len(centres))] + direction * (0.45 * (size + diameter))
            if _place(instances, centre, size, len(centres) + 1, wants_touch, rng):
                centres.append(centre)
                break
        else:
            break
    return instances


def _place(
    instances: np.ndarray, centre: np.ndarray, size: float, number: int, touch: bool, rng: np.random.Generator
) -> bool:
    """Paint one object where it fits; whether it did."""
    half = int(np.ceil(0.8 * size)) + _GAP
    row, column = (int(c) for c in np.rint(centre))
    rows = slice(max(row - half, 0), min(row + half + 1, instances.shape[0]))
    columns = slice(max(column - half, 0), min(column + half + 1, instances.shape[1]))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return False
    y, x = np.mgrid[rows, columns] - centre[:, None, None]
    inside = _outline(np.arctan2(y, x), size, rng) >= np.hypot(y, x)
    around = instances[rows, columns]
    taken = inside & (around > 0)
    wide = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=_GAP) > 0
    near = wide & (around > 0)
    fits = near.any() and taken.sum() < 0.15 * inside.sum() if touch else not near.any()
    free = inside & ~taken
    parts = cv2.connectedComponents(free.astype(np.uint8), connectivity=4)[0] - 1
    # Objects that the frame or a neighbour leaves next to nothing of would be truth that nobody could see.
    if not fits or parts != 1 or free.sum() < 0.25 * np.pi / 4 * size**2:
        return False
    around[free] = number
    return True


def _outline(angle: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Radius at each angle: an ellipse with waves of low order."""
    elongation, turn = rng.uniform(1.0, 1.6), rng.uniform(0, np.pi)
    major, minor = size / 2 * np.sqrt(elongation), size / 2 / np.sqrt(elongation)
    radius = major * minor / np.hypot(minor * np.cos(angle - turn), major * np.sin(angle - turn))
    waves = sum(
        amplitude * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        for order, amplitude in ((2, 0.05), (3, 0.04), (5, 0.02))
    )
    return np.asarray(radius * (1 + waves))


def _per_object(instances: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Value of each pixel's object, 0 in the background."""
    return np.concatenate([[0.0], values]).astype(np.float32)[instances]


def _dome(instances: np.ndarray, diameter: float) -> np.ndarray:
    """0 at the outline of every object to 1 in its middle: thick nuclei are brighter there."""
    eroded = instances * (cv2.erode((instances > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
    depth = cv2.distanceTransform((eroded > 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.minimum(depth / (0.3 * diameter), 1.0), np.float32)


def fluorescence_image(
    shape: tuple[int, int],
    count: int,
    diameter: float,
    rng: np.random.Generator,
    dtype: type[np.unsignedinteger] = np.uint8,
    photons: float = 60.0,
    blur: float = 1.0,
) -> GeneratedImage:
    """Nuclei in a DNA stain: textured, of unequal brightness, with haze, uneven light, blur and shot noise.

    Args:
        shape: rows and columns.
        count: nuclei wanted, see :func:`nuclei`.
        diameter: of nuclei, in pixels.
        rng: source of everything random.
        dtype: ``np.uint8``, or ``np.uint16``, of which 12 bits are used, as many cameras do.
        photons: collected from a bright nucleus per pixel; fewer are noisier.
        blur: standard deviation of the point spread function in pixels.

    Returns:
        pixels (rows, columns, 1).
    """
    instances = nuclei(shape, count, diameter, rng)
    gains = np.exp(0.35 * rng.standard_normal(int(instances.max())))
    chromatin = 1 + 0.12 * noise(shape, diameter / 20, rng) + 0.1 * noise(shape, diameter / 7, rng)
    light = _per_object(instances, gains) * (0.65 + 0.35 * _dome(instances, diameter)) * chromatin
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), blur))
    light = light + 0.2 * cv2.GaussianBlur(light, (0, 0), diameter / 2) + 0.04
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    middle = rng.uniform(-0.5, 0.5, 2)
    light = light * np.exp(-0.25 * ((y - middle[0]) ** 2 + (x - middle[1]) ** 2))
    counted = rng.poisson(np.maximum(light, 0) * photons) / photons
    counted = counted + 0.01 * rng.standard_normal(shape)
    highest = 255 if dtype == np.uint8 else 4095
    grey = np.clip((counted / 2.2 + 0.02) * highest, 0, highest)
    return GeneratedImage(np.rint(grey)[..., None].astype(dtype), instances)


def stained_image(
    shape: tuple[int, int],
    count: int,
    diameter: float,
    rng: np.random.Generator,
    eosin: float = 0.25,
    blur: float = 0.7,
) -> GeneratedImage:
    """Tissue in haematoxylin and eosin: purple nuclei with chromatin and a darker rim on pink fibres and white gaps.

    Args:
        shape: rows and columns.
        count: nuclei wanted, see :func:`nuclei`.
        diameter: of nuclei, in pixels.
        rng: source of everything random.
        eosin: optical density of the ground; 0.1 is nearly white, 0.6 deep pink.
        blur: standard deviation of the point spread function in pixels.

    Returns:
        pixels (rows, columns, 3) uint8, RGB.
    """
    instances = nuclei(shape, count, diameter, rng)
    gains = _NUCLEAR_DYE * np.exp(0.25 * rng.standard_normal(int(instances.max())))
    chromatin = 1 + 0.2 * noise(shape, diameter / 16, rng) + 0.1 * noise(shape, diameter / 6, rng)
    rim = 1.15 - 0.35 * _dome(instances, diameter)
    tissue = _tissue(shape, diameter, eosin, rng)
    haematoxylin = _per_object(instances, gains) * rim * chromatin + 0.03 + 0.15 * tissue
    # Real eosin absorbs more blue than the textbook's vector; a little of the brown stain stands for that.
    amount = np.stack([haematoxylin, 0.8 * tissue, 0.3 * tissue], axis=2)
    blurred = cv2.GaussianBlur(np.maximum(amount, 0).astype(np.float32), (0, 0), blur)
    light = np.asarray(combine_stains(blurred) * np.array([0.97, 0.95, 0.96], np.float32), float)
    light = light + 0.012 * rng.standard_normal((*shape, 3))
    return GeneratedImage(np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8), instances)


def _tissue(shape: tuple[int, int], diameter: float, eosin: float, rng: np.random.Generator) -> np.ndarray:
    """Eosin of the ground: wavy fibres of unequal strength with gaps of empty slide, (rows, columns) float32."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    turn, wave = rng.uniform(0, np.pi), 1.2 * diameter * noise(shape, 1.5 * diameter, rng)
    across = np.sin(turn) * x + np.cos(turn) * y + wave
    strength = 0.12 * np.clip(noise(shape, diameter / 2, rng) + 0.5, 0, 2)
    fibres = 1 + strength * np.sin(2 * np.pi * across / (0.5 * diameter))
    fibres = fibres + 0.12 * noise(shape, 1.0, rng) + 0.15 * noise(shape, diameter / 3, rng)
    gaps = 1 / (1 + np.exp(-6 * (noise(shape, 1.2 * diameter, rng) + 1.1)))
    return np.asarray(eosin * fibres * gaps, np.float32)


def write_bowl_layout(folder: str | Path, name: str, image: np.ndarray, instances: np.ndarray | None = None) -> Path:
    """Write one image as the 2018 Data Science Bowl did: ``<name>/images/<name>.png`` and ``<name>/masks/<id>.png``.

    Args:
        folder: the data set's folder.
        name: of the image, new in the folder.
        image: (rows, columns, 1 or 3), RGB, uint8 or uint16.
        instances: (rows, columns) integers, 0 background; without, there is no folder of masks.

    Returns:
        The image file.

    Raises:
        FileExistsError: the folder has an image of this name.
    """
    home = Path(folder) / name
    (home / "images").mkdir(parents=True)
    file = home / "images" / f"{name}.png"
    _write_png(file, image[..., ::-1] if image.shape[2] == 3 else image)
    if instances is not None:
        (home / "masks").mkdir()
        for number in range(1, int(instances.max()) + 1):
            _write_png(home / "masks" / f"{name}_{number:04d}.png", (instances == number).astype(np.uint8) * 255)
    return file


def _write_png(path: Path, pixels: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
