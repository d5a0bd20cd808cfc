"""Measurements equal those of scikit-image, whatever the map."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image

from common.outputs.measurements import LENGTHS, compact, measure, write_measurements
from common.tissue.stain import combine_stains

SAME = {
    "area_px": "area",
    "perimeter_px": "perimeter",
    "equivalent_diameter_px": "equivalent_diameter_area",
    "major_axis_px": "axis_major_length",
    "minor_axis_px": "axis_minor_length",
    "eccentricity": "eccentricity",
}


def random_map(rng: np.random.Generator, largest_id: int) -> np.ndarray:
    """Touching rectangles at the borders too, ragged and in several parts, some of a single pixel."""
    labels = np.zeros((40, 53), np.int64)
    for identity in rng.integers(1, largest_id, size=10):
        row, column = rng.integers(0, 40), rng.integers(0, 53)
        labels[row : row + rng.integers(1, 14), column : column + rng.integers(1, 14)] = identity
    labels[rng.random(labels.shape) < rng.choice([0, 0.1])] = 0
    return labels


@pytest.mark.parametrize("largest_id", [20, 200_000])
def test_shapes_equal_regionprops(largest_id: int, rng: np.random.Generator) -> None:
    compared = 0
    for _ in range(60):
        labels = random_map(rng, largest_id)
        image = rng.random((*labels.shape, 3))
        found = measure(labels.astype(np.int32), image)
        regions = regionprops(labels, image)
        assert found["object"].tolist() == [region.label for region in regions]
        for index, region in enumerate(regions):
            for name, other in SAME.items():
                assert found[name][index] == pytest.approx(getattr(region, other), abs=1e-5), name
            y, x = region.centroid
            assert (found["centroid_x_px"][index], found["centroid_y_px"][index]) == pytest.approx((x, y))
            for channel, colour in enumerate(("red", "green", "blue")):
                inside = image[labels == region.label, channel]
                assert found[f"intensity_mean_{colour}"][index] == pytest.approx(inside.mean())
                assert found[f"intensity_sum_{colour}"][index] == pytest.approx(inside.sum())
            top, left, bottom, right = region.bbox
            assert found["touches_border"][index] == (top == 0 or left == 0 or bottom == 40 or right == 53)
            if region.eccentricity > 0.1:  # a circle has no direction
                difference = found["orientation_deg"][index] - np.degrees(region.orientation)
                assert abs((difference + 90) % 180 - 90) < 1e-4
            compared += 1
    assert compared > 200


def test_solidity_counts_the_pixels_of_the_hull_one_by_one(rng: np.random.Generator) -> None:
    compared = 0
    for _ in range(40):
        labels = random_map(rng, 20)
        found = measure(labels)
        for identity, value in zip(found["object"], found["solidity"], strict=True):
            own = labels == identity
            rows, columns = np.nonzero(own)
            # scikit-image finds no hull of a line or a point.
            flat = np.ptp(rows) == 0 or np.ptp(columns) == 0
            if flat or np.linalg.matrix_rank(np.stack([rows - rows[0], columns - columns[0]])) < 2:
                continue
            hull = convex_hull_image(own, offset_coordinates=False)
            assert value == own.sum() / hull.sum()
            compared += 1
    assert compared > 200


@pytest.mark.parametrize("axes", [(0.4, 0.4), (1.5, 1.5), (9.3, 4.1), (12, 12), (30.2, 7)])
def test_convex_shapes_have_solidity_one(axes: tuple[float, float], rng: np.random.Generator) -> None:
    rows, columns = np.mgrid[:81, :91] - 40.0
    for angle in rng.uniform(0, np.pi, 10):
        along, across = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
        ellipse = (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1
        assert measure(ellipse.astype(int))["solidity"].tolist() == [1.0]


def test_lines_are_solid_and_gaps_are_not() -> None:
    labels = np.zeros((9, 20), int)
    labels[0, 2:9], labels[2:9, 0], labels[4, 4] = 1, 2, 3
    labels[np.arange(2, 8), np.arange(10, 16)] = 4  # corner to corner
    labels[8, [5, 15]] = 5  # two parts with nine pixels between them
    assert measure(labels)["solidity"] == pytest.approx([1, 1, 1, 1, 2 / 11])
    hollow = np.ones((5, 5), int)
    hollow[1:4, 1:4] = 0
    assert measure(hollow)["solidity"].tolist() == [16 / 25]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("light", [1.0, 0.9])
def test_haematoxylin_is_the_amount_that_was_there(dtype: type, light: float, rng: np.random.Generator) -> None:
    labels = np.zeros((60, 70), int)
    labels[5:20, 5:25], labels[30:50, 30:60] = 4, 7
    stains = np.zeros((60, 70, 3), np.float32)
    stains[20:60, :, 1] = 0.3  # eosin
    stains[labels == 4, 0], stains[labels == 7, 0] = 1.2, 0.6
    stains[labels > 0] += rng.normal(0, 0.05, (int((labels > 0).sum()), 1)).astype(np.float32) * (1, 0, 0)
    image = combine_stains(stains) * light
    if dtype != np.float32:
        image = np.rint(image * np.iinfo(dtype).max).astype(dtype)
    found = measure(labels, image)["haematoxylin_mean_od"]
    expected = [stains[labels == identity, 0].mean() / np.log(10) for identity in (4, 7)]
    assert found == pytest.approx(expected, abs=0.005)


def test_haematoxylin_is_of_stained_tissue_alone(rng: np.random.Generator) -> None:
    labels = random_map(rng, 20)
    glowing = np.zeros((*labels.shape, 3), np.uint8)
    glowing[labels > 0] = (30, 60, 200)
    pale = np.full((*labels.shape, 3), 240, np.uint8)
    for image in (glowing, pale[..., 0], pale[..., :1], pale[..., :2]):
        assert "haematoxylin_mean_od" not in measure(labels, image)
    assert np.allclose(measure(labels, pale)["haematoxylin_mean_od"], 0, atol=1e-6)
    empty = measure(np.zeros_like(labels), pale)
    assert empty["haematoxylin_mean_od"].shape == empty["solidity"].shape == (0,)


def test_thousands_of_hulls_take_a_fraction_of_a_second() -> None:
    rows, columns = np.mgrid[-15:16, -15:16]
    nucleus = (rows**2 + columns**2 <= 110).astype(np.int32)
    labels = np.kron(np.arange(1, 4097).reshape(64, 64), nucleus)
    start = time.process_time()
    found = measure(labels)
    assert time.process_time() - start < 1.0  # about 0.1 s on an idle core; the slack is for a busy machine
    assert np.array_equal(found["solidity"], np.ones(4096))


def test_lengths_scale_with_the_pixel_size_and_areas_with_its_square(rng: np.random.Generator) -> None:
    found = measure(random_map(rng, 30), pixel_size_um=0.25)
    assert np.allclose(found["area_um2"], found["area_px"] / 16)
    for name in LENGTHS:
        assert np.allclose(found[f"{name}_um"], found[f"{name}_px"] / 4)
    assert not any(name.endswith(("um", "um2")) for name in measure(random_map(rng, 30)))


def test_transposing_swaps_the_axes(rng: np.random.Generator) -> None:
    labels = random_map(rng, 30)
    upright, lying = measure(labels), measure(labels.T)
    assert np.allclose(upright["centroid_x_px"], lying["centroid_y_px"])
    for name in ("area_px", "perimeter_px", "major_axis_px", "touches_border"):
        assert np.allclose(upright[name], lying[name])


def test_grey_images_have_plain_names_and_other_channels_numbers() -> None:
    labels = np.array([[1, 0], [2, 2]])
    grey = measure(labels, np.array([[3, 9], [4, 6]], np.uint16))
    assert grey["intensity_mean"].tolist() == [3, 5]
    assert grey["intensity_sum"].tolist() == [3, 10]
    assert measure(labels, np.zeros((2, 2, 1)))["intensity_mean"].tolist() == [0, 0]
    assert "intensity_mean_2" in measure(labels, np.zeros((2, 2, 2)))


def test_confidences_are_taken_by_id_or_in_order() -> None:
    labels = np.array([[5, 0], [9, 9]])
    assert measure(labels, confidence=[0.5, 0.75])["confidence"].tolist() == [0.5, 0.75]
    assert measure(labels, confidence={9: 0.75, 5: 0.5})["confidence"].tolist() == [0.5, 0.75]
    with pytest.raises(ValueError, match="2 objects"):
        measure(labels, confidence=np.zeros(9))
    with pytest.raises(ValueError, match="do not agree"):
        measure(labels, np.zeros((3, 2)))


def test_compact_ids_equal_unique(rng: np.random.Generator) -> None:
    for largest in (5, 10_000_000):
        values = rng.integers(1, largest, size=50)
        ids, index = compact(values)
        expected = np.unique(values, return_inverse=True)
        assert np.array_equal(ids, expected[0])
        assert np.array_equal(index, expected[1])


def test_table_holds_every_object_of_every_image(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = random_map(rng, 30)
    tables = {
        "grey, one": measure(labels, rng.random(labels.shape)),
        "empty": measure(np.zeros((4, 5), int), np.zeros((4, 5))),
        "colour": measure(labels, rng.random((*labels.shape, 3)), pixel_size_um=0.5, confidence={}),
    }
    write_measurements(tmp_path / "measurements.csv", tables)
    with (tmp_path / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    count = len(tables["colour"]["object"])
    assert [row["image"] for row in rows] == ["grey, one"] * count + ["colour"] * count
    assert list(rows[0])[:2] == ["image", "object"]
    for row, area, mean in zip(
        rows, tables["grey, one"]["area_px"], tables["grey, one"]["intensity_mean"], strict=False
    ):
        assert int(row["area_px"]) == area
        assert float(row["intensity_mean"]) == pytest.approx(mean, rel=1e-6)
        assert row["area_um2"] == row["intensity_mean_red"] == ""
    assert rows[-1]["confidence"] == ""  # unknown
    write_measurements(tmp_path / "measurements.csv", {})
    assert (tmp_path / "measurements.csv").read_text() == "image,object\n"
