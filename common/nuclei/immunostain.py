"""Immunohistochemistry made of stained tissue: blue nuclei, little else, and a brown stain where an antigen would be.

No set at hand shows it, though much of a pathologist's work looks so: nuclei are pale and blue without eosin, the brown is
darker than they are, and it lies around some of them, between them, or in some of them.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..images.noise import smooth_field
from ..tissue.stain import STAINS, separate_stains

_DAB = STAINS[2]
_BLUE = np.array([0.78, 0.58, 0.24], np.float32)  # optical density of haematoxylin without the reddish tinge
_NUCLEI = (0.2, 1.2)  # optical density of nuclei, from hardly seen to as dark as in H&E
_STRONGEST = 3.5  # of the brown, in optical density: 1/33 of the light


def immunostain(image: np.ndarray, instances: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Another look for stained tissue: haematoxylin as a pale blue, hardly any eosin, brown (DAB) over part of the crop.

    Args:
        image: (rows, columns, 3) float32, 1 is the light of the empty slide.
        instances: (rows, columns) int32, the nuclei: brown leaves them out, or lies in some of them alone.
        rng: drawn from.

    Returns:
        (rows, columns, 3) float32 in [0, 1].
    """
    stains = np.clip(separate_stains(image), 0, None)
    tint = rng.rand()
    blue = tint * _BLUE + (1 - tint) * STAINS[0]
    amount = np.exp(rng.uniform(*np.log(_NUCLEI))) / max(_typical(stains[..., 0], instances), 0.2)
    density = stains[..., :1] * (blue / np.linalg.norm(blue)) * amount
    density = density + stains[..., 1:2] * STAINS[1] * rng.uniform(0.0, 0.25)
    if rng.rand() < 0.8:  # the others show no antigen
        brown = _around(stains, instances, rng) if rng.rand() < 0.7 else _within_some(instances, rng)
        density = density + np.minimum(brown, _STRONGEST)[..., None] * _DAB
    picture = np.exp(-density).astype(np.float32)
    if rng.rand() < 0.5:  # as cameras and scanners sharpen
        picture += rng.uniform(0.3, 1.5) * (picture - cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.7, 2.0)))
    return np.asarray(np.clip(picture, 0.0, 1.0), np.float32)


def _typical(haematoxylin: np.ndarray, instances: np.ndarray) -> float:
    """How much stain the nuclei hold; 1 where there are none."""
    inside = instances > 0
    return float(haematoxylin[inside].mean()) if inside.any() else 1.0


def _around(stains: np.ndarray, instances: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Brown cytoplasm: over patches of the crop or all of it, streaked or grainy; most nuclei are spared, more or less."""
    patches = smooth_field(instances.shape, rng.randint(2, 7), rng)
    region = 1 / (1 + np.exp(-rng.uniform(8, 60) * (patches - rng.uniform(0.1, 0.7))))
    eosin = stains[..., 1]
    texture = 0.2 + _streaks(instances.shape, rng) + rng.uniform(0, 1.5) * eosin / max(float(eosin.mean()), 0.05)
    spared = rng.uniform(0.2, 0.9) * rng.beta(2, 1, int(instances.max()) + 1).astype(np.float32)
    spared[0] = 0.0
    left = 1 - cv2.GaussianBlur(spared[instances], (0, 0), rng.uniform(0.5, 2.0))
    return np.asarray(np.exp(rng.uniform(-1.2, 0.7)) * region * texture * left, np.float32)


def _streaks(shape: tuple[int, ...], rng: np.random.RandomState) -> np.ndarray:
    """Noise as coarse along the rows as along the columns, or coarser: (rows, columns) in [0, 1]."""
    grain = rng.standard_normal(shape).astype(np.float32)
    noise = cv2.GaussianBlur(grain, (0, 0), sigmaX=rng.uniform(0.7, 6.0), sigmaY=rng.uniform(0.7, 6.0))
    return np.asarray(np.clip(0.5 + 0.25 * noise / max(float(noise.std()), 1e-6), 0, 1), np.float32)


def _within_some(instances: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Brown nuclei: some, each of a strength of its own, with a little texture; a faint brown between them."""
    count = int(instances.max()) + 1
    strength = np.where(rng.rand(count) < rng.uniform(0.1, 0.9), rng.uniform(0.3, 2.5, count), 0.0).astype(np.float32)
    strength[0] = rng.uniform(0.0, 0.1)
    brown = cv2.GaussianBlur(strength[instances], (0, 0), rng.uniform(0.5, 1.5))
    return np.asarray(brown * (0.7 + 0.6 * _streaks(instances.shape, rng)), np.float32)
