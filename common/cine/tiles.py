"""Contours over all slices of a study, to be judged by eye: one row of slices per phase, or one picture per phase."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..images.boundaries import boundary_mask
from ..images.normalise import intensity_range
from ..report.caption import caption
from ..report.overlays import ON_DARK

ENDOCARDIUM, EPICARDIUM = ON_DARK.alone, (255, 150, 40)
"""Yellow-green and orange: apart on grey images, also without red and green."""

TRUTH = (90, 170, 255)
"""Light blue, below the other two: where they hide it, they agree with it."""

_GAP, _CAPTION = 2, 18  # pixels
_MOST_SLICES, _MOST_PIXELS = 12, 500_000  # of each picture of an animation


def tiles(
    images: np.ndarray,
    maps: np.ndarray,
    phases: Sequence[int],
    names: Sequence[str] | None = None,
    zoom: int = 2,
    margin: int = 12,
    columns: int | None = None,
    truth: np.ndarray | None = None,
) -> np.ndarray:
    """Slices side by side, one row (or block of rows) per phase with a caption, contours drawn over the grey image.

    Every tile shows the same part of the image, the box around all that is labelled in the stack, at the same
    contrast. Lines are one pixel thin at the enlarged size and run along the inner edge of what they enclose.

    Args:
        images: (phases, slices, rows, columns), any number type; what is not finite counts as 0.
        maps: the same shape, integers: 1 cavity, 2 myocardium.
        phases: indices of the phases to show.
        names: a caption per shown phase; None: "phase 1" and so on.
        zoom: pixels of the picture per pixel of the image.
        margin: pixels of the image around what is labelled.
        columns: slices side by side; None: all.
        truth: the same shape and classes, what was drawn by hand, or None.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: shapes that do not agree, no phases, or another number of names.
    """
    images, maps = np.asarray(images), np.asarray(maps)
    if images.ndim != 4 or not images.size or any(np.shape(m) != images.shape for m in (maps, truth) if m is not None):
        raise ValueError(f"images and maps are (phases, slices, rows, columns): {images.shape} and {maps.shape}")
    captions = [f"phase {phase + 1}" for phase in phases] if names is None else list(names)
    if not len(phases) or len(captions) != len(phases):
        raise ValueError(f"{len(phases)} phases, but {len(captions)} names")
    box = labelled_box(maps if truth is None else np.maximum(maps, truth), margin)
    part = (list(phases), slice(None), *box)
    grey, shown = _grey(images[part]), maps[part]
    drawn_by_hand = np.zeros_like(shown) if truth is None else truth[part]
    across = columns or maps.shape[1]
    rows = []
    for pictures, true, labels, title in zip(grey, drawn_by_hand, shown, captions, strict=True):
        drawn = [_outlined(*slices, zoom) for slices in zip(pictures, true, labels, strict=True)]
        width = across * (drawn[0].shape[1] + _GAP) + _GAP
        rows.append(caption(title, width, _CAPTION, _GAP + 2, dark=True))
        rows += [_row(drawn[start : start + across], width) for start in range(0, len(drawn), across)]
    return np.concatenate(rows)


def cine_pictures(images: np.ndarray, maps: np.ndarray, names: Sequence[str] | None = None) -> list[np.ndarray]:
    """The pictures of an animation: :func:`tiles` of each phase, at one contrast, enlarged where they stay small.

    Of more than 12 slices, or of large ones, those shown are spread evenly over the slices with labels.

    Args:
        images, maps: as for :func:`tiles`.
        names: a caption per phase; None: "phase 1" and so on.

    Returns:
        (rows, columns, 3) uint8 RGB per phase, all of one size.

    Raises:
        ValueError: as :func:`tiles`.
    """
    maps = np.asarray(maps)
    height, width = (part.stop - part.start + 24 for part in labelled_box(maps, 0))
    zoom = 2 if 4 * height * width * min(maps.shape[1], _MOST_SLICES) <= _MOST_PIXELS else 1
    most = max(1, min(_MOST_SLICES, _MOST_PIXELS // (zoom * zoom * height * width)))
    levels = np.arange(maps.shape[1])
    if len(levels) > most:
        labelled = np.flatnonzero(maps.any(axis=(0, 2, 3)))
        levels = labelled if labelled.size else levels
        levels = levels[np.unique(np.linspace(0, len(levels) - 1, min(most, len(levels))).round().astype(int))]
    across = min(len(levels), 4)
    picture = tiles(images[:, levels], maps[:, levels], range(len(maps)), names, zoom, columns=across)
    return np.split(picture, len(maps))


def labelled_box(maps: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns around all that is labelled; the whole image where nothing is."""
    found = []
    for axis, size in ((3, maps.shape[2]), (2, maps.shape[3])):
        used = np.flatnonzero(maps.any(axis=(0, 1, axis)))
        found.append(slice(max(used[0] - margin, 0), min(used[-1] + 1 + margin, size)) if used.size else slice(0, size))
    return found[0], found[1]


def _grey(images: np.ndarray) -> np.ndarray:
    """uint8 of the same shape: one contrast for all frames, so that brightness does not flicker."""
    values = np.nan_to_num(images.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = intensity_range(values.reshape(-1, values.shape[-1], 1))
    return np.clip((values - low) * (255 / (high - low)), 0, 255).astype(np.uint8)


def _outlined(picture: np.ndarray, truth: np.ndarray, labels: np.ndarray, zoom: int) -> np.ndarray:
    size = (picture.shape[1] * zoom, picture.shape[0] * zoom)
    canvas = np.repeat(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)[:, :, None], 3, axis=2)
    for classes, epicardium, endocardium in ((truth, TRUTH, TRUTH), (labels, EPICARDIUM, ENDOCARDIUM)):
        if not classes.any():
            continue
        large = classes.repeat(zoom, axis=0).repeat(zoom, axis=1)
        if (classes == 2).any():  # without myocardium nobody knows where the epicardium is
            canvas[boundary_mask((large > 0).view(np.uint8))] = epicardium
        canvas[boundary_mask((large == 1).view(np.uint8))] = endocardium
    return canvas


def _row(pictures: list[np.ndarray], width: int) -> np.ndarray:
    height = pictures[0].shape[0]
    row = np.zeros((height + _GAP, width, 3), np.uint8)
    for index, picture in enumerate(pictures):
        left = _GAP + index * (picture.shape[1] + _GAP)
        row[:height, left : left + picture.shape[1]] = picture
    return row
