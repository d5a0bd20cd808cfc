"""Stacks of generated hearts as items of an evaluation, with truth and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np

SHAPE = (48, 64)
SPACING = (1.5, 1.25)


def ring(cavity: float = 9, wall: float = 5, x: float = 30, y: float = 22) -> np.ndarray:
    """(rows, columns) classes of one slice of a heart."""
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    distance = np.hypot(columns - x, rows - y)
    return np.where(distance <= cavity, 1, np.where(distance <= cavity + wall, 2, 0)).astype(np.uint8)


def stack(name: str = "ann", slices: int = 4, **changes: Any) -> dict[str, Any]:
    """Three phases (end-diastole second, end-systole third), the myocardium drawn at end-diastole, a perfect prediction."""
    truth = np.stack([np.stack([ring(11 - 2 * p - 0.5 * s) for s in range(slices)]) for p in range(3)])
    drawn, known = np.ones((2, 3, slices), bool)
    drawn[0], known[[0, 2]] = False, False
    item = {
        "name": name,
        "group": name,
        "truth": np.where((truth == 2) & ~known[..., None, None], 0, truth),
        "pred": truth.copy(),
        "drawn": drawn,
        "myocardium_known": known,
        "present": np.ones((3, slices), bool),
        "spacing_mm": SPACING,
        "slice_distance_mm": 8.0,
        "ed_phase": 1,
        "es_phase": 2,
        "phase_numbers": [1, 20, 9],
        "stems": [[f"{name}-{p}-{s}" for s in range(slices)] for p in range(3)],
    }
    return {**item, **changes}


def shifted(maps: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
    return np.roll(maps, (down, right), axis=(-2, -1))


def worse(name: str, seed: int) -> dict[str, Any]:
    """A stack whose prediction is shifted, and misses one frame."""
    rng = np.random.default_rng(seed)
    item = stack(name, slices=3 + seed % 3)
    item["pred"] = shifted(item["pred"], int(rng.integers(-2, 3)), int(rng.integers(-2, 3)))
    item["pred"][2, int(rng.integers(3))] = 0
    return item
