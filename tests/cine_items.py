"""A predicted stack as handlers get it, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

PHASES, SLICES, ROWS, COLUMNS = 4, 3, 40, 48
CENTRE = (19, 26)


def discs(phases: int = PHASES, slices: int = SLICES) -> np.ndarray:
    """(phases, slices, rows, columns) uint8: a cavity that is smallest in the third phase, in a ring of myocardium."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    distance = np.hypot(rows - CENTRE[0], columns - CENTRE[1])
    maps = np.zeros((phases, slices, ROWS, COLUMNS), np.uint8)
    for phase in range(phases):
        for part in range(slices):
            radius = 10 - part - 2.5 * min(phase % 4, 4 - phase % 4)
            maps[phase, part] = np.where(distance <= radius, 1, np.where(distance <= radius + 4, 2, 0))
    return maps


def stack_item(phases: int = PHASES, slices: int = SLICES, **values: Any) -> dict[str, Any]:
    """What is known of a stack of pictures after postprocessing; ``values`` replace or add."""
    shape = (phases, slices)
    present = np.asarray(values.get("present", np.ones(shape, bool)))
    maps = np.where(present[:, :, None, None], discs(*shape), 0).astype(np.uint8)
    noise = np.random.default_rng(1).normal(0, 5, maps.shape)
    frames = [
        [f"frame_{phase}_{part}" if present[phase, part] else None for part in range(slices)] for phase in range(phases)
    ]
    return {
        "name": "heart",
        "group": "heart",
        "kind": "pictures",
        "pixels": np.where(present[:, :, None, None], 100 + 60 * (maps == 1) + noise, 0).astype(np.float32),
        "present": present,
        "spacing_mm": (1.5, 1.5),
        "spacing_assumed": False,
        "slice_distance_mm": 8.0,
        "affine": None,
        "paths": [[stem and f"{stem}.png" for stem in row] for row in frames],
        "stems": frames,
        "instances": np.arange(1, phases * slices + 1).reshape(slices, phases).T,
        "phase_numbers": list(range(1, phases + 1)),
        "trigger_times_ms": None,
        "time_step_ms": None,
        "notes": (),
        "seconds_read": 0.25,
        "pred": maps,
        "removed_frames": (),
        "filled_frames": (),
        "seconds_decode": 0.5,
        **values,
    }
