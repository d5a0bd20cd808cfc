"""The shape of a generated left ventricle over the heart beat: two nested ellipsoids cut off at the base.

Lengths in mm, depth z counted from the base to the apex. The cavity's volume follows a curve of ejection, early filling and
atrial kick. The outer ellipsoid's apex stays in place and the muscle keeps its volume (it is hardly compressible), so
that the wall thickens while the cavity empties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_EQUATOR = 0.25  # where both are widest, in parts of the cavity's length
_SYSTOLE = 0.4  # part of the heart beat
_EARLY = (0.0, 0.45, 0.75)  # of diastole: begin and end of the early filling, and its part of the stroke volume
_LATE = (0.65, 1.0, 0.25)  # the atrial kick likewise
_APICAL_WALL = 0.8  # thickness at the apex in parts of that at the equator
_OVAL = 1.04  # longer half axis in the slice, in parts of the radius of a circle of the same area


class Section(NamedTuple):
    """A slice through the heart: two ovals about one centre.

    Attributes:
        centre: x, y.
        inner, outer: radius of circles of the area of the cavity and of all that the epicardium encloses; 0 for none.
        full_area: of the cavity at end-diastole, mm2.
        turn: of the longer axis against x, radians.
        inner_blur, outer_blur: half the radius' change from one face of the slice to the other, for partial volume.
        depth: of the slice, in parts of the outer ellipsoid's length.
        contraction: 0 at end-diastole, 1 at end-systole.
    """

    centre: tuple[float, float]
    inner: float
    outer: float
    full_area: float
    turn: float
    inner_blur: float
    outer_blur: float
    depth: float
    contraction: float

    def radius(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of the oval through each point, as that of a circle of its area; shape of ``x`` and ``y`` together."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        across, down = x - self.centre[0], y - self.centre[1]
        return np.hypot((cosine * across + sine * down) / _OVAL, (cosine * down - sine * across) * _OVAL)


@dataclass(frozen=True)
class HeartShape:
    """A left ventricle.

    Attributes:
        length: of the cavity at end-diastole, from base to apex.
        radius: of the cavity's equator at end-diastole.
        wall: thickness there.
        ejection_fraction: part of the end-diastolic volume.
        shortening: part of the cavity's length that is gone at end-systole.
        lean: x, y by which the apex lies off the base.
        turn: of the oval, radians.
    """

    length: float
    radius: float
    wall: float
    ejection_fraction: float
    shortening: float = 0.04
    lean: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0

    @property
    def outer_length(self) -> float:
        """Of what the epicardium encloses, in every phase."""
        return self.length + _APICAL_WALL * self.wall

    @property
    def muscle(self) -> float:
        """Volume of the muscle in mm3, in every phase."""
        outer = (self.radius + self.wall) ** 2 * _disc_sum(self.outer_length, self._equator)
        return np.pi * (outer - self.radius**2 * _disc_sum(self.length, self._equator))

    def contraction(self, phases: int) -> np.ndarray:
        """0 at end-diastole to 1 at end-systole: (phases,) float64, the last phase being end-diastole."""
        systole = max(1, round(_SYSTOLE * phases))
        since = np.arange(1, phases + 1) % phases
        diastole = (since - systole) / max(1, phases - systole)
        filled = sum(part * _eased((diastole - begin) / (end - begin)) for begin, end, part in (_EARLY, _LATE))
        return np.where(since <= systole, _eased(since / systole), 1 - filled)

    def volume(self, contraction: np.ndarray) -> np.ndarray:
        """Of the cavity, in ml."""
        largest = np.pi * self.radius**2 * _disc_sum(self.length, self._equator) / 1000
        return largest * (1 - self.ejection_fraction * contraction)

    def section(self, depth: float, thickness: float, contraction: float) -> Section:
        """The heart in a slice about a depth."""
        length = self.length * (1 - self.shortening * contraction)
        cavity = float(self.volume(np.asarray(contraction))) * 1000
        inner = np.sqrt(cavity / np.pi / _disc_sum(length, self._equator))
        outer = np.sqrt((self.muscle + cavity) / np.pi / _disc_sum(self.outer_length, self._equator))
        faces = [max(0.0, depth + side * thickness / 2) for side in (-1, 0, 1)]
        (inner_top, inner_here, inner_end), (outer_top, outer_here, outer_end) = (
            [float(radius) * _profile(z, whole, self._equator) for z in faces]
            for radius, whole in ((inner, length), (outer, self.outer_length))
        )
        along = depth / self.outer_length - 0.5
        return Section(
            centre=(self.lean[0] * along, self.lean[1] * along),
            inner=inner_here,
            outer=outer_here,
            full_area=np.pi * (self.radius * _profile(depth, self.length, self._equator)) ** 2,
            turn=self.turn,
            inner_blur=abs(inner_top - inner_end) / 2,
            outer_blur=abs(outer_top - outer_end) / 2,
            depth=depth / self.outer_length,
            contraction=contraction,
        )

    @property
    def _equator(self) -> float:
        return _EQUATOR * self.length


def _profile(depth: float, length: float, equator: float) -> float:
    """Radius at a depth in parts of that at the equator."""
    return float(np.sqrt(max(0.0, 1 - ((depth - equator) / (length - equator)) ** 2)))


def _disc_sum(length: float, equator: float) -> float:
    """Integral over the depth of the squared :func:`_profile`, in mm."""
    half = length - equator
    return length - (half**3 + equator**3) / (3 * half**2)


def _eased(part: np.ndarray) -> np.ndarray:
    """0 to 1 without a bend at the ends; 0 before and 1 after."""
    return (1 - np.cos(np.pi * np.clip(part, 0, 1))) / 2
