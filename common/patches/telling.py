"""The patches of a run that are most certain of each class, on one sheet: what the network takes for typical."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ..report.caption import caption
from .vote_map import CLASS_COLOURS
from .votes import PatchVotes

_GAP, _CAPTION, _LINE, _BAR = 6, 26, 18, 5  # pixels
_LETTER = 8  # pixels of a letter of a line


class _Patch(NamedTuple):
    probability: float
    name: str
    truth: str
    picture: np.ndarray


class TellingPatches:
    """Keeps the patches most certain of each class; memory does not grow with the number of images.

    Args:
        class_names: in the order of the probabilities.
        per_class: patches of each class, at most.
        per_image: patches of each class that one image gives, at most; they do not overlap.
        side: at which they are shown, in pixels.
    """

    def __init__(self, class_names: Sequence[str], per_class: int = 8, per_image: int = 2, side: int = 152) -> None:
        self.class_names, self.per_class, self.per_image, self.side = tuple(class_names), per_class, per_image, side
        self.patches: list[list[_Patch]] = [[] for _ in self.class_names]

    def add(self, name: str, pixels: np.ndarray, votes: PatchVotes, scale: float, truth: str = "") -> None:
        """Look through the patches of one image.

        Args:
            name: of the image.
            pixels: (rows, columns, 3) uint8.
            votes: of its patches; those of white patches do not count.
            scale: pixels of the network per pixel of the image.
            truth: name of the image's true class, "" where it is not known.
        """
        choices = np.where(votes.tissue, votes.probabilities.argmax(axis=1), -1)
        for index, kept in enumerate(self.patches):
            mine = np.flatnonzero(choices == index)
            order = mine[np.argsort(-votes.probabilities[mine, index], kind="stable")]
            for patch in _apart(votes, order, self.per_image):
                probability = float(votes.probabilities[patch, index])
                if len(kept) < self.per_class or probability > kept[-1].probability:
                    picture = _cut(pixels, votes.corners[patch] / scale, votes.size / scale, self.side)
                    kept.append(_Patch(probability, name, truth, picture))
                    kept.sort(key=lambda one: -one.probability)
                    del kept[self.per_class :]

    def sheet(self) -> np.ndarray:
        """(rows, columns, 3) uint8 RGB: a row per class, below each patch its image, probability and true class."""
        width = self.per_class * (self.side + _GAP) + _GAP
        strips = []
        for index, (name, kept) in enumerate(zip(self.class_names, self.patches, strict=True)):
            text = f"{name}: the patches most certain of it" if kept else f"{name}: no patch was given this class"
            strips += [_bar(index, width), caption(text, width, _CAPTION, _GAP)]
            if kept:
                strips.append(self._row(kept, width))
        return np.concatenate(strips)

    def _row(self, kept: Sequence[_Patch], width: int) -> np.ndarray:
        row = np.full((self.side + 2 * _LINE + _GAP, width, 3), 255, np.uint8)
        for number, patch in enumerate(kept):
            left = _GAP + number * (self.side + _GAP)
            part = row[:, left : left + self.side]
            part[: self.side] = patch.picture
            truth = f", truth {patch.truth}" if patch.truth else ""
            part[self.side : self.side + _LINE] = self._line(patch.name)
            part[self.side + _LINE : self.side + 2 * _LINE] = self._line(f"{patch.probability:.3f}{truth}")
        return row

    def _line(self, text: str) -> np.ndarray:
        most = self.side // _LETTER  # of a long name the end is what differs
        return caption(text if len(text) <= most else "." + text[-most + 1 :], self.side, _LINE, 0)


def _apart(votes: PatchVotes, order: np.ndarray, most: int) -> list[int]:
    """The first patches of the order, without those that overlap an earlier one."""
    chosen: list[int] = []
    for patch in order.tolist():
        if len(chosen) == most:
            break
        if all(np.abs(votes.corners[patch] - votes.corners[other]).max() >= votes.size for other in chosen):
            chosen.append(patch)
    return chosen


def _cut(pixels: np.ndarray, corner: np.ndarray, size: float, side: int) -> np.ndarray:
    """(side, side, 3): the patch enlarged; white where it lies beyond the image."""
    top, left = np.floor(corner).astype(int)
    bottom, right = np.maximum(np.ceil(corner + size).astype(int), (top + 1, left + 1))
    part = pixels[top:bottom, left:right]
    beyond = bottom - top - part.shape[0], right - left - part.shape[1]
    whole = np.pad(part, ((0, max(beyond[0], 0)), (0, max(beyond[1], 0)), (0, 0)), constant_values=255)
    kind = cv2.INTER_CUBIC if side > max(whole.shape) else cv2.INTER_AREA
    return np.asarray(cv2.resize(whole, (side, side), interpolation=kind))


def _bar(index: int, width: int) -> np.ndarray:
    bar = np.full((_BAR, width, 3), 255, np.uint8)
    bar[:] = CLASS_COLOURS[index % len(CLASS_COLOURS)]
    return bar
