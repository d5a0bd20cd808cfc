"""Distances of circles are known in closed form; fast distances equal slow ones; the challenge's rule counts as it says."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from common.cine.scores import challenge as cardiac
from common.cine.scores import contour_distances
from common.cine.scores.challenge import (
    ContourScore,
    bland_altman,
    challenge_intervals,
    challenge_summary,
    score_contour,
)
from common.cine.scores.contour_distances import (
    average_perpendicular_distance,
    hausdorff_distance,
    perpendicular_distances,
)

ONE = (1.0, 1.0)
NAN = float("nan")


def circle(radius: float, x: float = 60, y: float = 50, points: int = 400) -> np.ndarray:
    angle = 2 * np.pi * np.arange(points) / points
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def disc(radius: float, x: float = 60, y: float = 50, shape: tuple[int, int] = (100, 120)) -> np.ndarray:
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return np.hypot(columns - x, rows - y) <= radius


def star(rng: np.random.Generator, points: int = 37) -> np.ndarray:
    angle = np.sort(rng.random(points)) * 2 * np.pi
    radius = 20 + 6 * rng.random(points)
    return np.stack([60 + radius * np.cos(angle), 50 + radius * np.sin(angle)], axis=1)


def to_side(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    if np.array_equal(start, end):
        return float(np.linalg.norm(point - start))
    part = np.clip(np.dot(point - start, end - start) / np.dot(end - start, end - start), 0, 1)
    return float(np.linalg.norm(point - start - part * (end - start)))


def along_line(point: np.ndarray, normal: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    system = np.stack([normal, start - end], axis=1)
    if abs(np.linalg.det(system)) < 1e-12:
        return np.inf
    far, part = np.linalg.solve(system, start - point)
    return abs(far) if 0 <= part <= 1 else np.inf


def test_examples_in_the_docstrings_run() -> None:
    result = doctest.testmod(cardiac)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("difference", [-7.0, -1.0, 0.0, 0.4, 3.0, 12.0])
def test_concentric_circles_are_as_far_apart_as_their_radii_differ(difference: float) -> None:
    predicted, truth = circle(20 + difference), circle(20)
    assert average_perpendicular_distance(predicted, truth, ONE) == pytest.approx(abs(difference), abs=0.02)
    assert hausdorff_distance(predicted, truth, ONE) == pytest.approx(abs(difference), abs=0.02)
    assert average_perpendicular_distance(predicted, truth, (1.4, 1.4)) == pytest.approx(
        1.4 * abs(difference), abs=0.02
    )


@pytest.mark.parametrize("shift", [0.5, 2.0, 9.0])
def test_a_shifted_circle_has_the_perpendicular_distance_of_geometry(shift: float) -> None:
    angle = 2 * np.pi * (np.arange(2000) + 0.5) / 2000
    outwards = -shift * np.cos(angle) + np.sqrt(20**2 - (shift * np.sin(angle)) ** 2)
    exact = np.abs(outwards - 20).mean()
    assert average_perpendicular_distance(circle(20, x=60 + shift), circle(20), ONE) == pytest.approx(exact, rel=0.01)
    assert hausdorff_distance(circle(20, x=60 + shift), circle(20), ONE) == pytest.approx(shift, rel=0.01)
    if shift < 1:
        assert exact == pytest.approx(2 * shift / np.pi, rel=0.01)


def test_pixels_may_be_oblong() -> None:
    stretched = (2.0, 0.5)  # (row, column) mm: the circle in mm is an ellipse in pixels
    inner, outer = ((circle(radius, 0, 0) / (0.5, 2.0)) + (60, 20) for radius in (10, 13))
    assert average_perpendicular_distance(inner, outer, stretched) == pytest.approx(3, abs=0.02)
    assert hausdorff_distance(inner, outer, stretched) == pytest.approx(3, abs=0.02)


@pytest.mark.parametrize("radius", [4, 10, 30])
def test_the_stairs_of_pixels_add_little(radius: int) -> None:
    spacing = (1.37, 1.37)
    inner, outer = disc(radius), disc(radius + 2)
    difference = np.sqrt(outer.sum() / np.pi) - np.sqrt(inner.sum() / np.pi)  # of the discs that the pixels cover
    assert score_contour(inner, outer, spacing).apd_mm == pytest.approx(1.37 * difference, abs=0.1)
    assert score_contour(outer, inner, spacing).apd_mm == pytest.approx(1.37 * difference, abs=0.1)
    assert score_contour(disc(radius), disc(radius), spacing).apd_mm == pytest.approx(0, abs=1e-9)


def test_distances_do_not_depend_on_how_the_contour_is_written(rng: np.random.Generator) -> None:
    one, two = star(rng), circle(22, x=61, points=90)
    for measure, tolerance in ((average_perpendicular_distance, 0.06), (hausdorff_distance, 0.06)):
        expected = measure(one, two, ONE)
        closed = np.concatenate([one, one[:1]])
        dense = np.concatenate([[a, (a + b) / 2] for a, b in zip(one, np.roll(one, -1, axis=0), strict=True)])
        assert measure(closed, np.concatenate([two, two[:1]]), ONE) == pytest.approx(expected, abs=1e-12)
        assert measure(one + 17.3, two + 17.3, ONE) == pytest.approx(expected, abs=1e-6)
        assert measure(dense, two, ONE) == pytest.approx(expected, abs=1e-6)
        assert measure(one[:, ::-1], two[:, ::-1], ONE) == pytest.approx(expected, abs=1e-6)
        for changed in (one[::-1], np.roll(one, 11, axis=0)):
            assert measure(changed, two, ONE) == pytest.approx(expected, abs=tolerance)
        assert measure(one, np.roll(two[::-1], 5, axis=0), ONE) == pytest.approx(expected, abs=1e-9)


def test_the_fast_nearest_distance_equals_that_of_a_loop(rng: np.random.Generator) -> None:
    points, ring = rng.random((40, 2)) * 100, np.concatenate([star(rng), star(rng)[:3].repeat(2, axis=0)])
    sides = list(zip(ring, np.roll(ring, -1, axis=0), strict=True))
    slow = [min(to_side(point, *side) for side in sides) for point in points]
    assert np.allclose(contour_distances._nearest(points, ring), slow)


def test_the_fast_distance_along_the_normal_equals_that_of_a_loop(rng: np.random.Generator) -> None:
    points, ring = rng.random((60, 2)) * 100, star(rng)
    normals = rng.normal(size=(60, 2))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    sides = list(zip(ring, np.roll(ring, -1, axis=0), strict=True))
    slow = [
        min(along_line(point, normal, *side) for side in sides) for point, normal in zip(points, normals, strict=True)
    ]
    assert np.isinf(slow).any()
    assert np.allclose(contour_distances._along_normal(points, normals, ring), slow)


def test_the_hausdorff_distance_is_symmetric_and_that_of_dense_points(rng: np.random.Generator) -> None:
    one, two = star(rng), star(rng)
    dense = [contour_distances._evenly(ring, 0.02) for ring in (one, two)]
    slow = max(directed_hausdorff(*dense)[0], directed_hausdorff(*dense[::-1])[0])
    assert hausdorff_distance(one, two, ONE) == hausdorff_distance(two, one, ONE) == pytest.approx(slow, abs=0.05)


def test_the_perpendicular_distance_is_never_below_the_nearest_one(rng: np.random.Generator) -> None:
    one, two = star(rng), star(rng) + 3
    points = contour_distances._evenly(one, contour_distances.STEP_MM)
    assert (perpendicular_distances(one, two, ONE) >= contour_distances._nearest(points, two) - 1e-9).all()


def test_contours_that_do_not_meet_are_far_apart_and_not_good() -> None:
    apart = average_perpendicular_distance(circle(10, x=20), circle(10, x=80), ONE)
    assert apart > 40
    assert not ContourScore(0, 0, apart, apart).good


def test_a_contour_of_one_point_is_no_error_and_of_none_is() -> None:
    assert average_perpendicular_distance(np.array([[60.0, 50.0]]), circle(10), ONE) == pytest.approx(10, abs=0.01)
    with pytest.raises(ValueError, match="one point at least"):
        average_perpendicular_distance(np.zeros((0, 2)), circle(10), ONE)


def test_a_slice_nobody_drew_has_no_score_and_a_missing_contour_is_not_good() -> None:
    with pytest.raises(ValueError, match="no score"):
        score_contour(np.zeros((9, 9), bool), np.ones((9, 9), bool), ONE)
    missing = score_contour(disc(8), np.zeros((100, 120), bool), ONE)
    assert missing.dice == 0
    assert not missing.found
    assert not missing.good


def test_given_contours_are_measured_instead_of_the_masks_outlines() -> None:
    score = score_contour(disc(20), disc(20), ONE, truth_contour=circle(20), predicted_contour=circle(23))
    assert score.dice == 1
    assert score.apd_mm == pytest.approx(3, abs=0.02)


def test_the_challenge_averages_good_contours_only() -> None:
    scores = [
        ContourScore(0.9, 0.8, 2.0, 4.0),
        ContourScore(0.8, 0.7, 3.0, 6.0),
        ContourScore(0.4, 0.3, 5.0, 20.0),  # exactly 5 mm is not good
        ContourScore(0.0, 0.0, NAN, NAN),
    ]
    found = challenge_summary(scores)
    assert found["good_percent"] == 50
    assert found["dice_of_good"] == pytest.approx(0.85)
    assert found["apd_mm_of_good"] == pytest.approx(2.5)
    assert found["mean_dice"] == pytest.approx(2.1 / 4)
    assert found["mean_apd_mm"] == pytest.approx(10 / 3)
    assert found["found_percent"] == 75
    assert np.isnan(challenge_summary(scores[2:])["dice_of_good"])
    with pytest.raises(ValueError, match="no contours"):
        challenge_summary([])


def test_intervals_hold_the_summary_and_the_mean_of_patients() -> None:
    good, bad = ContourScore(0.9, 0.8, 2.0, 4.0), ContourScore(0.5, 0.4, 7.0, 14.0)
    scores, patients = [good, good, good, bad], ["a", "a", "a", "b"]
    found = challenge_intervals(scores, patients, resamples=200)
    assert {name: found[name].estimate for name in challenge_summary(scores)} == challenge_summary(scores)
    assert found["good_percent"].estimate == 75
    assert found["per_patient_good_percent"].estimate == 50
    assert found["per_patient_dice_of_good"].estimate == pytest.approx(0.9)  # patient b has none
    assert (found["good_percent"].low, found["good_percent"].high) == (0, 100)
    with pytest.raises(ValueError, match="3 patients"):
        challenge_intervals(scores, ["a"] * 3)


def test_bland_altman_finds_bias_and_spread(rng: np.random.Generator) -> None:
    truth = rng.normal(55, 12, 400)
    measured = truth - 2 + rng.normal(0, 3, 400)
    found = bland_altman([*measured, None, 50.0], [*truth, 40.0, NAN], resamples=200)
    assert found.left_out == 2
    assert found.bias.estimate == pytest.approx((measured - truth).mean())
    assert found.bias.low < -2 < found.bias.high
    assert found.lower_limit.low < -2 - 1.96 * 3 < found.lower_limit.high
    assert found.upper_limit.low < -2 + 1.96 * 3 < found.upper_limit.high
    inside = (found.differences > found.lower_limit.estimate) & (found.differences < found.upper_limit.estimate)
    assert inside.mean() == pytest.approx(0.95, abs=0.025)
    assert found.correlation.estimate == pytest.approx(np.corrcoef(measured, truth)[0, 1])


def test_a_constant_shift_has_no_spread_and_full_correlation() -> None:
    found = bland_altman(np.arange(5) + 3.0, np.arange(5), resamples=50)
    assert found.bias == (3, 3, 3)
    assert found.lower_limit.estimate == found.upper_limit.estimate == 3
    assert found.correlation.estimate == pytest.approx(1)
    assert np.isnan(bland_altman([1, 2], [5, 5], resamples=10).correlation.estimate)
    with pytest.raises(ValueError, match="two pairs"):
        bland_altman([1.0, None], [1.0, 2.0])
