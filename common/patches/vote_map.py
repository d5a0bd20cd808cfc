"""Where on an image its patches voted for which class: a map to be judged by eye."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..report.caption import caption
from ..report.overlays import LARGE, Colour
from .votes import PatchVotes

CLASS_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 145, 0),
    (196, 55, 135),
    (0, 158, 115),
    (120, 94, 240),
    (150, 75, 0),
)
"""Told apart over pink tissue, also without red and green; more classes begin anew."""

_FINEST = 512  # longest side of the map itself, which is smooth
_STRENGTH = 0.5  # of the colours over the grey image
_GAP, _LEGEND, _LEAST_WIDTH = 8, 26, 560  # pixels


def class_map(votes: PatchVotes, shape: tuple[int, int], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability of the patches over each place, from a table of differences whatever the number of patches.

    Args:
        votes: patches in pixels of the network.
        shape: rows and columns of the map.
        scale: pixels of the map per pixel of the network.

    Returns:
        (rows, columns, classes) float32, sums to 1 where anything voted and is 0 elsewhere; (rows, columns) bool, where
        anything voted.
    """
    rows, columns = shape
    values = votes.probabilities[votes.tissue].astype(np.float64)
    corners = votes.corners[votes.tissue]
    near = np.rint(corners * scale).astype(int)
    far = np.maximum(np.rint((corners + votes.size) * scale).astype(int), near + 1)
    (top, left), (bottom, right) = np.minimum(near, shape).T, np.minimum(far, shape).T
    steps = np.zeros((rows + 1, columns + 1, values.shape[1] + 1))
    weighed = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    for row, column, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        np.add.at(steps, (row, column), sign * weighed)
    sums = steps.cumsum(axis=0).cumsum(axis=1)[:rows, :columns]
    seen = sums[..., -1] > 0.5
    return (sums[..., :-1] / np.where(seen, sums[..., -1], np.inf)[..., None]).astype(np.float32), seen


def tinted(pixels: np.ndarray, votes: PatchVotes, scale: float) -> np.ndarray:
    """The image in grey under the colours of the classes, mixed by their probabilities; bare where nothing voted.

    Args:
        pixels: (rows, columns, 3) uint8.
        votes: of its patches.
        scale: pixels of the network per pixel of the image.

    Returns:
        (rows', columns', 3) uint8 RGB; huge images are reduced to the longest side of :data:`..report.overlays.LARGE`.
    """
    canvas = reduced(pixels)
    size = (canvas.shape[1], canvas.shape[0])
    factor = min(1.0, _FINEST / max(pixels.shape[:2]))
    shape = max(1, round(pixels.shape[0] * factor)), max(1, round(pixels.shape[1] * factor))
    probabilities, seen = class_map(votes, shape, factor / scale)
    number = probabilities.shape[2]
    colours = np.array([CLASS_COLOURS[index % len(CLASS_COLOURS)] for index in range(number)], np.float32)
    mixed = cv2.resize(probabilities @ colours, size, interpolation=cv2.INTER_LINEAR)
    strength = _STRENGTH * cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)[..., None]
    # Where colour fades out towards places without votes, mixed has faded already.
    grey = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    return np.clip(np.rint(grey * (1 - strength) + _STRENGTH * mixed), 0, 255).astype(np.uint8)


def vote_map(
    pixels: np.ndarray,
    coloured: np.ndarray,
    class_names: Sequence[str],
    probabilities: Sequence[float],
    votes: Sequence[int],
    title: str = "",
) -> np.ndarray:
    """The image, the coloured one beside (or, of long ones, below) it, then colour, probability and votes of each class.

    Args:
        pixels: (rows, columns, 3) uint8.
        coloured: what :func:`tinted` made of it.
        class_names: of each class.
        probabilities: of the image, per class.
        votes: patches per class.
        title: a line above; ASCII.

    Returns:
        (rows', columns', 3) uint8 RGB.
    """
    image = reduced(pixels)
    if image.shape[1] > image.shape[0] * 2:
        gap = np.full((_GAP, image.shape[1], 3), 255, np.uint8)
        both = np.concatenate([image, gap, coloured])
    else:
        both = np.concatenate([image, np.full((len(image), _GAP, 3), 255, np.uint8), coloured], axis=1)
    width = max(both.shape[1], _LEAST_WIDTH)
    both = np.pad(both, ((0, 0), (0, width - both.shape[1]), (0, 0)), constant_values=255)
    head = [caption(title, width, _LEGEND)] if title else []
    return np.concatenate([*head, both, _legend(class_names, probabilities, votes, width)])


def _legend(names: Sequence[str], probabilities: Sequence[float], votes: Sequence[int], width: int) -> np.ndarray:
    slot = width // len(names)
    strips = []
    for index, (name, probability, count) in enumerate(zip(names, probabilities, votes, strict=True)):
        text = f"{name} {probability:.2f}, {count} vote{'' if count == 1 else 's'}"
        strip = caption(text, slot, _LEGEND, _LEGEND + 2)
        strip[5:-5, 5 : _LEGEND - 5] = CLASS_COLOURS[index % len(CLASS_COLOURS)]
        strips.append(strip)
    legend = np.concatenate(strips, axis=1)
    return np.pad(legend, ((0, 0), (0, width - legend.shape[1]), (0, 0)), constant_values=255)


def reduced(pixels: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) uint8 as it is, or so that its longest side is :data:`..report.overlays.LARGE`."""
    factor = LARGE / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA))
