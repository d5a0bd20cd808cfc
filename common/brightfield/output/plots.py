"""Shape over time as inline SVG, with a gap where a frame has no object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from ...report.svg import COLOURS, WIDTH, Frame, grid

_MARGIN, _LETTER = 44, 7  # px: of the frame at both sides, as in svg.py; of a letter of the legend
_DOTS = 120  # points up to which each has a dot
_MOST_LINES = 6


def time_curves(x: Sequence[float], series: Mapping[str, Sequence[float | None]], label: str, height: int = 240) -> str:
    """Several curves over time, named above; a line stops where a value is missing and goes on after it.

    Of more than six the longest are drawn.

    Args:
        x: ascending numbers.
        series: values by name, as many as ``x``; None or nan where there is none.
        label: below the axis, with units.
        height: of the picture.

    Returns:
        An ``<svg>`` element that also stands alone; an empty string for fewer than two places or without any value.
    """
    lines = {
        name: np.array([np.nan if v is None else v for v in values], np.float64) for name, values in series.items()
    }
    lines = {name: values for name, values in lines.items() if np.isfinite(values).any()}
    if len(x) < 2 or not lines:
        return ""
    longest = sorted(lines, key=lambda name: -int(np.isfinite(lines[name]).sum()))[:_MOST_LINES]
    lines = {name: values for name, values in lines.items() if name in longest}
    known = np.concatenate([values[np.isfinite(values)] for values in lines.values()])
    low, high = float(known.min()), float(known.max())
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    frame = Frame(float(x[0]), float(x[-1]), low - pad, high + pad, height - 48)
    drawn, place = "", float(_MARGIN)
    for index, (name, values) in enumerate(lines.items()):
        drawn += _line(frame, np.asarray(x, np.float64), values, name, COLOURS[index % len(COLOURS)], place)
        place += _LETTER * len(name) + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="histogram curves" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" aria-label="{escape(label)}">{grid(frame)}{drawn}'
        f'<text x="{WIDTH / 2}" y="{height - 6}" text-anchor="middle">{escape(label)}</text></svg>'
    )


def _line(frame: Frame, x: np.ndarray, values: np.ndarray, name: str, colour: str, text_x: float) -> str:
    known = np.isfinite(values)
    starts = np.flatnonzero(known & ~np.concatenate([[False], known[:-1]]))
    stops = np.flatnonzero(known & ~np.concatenate([known[1:], [False]])) + 1
    parts = []
    for start, stop in zip(starts, stops, strict=True):
        points = " ".join(f"{frame.x(x[i]):.1f},{frame.y(values[i]):.1f}" for i in range(start, stop))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    alone = set(starts[stops - starts == 1].tolist())
    dotted = np.flatnonzero(known) if known.sum() <= _DOTS else sorted(alone)
    parts += [
        f'<circle cx="{frame.x(x[i]):.1f}" cy="{frame.y(values[i]):.1f}" r="2.2" fill="{colour}">'
        f"<title>{escape(name)} at {x[i]:g}: {values[i]:.4g}</title></circle>"
        for i in dotted
    ]
    text = (
        f'<rect x="{text_x:.0f}" y="3" width="10" height="3" fill="{colour}"/>'
        f'<text x="{text_x + 14:.0f}" y="9" style="fill:{colour}">{escape(name)}</text>'
    )
    return "".join(parts) + text
