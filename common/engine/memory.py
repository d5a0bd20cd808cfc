"""How much of what is read ahead, or waits for being written, may lie in memory at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

HELD_BYTES = 1 << 30
"""Items in waiting share this much at most, unless a single one is larger: four small slides, or hundreds of pictures."""


def bytes_of(item: Any) -> int:
    """Bytes of all arrays and tensors in an item: a mapping, a list of items, an array.

    >>> bytes_of({"image": np.zeros((3, 4), np.float32), "more": [np.zeros(2, np.uint8)], "name": "a"})
    50
    """
    if isinstance(item, (np.ndarray, torch.Tensor)):
        return int(item.nbytes)
    if isinstance(item, Mapping):
        return sum(bytes_of(value) for value in item.values())
    return sum(bytes_of(value) for value in item) if isinstance(item, (list, tuple)) else 0
