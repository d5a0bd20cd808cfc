"""Network maps to instances: seeds, watershed, clean-up and a confidence per object, all on bounding boxes or histograms."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed


@dataclass(frozen=True)
class DecodeSettings:
    """How maps become instances.

    Attributes:
        foreground: probability from which a pixel belongs to an object.
        seed: normalised distance from which a pixel belongs to the core of an object.
        rise: a core that falls apart at a higher level, into parts which all rise above it by this much, is several.
        smoothing: standard deviation of the Gaussian on the distance before seeds are taken, as a share of the diameter.
        min_diameter: objects smaller than a disc of this diameter are dropped, as a share of the expected diameter.
        min_confidence: objects of lower confidence are dropped.
    """

    foreground: float = 0.5
    seed: float = 0.3
    rise: float = 0.1
    smoothing: float = 0.04
    min_diameter: float = 0.25
    min_confidence: float = 0.55


@dataclass(frozen=True)
class Instances:
    """Objects of one image.

    Attributes:
        labels: (rows, columns) int32, 0 background, ids 1..N.
        confidence: (N,) float32 in [0, 1], entry i belongs to id i + 1.
    """

    labels: np.ndarray
    confidence: np.ndarray


def decode(foreground: np.ndarray, distance: np.ndarray, diameter: float, settings: DecodeSettings) -> Instances:
    """Cores of the distance map flood the foreground.

    Args:
        foreground: (rows, columns) float32, probability of belonging to an object.
        distance: (rows, columns) float32, normalised distance to the object's outline in [0, 1].
        diameter: expected diameter of the objects in pixels; sets the smoothing and the smallest object.
        settings: thresholds.
    """
    mask = foreground > settings.foreground
    sigma = settings.smoothing * diameter
    smooth = cv2.GaussianBlur(distance, (0, 0), sigma) if sigma > 0.3 else distance
    seeds = _seeds(mask, smooth, settings)
    labels = watershed(-smooth, seeds, mask=mask).astype(np.int32)
    labels = fill_holes(labels)
    min_area = np.pi / 4 * (settings.min_diameter * diameter) ** 2
    return _select(labels, foreground, distance, min_area, settings.min_confidence)


def _seeds(mask: np.ndarray, distance: np.ndarray, settings: DecodeSettings) -> np.ndarray:
    """Connected cores, as deep in the tree of levels as they part; a piece of foreground without a core is its own seed."""
    core = mask & (distance > settings.seed)
    count, seeds = cv2.connectedComponents(core.astype(np.uint8), connectivity=4)
    for level in np.arange(settings.seed + settings.rise, 1.0 - settings.rise, settings.rise):
        seeds, count = _part(seeds, count, distance, level, level + settings.rise)
    pieces, piece = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    has_core = np.zeros(pieces, bool)
    has_core[piece[seeds > 0]] = True
    orphan = mask & ~has_core[piece]
    return np.where(orphan, piece + count, seeds)


def _part(seeds: np.ndarray, count: int, distance: np.ndarray, level: float, peak: float) -> tuple[np.ndarray, int]:
    """Replace seeds that fall apart above ``level``, into two or more parts that reach ``peak``, by these parts."""
    inner = (seeds > 0) & (distance > level)
    total, parts = cv2.connectedComponents(inner.astype(np.uint8), connectivity=4)
    parent = np.zeros(total, np.int32)
    parent[parts[inner]] = seeds[inner]
    high = np.zeros(total, bool)
    high[parts[inner & (distance > peak)]] = True
    high[0] = False
    falls_apart = np.bincount(parent[high], minlength=count) >= 2
    children = np.flatnonzero(high & falls_apart[parent])
    if not children.size:
        return seeds, count
    number = np.zeros(total, np.int32)
    number[children] = np.arange(count, count + children.size)
    return np.where(falls_apart[seeds], number[parts], seeds), count + children.size


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Background wholly enclosed by one object becomes part of it. Changes and returns ``labels``."""
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        part = labels[box]
        own = part == index
        if own.all():
            continue
        holes = ndimage.binary_fill_holes(own) & (part == 0)
        if holes.any():
            part[holes] = index
    return labels


def _select(
    labels: np.ndarray, foreground: np.ndarray, distance: np.ndarray, min_area: float, min_confidence: float
) -> Instances:
    """Drop small and doubtful objects, number the others 1..N."""
    count = int(labels.max()) + 1
    flat = labels.ravel()
    area = np.bincount(flat, minlength=count)
    mean = np.bincount(flat, weights=foreground.ravel(), minlength=count) / np.maximum(area, 1)
    # A real object has a core: the best tenth of its distance map nears 1. The mean of squares over the mean favours it.
    first = np.bincount(flat, weights=distance.ravel(), minlength=count)
    second = np.bincount(flat, weights=distance.ravel() ** 2, minlength=count)
    core = np.clip(second / np.maximum(first, 1e-6) / 0.5, 0, 1)
    confidence = mean * core
    keep = (area >= max(min_area, 1)) & (confidence >= min_confidence)
    keep[0] = False
    new = np.zeros(count, np.int32)
    new[keep] = np.arange(1, int(keep.sum()) + 1)
    return Instances(new[labels], confidence[keep].astype(np.float32))
