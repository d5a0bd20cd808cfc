"""Where training patches of tissue are drawn, and what is known of images of which only some nuclei are annotated.

Three kinds of sites: inside annotated nuclei, on the ring around them (so that touching nuclei part) and in likely
background, where nobody need have annotated. Everything is drawn from arrays in memory; no patch becomes a file. Sizes
and distances are in pixels of a quarter of a micrometre (40x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from .masks import likely_background

KINDS = ("positive", "edge", "background")


@dataclass(frozen=True)
class SamplingSettings:
    """How sites are drawn.

    Attributes:
        ratio: of positive, edge and background sites.
        max_positives: most positive sites of one image.
        edge_width: of the ring around annotated nuclei.
        background_distance: between background sites and anything dark or annotated; less where tissue is crowded.
        known_distance: the same for what :func:`known_mask` takes as background. Short, since a network learns what is no
            nucleus from stroma and cytoplasm between nuclei, not from glass alone.
        seed: of everything random in :func:`find_sites`.
    """

    ratio: tuple[float, float, float] = (1.0, 1.0, 0.3)
    max_positives: int = 2500
    edge_width: float = 3.0
    background_distance: float = 50.0
    known_distance: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.ratio) != 3 or min(self.ratio) < 0 or sum(self.ratio) <= 0:
            raise ValueError(f"ratio is {self.ratio}; expected three numbers, none negative and not all 0")
        if self.max_positives < 1 or min(self.edge_width, self.background_distance, self.known_distance) <= 0:
            raise ValueError(f"{self}: expected positive numbers")


class Site(NamedTuple):
    """A place to draw a patch from; ``kind`` is one of ``positive``, ``edge``, ``background``."""

    row: int
    column: int
    kind: str


@dataclass(frozen=True)
class Sites:
    """Sites of one image.

    Attributes:
        positive, edge, background: (n, 2) int32 of (row, column), none twice, in random order.
        ratio: of the kinds when drawn.
        background_distance: pixels that background keeps to anything dark or annotated.
    """

    positive: np.ndarray
    edge: np.ndarray
    background: np.ndarray
    ratio: tuple[float, float, float]
    background_distance: float

    @property
    def any(self) -> bool:
        """Whether there is a site that can be drawn."""
        return any(len(self.of(kind)) and share for kind, share in zip(KINDS, self.ratio, strict=True))

    def of(self, kind: str) -> np.ndarray:
        """Sites of a kind, (n, 2) int32. Raises ValueError for what is no kind."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of site; expected one of {', '.join(KINDS)}")
        return np.asarray(getattr(self, kind))

    def draw(self, rng: np.random.RandomState) -> Site:
        """One site, its kind by the ratio; kinds without sites leave their share to the others.

        Raises:
            ValueError: no site of any kind whose share is above 0.
        """
        share = np.array([r if len(self.of(kind)) else 0.0 for kind, r in zip(KINDS, self.ratio, strict=True)])
        if not share.any():
            raise ValueError("no site to draw from: neither annotated nuclei nor likely background")
        kind = KINDS[min(int(np.searchsorted(np.cumsum(share / share.sum()), rng.rand(), side="right")), 2)]
        row, column = self.of(kind)[rng.randint(len(self.of(kind)))]
        return Site(int(row), int(column), kind)


def find_sites(instances: np.ndarray, rgb: np.ndarray, settings: SamplingSettings | None = None) -> Sites:
    """Sites of one image, spread evenly over its nuclei: small ones have as many as large ones, as far as they have pixels.

    Args:
        instances: (rows, columns) integers, 0 not annotated.
        rgb: (rows, columns, 3), as for :func:`.masks.haematoxylin`.
        settings: how sites are drawn.

    Returns:
        The sites. Edges and background are as many as the ratio makes of the positives, or fewer where there are no more
        pixels; without nuclei, background as if there were the most positives.

    Raises:
        ValueError: image and instances of different size, not three channels, or no pixel.
    """
    settings = settings or SamplingSettings()
    rng = np.random.RandomState(settings.seed)
    background = likely_background(rgb, instances, settings.background_distance)
    wanted = settings.max_positives if settings.ratio[0] else 0
    positive = _evenly(instances, wanted, rng)
    unit = len(positive) / settings.ratio[0] if len(positive) else settings.max_positives / max(settings.ratio)
    edge = _evenly(edge_owners(instances, settings.edge_width), round(unit * settings.ratio[1]), rng)
    places = np.flatnonzero(background.mask)
    count = min(round(unit * settings.ratio[2]), len(places))
    chosen = rng.choice(places, count, replace=False) if count else places[:0]
    return Sites(positive, edge, _coordinates(chosen, instances.shape), settings.ratio, background.distance)


def edge_owners(instances: np.ndarray, width: float) -> np.ndarray:
    """Ring of ``width`` pixels around objects, inside none: (rows, columns) int32, id of the nearest object, else 0."""
    inside = instances > 0
    if not inside.any():
        return np.zeros(instances.shape, np.int32)
    outside = (~inside).astype(np.uint8)
    distance, nearest = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ids = np.zeros(int(nearest.max()) + 1, np.int32)
    ids[nearest[inside]] = instances[inside]
    return np.where((distance > 0) & (distance <= width), ids[nearest], 0).astype(np.int32)


def known_mask(instances: np.ndarray, rgb: np.ndarray, settings: SamplingSettings | None = None) -> np.ndarray:
    """What is known of an image of which only some nuclei are annotated: nuclei, the ring around them, likely background.

    Everything else is unknown and should weigh nothing in training. A ring's pixels may belong to a neighbour that nobody
    annotated; they are taken as background all the same, since nothing else teaches nuclei to part.

    Args:
        instances: (rows, columns) integers, 0 not annotated.
        rgb: (rows, columns, 3), as for :func:`.masks.haematoxylin`.
        settings: ``edge_width`` and ``known_distance`` are used.

    Returns:
        (rows, columns) bool.

    Raises:
        ValueError: image and instances of different size, not three channels, or no pixel.
    """
    settings = settings or SamplingSettings()
    background = likely_background(rgb, instances, settings.known_distance)
    return (instances > 0) | (edge_owners(instances, settings.edge_width) > 0) | background.mask


def hide_annotations(instances: np.ndarray, share: float, rng: np.random.RandomState) -> np.ndarray:
    """An instance map with a share of its objects made 0, at random: a partially annotated image whose truth is known.

    Args:
        instances: (rows, columns) integers, 0 background.
        share: from 0 to 1; the number of hidden objects is rounded.
        rng: source of what is hidden.

    Returns:
        The same dtype; the remaining ids are kept as they are.

    Raises:
        ValueError: ``share`` is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; expected 0 to 1")
    ids = np.flatnonzero(np.bincount(instances.ravel())[1:]) + 1
    kept = np.arange(int(instances.max()) + 1, dtype=instances.dtype)
    kept[rng.permutation(ids)[: round(share * len(ids))]] = 0
    return np.asarray(kept[instances])


def cut_patch(image: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    """A square patch whose pixel (size // 2, size // 2) is the image's (row, column), mirrored beyond the border.

    The border pixel itself is not repeated (as ``BORDER_REFLECT_101``); patches may be larger than the image.

    Args:
        image: (rows, columns[, channels]) of any type, instance maps too.
        row, column: in pixels, within the image.
        size: rows and columns of the patch.

    Returns:
        (size, size[, channels]), a copy.
    """
    offsets = np.arange(size) - size // 2
    rows, columns = _mirrored(row + offsets, image.shape[0]), _mirrored(column + offsets, image.shape[1])
    return np.asarray(image[rows[:, None], columns])


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    if length == 1:
        return np.zeros_like(index)
    folded = index % (2 * (length - 1))
    return np.minimum(folded, 2 * (length - 1) - folded)


def _evenly(owners: np.ndarray, count: int, rng: np.random.RandomState) -> np.ndarray:
    """At most ``count`` places (n, 2), none twice, as many of each object as it has pixels for.

    Pixels are taken in rounds, one of every object that has some left; the last round takes random objects.
    """
    places = np.flatnonzero(owners)
    rng.shuffle(places)
    ids = owners.ravel()[places]
    order = np.argsort(ids, kind="stable")
    first = np.searchsorted(ids[order], ids[order])  # where each object's run begins
    turn = np.empty(len(places), np.int64)
    turn[order] = np.arange(len(places)) - first
    # Shuffled before, hence a stable sort leaves every round in random order; so must be what is returned.
    chosen = places[np.argsort(turn, kind="stable")[:count]]
    rng.shuffle(chosen)
    return _coordinates(chosen, owners.shape)


def _coordinates(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.unravel_index(places, shape), axis=1).astype(np.int32)
