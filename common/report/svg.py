"""Small pictures of numbers as inline SVG; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 640, 190
LEFT, BASE = 8, 150


def histogram(values: Sequence[float] | np.ndarray, label: str, bins: int = 40) -> str:
    """Histogram with the median marked.

    The axis ends at the 99.5 % percentile, so that a few huge objects do not squeeze the rest; what lies beyond is
    counted in the caption.

    Args:
        values: any number of finite values; others are left out.
        label: of the axis, with the unit.
        bins: number of bars.

    Returns:
        An ``<svg>`` element; an empty string without values.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return ""
    low, high = min(0.0, float(numbers.min())), float(np.percentile(numbers, 99.5))
    high = high if high > low else low + 1.0
    counts, edges = np.histogram(numbers[numbers <= high], bins=bins, range=(low, high))
    step = (WIDTH - 2 * LEFT) / bins
    bars = "".join(
        _bar(LEFT + index * step, step, BASE * count / counts.max() * 0.88, f"{start:.4g} to {end:.4g}: {count}")
        for index, (count, start, end) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True))
        if count
    )
    median = float(np.median(numbers))
    beyond = int((numbers > high).sum())
    caption = f"{label} (n = {numbers.size:,}" + (f", {beyond:,} beyond the axis)" if beyond else ")")
    return (
        f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(caption)}">'
        f"{bars}{_axis(low, high)}{_marker(median, low, high)}"
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">{escape(caption)}</text></svg>'
    )


def _bar(x: float, width: float, height: float, title: str) -> str:
    gap = 1.5
    return (
        f'<rect class="bar" x="{x + gap / 2:.1f}" y="{BASE - height:.1f}" width="{width - gap:.1f}" '
        f'height="{max(height, 0.8):.1f}" rx="1"><title>{escape(title)}</title></rect>'
    )


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from low to high.

    >>> ticks(0, 43)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _place(value: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - 2 * LEFT) * (value - low) / (high - low)


def _axis(low: float, high: float) -> str:
    marks = "".join(
        f'<line class="axis" x1="{x:.1f}" y1="{BASE}" x2="{x:.1f}" y2="{BASE + 5}"/>'
        f'<text x="{min(max(x, 12), WIDTH - 16):.1f}" y="{BASE + 18}" text-anchor="middle">{value:g}</text>'
        for value in ticks(low, high)
        for x in [_place(value, low, high)]
    )
    return f'<line class="axis" x1="{LEFT}" y1="{BASE}" x2="{WIDTH - LEFT}" y2="{BASE}"/>{marks}'


def _marker(median: float, low: float, high: float) -> str:
    x = _place(min(median, high), low, high)
    anchor, shift = ("start", 5) if x < WIDTH * 0.8 else ("end", -5)
    return (
        f'<line class="median" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{BASE}"/>'
        f'<text class="median" x="{x + shift:.1f}" y="13" text-anchor="{anchor}">median {median:.4g}</text>'
    )
