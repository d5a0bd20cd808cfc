"""Where the windows or patches of an image lie and how much each counts where neighbours overlap."""

from __future__ import annotations

import numpy as np


def window_starts(length: int, window: int, overlap: int) -> list[int]:
    """Starts of windows of equal length, evenly spread from one end of ``length`` to the other.

    With ``overlap`` >= 0 they cover ``length`` and neighbours share at least so much; a negative one is the widest gap
    allowed between neighbours (not for :func:`window_ramps`).

    >>> window_starts(10, 4, 1), window_starts(10, 2, -3)
    ([0, 3, 6], [0, 4, 8])
    """
    if length <= window:
        return [0]
    count = int(np.ceil((length - overlap) / (window - overlap)))
    return [int(round(k * (length - window) / (count - 1))) for k in range(count)]


def window_ramps(starts: list[int], window: int) -> list[np.ndarray]:
    """Weights along one axis: linear ramps where neighbours overlap; they sum to one everywhere."""
    ramps = [np.ones(window, np.float32) for _ in starts]
    for k in range(len(starts) - 1):
        shared = starts[k] + window - starts[k + 1]
        rise = (np.arange(shared, dtype=np.float32) + 0.5) / shared
        ramps[k][window - shared :] *= 1 - rise
        ramps[k + 1][:shared] *= rise
    # Evenly spread windows may overlap by more than half of their length: then three meet, and ramps alone exceed one.
    total = np.zeros(starts[-1] + window, np.float32)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + window] += ramp
    return [ramp / total[start : start + window] for start, ramp in zip(starts, ramps, strict=True)]
