"""Frames that are copies of others, also turned by any angle or mirrored: they teach nothing new and spoil a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ...errors import InputError
from .records import read_frames

ALIKE = 0.98
"""Correlation from which on two frames count as copies."""

_ANGLES, _RADII, _SIDE, _MOST = 120, 24, 96, 1500


@dataclass(frozen=True)
class Copies:
    """What a search found.

    Attributes:
        pairs: (name, name, correlation) of frames that look alike, the likest first.
    """

    pairs: tuple[tuple[str, str, float], ...] = ()


def find_copies(records: Sequence[Mapping[str, Any]], alike: float = ALIKE) -> Copies:
    """Pairs of images whose inner discs correlate at some angle, mirrored or not.

    Each disc is taken apart by radius and angle, so that a turn becomes a shift, and all shifts are compared at once by the
    Fourier transform. Frames are compared by their disc, since the corners of a turned one are made up. Files with several
    frames, and those that cannot be read (training tells), are passed over; of more than 1,500 images the first count.

    Args:
        records: with ``name`` and ``image``.
        alike: correlation from which on two are listed.
    """
    names, discs = [], []
    for record in records[:_MOST]:
        disc = _disc(record)
        if disc is not None:
            names.append(str(record["name"]))
            discs.append(disc)
    if len(discs) < 2:
        return Copies()
    turned = np.fft.rfft(np.stack(discs), axis=2)
    pairs = []
    for index in range(len(discs) - 1):
        others = turned[index + 1 :]
        # Mirrored: the angles run backwards, which conjugates the transform.
        shifts = [
            np.fft.irfft((own * others).sum(axis=1), _ANGLES, axis=1) for own in (turned[index].conj(), turned[index])
        ]
        likeness = np.max(shifts, axis=(0, 2))
        pairs += [
            (names[index], names[index + 1 + other], float(likeness[other]))
            for other in np.flatnonzero(likeness >= alike)
        ]
    return Copies(tuple(sorted(pairs, key=lambda pair: -pair[2])))


def _disc(record: Mapping[str, Any]) -> np.ndarray | None:
    """(radii, angles) float64 of mean 0 and length 1, outer rings weighing as much as they cover; None for no picture."""
    try:
        pixels = read_frames(record).pixels
    except (InputError, OSError):
        return None
    if len(pixels) != 1:
        return None
    small = cv2.resize(pixels[0].astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1.0)
    middle = ((_SIDE - 1) / 2, (_SIDE - 1) / 2)
    polar = cv2.warpPolar(small, (_RADII, _ANGLES), middle, _SIDE / 2 - 1, cv2.WARP_POLAR_LINEAR).T.astype(np.float64)
    weight = np.sqrt(np.arange(_RADII) + 0.5)[:, None]
    centred = (polar - (polar * weight**2).sum() / (weight**2).sum() / _ANGLES) * weight
    length = np.linalg.norm(centred)
    return centred / length if length > 1e-6 else None
