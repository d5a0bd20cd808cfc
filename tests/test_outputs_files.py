"""Files: whole or not at all, and what is written is what is read."""

from __future__ import annotations

import csv
import doctest
import importlib
import json
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile
from readers import decode_runs, read_pixel_size

from common.datasets.polygons import instances_to_polygons
from common.errors import InputError
from common.outputs.coco import CocoImage, write_coco
from common.outputs.files import atomic, write_text
from common.outputs.geojson import feature_collection, qupath_name, write_geojson
from common.outputs.labels import read_label_tiff, write_label_tiff, write_probability_tiff
from common.outputs.measurements import measure
from common.outputs.rle import encode, write_encodings


def scattered(rng: np.random.Generator, shape: tuple[int, int] = (23, 37), count: int = 9) -> np.ndarray:
    """Touching rectangles, with pixels knocked out."""
    labels = np.zeros(shape, np.int32)
    for identity in range(1, count + 1):
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        labels[row : row + rng.integers(1, 12), column : column + rng.integers(1, 12)] = identity
    labels[rng.random(shape) < 0.05] = 0
    return labels


@pytest.mark.parametrize("name", ["files", "geojson", "measurements", "rle", "coco"])
def test_examples_in_the_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"common.outputs.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.csv"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="broken"), atomic(target) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".csv"
        assert temporary.parent == tmp_path
        raise RuntimeError("broken")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    write_text(target, "new")
    assert target.read_text() == "new"


def test_unwritable_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"), atomic(tmp_path / "file" / "result.csv"):
        pytest.fail("the body must not run")
    with pytest.raises(InputError, match="a folder"), atomic(tmp_path):
        pytest.fail("the body must not run")


@pytest.mark.parametrize(("largest", "dtype"), [(0, np.uint16), (65535, np.uint16), (65536, np.uint32)])
def test_label_tiff_gives_back_the_map(largest: int, dtype: type, tmp_path: Path, rng: np.random.Generator) -> None:
    labels = scattered(rng).astype(np.int64)
    labels[labels == 1] = largest
    labels = np.minimum(labels, largest)
    write_label_tiff(tmp_path / "a.tif", labels, pixel_size_um=0.2527)
    assert tifffile.imread(tmp_path / "a.tif").dtype == dtype
    again = read_label_tiff(tmp_path / "a.tif")
    assert again.dtype == np.int32
    assert np.array_equal(again, labels)
    assert read_pixel_size(tmp_path / "a.tif") == pytest.approx(0.2527, rel=1e-6)


def test_pixel_size_is_none_where_the_file_does_not_say(tmp_path: Path) -> None:
    write_label_tiff(tmp_path / "a.tif", np.eye(4, 7, dtype=np.uint8))
    assert read_pixel_size(tmp_path / "a.tif") is None
    assert tifffile.imread(tmp_path / "a.tif").dtype == np.uint8
    tifffile.imwrite(tmp_path / "inch.tif", np.eye(4), resolution=(25_400, 25_400), resolutionunit="INCH")
    assert read_pixel_size(tmp_path / "inch.tif") == pytest.approx(1.0)


def test_label_tiff_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    for labels in (np.zeros((2, 3)), np.zeros((2, 3, 1), int), np.full((2, 3), -1), np.full((2, 3), 2**32)):
        with pytest.raises(ValueError):
            write_label_tiff(tmp_path / "a.tif", labels)
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.tif").write_text("no TIFF")
    for name in ("b.tif", "missing.tif"):
        with pytest.raises(InputError, match=name):
            read_label_tiff(tmp_path / name)
    write_probability_tiff(tmp_path / "c.tif", np.zeros((2, 3, 4)))
    with pytest.raises(InputError, match="rows x columns"):
        read_label_tiff(tmp_path / "c.tif")


def test_probabilities_keep_their_value_to_half_a_step(tmp_path: Path, rng: np.random.Generator) -> None:
    for shape in ((9, 13), (3, 9, 13)):
        probability = rng.random(shape).astype(np.float32)
        write_probability_tiff(tmp_path / "p.tif", probability)
        again = tifffile.imread(tmp_path / "p.tif")
        assert again.dtype == np.uint8
        assert np.abs(again / 255 - probability).max() <= 0.5 / 255 + 1e-6
    write_probability_tiff(tmp_path / "p.tif", again)
    assert np.array_equal(tifffile.imread(tmp_path / "p.tif"), again)


def test_geojson_rings_are_closed_and_enclose_the_area(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = scattered(rng)
    polygons = instances_to_polygons(labels)
    numbers = {"object": np.array([identity for identity, _ in polygons])}
    numbers["area_px"] = np.array([(labels == identity).sum() for identity, _ in polygons])
    numbers["confidence"] = np.full(len(polygons), np.nan)
    write_geojson(tmp_path / "a.geojson", polygons, image="a", measurements=numbers)
    written = json.loads((tmp_path / "a.geojson").read_text())
    assert written == feature_collection(polygons, "a", measurements=numbers)
    assert written["type"] == "FeatureCollection"
    assert len(written["features"]) == len(polygons) > 4
    for feature, (identity, rings) in zip(written["features"], polygons, strict=True):
        geometry = feature["geometry"]
        parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        assert len(parts) == len(rings)
        assert all(part[0][0] == part[0][-1] and len(part[0]) >= 4 for part in parts)
        assert np.array_equal(np.array(parts[0][0][:-1]), rings[0])
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["name"] == str(identity)
        assert properties["measurements"] == {"Area px^2": int((labels == identity).sum())}
    assert {"Polygon", "MultiPolygon"} == {feature["geometry"]["type"] for feature in written["features"]}


@pytest.mark.parametrize("pixel_size", [None, 0.25])
def test_geojson_names_measurements_as_qupath_does(pixel_size: float | None, rng: np.random.Generator) -> None:
    labels = scattered(rng)
    tissue = np.broadcast_to(np.array([200, 140, 190], np.uint8), (*labels.shape, 3)).copy()
    tissue[labels > 0] = (90, 60, 140)
    columns = measure(labels, tissue, np.ones(len(np.unique(labels)) - 1), pixel_size)
    features = feature_collection(instances_to_polygons(labels), measurements=columns)["features"]
    area, perimeter = ("Area µm^2", "Perimeter µm") if pixel_size else ("Area px^2", "Perimeter px")
    wanted = {area, perimeter, "Eccentricity", "Solidity", "Hematoxylin OD mean", "Detection probability"}
    assert wanted < set(features[0]["properties"]["measurements"])
    for feature, pixels in zip(features, columns["area_px"], strict=True):
        measured = feature["properties"]["measurements"]
        assert measured[area] == pytest.approx(pixels * (pixel_size or 1) ** 2)
        # One unit for all: no length is there twice, and no name of the table is left over.
        assert any(name.endswith(" px") for name in measured) == (pixel_size is None)
        assert not any("_" in name or name.startswith("Centroid") for name in measured)
    assert len({qupath_name(column) for column in columns}) == len(columns)


def test_geojson_ids_are_uuids_that_depend_on_image_and_object() -> None:
    square = np.array([[0.5, 0], [2, 0], [2, 2.126]])

    def ids(image: str) -> list[str]:
        return [f["id"] for f in feature_collection([(1, [square]), (2, [square])], image)["features"]]

    assert ids("a") == ids("a")
    assert len({*ids("a"), *ids("b")}) == 4
    assert uuid.UUID(ids("a")[0]).version == 5
    [feature] = feature_collection([(1, [square])])["features"]
    assert feature["geometry"]["coordinates"] == [[[0.5, 0.0], [2.0, 0.0], [2.0, 2.13], [0.5, 0.0]]]
    with pytest.raises(ValueError, match="object 3"):
        feature_collection([(3, [square[:2]])])


def test_four_thousand_objects_are_written_in_a_fraction_of_a_second(tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.rint(np.stack([np.cos(angles), np.sin(angles)], axis=1) * 12)
    polygons = [(i, [circle + i]) for i in range(1, 4001)]
    numbers = {"object": np.arange(1, 4001), **{f"m{i}": np.linspace(0, 1, 4000) for i in range(10)}}
    start = time.process_time()
    write_geojson(tmp_path / "a.geojson", polygons, measurements=numbers)
    assert time.process_time() - start < 1.0  # 0.15 s on an idle core; the slack is for a busy machine


def test_run_lengths_are_column_major_from_one() -> None:
    labels = np.zeros((4, 3), np.int32)
    labels[1:4, 1] = 7
    labels[:2, 2] = 7  # goes on in the next column: one run
    labels[0, 0] = 3
    assert encode(labels) == {3: "1 1", 7: "6 5"}
    assert encode(np.zeros((4, 3), int)) == encode(np.zeros((0, 3), int)) == {}
    assert encode(np.ones((4, 3), bool)) == {1: "1 12"}


def test_run_lengths_give_back_the_map(rng: np.random.Generator) -> None:
    for _ in range(30):
        labels = scattered(rng)
        encodings = encode(labels)
        ids = np.concatenate(([0], list(encodings)))
        assert np.array_equal(ids[decode_runs(encodings.values(), labels.shape)], labels)
        for identity, encoding in encodings.items():
            assert np.array_equal(decode_runs([encoding], labels.shape) > 0, labels == identity)


def test_submission_has_one_row_per_object_and_one_for_an_empty_image(tmp_path: Path) -> None:
    labels = np.array([[1, 1, 0], [0, 0, 2]])
    encodings = {"full": encode(labels), "empty": encode(np.zeros((3, 3), int))}
    write_encodings(tmp_path / "s.csv", encodings)
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["ImageId", "EncodedPixels"], ["full", "1 1 3 1"], ["full", "6 1"], ["empty", ""]]


def test_coco_boxes_and_areas_equal_those_of_the_masks(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = np.zeros((20, 31), np.int32)
    labels[2:9, 3:20], labels[9:12, 3:5], labels[1, 25:31], labels[15, 2] = 1, 1, 2, 3
    labels[17:19, 6:9] = 3  # a second part
    polygons = instances_to_polygons(labels)
    images = [CocoImage("a.png", 20, 31, polygons, [0.5, 0.25, 1.0]), CocoImage("b.png", 5, 6, [])]
    write_coco(tmp_path / "a.json", images)
    written = json.loads((tmp_path / "a.json").read_text())
    assert [image["file_name"] for image in written["images"]] == ["a.png", "b.png"]
    assert len(written["annotations"]) == 3
    for annotation in written["annotations"]:
        mask = labels == annotation["id"]
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["bbox"] == box
        assert annotation["area"] == mask.sum()
        assert annotation["image_id"] == 1
    assert [len(annotation["segmentation"]) for annotation in written["annotations"]] == [1, 1, 2]
