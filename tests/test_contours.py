"""Contours and masks are each other's inverse, by one pixel convention, and bad contours are named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.datasets.contours import (
    check_contour,
    check_inside,
    contour_area,
    contour_to_mask,
    crosses_itself,
    mask_to_contour,
    mask_to_contours,
    read_contour,
    write_contour,
)
from common.errors import InputError

SHAPE = (40, 48)
SQUARE = np.array([[10.0, 10], [20, 10], [20, 20], [10, 20]])


def _disc(diameter: float, centre: tuple[float, float], shape: tuple[int, int] = SHAPE) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= (diameter / 2) ** 2


def _circle(radius: float, centre: tuple[float, float], points: int = 90, part: float = 1.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi * part, points, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], axis=1)


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def _blob(rng: np.random.Generator) -> np.ndarray:
    """A ragged mask of one or several parts without holes, some of them at the edge of the image."""
    noise = cv2.GaussianBlur(rng.random(SHAPE), (0, 0), 2.5)
    mask = (noise > np.quantile(noise, 0.7)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(SHAPE, np.uint8), contours, -1, 1, cv2.FILLED).astype(bool)


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("outline_included", [False, True])
@pytest.mark.parametrize("diameter", [10, 11, 14, 20, 31])
def test_disc_to_contour_to_disc_keeps_dice_of_99_percent(
    diameter: int, outline_included: bool, rng: np.random.Generator
) -> None:
    for centre in rng.uniform(18, 22, (25, 2)):
        disc = _disc(diameter, tuple(centre))
        contour = mask_to_contour(disc, outline_included)
        assert _dice(contour_to_mask(contour, SHAPE, outline_included), disc) >= 0.99


@pytest.mark.parametrize("outline_included", [False, True])
def test_every_part_of_a_ragged_mask_comes_back_exactly(outline_included: bool, rng: np.random.Generator) -> None:
    for _ in range(10):
        mask = _blob(rng)
        contours = mask_to_contours(mask, outline_included)
        again = np.logical_or.reduce([contour_to_mask(contour, SHAPE, outline_included) for contour in contours])
        np.testing.assert_array_equal(again, mask)


@pytest.mark.parametrize("outline_included", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 5)])
def test_the_smallest_masks_come_back_through_a_file(
    tmp_path: Path, size: tuple[int, int], outline_included: bool
) -> None:
    mask = np.zeros((8, 9), bool)
    mask[2 : 2 + size[0], 3 : 3 + size[1]] = True
    path = tmp_path / "contour.txt"
    write_contour(path, mask_to_contour(mask, outline_included))
    if size == (1, 5) and outline_included:
        with pytest.raises(InputError, match="straight line"):
            read_contour(path)
    else:
        np.testing.assert_array_equal(contour_to_mask(read_contour(path), mask.shape, outline_included), mask)


def test_contour_lies_half_way_between_the_pixels_inside_and_outside() -> None:
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:6] = True
    contour = mask_to_contour(mask)
    assert contour[:, 0].min() == 2.5
    assert contour[:, 0].max() == 5.5
    assert contour[:, 1].min() == 1.5
    assert contour[:, 1].max() == 3.5


def test_area_is_that_of_the_mask_but_for_its_four_cut_corners() -> None:
    for diameter in (10, 17, 25):
        disc = _disc(diameter, (20.3, 19.6))
        assert contour_area(mask_to_contour(disc)) == pytest.approx(np.count_nonzero(disc) - 0.5)


def test_pixel_centres_are_at_whole_numbers() -> None:
    around = np.array([[4.6, 2.6], [5.4, 2.6], [5.4, 3.4], [4.6, 3.4]])
    assert np.argwhere(contour_to_mask(around, (8, 9))).tolist() == [[3, 5]]


@pytest.mark.parametrize("shift", [(0.25, 0.0), (0.0, 0.4), (-0.3, 0.7), (0.5, -0.5)])
def test_shift_by_part_of_a_pixel_moves_the_centroid_as_much(
    shift: tuple[float, float], rng: np.random.Generator
) -> None:
    moved = []
    for centre in rng.uniform(19, 21, (60, 2)):
        before, after = (
            np.argwhere(contour_to_mask(_circle(9, tuple(place)), SHAPE)).mean(axis=0)[::-1]
            for place in (centre, centre + shift)
        )
        assert np.abs(after - before - shift).max() < 0.3, "one contour: within the pixel rule's grain"
        moved.append(after - before)
    np.testing.assert_allclose(np.mean(moved, axis=0), shift, atol=0.03)


def test_shift_by_whole_pixels_moves_the_mask_exactly(rng: np.random.Generator) -> None:
    contour = _circle(7.3, (15.37, 16.91))
    for included in (False, True):
        moved = contour_to_mask(contour + (3, -2), SHAPE, included)
        np.testing.assert_array_equal(moved, np.roll(contour_to_mask(contour, SHAPE, included), (-2, 3), (0, 1)))


def test_filled_area_is_unbiased_by_centres_and_larger_with_the_outline(rng: np.random.Generator) -> None:
    centres = rng.uniform(18, 22, (100, 2))
    plain = [contour_to_mask(_circle(8, tuple(centre)), SHAPE).sum() for centre in centres]
    lined = [contour_to_mask(_circle(8, tuple(centre)), SHAPE, outline_included=True).sum() for centre in centres]
    area = contour_area(_circle(8, (20, 20)))
    assert np.mean(plain) == pytest.approx(area, rel=0.005)
    assert np.mean(lined) > 1.05 * area


def test_line_of_a_mask_with_outline_encloses_the_drawn_area(rng: np.random.Generator) -> None:
    ratios = []
    for centre in rng.uniform(18, 22, (60, 2)):
        drawn = np.round(2 * _circle(11, tuple(centre), points=140)) / 2
        mask = contour_to_mask(drawn, SHAPE, outline_included=True)
        ratios.append(contour_area(mask_to_contour(mask, outline_included=True)) / contour_area(drawn))
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)


def test_probabilities_give_a_line_between_pixels() -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centre, radius = (20.37, 18.81), 9.27
    distance = np.hypot(columns - centre[0], rows - centre[1])
    soft = np.clip(0.5 + (radius - distance) / 4, 0, 1)
    contour = mask_to_contour(soft)
    assert np.abs(np.hypot(*(contour - centre).T) - radius).max() < 0.05
    np.testing.assert_array_equal(contour_to_mask(contour, SHAPE), soft > 0.5)
    np.testing.assert_array_equal(mask_to_contour(soft, outline_included=True), mask_to_contour(soft > 0.5, True))


def test_parts_come_largest_first_and_holes_are_not_outlined() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[5:9, 5:9] = True
    mask[15:30, 15:30] = True
    mask[20:22, 20:22] = False
    for included in (False, True):
        contours = mask_to_contours(mask, included)
        assert len(contours) == 2
        assert contour_area(contours[0]) > contour_area(contours[1])
        assert contour_to_mask(contours[0], SHAPE, included).sum() == 15 * 15
        np.testing.assert_array_equal(mask_to_contour(mask, included), contours[0])


def test_empty_mask_has_no_contour() -> None:
    for included in (False, True):
        assert mask_to_contours(np.zeros(SHAPE, bool), included) == []
        assert mask_to_contour(np.zeros(SHAPE, bool), included).shape == (0, 2)
        assert not contour_to_mask(np.zeros((0, 2)), SHAPE, included).any()


def test_direction_and_start_of_a_contour_do_not_matter() -> None:
    contour = _circle(8, (20.2, 19.7))
    for included in (False, True):
        expected = contour_to_mask(contour, SHAPE, included)
        np.testing.assert_array_equal(contour_to_mask(np.roll(contour[::-1], 7, axis=0), SHAPE, included), expected)


def test_what_leaves_the_image_is_cut_off() -> None:
    contour = _circle(10, (2, 3))
    wide = np.pad(np.zeros(SHAPE), 20).shape
    for included in (False, True):
        whole = contour_to_mask(contour + 20, wide, included)
        np.testing.assert_array_equal(contour_to_mask(contour, SHAPE, included), whole[20:60, 20:68])


def test_text_keeps_the_half_pixel_grid(tmp_path: Path) -> None:
    contour = mask_to_contour(_disc(13, (20.2, 19.9)))
    write_contour(tmp_path / "c.txt", contour)
    np.testing.assert_array_equal(read_contour(tmp_path / "c.txt"), contour)
    first = (tmp_path / "c.txt").read_text().splitlines()[0]
    assert first == f"{contour[0, 0]:.2f} {contour[0, 1]:.2f}"


def test_closing_point_blank_lines_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    text = "\ufeff1.00 1.00\r\n5.00 1.00\r\n\r\n5.00\t6.50\r\n 1.00 1.00\r\n"
    (tmp_path / "c.txt").write_bytes(text.encode())
    contour = read_contour(tmp_path / "c.txt")
    assert len(contour) == 3
    assert {tuple(point) for point in contour} == {(1, 1), (5, 1), (5, 6.5)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "0 different points"),
        ("1 1\n2 2\n", "2 different points"),
        ("1 1\n1 1\n2 2\n2 2\n", "2 different points"),
        ("1 1\n2 2\n5 5\n3 3\n", "straight line"),
        ("1 1\n2 x\n3 3\n", "'2 x' in line 2"),
        ("1 1\n\n2 3 4\n", "'2 3 4' in line 3"),
        ("1 1\n2 nan\n3 3\n", "'2 nan' in line 2"),
        ("1 1\ninf 2\n3 3\n", "'inf 2' in line 2"),
    ],
)
def test_unusable_text_is_refused_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        read_contour(_write(tmp_path / "c.txt", text))
    assert found in caught.value.found
    assert "c.txt" in caught.value.path


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00\x81")
    for path in (tmp_path / "c.txt", tmp_path / "none.txt", tmp_path):
        with pytest.raises(InputError, match="no readable text"):
            read_contour(path)


@pytest.mark.parametrize("contour", [np.zeros((2, 2)), np.full((4, 2), np.nan), np.zeros((5, 3))])
def test_what_is_no_contour_is_not_written(tmp_path: Path, contour: np.ndarray) -> None:
    with pytest.raises(InputError, match="at least 3 finite points"):
        write_contour(tmp_path / "c.txt", contour)
    assert list(tmp_path.iterdir()) == []


def test_good_contours_have_no_problem() -> None:
    for contour in (SQUARE, _circle(9, (20, 20)), mask_to_contour(_disc(12, (20, 20)), outline_included=True)):
        assert check_contour(contour, "c.txt") == []
        assert check_inside(contour, SHAPE, "c.txt") == []


def test_open_contour_is_named_and_a_hopeless_one_refused() -> None:
    (problem,) = check_contour(_circle(9, (20, 20), part=0.85), "c.txt", "patient")
    assert problem.name == "patient"
    assert "open" in problem.reason
    with pytest.raises(InputError, match="open contour"):
        check_contour(_circle(9, (20, 20), part=0.5), "c.txt")


def test_figure_of_eight_is_named_and_both_loops_filled() -> None:
    eight = np.array([[10.0, 10], [20, 20], [30, 20], [30, 10], [20, 10], [10, 20]])
    (problem,) = check_contour(eight, "c.txt")
    assert "crosses itself" in problem.reason
    mask = contour_to_mask(eight, SHAPE)
    assert mask[15, 12]
    assert mask[15, 28]


@pytest.mark.parametrize(
    ("ring", "crosses"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], False),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], True),
        ([(0, 0), (2, 2), (4, 4), (4, 0), (2, 2), (0, 4)], True),  # through a shared vertex
        ([(0, 0), (2, 2), (4, 0), (4, 4), (2, 2), (0, 4)], False),  # touching at a vertex
        ([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)], False),  # touching an edge
        ([(0, 0), (4, 0), (4, 2), (8, 2), (4, 2), (4, 4), (0, 4)], False),  # out and back
        ([(0, 0), (8, 0), (8, 8), (2, 8), (2, 6), (4, 6), (4, 10), (0, 10)], True),  # a curl
        ([(0, 0), (4, 0), (4, 4), (0, 4)] * 2, True),  # drawn twice
        ([(0, 0), (4, 0), (0, 4)], False),
    ],
)
def test_crossing_is_told_from_touching(ring: list[tuple[float, float]], crosses: bool) -> None:
    points = np.array(ring, dtype=float)
    for contour in (points, points[::-1], np.roll(points, 2, axis=0), points @ [[0.6, 0.8], [-0.8, 0.6]]):
        assert crosses_itself(contour) is crosses


def test_crossing_equals_testing_all_pairs_of_edges(rng: np.random.Generator) -> None:
    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
        return bool((b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0]))

    def pairs(ring: np.ndarray) -> bool:
        edges = list(zip(ring, np.roll(ring, -1, axis=0), strict=True))
        return any(
            side(a, b, c) != side(a, b, d) and side(c, d, a) != side(c, d, b)
            for i, (a, b) in enumerate(edges)
            for j, (c, d) in enumerate(edges)
            if j > i + 1 and (i, j) != (0, len(edges) - 1)
        )

    answers = []
    for _ in range(150):
        # Around a centre with noise: about half of them cross themselves.
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9)) + rng.normal(0, 0.25, 9)
        ring = rng.uniform(4, 9, (9, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        answers.append(pairs(ring))
        assert crosses_itself(ring) is answers[-1]
    assert 30 < sum(answers) < 120


def test_points_outside_the_image_are_counted() -> None:
    (problem,) = check_inside(SQUARE - (12, 0), SHAPE, "c.txt", "patient")
    assert "2 of 4 points" in problem.reason
    assert problem.name == "patient"
    assert check_inside(SQUARE - 10.5, SHAPE, "c.txt") == [], "the corner of the first pixel is within"
    with pytest.raises(InputError, match="outside its image"):
        check_inside(SQUARE + (0, 200), SHAPE, "c.txt")
    with pytest.raises(InputError, match="outside its image"):
        check_inside(SQUARE - (25, 0), SHAPE, "c.txt")


def _pairs_of_text_and_mask(real_data: Path) -> list[tuple[str, Path, Path]]:
    """Patient, contour text and PNG mask of everything that was published as both."""
    root = real_data / "sunnybrook"
    found = []
    for text in sorted(root.rglob("*-[io]contour-manual.txt")):
        patient, number = text.parts[-4], text.name[8:12]
        folder = root / "png" / ("endocardium" if text.name[13] == "i" else "epicardium")
        mask = folder / f"{patient}-IM-0001-{number}.png"
        if mask.is_file():
            found.append((patient, text, mask))
    return found


@pytest.mark.data
def test_published_masks_are_the_contours_with_their_outline(real_data: Path) -> None:
    scores: dict[str, list[float]] = {}
    plain, areas, drawn = [], [], []
    for patient, text, file in _pairs_of_text_and_mask(real_data):
        contour, mask = read_contour(text), cv2.imread(str(file), cv2.IMREAD_UNCHANGED) > 0
        assert check_contour(contour, text) == []
        assert check_inside(contour, mask.shape, text) == []
        scores.setdefault(patient, []).append(_dice(contour_to_mask(contour, mask.shape, True), mask))
        plain.append(_dice(contour_to_mask(contour, mask.shape), mask))
        areas.append(contour_to_mask(contour, mask.shape).sum() / contour_area(contour))
        drawn.append(contour_area(mask_to_contour(mask, outline_included=True)) / contour_area(contour))
    if not scores:
        pytest.skip("no contour text beside PNG masks")
    assert min(np.mean(values) for values in scores.values()) >= 0.97
    assert np.mean([score == 1 for values in scores.values() for score in values]) == 1
    assert np.mean(plain) == pytest.approx(0.968, abs=0.005), "the figures in the module's docstring"
    assert np.mean(areas) == pytest.approx(1, abs=0.002)
    assert np.mean(drawn) == pytest.approx(1.010, abs=0.005)


@pytest.mark.data
def test_real_contours_come_back_from_their_masks(real_data: Path, tmp_path: Path) -> None:
    pairs = _pairs_of_text_and_mask(real_data)[::12]
    if not pairs:
        pytest.skip("no contour text beside PNG masks")
    for _, _, file in pairs:
        mask = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) > 0
        for included in (False, True):
            write_contour(tmp_path / "c.txt", mask_to_contour(mask, included))
            again = contour_to_mask(read_contour(tmp_path / "c.txt"), mask.shape, included)
            np.testing.assert_array_equal(again, mask)
