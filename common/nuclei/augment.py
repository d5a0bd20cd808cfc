"""Appearance of microscopy images at random: what other microscopes, stains and laboratories would have made of a crop.

All functions take and give (rows, columns, 3) float32, 0 to 1 for the usual range of grey values. They draw from the
``RandomState`` given, as MONAI's randomizable transforms do.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..images.noise import smooth_field
from ..images.normalise import compress
from ..tissue.stain import STAINS, exchange_stain, jitter_stains
from .immunostain import immunostain

_DAB = STAINS[2]
_YELLOW = np.array([0.05, 0.2, 0.98], np.float32)  # optical density of a picric acid or tartrazine counterstain


def blur_and_noise(image: np.ndarray, rng: np.random.RandomState, probability: float = 0.3) -> np.ndarray:
    """Defocus (Gaussian), sensor noise (independent per channel or not) and JPEG-like loss of detail."""
    if rng.rand() < probability:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2.2)), np.float32)
    if rng.rand() < probability:
        channels = 3 if rng.rand() < 0.3 else 1
        noise = rng.standard_normal((*image.shape[:2], channels)).astype(np.float32)
        if rng.rand() < 0.4:
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.8), np.float32).reshape(noise.shape)
        image = image + noise * np.float32(10 ** rng.uniform(-2.3, -0.8))
    return image


def gamma(image: np.ndarray, rng: np.random.RandomState, spread: float = 0.45) -> np.ndarray:
    """Random power of the grey values; negative values keep their sign."""
    power = np.float32(np.exp(spread * rng.randn()))
    return np.sign(image) * np.abs(image) ** power


def renormalise(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Percentiles ``low`` and ``high`` over all channels to 0 and 1."""
    bottom, top = np.percentile(image[::2, ::2], (low, high))
    return (image - np.float32(bottom)) / np.float32(max(top - bottom, 1e-3))


def fluorescence(image: np.ndarray, inside: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Dark field: gamma, haze and uneven light, bright dead cells and debris, dimmed nuclei, blur, noise, saturation.

    Takes linear grey values and gives compressed ones.

    Args:
        image: (rows, columns, 3) with equal channels.
        inside: (rows, columns) int32 instance map, for changes of single nuclei.
    """
    image = gamma(image, rng)
    if rng.rand() < 0.4:
        image = _change_nuclei(image, inside, rng)
    if rng.rand() < 0.3:
        image = image * (0.35 + 0.65 * smooth_field(image.shape[:2], rng.randint(2, 5), rng))[..., None]
    if rng.rand() < 0.4:
        haze = smooth_field(image.shape[:2], rng.randint(2, 7), rng) * rng.uniform(0.05, 0.5)
        image = image + haze[..., None]
    if rng.rand() < 0.3:  # light scattered by the objects themselves
        image = image + np.float32(rng.uniform(0.1, 0.6)) * cv2.GaussianBlur(image, (0, 0), rng.uniform(4, 20))
    if rng.rand() < 0.25:
        image = _add_bright_debris(image, inside, rng)
    image = blur_and_noise(image, rng)
    if rng.rand() < 0.7:
        image = renormalise(image, rng.uniform(0.1, 8.0), rng.uniform(98.0, 99.95))
    if rng.rand() < 0.2:
        image = np.minimum(image * rng.uniform(1.0, 3.0), 1.0)
    # Nearly always, for an image that is mostly nuclei is not recognised as a dark field and comes uncompressed.
    return compress(image) if rng.rand() < 0.95 else image


def _change_nuclei(image: np.ndarray, instances: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Give each nucleus a brightness of its own, smoothly at its outline; some become dead cells."""
    gains = np.exp(0.4 * rng.randn(int(instances.max()) + 1)).astype(np.float32)
    if rng.rand() < 0.4:  # dead cells, saturated beside the living
        dead = rng.rand(gains.size) < rng.uniform(0.02, 0.2)
        gains[dead] *= np.exp(rng.uniform(0.5, 2.2))
    gains[0] = 1.0
    return image * cv2.GaussianBlur(gains[instances], (0, 0), 1.0)[..., None]


def _add_bright_debris(image: np.ndarray, instances: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Small saturated specks on the background, which are no nuclei."""
    specks = np.zeros(image.shape[:2], np.float32)
    for _ in range(rng.randint(1, 8)):
        centre = (int(rng.randint(image.shape[1])), int(rng.randint(image.shape[0])))
        if instances[centre[1], centre[0]] == 0:
            axes = (int(rng.randint(1, 4)), int(rng.randint(1, 4)))
            cv2.ellipse(specks, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.5, 5.0)), -1)
    specks = np.asarray(cv2.GaussianBlur(specks, (0, 0), rng.uniform(0.6, 2.0)))
    return image + np.where(instances > 0, 0, specks)[..., None]


def invert(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Bright field from dark field and back; the lit background keeps a random grey value."""
    return np.float32(rng.uniform(0.8, 1.0)) - np.clip(image, 0, 1.5) * np.float32(rng.uniform(0.4, 0.9))


def brightfield(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Absorbing objects on a lit background, grey: gamma, uneven light, blur, noise, contrast."""
    image = gamma(image, rng, 0.35)
    if rng.rand() < 0.4:
        image = image * (0.6 + 0.4 * smooth_field(image.shape[:2], rng.randint(2, 5), rng))[..., None]
    image = blur_and_noise(image, rng)
    if rng.rand() < 0.5:
        image = renormalise(image, rng.uniform(0.1, 3.0), rng.uniform(97.0, 99.9))
    return image


def colour_dark_field(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """A stained section made of a dark-field crop: intensity becomes dye of a random purple to brown on a random ground.

    The way to the modality that the training set lacks (purple nuclei on yellow): shapes and textures come from real
    nuclei, the colours from the dyes' range.
    """
    amount = np.clip(image[..., :1], 0, 1.3)
    ground = np.array([rng.uniform(0.75, 1.0), rng.uniform(0.55, 1.0), rng.uniform(0.3, 1.0)], np.float32)
    dye = np.array([rng.uniform(0.15, 0.6), rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.7)], np.float32)
    texture = 1 - 0.3 * rng.rand() * smooth_field(image.shape[:2], rng.randint(4, 40), rng)[..., None]
    return (ground * (1 - amount) + dye * amount) * texture


def other_stains(image: np.ndarray, instances: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Brown or yellow for eosin or beside it, stain amounts, colour of light and ground, exchanged channels, grey."""
    dice = rng.rand()
    if dice < 0.3:
        image = immunostain(image, instances, rng)
    elif dice < 0.4:
        share = rng.rand()
        gain = np.exp(rng.uniform(0.0, np.log(3.0)))  # nuclei can be paler than what lies between them
        image = exchange_stain(image, 1, share * _DAB + (1 - share) * _YELLOW, float(gain))
    if rng.rand() < 0.8:
        image = jitter_stains(image, np.exp(0.25 * rng.randn(3)), 0.06 * rng.randn(3))
    if rng.rand() < 0.35:
        tint = np.array([rng.uniform(0.85, 1.0), rng.uniform(0.7, 1.0), rng.uniform(0.35, 1.0)], np.float32)
        image = image * tint
    if rng.rand() < 0.15:
        image = image[..., rng.permutation(3)]
    if rng.rand() < 0.12:
        image = np.repeat(image @ np.array([[0.3], [0.6], [0.1]], np.float32), 3, axis=2)
    return image


def stained(image: np.ndarray, instances: np.ndarray, rng: np.random.RandomState, stains: bool = True) -> np.ndarray:
    """Stained tissue: colours (:func:`other_stains`, if ``stains``), uneven light, blur, noise, contrast."""
    image = np.clip(image, 0, 1.2)
    if stains:
        image = other_stains(image, instances, rng)
    image = gamma(np.clip(image, 0, None), rng, 0.25)
    if rng.rand() < 0.2:
        image = image * (0.7 + 0.3 * smooth_field(image.shape[:2], rng.randint(2, 5), rng))[..., None]
    image = blur_and_noise(image, rng, 0.25)
    if rng.rand() < 0.6:
        image = renormalise(image, rng.uniform(0.1, 2.0), rng.uniform(98.0, 99.9))
    return image


def augment(
    image: np.ndarray, instances: np.ndarray, modality: str, rng: np.random.RandomState, stains: bool = True
) -> np.ndarray:
    """Random appearance for a crop of the given modality, sometimes of another one.

    Args:
        image: (rows, columns, 3) float32, linear, 0 to 1 for the usual range.
        instances: (rows, columns) int32.
        modality: ``fluorescence``, ``brightfield``, or any other for stained tissue.
        rng: drawn from.
        stains: change the colours of stained tissue too, not only light, focus and contrast.

    Returns:
        (rows, columns, 3) float32 in [-0.75, 2], as :func:`..images.normalise.normalise` gives it.
    """
    dice = rng.rand()
    if modality == "fluorescence":
        if dice < 0.72:
            image = fluorescence(image, instances, rng)
        elif dice < 0.86:
            image = brightfield(invert(image, rng), rng)
        else:
            image = stained(colour_dark_field(image, rng), instances, rng)
    elif modality == "brightfield":
        if dice < 0.75:
            image = brightfield(image, rng)
        elif dice < 0.85:
            image = fluorescence(invert(image, rng), instances, rng)
        else:
            image = stained(colour_dark_field(invert(image, rng), rng), instances, rng)
    elif dice < 0.93 or not stains:
        image = stained(image, instances, rng, stains)
    else:
        image = brightfield(np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2), rng)
    return np.clip(np.nan_to_num(image), -0.75, 2.0).astype(np.float32)


def unchanged(image: np.ndarray, modality: str) -> np.ndarray:
    """The crop as it is, with the grey values that inference would give it; arguments and result of :func:`augment`."""
    return np.minimum(compress(image) if modality == "fluorescence" else image, np.float32(2.0))
