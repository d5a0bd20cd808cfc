"""Network maps of very large images to instances in bounded memory: block by block, each object owned by one block.

The idea is that of StarDist's ``big.py``: blocks see more than they own, and one rule says which block owns an object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from .instances import DecodeSettings, Instances, decode

# A block also takes what lies at most so many pixels before it and is still unlabelled: two blocks may see the outline of
# one object differently by a pixel (equal values flood in the order of the pixels), and each believe that the other owns it.
_GUARD = 2


@dataclass(frozen=True)
class _Block:
    """Rows and columns that a block owns (``core``) and sees (``view``): (start, stop) of each axis."""

    core: tuple[tuple[int, int], tuple[int, int]]
    view: tuple[tuple[int, int], tuple[int, int]]

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the block sees."""
        return slice(*self.view[0]), slice(*self.view[1])


def decode_in_blocks(
    foreground: np.ndarray,
    distance: np.ndarray,
    diameter: float,
    settings: DecodeSettings,
    block: int = 2048,
    margin: int | None = None,
) -> Instances:
    """What :func:`.instances.decode` gives, up to the numbering, for maps of any size.

    Each block sees twice the margin around itself: an object that it owns and everything that touches this object are then
    complete. The block which holds the centroid owns the object. Objects larger than the margin may come out in several
    parts; nothing overlaps in any case.

    Beside the maps and the result, memory is needed for what one block sees: about 50 bytes per pixel.

    Args:
        foreground: (rows, columns) probability of belonging to an object; float, or uint8 where 255 stands for 1.
        distance: (rows, columns) normalised distance to the object's outline; likewise.
        diameter: expected diameter of the objects in pixels.
        settings: thresholds.
        block: rows and columns that a block owns at most. Maps that are not larger are decoded whole.
        margin: largest extent of an object in pixels, three diameters unless given.

    Raises:
        ValueError: the maps differ in shape, or are neither float nor uint8.
    """
    if foreground.shape != distance.shape or foreground.ndim != 2:
        raise ValueError(f"maps must be (rows, columns) of one shape, got {foreground.shape} and {distance.shape}")
    if max(foreground.shape) <= block:
        return decode(_unit(foreground), _unit(distance), diameter, settings)
    extent = int(np.ceil(3 * diameter)) if margin is None else int(margin)
    blur = int(np.ceil(4 * settings.smoothing * diameter)) + 2  # reach of the Gaussian in ``decode``
    labels = np.zeros(foreground.shape, np.int32)
    confidence: list[np.ndarray] = [np.zeros(0, np.float32)]
    count = 0
    for part in _blocks(labels.shape, block, 2 * extent + blur):
        seen = _unit(foreground[part.window])
        if not (seen > settings.foreground).any():
            continue
        found = decode(seen, _unit(distance[part.window]), diameter, settings)
        keep = _owned(found.labels, labels[part.window], part)
        table = np.zeros(keep.size + 1, np.int32)
        table[1:][keep] = np.arange(count + 1, count + 1 + int(keep.sum()))
        np.copyto(labels[part.window], table[found.labels], where=labels[part.window] == 0)
        confidence.append(found.confidence[keep])
        count += int(keep.sum())
    return Instances(labels, np.concatenate(confidence))


def _unit(part: np.ndarray) -> np.ndarray:
    """A map, or a part of one, as contiguous float32 in [0, 1]."""
    if part.dtype == np.uint8:
        return np.ascontiguousarray(part) / np.float32(255)
    if part.dtype.kind != "f":
        raise ValueError(f"maps must be float or uint8, got {part.dtype}")
    return np.ascontiguousarray(part, np.float32)


def _blocks(shape: tuple[int, ...], block: int, margin: int) -> Iterator[_Block]:
    """Blocks of about equal size in reading order; cores cover the image without overlap."""
    rows, columns = (list(pairwise(n * k // -(-n // block) for k in range(-(-n // block) + 1))) for n in shape)
    for core in product(rows, columns):
        low, high = [(max(a - margin, 0), min(b + margin, n)) for (a, b), n in zip(core, shape, strict=True)]
        yield _Block(core, (low, high))


def _owned(labels: np.ndarray, written: np.ndarray, part: _Block) -> np.ndarray:
    """Which objects of a block's view to keep: (objects,) bool.

    Args:
        labels: instance map of the view.
        written: what earlier blocks wrote there.
        part: the block.
    """
    rows, columns = np.nonzero(labels)
    index = labels[rows, columns]
    count = int(labels.max(initial=0)) + 1
    area = np.bincount(index, minlength=count)
    inside, near = area > 0, area > 0
    for axis, where in ((0, rows), (1, columns)):
        # Sums of whole numbers are exact: the centroid is the same from whichever block it is seen.
        total = np.bincount(index, weights=where + part.view[axis][0], minlength=count)
        start, stop = part.core[axis]
        inside &= (total >= start * area) & (total < stop * area)
        near &= (total >= (start - _GUARD) * area) & (total < stop * area)
    covered = np.bincount(index, weights=written[rows, columns] > 0, minlength=count)
    return ((inside & (2 * covered <= area)) | (near & (covered == 0)))[1:]
