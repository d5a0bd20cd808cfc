"""A sequence to be looked at: every frame with its outlines, as a moving picture and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...images.boundaries import boundary_mask
from ...images.normalise import intensity_range, is_dark_field
from ...report.caption import caption
from ...report.overlays import ON_BRIGHT, ON_DARK, Colour

TRUTH: Colour = (90, 170, 255)
"""Light blue, below the prediction: where the line is hidden, both agree."""

OTHERS: tuple[Colour, ...] = ((255, 150, 40), (214, 69, 122), (124, 110, 230), (60, 190, 255))
"""Of the second class or object on: told apart on grey, also without red and green."""

_CAPTION, _GAP = 18, 2  # pixels
_SMALLEST, _LARGEST = 200, 400  # of a picture's longest side: enlarged by whole factors, reduced freely
_MOST_PICTURES, _MOST_TILES, _ACROSS = 200, 24, 6


def shown_frames(of: int, most: int = _MOST_PICTURES) -> list[int]:
    """Indices of at most so many frames, evenly spread, the first and the last among them.

    >>> shown_frames(5, most=3)
    [0, 2, 4]
    """
    return np.unique(np.linspace(0, of - 1, min(of, most)).round().astype(int)).tolist()


def tile_frames(of: int) -> list[int]:
    """Indices of the frames of the picture in which they stand side by side."""
    return shown_frames(of, _MOST_TILES)


@dataclass(frozen=True)
class Look:
    """How the pictures of a sequence are drawn, the same for all so that nothing flickers.

    Attributes:
        low, high: grey values that become black and white.
        colour: of the first outline.
        size: rows, columns of a picture without its caption.
    """

    low: float
    high: float
    colour: Colour
    size: tuple[int, int]


def look_of(pixels: np.ndarray) -> Look:
    """The look of a sequence from some of its frames.

    Args:
        pixels: (frames, rows, columns[, channels]), one frame at least, finite; of several channels the first is shown.
    """
    grey = _first_channel(pixels[np.array(shown_frames(len(pixels), 8))])
    low, high = intensity_range(grey.reshape(-1, grey.shape[2], 1), 0.5, 99.5)
    longest = max(grey.shape[1:])
    factor = _SMALLEST // longest + 1 if longest < _SMALLEST else min(1.0, _LARGEST / longest)
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[2] * factor)))
    colour = (ON_DARK if is_dark_field(grey[0][..., None]) else ON_BRIGHT).alone
    return Look(low, high, colour, size)


def frame_picture(
    frame: np.ndarray, labels: np.ndarray, look: Look, text: str, truth: np.ndarray | None = None
) -> np.ndarray:
    """A frame with the outlines of its classes or objects, and a caption above it.

    Args:
        frame: (rows, columns[, channels]).
        labels: (rows, columns) integers; each number has its colour.
        look: of the sequence.
        text: caption.
        truth: likewise, or None.

    Returns:
        (rows + caption, columns, 3) uint8 RGB.
    """
    grey = _first_channel(frame[None])[0]
    scaled = np.clip((grey.astype(np.float32) - look.low) * (255 / (look.high - look.low)), 0, 255).astype(np.uint8)
    enlarges = look.size[0] >= grey.shape[0]
    resized = cv2.resize(scaled, look.size[::-1], interpolation=cv2.INTER_LINEAR if enlarges else cv2.INTER_AREA)
    canvas = np.repeat(resized[:, :, None], 3, axis=2)
    if truth is not None:
        canvas[boundary_mask(_nearest(truth, look.size))] = TRUTH
    shown = _nearest(labels, look.size)
    outline = boundary_mask(shown)
    if outline.any():
        colours = np.array([look.colour, *OTHERS], np.uint8)
        canvas[outline] = colours[(shown[outline].astype(np.int64) - 1) % len(colours)]
    return np.concatenate([caption(text, canvas.shape[1], _CAPTION, _GAP + 2, dark=True), canvas])


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size in rows, (rows, columns, 3) uint8."""
    across = min(len(pictures), _ACROSS)
    height, width = pictures[0].shape[:2]
    down = -(-len(pictures) // across)
    sheet = np.zeros((down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP, 3), np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // across * (height + _GAP), number % across * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _first_channel(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else pixels[..., 0]


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, labels.shape, strict=True))
    return np.asarray(labels)[rows[:, None], columns]
