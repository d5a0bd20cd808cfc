"""Volumes are those of the solids that were drawn; phases are found whatever is missing or spoilt."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from common.cine import function
from common.cine.function import (
    FEWEST_PHASES,
    VolumeCurve,
    heart_function,
    implausible_phases,
    measure_volumes,
    volumes_of_areas,
)

SPACING = (1.0, 1.25)


def ellipsoid(
    half_axes_mm: tuple[float, float, float], distance_mm: float, slices: int, wall_mm: float = 0
) -> np.ndarray:
    """(slices, rows, columns) uint8: an ellipsoid (slice, row, column half axes) cut at its centre planes."""
    size = 120
    levels = (np.arange(slices) - (slices - 1) / 2) * distance_mm
    rows, columns = ((np.arange(size) - (size - 1) / 2) * step for step in SPACING)
    z, y, x = np.meshgrid(levels, rows, columns, indexing="ij")

    def inside(wall: float) -> np.ndarray:
        a, b, c = (axis + wall for axis in half_axes_mm)
        return (z / a) ** 2 + (y / b) ** 2 + (x / c) ** 2 <= 1

    return np.where(inside(0), 1, np.where(inside(wall_mm), 2, 0)).astype(np.uint8)


def ellipsoid_ml(a: float, b: float, c: float) -> float:
    return 4 / 3 * np.pi * a * b * c / 1000


def curve_of(volumes: list[float], **changes: object) -> VolumeCurve:
    values = np.array(volumes, float)
    return VolumeCurve(values, values / 2, np.full(len(values), 9), **changes)  # type: ignore[arg-type]


TWENTY = [120 - 35 * (1 - np.cos(2 * np.pi * (phase - 19) / 20)) for phase in range(20)]  # diastole last, systole at 9


def test_examples_in_the_docstrings_run() -> None:
    result = doctest.testmod(function)
    assert result.attempted > 1
    assert result.failed == 0


@pytest.mark.parametrize("distance_mm", [4.0, 8.0, 10.0])
def test_the_volume_of_an_ellipsoid_is_found(distance_mm: float) -> None:
    solid = ellipsoid((45, 24, 27), distance_mm, slices=int(140 / distance_mm), wall_mm=8)
    curve = measure_volumes(solid[None], SPACING, distance_mm)
    inner, outer = ellipsoid_ml(45, 24, 27), ellipsoid_ml(53, 32, 35)
    assert curve.cavity_ml[0] == pytest.approx(inner, rel=0.02)
    assert curve.myocardium_ml[0] == pytest.approx(outer - inner, rel=0.03)


def test_function_of_a_contracting_ellipsoid() -> None:
    relaxed, squeezed = ellipsoid((45, 25, 25), 8, 15, wall_mm=9), ellipsoid((40, 18, 18), 8, 15, wall_mm=13)
    found = heart_function(measure_volumes(np.stack([squeezed, relaxed]), SPACING, 8, trigger_times_ms=[310.0, 20.0]))
    edv, esv = ellipsoid_ml(45, 25, 25), ellipsoid_ml(40, 18, 18)
    assert (found.ed_phase, found.es_phase) == (1, 0)
    assert (found.ed_time_ms, found.es_time_ms) == (20.0, 310.0)
    assert found.ejection_fraction_percent == pytest.approx(100 * (edv - esv) / edv, abs=1.0)
    assert found.stroke_volume_ml == found.edv_ml - found.esv_ml  # type: ignore[operator]
    assert found.mass_g == pytest.approx(1.05 * (ellipsoid_ml(54, 34, 34) - edv), rel=0.03)
    assert found.ed_slices > found.es_slices  # type: ignore[operator]


def test_the_distance_between_slices_counts_and_doubles_the_volume(rng: np.random.Generator) -> None:
    maps = rng.integers(0, 3, (2, 3, 8, 9))
    near, far = (measure_volumes(maps, SPACING, distance) for distance in (5.0, 10.0))
    assert np.allclose(2 * near.cavity_ml, far.cavity_ml)
    assert np.allclose(2 * near.myocardium_ml, far.myocardium_ml)


def test_the_ejection_fraction_does_not_depend_on_the_units(rng: np.random.Generator) -> None:
    maps = rng.integers(0, 3, (4, 3, 8, 9))
    one, other = (heart_function(measure_volumes(maps, spacing, 7.0)) for spacing in ((1.0, 1.0), (2.0, 0.7)))
    assert one.ejection_fraction_percent == pytest.approx(other.ejection_fraction_percent)


def test_end_diastole_is_largest_and_end_systole_smallest_wherever_the_cycle_begins() -> None:
    for shift in range(20):
        found = heart_function(curve_of(list(np.roll(TWENTY, shift))))
        assert found.ed_phase == (19 + shift) % 20
        assert found.es_phase == (9 + shift) % 20
        assert (found.edv_ml, found.esv_ml) == pytest.approx((120, 50))


@pytest.mark.parametrize("phase", [0, 4, 9, 10, 19])
@pytest.mark.parametrize("volume", [0.0, 260.0])
def test_a_phase_in_which_the_segmentation_failed_is_not_taken(phase: int, volume: float) -> None:
    spoilt = list(TWENTY)
    spoilt[phase] = volume
    found = heart_function(curve_of(spoilt))
    assert found.implausible_phases == (phase,)
    assert found.edv_ml == pytest.approx(120, rel=0.05)
    assert found.esv_ml == pytest.approx(50, rel=0.05)
    assert any("implausible" in note and str(phase + 1) in note for note in found.notes)


@pytest.mark.parametrize("phases", range(FEWEST_PHASES, 40))
@pytest.mark.parametrize("ejected", [0.2, 0.5, 0.75])
def test_no_phase_of_a_fast_beating_heart_is_implausible(phases: int, ejected: float) -> None:
    time = np.arange(phases) / phases
    systole, filling = 0.35, 0.3  # as parts of the cycle; the rest is rest
    squeeze = np.where(
        time < systole,
        0.5 - 0.5 * np.cos(np.pi * time / systole),
        0.5 + 0.5 * np.cos(np.pi * (time - systole) / filling),
    )
    squeeze[time > systole + filling] = 0
    for shift in range(phases):
        assert implausible_phases(np.roll(130 * (1 - ejected * squeeze), shift)) == ()


def test_two_phases_suffice_for_an_ejection_fraction() -> None:
    found = heart_function(curve_of([50.0, 125.0]))
    assert found.ejection_fraction_percent == pytest.approx(60)
    assert any("2 phases only" in note for note in found.notes)


def test_one_phase_has_no_ejection_fraction_and_says_so() -> None:
    found = heart_function(curve_of([80.0]))
    assert found.edv_ml == 80
    assert found.esv_ml is found.ejection_fraction_percent is found.stroke_volume_ml is found.es_phase is None
    assert found.mass_g == pytest.approx(42)
    assert any("no ejection fraction" in note for note in found.notes)


def test_no_heart_gives_no_numbers() -> None:
    found = heart_function(measure_volumes(np.zeros((3, 2, 4, 4), np.uint8), SPACING, 8.0))
    assert found.edv_ml is found.mass_g is found.ed_phase is None
    assert found.notes == ("no left ventricle was found",)


def test_without_myocardium_there_is_no_mass() -> None:
    found = heart_function(measure_volumes(np.ones((2, 2, 4, 4), np.uint8), SPACING, 8.0))
    assert found.mass_g is None
    assert any("no mass" in note for note in found.notes)


def test_given_phases_are_taken() -> None:
    found = heart_function(curve_of(TWENTY), ed_phase=0, es_phase=7)
    assert (found.edv_ml, found.esv_ml) == (TWENTY[0], TWENTY[7])
    with pytest.raises(ValueError, match="phase index 20"):
        heart_function(curve_of(TWENTY), ed_phase=20)


def test_frames_of_two_phases_alone_equal_a_stack_of_two_phases(rng: np.random.Generator) -> None:
    maps = rng.integers(0, 3, (20, 4, 6, 7))
    present = np.zeros((20, 4), bool)
    present[[6, 19]] = True
    sparse, dense = measure_volumes(maps, SPACING, 8, present), measure_volumes(maps[[6, 19]], SPACING, 8)
    assert np.array_equal(sparse.cavity_ml[[6, 19]], dense.cavity_ml)
    assert np.isnan(np.delete(sparse.cavity_ml, [6, 19])).all()
    one, two = heart_function(sparse), heart_function(dense)
    assert one.ejection_fraction_percent == two.ejection_fraction_percent
    assert {one.ed_phase, one.es_phase} == {6, 19}


def test_a_missing_frame_between_slices_is_interpolated_and_named() -> None:
    areas = np.array([[10.0, 20, 30, 40], [5, 10, 15, 20]])
    present = np.ones((2, 4), bool)
    present[0, 1] = False
    curve = volumes_of_areas(np.where(present, areas, 1e9), areas, 10.0, present)
    assert curve.cavity_ml == pytest.approx([1.0, 0.5])
    assert curve.estimated_frames == ((0, 1),)
    assert any("1/2" in note for note in heart_function(curve).notes)


def test_a_missing_frame_at_an_end_is_interpolated_in_time_or_unknown() -> None:
    areas = np.array([[10.0, 20, 0], [8, 16, 0], [6, 12, 0], [8, 16, 0]])
    present = np.ones((4, 3), bool)
    present[1, 0] = present[2, 2] = False
    assert volumes_of_areas(areas, areas, 1000.0, present).cavity_ml == pytest.approx([30, 24, 18, 24])
    present[2, 0] = False  # now the phases beside it are missing too
    curve = volumes_of_areas(areas, areas, 1000.0, present)
    assert np.isfinite(curve.cavity_ml).tolist() == [True, False, False, True]
    assert heart_function(curve).es_phase == 3


def test_slices_that_exist_in_no_phase_do_not_make_the_rest_unknown() -> None:
    areas = np.array([[10.0, 20, 30], [8, 16, 24]])
    present = np.array([[False, True, True]] * 2)
    assert volumes_of_areas(areas, areas, 1000.0, present).cavity_ml == pytest.approx([50, 40])


def test_the_table_has_a_row_per_phase_and_none_for_the_unknown() -> None:
    rows = curve_of([50.0, np.nan], trigger_times_ms=np.array([0.0, 33.5])).rows()
    assert [row["phase"] for row in rows] == [1, 2]
    assert rows[1] == {"phase": 2, "trigger_time_ms": 33.5, "cavity_ml": None, "myocardium_ml": None, "slices": 9}


@pytest.mark.parametrize("distance", [0.0, -8.0, float("nan")])
def test_a_distance_that_is_none_is_refused(distance: float) -> None:
    with pytest.raises(ValueError, match="mm apart"):
        measure_volumes(np.zeros((1, 1, 2, 2)), SPACING, distance)
