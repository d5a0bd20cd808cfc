"""A study of the heart as plots: volume over time, agreement with the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from ..metrics.bootstrap import Interval

# The frame, the grid and the line of a curve are those of every other plot: parts of the same package, used as they are.
from ..report.svg import COLOURS, WIDTH, Frame, grid, line
from .function import HeartFunction
from .scores.challenge import Agreement


def volume_curve(function: HeartFunction, height: int = 300, phase_numbers: Sequence[int] | None = None) -> str:
    """Volume of the cavity, and of the myocardium where there is any, over time, with end-diastole and end-systole marked.

    Over the trigger time in ms where all phases have one, each later than the one before, otherwise over the
    number of the phase. Phases whose volume is unknown have no point.

    Args:
        function: of the heart.
        height: of the picture, its width being :data:`..report.svg.WIDTH`.
        phase_numbers: what the phases are called, ascending; None: from 1 on.

    Returns:
        An ``<svg>`` element that also stands alone; an empty string for fewer than two known volumes.
    """
    curve = function.curve
    known = np.flatnonzero(np.isfinite(curve.cavity_ml))
    if len(known) < 2:
        return ""
    times = curve.trigger_times_ms
    timed = times is not None and bool(np.isfinite(times).all()) and bool((np.diff(times) > 0).all())
    numbers = np.arange(1, len(curve.cavity_ml) + 1) if phase_numbers is None else np.asarray(phase_numbers)
    x = times if timed and times is not None else numbers.astype(np.float64)
    label = "time after the R wave in ms; volume in ml" if timed else "phase; volume in ml"
    series = {"cavity": curve.cavity_ml[known], "wall": curve.myocardium_ml[known]}
    if not (series["wall"] > 0).any():
        del series["wall"]
    highest = max(float(values.max()) for values in series.values())
    frame = Frame(float(x[known[0]]), float(x[known[-1]]), 0.0, 1.12 * highest or 1.0, height - 48)
    lines = "".join(
        line(frame, x[known].tolist(), values.tolist(), name, colour, frame.y(float(values[-1])) + 4)
        for (name, values), colour in zip(series.items(), COLOURS, strict=False)
    )
    marks = "".join(
        _marked(frame, float(x[phase]), float(curve.cavity_ml[phase]), f"{name} {volume:.0f} ml")
        for name, phase, volume in (
            ("ED", function.ed_phase, function.edv_ml),
            ("ES", function.es_phase, function.esv_ml),
        )
        if phase is not None
    )
    return _element(f"{grid(frame)}{lines}{marks}", label, height)


def _marked(frame: Frame, x: float, y: float, text: str) -> str:
    """A ring around a point, with a text above it that stays inside the frame."""
    place, level = frame.x(x), frame.y(y)
    anchor = "start" if x == frame.left else "end" if x == frame.right else "middle"
    return (
        f'<circle class="mark" cx="{place:.1f}" cy="{level:.1f}" r="6" fill="none" stroke="{COLOURS[3]}" '
        f'stroke-width="2"/><text class="median" x="{place:.1f}" y="{level - 10:.1f}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _element(content: str, label: str, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="histogram curves" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" aria-label="{escape(label)}">{content}'
        f'<text x="{WIDTH / 2}" y="{height - 6}" text-anchor="middle">{escape(label)}</text></svg>'
    )


def bland_altman_plot(agreement: Agreement, quantity: str, height: int = 300) -> str:
    """Differences over means, with bias and limits of agreement as lines and their intervals as bands.

    Args:
        agreement: what :func:`.scores.challenge.bland_altman` found.
        quantity: what was measured, with its unit, such as "ejection fraction in percent".
        height: of the picture.

    Returns:
        An ``<svg>`` element that also stands alone.
    """
    means, differences = agreement.means, agreement.differences
    lines = {"bias": agreement.bias, "-1.96 sd": agreement.lower_limit, "+1.96 sd": agreement.upper_limit}
    numbers = [value for interval in lines.values() for value in interval if math.isfinite(value)]
    low, high = min(*numbers, 0.0, float(differences.min())), max(*numbers, 0.0, float(differences.max()))
    left, right = float(means.min()), float(means.max())
    across, along = 0.06 * (high - low) or 1.0, 0.04 * (right - left) or 1.0
    frame = Frame(left - along, right + along, low - across, high + across, height - 48)
    drawn = "".join(
        _level(frame, interval, name, COLOURS[0] if name == "bias" else COLOURS[1]) for name, interval in lines.items()
    )
    dots = "".join(
        f'<circle class="pair" cx="{frame.x(mean):.1f}" cy="{frame.y(difference):.1f}" r="3.5" fill="{COLOURS[2]}" '
        f'fill-opacity="0.8"><title>mean {mean:.4g}, difference {difference:.4g}</title></circle>'
        for mean, difference in zip(means.tolist(), differences.tolist(), strict=True)
    )
    label = f"{quantity}: difference (measured - truth) over mean, n = {len(means)}"
    return _element(f"{grid(frame)}{drawn}{dots}", label, height)


def _level(frame: Frame, interval: Interval, name: str, colour: str) -> str:
    """A line across the frame, its interval as a band, its name and value at the right above it."""
    start, end = frame.x(frame.left), frame.x(frame.right)
    y = frame.y(interval.estimate)
    band = ""
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        top, bottom = frame.y(interval.high), frame.y(interval.low)
        band = (
            f'<rect class="band" x="{start:.1f}" y="{top:.1f}" width="{end - start:.1f}" height="{bottom - top:.1f}" '
            f'fill="{colour}" fill-opacity="0.12"/>'
        )
    return (
        f'{band}<line class="level" x1="{start:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}" stroke="{colour}" '
        f'stroke-width="1.5" stroke-dasharray="6 3"/><text x="{end - 4:.1f}" y="{y - 4:.1f}" text-anchor="end" '
        f'style="fill:{colour}">{escape(name)} {interval.estimate:.2f}</text>'
    )
