"""A generated cine MR study of the left ventricle with known truth, for demo and tests.

Plausible enough to look at and for a network that was trained on real hearts to understand, no substitute for them.
Everything derives from the seed: the same seed gives the same study. The base stays in its place: unlike real hearts this
one fills the first slice in every phase.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..function import HeartFunction, heart_function, measure_volumes
from ..reading.geometry import base_to_apex
from .dicom import AXIAL
from .scene import Grid, make_chest, paint_slice
from .shape import HeartShape

_TO_APEX, _TO_LATERAL = (0.62, -0.55, -0.56), (0.70, 0.65, 0.0)  # about, of a usual heart (LPS)
_GREY_OF_BLOOD = 380.0
_MIDDLE_MM = (12.0, -38.0, 25.0)  # of the first slice, in the patient


@dataclass(frozen=True, eq=False)
class Phantom:
    """A generated study and its truth.

    Attributes:
        pixels: (phases, slices, rows, columns) float32 grey values, not negative; slices from base to apex.
        truth: (phases, slices, rows, columns) uint8: 0 background, 1 cavity (papillary muscles included), 2 myocardium;
            of pixels whose centres lie inside.
        spacing_mm: between rows, between columns.
        slice_distance_mm: between slice centres.
        orientation: (6,) float64 direction cosines along a row, then along a column (ImageOrientationPatient).
        positions: (slices, 3) float64 centre of the first pixel of each slice in mm (LPS).
        trigger_times_ms: (phases,) float64 since the R peak; the last is that of the next beat.
        function: volumes and ejection fraction of the truth, measured as a result is (sums of discs). End-diastole is
            the last phase, as in the Sunnybrook data.
        shape_ml: (phases,) float64 volume of the cavity's ellipsoid, exactly.
    """

    pixels: np.ndarray
    truth: np.ndarray
    spacing_mm: tuple[float, float]
    slice_distance_mm: float
    orientation: np.ndarray
    positions: np.ndarray
    trigger_times_ms: np.ndarray
    function: HeartFunction
    shape_ml: np.ndarray

    @property
    def phases(self) -> int:
        return self.pixels.shape[0]

    @property
    def slices(self) -> int:
        return self.pixels.shape[1]


def phantom_cine(
    phases: int = 20,
    slices: int = 8,
    size: tuple[int, int] = (192, 192),
    spacing_mm: float = 1.4,
    slice_distance_mm: float = 8.0,
    rotated: bool = False,
    seed: int = 0,
) -> Phantom:
    """Generate a short-axis study.

    Hearts of other seeds have another size, place and ejection fraction (45 to 65 %); the wall is 7.5 to 9.5 mm thick at
    end-diastole.

    Args:
        phases: of the heart beat; end-systole comes after 40 % of it.
        slices: from base to apex; the heart is about as long as the stack.
        size: rows and columns; a frame of less than 15 cm cuts the chest off.
        spacing_mm: between rows and between columns.
        slice_distance_mm: between slice centres.
        rotated: slices across the long axis of a usual heart, at an angle to all axes of the patient; else axial.
        seed: of everything random.

    Raises:
        ValueError: no phase, fewer than 2 slices, or lengths that are not positive.
    """
    if phases < 1 or slices < 2 or min(spacing_mm, slice_distance_mm, *size) <= 0:
        raise ValueError(
            f"{phases} phases of {slices} slices of {size} pixels, {spacing_mm} and {slice_distance_mm} mm apart"
        )
    rng = np.random.default_rng(seed)
    shape, chest, grid = _heart(slices * slice_distance_mm, rng), make_chest(rng), _grid(size, spacing_mm, rng)
    contraction = shape.contraction(phases)
    times = np.arange(1, phases + 1) / phases * rng.uniform(700, 1000)
    pixels = np.empty((phases, slices, *size), np.float32)
    truth = np.zeros(pixels.shape, np.uint8)
    for part in range(slices):
        depth = (part + 0.5) * slice_distance_mm
        sections = [shape.section(depth, slice_distance_mm, float(value)) for value in contraction]
        pixels[:, part] = _GREY_OF_BLOOD * paint_slice(chest, sections, grid, np.random.default_rng([seed, part]))
        for phase, section in enumerate(sections):
            radius = section.radius(grid.x, grid.y)
            truth[phase, part] = np.where(radius < section.inner, 1, np.where(radius < section.outer, 2, 0))
    curve = measure_volumes(truth, (spacing_mm, spacing_mm), slice_distance_mm, None, times)
    orientation = np.array(_short_axis() if rotated else AXIAL)
    return Phantom(
        pixels=pixels,
        truth=truth,
        spacing_mm=(spacing_mm, spacing_mm),
        slice_distance_mm=slice_distance_mm,
        orientation=orientation,
        positions=_positions(orientation, slices, slice_distance_mm, size, spacing_mm),
        trigger_times_ms=times,
        function=heart_function(curve),
        shape_ml=shape.volume(contraction),
    )


def _heart(length: float, rng: np.random.Generator) -> HeartShape:
    return HeartShape(
        # So that the last slice still shows the cavity, in every phase.
        length=1.08 * length,
        radius=rng.uniform(23, 28),
        wall=rng.uniform(7.5, 9.5),
        ejection_fraction=rng.uniform(0.45, 0.65),
        lean=(rng.uniform(-6, 6), rng.uniform(-6, 6)),
        turn=rng.uniform(0, np.pi),
    )


def _grid(size: tuple[int, int], spacing_mm: float, rng: np.random.Generator) -> Grid:
    """Pixels in the scene's coordinates: the heart lies a little off the image's middle, the patient a little turned."""
    y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * spacing_mm for n in size), indexing="ij")
    x, y, turn = x - rng.uniform(-10, 10), y - rng.uniform(-15, 5), rng.uniform(-0.15, 0.15)
    cosine, sine = np.cos(turn), np.sin(turn)
    return Grid((cosine * x + sine * y).astype(np.float32), (cosine * y - sine * x).astype(np.float32), spacing_mm)


def _short_axis() -> tuple[float, ...]:
    """The orientation of slices across a usual heart, seen from its apex as radiologists do."""
    normal, along_row = -np.array(_TO_APEX), np.array(_TO_LATERAL)
    normal /= np.linalg.norm(normal)
    along_row -= (along_row @ normal) * normal
    along_row /= np.linalg.norm(along_row)
    return (*along_row.tolist(), *np.cross(normal, along_row).tolist())


def _positions(
    orientation: np.ndarray, slices: int, distance_mm: float, size: tuple[int, int], spacing_mm: float
) -> np.ndarray:
    """(slices, 3) centre of the first pixel of each slice, the image's middle being at :data:`_MIDDLE_MM` in the first."""
    along_row, along_column = orientation.reshape(2, 3)
    corner = -(size[1] - 1) / 2 * spacing_mm * along_row - (size[0] - 1) / 2 * spacing_mm * along_column
    return _MIDDLE_MM + corner + np.arange(slices)[:, None] * distance_mm * base_to_apex(orientation)
