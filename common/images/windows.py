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


def fitting_window(length: int, largest: int, overlap: int, step: float = 1.0) -> int:
    """The shortest window with which as many windows as of the ``largest`` still cover ``length``.

    Windows of a fixed size share much more than they need to on most images: three of 512 pixels cover 1,000 of which
    1,192 would do.

    Args:
        length: what is to be covered.
        largest: longest window allowed.
        overlap: what neighbours share at least, 0 or more, less than ``largest``.
        step: windows shorter than the largest are multiples of this, rounded down to whole pixels.

    >>> fitting_window(1000, 512, 96, 32), fitting_window(300, 512, 96, 32)
    (416, 300)
    """
    if length <= largest:
        return length
    count = int(np.ceil((length - overlap) / (largest - overlap)))
    needed = max(-(-(length + (count - 1) * overlap) // count), 2 * overlap + 2)  # else three would meet
    return min(largest, int(step * np.ceil(needed / step - 1e-9) + 1e-6))


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
