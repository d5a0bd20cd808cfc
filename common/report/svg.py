"""Small pictures of numbers as inline SVG; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

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


COLOURS = ("#0f8a7e", "#d97706", "#7c6ee6", "#d6457a")
"""Of lines: told apart on a light and on a dark page, also without red and green."""

_MARGIN, _TOP = 44, 14


def curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    label: str,
    marked: float | None = None,
    height: int = 300,
) -> str:
    """Several curves over one axis, named at the right of the picture.

    The element carries its own colours and name space, so that it also stands alone as an ``.svg`` file.

    Args:
        x: at least two ascending numbers.
        series: values by name, as many as ``x``; all finite.
        label: of the horizontal axis, with the unit.
        marked: place on the axis to be marked by a line.
        height: of the picture, its width being :data:`WIDTH`.

    Returns:
        An ``<svg>`` element.

    Raises:
        ValueError: fewer than two places, no series, or one of another length.
    """
    if len(x) < 2 or not series or any(len(values) != len(x) for values in series.values()):
        raise ValueError(f"curves need two places at least and a value for each: {len(x)} places")
    numbers = np.concatenate([np.asarray(values, dtype=np.float64) for values in series.values()])
    low, high = float(numbers.min()), float(numbers.max())
    pad = 0.06 * (high - low) or 0.05
    frame = Frame(float(x[0]), float(x[-1]), low - pad, high + pad, height - 48)
    # Names that would overlap are pushed apart, from the highest curve to the lowest.
    order = sorted(series, key=lambda name: frame.y(series[name][-1]))
    places: list[float] = []
    for name in order:
        places.append(max(frame.y(series[name][-1]) + 4, places[-1] + 14 if places else 0))
    beside = dict(zip(order, places, strict=True))
    lines = "".join(
        line(frame, x, values, name, COLOURS[index % len(COLOURS)], beside[name])
        for index, (name, values) in enumerate(series.items())
    )
    mark = "" if marked is None else _mark(frame, marked)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="histogram curves" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" aria-label="{escape(label)}">{grid(frame)}{lines}{mark}'
        f'<text x="{WIDTH / 2}" y="{height - 6}" text-anchor="middle">{escape(label)}</text></svg>'
    )


class Frame(NamedTuple):
    """Ranges of both axes and the line on which the horizontal one lies."""

    left: float
    right: float
    low: float
    high: float
    base: float

    def x(self, value: float) -> float:
        return _MARGIN + (WIDTH - 2 * _MARGIN) * (value - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        return self.base - (self.base - _TOP) * (value - self.low) / (self.high - self.low)


def grid(frame: Frame) -> str:
    end = WIDTH - _MARGIN
    across = "".join(
        f'<line class="axis" x1="{_MARGIN}" y1="{y:.1f}" x2="{end}" y2="{y:.1f}" stroke="#8886" stroke-width="0.5"/>'
        f'<text x="{_MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value in ticks(frame.low, frame.high)
        for y in [frame.y(value)]
    )
    along = "".join(
        f'<line class="axis" x1="{x:.1f}" y1="{frame.base}" x2="{x:.1f}" y2="{frame.base + 5}" stroke="#888"/>'
        f'<text x="{x:.1f}" y="{frame.base + 18}" text-anchor="middle">{value:g}</text>'
        for value in ticks(frame.left, frame.right)
        for x in [frame.x(value)]
    )
    axis = f'<line class="axis" x1="{_MARGIN}" y1="{frame.base}" x2="{end}" y2="{frame.base}" stroke="#888"/>'
    return f"{across}{along}{axis}"


def line(frame: Frame, x: Sequence[float], values: Sequence[float], name: str, colour: str, text_y: float) -> str:
    points = " ".join(f"{frame.x(place):.1f},{frame.y(value):.1f}" for place, value in zip(x, values, strict=True))
    dots = "".join(
        f'<circle cx="{frame.x(place):.1f}" cy="{frame.y(value):.1f}" r="2.5" fill="{colour}">'
        f"<title>{escape(name)} at {place:g}: {value:.4f}</title></circle>"
        for place, value in zip(x, values, strict=True)
    )
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'
        f'<text x="{WIDTH - _MARGIN + 6}" y="{text_y:.1f}" style="fill:{colour}">{escape(name)}</text>'
    )


def _mark(frame: Frame, value: float) -> str:
    x = frame.x(value)
    return (
        f'<line class="median" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{frame.base}" stroke="#888" '
        f'stroke-dasharray="4 3"/><text class="median" x="{x:.1f}" y="11" text-anchor="middle">{value:g}</text>'
    )
