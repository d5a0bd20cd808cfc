"""Measurements equal those of scikit-image, whatever the map."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import regionprops

from common.outputs.measurements import LENGTHS, compact, measure, write_measurements

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
