"""Classes against the truth as pictures: confusion matrix and reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

# The frame and the grid are those of every other plot.
from .svg import COLOURS, WIDTH, Frame, grid

_CELL, _LEFT, _TOP = 84, 150, 44


def confusion_plot(matrix: np.ndarray, class_names: Sequence[str], unit: str = "images") -> str:
    """Confusion matrix with counts and shares of the true class; what is right is green, what is wrong orange.

    Args:
        matrix: (classes, classes + 1) counts: true class, predicted class; the last column (no class) is drawn where it
            holds any.
        class_names: in the order of the classes.
        unit: what is counted, in the plural.

    Returns:
        An ``<svg>`` element that also stands alone.

    Raises:
        ValueError: another number of names than of classes.
    """
    matrix = np.asarray(matrix)
    classes = len(class_names)
    if matrix.shape != (classes, classes + 1):
        raise ValueError(f"a matrix of {matrix.shape} for {classes} names")
    columns = [*class_names, "no class"] if matrix[:, -1].any() else list(class_names)
    cells = "".join(
        _cell(row, column, int(matrix[row, column]), int(matrix[row].sum()), f"{class_names[row]} as {name}")
        for row in range(classes)
        for column, name in enumerate(columns)
    )
    heads = "".join(
        f'<text x="{_LEFT + (column + 0.5) * _CELL:.1f}" y="{_TOP - 8}" text-anchor="middle">{escape(name)}</text>'
        for column, name in enumerate(columns)
    )
    sides = "".join(
        f'<text x="{_LEFT - 10}" y="{_TOP + (row + 0.5) * _CELL + 4:.1f}" text-anchor="end">{escape(name)} '
        f"({int(matrix[row].sum())})</text>"
        for row, name in enumerate(class_names)
    )
    height = _TOP + classes * _CELL + 30
    label = f"{unit}: true class (rows) against predicted class (columns), n = {int(matrix.sum())}"
    return _element(heads + sides + cells, label, max(WIDTH, _LEFT + len(columns) * _CELL + 10), height)


def _cell(row: int, column: int, count: int, total: int, title: str) -> str:
    share = count / total if total else 0.0
    x, y = _LEFT + column * _CELL, _TOP + row * _CELL
    colour = COLOURS[0] if row == column else COLOURS[1]
    middle = x + _CELL / 2
    percent = f'<text x="{middle:.1f}" y="{y + _CELL / 2 + 16:.1f}" text-anchor="middle">{100 * share:.0f} %</text>'
    return (
        f'<g class="confusion"><rect x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" height="{_CELL - 2}" fill="{colour}" '
        f'fill-opacity="{0.06 + 0.64 * share:.3f}"><title>{escape(title)}: {count} of {total}</title></rect>'
        f'<text x="{middle:.1f}" y="{y + _CELL / 2:.1f}" text-anchor="middle" font-size="18">{count}</text>'
        f"{percent if total else ''}</g>"
    )


def reliability_plot(
    counts: Sequence[float],
    confidence: Sequence[float | None],
    accuracy: Sequence[float | None],
    error: float | None,
    height: int = 340,
) -> str:
    """Accuracy over confidence in bins, the diagonal being perfect calibration; larger dots stand for more images.

    Args:
        counts: images in each bin, bins of equal width from 0 to 1.
        confidence: their mean confidence; None in an empty bin.
        accuracy: the share of them that is right; None in an empty bin.
        error: expected calibration error, for the caption; None for none.
        height: of the picture, its width being :data:`.svg.WIDTH`.

    Returns:
        An ``<svg>`` element that also stands alone; "" where every bin is empty.
    """
    if not any(counts):
        return ""
    frame = Frame(0.0, 1.0, 0.0, 1.0, height - 48)
    diagonal = (
        f'<line class="median" x1="{frame.x(0):.1f}" y1="{frame.y(0):.1f}" x2="{frame.x(1):.1f}" '
        f'y2="{frame.y(1):.1f}" stroke="#888" stroke-dasharray="4 3"/>'
    )
    points = [
        (mean, right, count)
        for mean, right, count in zip(confidence, accuracy, counts, strict=True)
        if mean is not None and right is not None
    ]
    gaps = "".join(
        f'<line x1="{frame.x(mean):.1f}" y1="{frame.y(mean):.1f}" x2="{frame.x(mean):.1f}" y2="{frame.y(right):.1f}" '
        f'stroke="{COLOURS[1]}" stroke-width="2" stroke-opacity="0.6"/>'
        for mean, right, _ in points
    )
    largest = max(counts)
    dots = "".join(
        f'<circle class="bin" cx="{frame.x(mean):.1f}" cy="{frame.y(right):.1f}" r="{3 + 9 * (n / largest) ** 0.5:.1f}" '
        f'fill="{COLOURS[0]}" fill-opacity="0.75"><title>confidence {mean:.3f}, accuracy {right:.3f}, {n:g} images'
        "</title></circle>"
        for mean, right, n in points
    )
    caption = "" if error is None else f"; calibration error {error:.3f}"
    label = f"accuracy over confidence of the predicted class, n = {sum(counts):g}{caption}"
    return _element(f"{grid(frame)}{diagonal}{gaps}{dots}", label, WIDTH, height)


def _element(content: str, label: str, width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="histogram curves" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" aria-label="{escape(label)}">{content}'
        f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">{escape(label)}</text></svg>'
    )
