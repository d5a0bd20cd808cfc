"""A run over sequences leaves whole files that agree with one another, and rows for frames with nothing in them too."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from ignite.engine import Engine
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from PIL import Image
from readers import read_pixel_size
from skimage.measure import regionprops
from test_report import Page

from common.brightfield.objects.main import MainObjectd
from common.brightfield.objects.shape import MICROMETRES, frame_shapes
from common.brightfield.output.files import PagesWriter
from common.brightfield.output.pictures import frame_picture, look_of, shown_frames
from common.brightfield.output.plots import time_curves
from common.brightfield.output.results import FrameResults
from common.brightfield.output.scores import FrameScore, mean_scores, summarise
from common.brightfield.reading.sequences import sequence_records
from common.brightfield.transforms import ClassMapsd, ReadFramesd
from common.engine.loading import ReadAheadLoader
from common.errors import InputError
from common.inferers import TiledInferer
from common.outputs.labels import read_label_tiff

ROWS, COLUMNS = 60, 80


def ellipse(row: float, column: float, half_rows: float, half_columns: float, degrees: float = 0.0) -> np.ndarray:
    """(rows, columns) bool; the angle from the columns' axis towards lower rows (counter-clockwise on the screen)."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    angle = math.radians(degrees)
    x, y = columns - column, -(rows - row)
    along, across = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    return (along / half_columns) ** 2 + (across / half_rows) ** 2 <= 1


def movie(frames: int = 7) -> np.ndarray:
    """(frames, rows, columns) uint8 classes; the fourth frame is empty."""
    maps = np.stack([ellipse(30, 40, 12, 14 + t) for t in range(frames)]).astype(np.uint8)
    maps[3] = 0
    return maps


def part(maps: np.ndarray, first: int = 0, of: int | None = None, **values: Any) -> dict[str, Any]:
    """An item as the handler gets it."""
    noise = np.random.default_rng(first).normal(0, 4, maps.shape)
    numbers = tuple(range(first, first + len(maps)))
    return {
        "name": "well",
        "group": "well",
        "first": first,
        "count": len(maps),
        "of": of or len(maps),
        "numbers": numbers,
        "frames": tuple(str(number + 1) for number in numbers),
        "pixels": (90 + 80 * (maps > 0) + noise).clip(0, 255).astype(np.uint8),
        "pixel_size_um": None,
        "seconds_per_frame": None,
        "notes": (),
        "frame_notes": ("",) * len(maps),
        "object_notes": ("",) * len(maps),
        "objects": "main",
        "pred": maps,
        **values,
    }


def run(folder: Path, *items: dict[str, Any], **options: Any) -> FrameResults:
    """Hands items on as an evaluator with ``decollate=False`` does."""

    def step(engine: Engine, batch: dict[str, Any]) -> dict[str, Any]:
        return {"label": None, "pred": batch["pred"]}

    handler = FrameResults(folder, **options)
    engine = Engine(step)
    handler.attach(engine)
    engine.run(list(items))
    return handler


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_shapes_are_those_of_scikit_image_on_the_whole_frame() -> None:
    labels = (ellipse(25, 30, 9, 15, 20) * 1 + ellipse(50, 65, 7, 8) * 5).astype(np.uint8)
    rows = frame_shapes(labels)
    assert [row["object"] for row in rows] == [1, 5]
    for row, expected in zip(rows, regionprops(labels), strict=True):
        assert row["area_px"] == expected.area
        assert (row["centroid_y_px"], row["centroid_x_px"]) == pytest.approx(expected.centroid)
        assert row["major_axis_px"] == pytest.approx(expected.axis_major_length)
        assert row["minor_axis_px"] == pytest.approx(expected.axis_minor_length)
        assert row["eccentricity"] == pytest.approx(expected.eccentricity)
        assert math.radians(row["orientation_deg"]) == pytest.approx(expected.orientation)


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90])
@pytest.mark.parametrize(("half_rows", "half_columns"), [(12, 12), (20, 20), (10, 20), (12, 28)])
def test_perimeter_and_circularity_of_ellipses_are_right_within_two_percent(
    half_rows: float, half_columns: float, degrees: float
) -> None:
    [row] = frame_shapes(ellipse(30, 40, half_rows, half_columns, degrees).astype(np.uint8))
    h = ((half_rows - half_columns) / (half_rows + half_columns)) ** 2
    perimeter = math.pi * (half_rows + half_columns) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))  # Ramanujan
    assert not row["touches_border"]
    assert row["perimeter_px"] == pytest.approx(perimeter, rel=0.02)
    assert row["circularity"] == pytest.approx(4 * math.pi * row["area_px"] / perimeter**2, rel=0.04)
    assert row["elongation"] == pytest.approx(half_columns / half_rows, rel=0.03)


@pytest.mark.parametrize("shift", [(0, 0), (-18, 0), (0, -26), (18, 0), (0, 26)])
def test_only_what_reaches_the_frames_edge_touches_it(shift: tuple[int, int]) -> None:
    [row] = frame_shapes(ellipse(30 + shift[0], 40 + shift[1], 14, 14).astype(np.uint8))
    assert row["touches_border"] == int(shift != (0, 0))


def test_micrometres_are_pixels_times_their_size() -> None:
    mask = ellipse(30, 40, 12, 15).astype(np.uint8)
    [plain], [scaled] = frame_shapes(mask), frame_shapes(mask, 0.5)
    assert not set(MICROMETRES) & set(plain)
    assert scaled["area_um2"] == pytest.approx(plain["area_px"] / 4)
    for name in ("perimeter", "equivalent_diameter", "major_axis", "minor_axis"):
        assert scaled[f"{name}_um"] == pytest.approx(plain[f"{name}_px"] / 2)


def test_an_empty_frame_has_no_shape_and_a_single_pixel_has_one() -> None:
    assert frame_shapes(np.zeros((4, 4), np.uint8)) == []
    mask = np.zeros((4, 4), np.uint8)
    mask[1, 2] = 1
    [row] = frame_shapes(mask)
    assert (row["area_px"], row["centroid_x_px"], row["centroid_y_px"]) == (1, 2, 1)


def test_a_sequence_in_parts_leaves_what_it_leaves_in_one(tmp_path: Path) -> None:
    maps = movie()
    run(tmp_path / "whole", part(maps))
    run(tmp_path / "parts", part(maps[:3], 0, 7), part(maps[3:6], 3, 7), part(maps[6:], 6, 7))
    for folder in ("whole", "parts"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / folder / "well_label.tif"), maps)
    assert table(tmp_path / "whole" / "measurements.csv") == table(tmp_path / "parts" / "measurements.csv")
    with Image.open(tmp_path / "parts" / "well_movie.gif") as found:
        assert found.n_frames == len(maps)


def test_every_frame_has_a_row_and_that_of_an_empty_one_is_empty(tmp_path: Path) -> None:
    maps = movie()
    run(tmp_path, part(maps, seconds_per_frame=1800.0), pixel_size_um=0.5)
    rows = table(tmp_path / "measurements.csv")
    assert [row["frame"] for row in rows] == [str(number) for number in range(1, 8)]
    assert [float(row["time_h"]) for row in rows] == [0.5 * t for t in range(7)]
    assert [row["object"] for row in rows] == ["1", "1", "1", "", "1", "1", "1"]
    assert {row["area_px"] for row in rows if not row["object"]} == {""}
    assert float(rows[0]["area_um2"]) == pytest.approx(maps[0].sum() / 4)
    assert read_pixel_size(tmp_path / "well_label.tif") == pytest.approx(0.5)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["frames"], summary["objects"], summary["frames_without_object"]) == (7, 6, 1)
    assert summary["each_image"]["well"]["frames_without_object"] == [4]


def test_nothing_found_anywhere_is_a_result_too(tmp_path: Path) -> None:
    empty = np.zeros((1, ROWS, COLUMNS), np.uint8)
    run(tmp_path, part(empty, name="black"), part(np.zeros((4, ROWS, COLUMNS), np.uint8), name="dark"))
    assert [row["object"] for row in table(tmp_path / "measurements.csv")] == [""] * 5
    assert json.loads((tmp_path / "black.geojson").read_text())["features"] == []
    Page((tmp_path / "report.html").read_text())


def test_a_single_image_has_outlines_for_qupath_that_give_its_mask_back(tmp_path: Path) -> None:
    mask = ellipse(30, 40, 12, 20, 30).astype(np.uint8)[None]
    run(tmp_path, part(mask, pixel_size_um=0.65))
    np.testing.assert_array_equal(read_label_tiff(tmp_path / "well_label.tif"), mask[0])
    [feature] = json.loads((tmp_path / "well.geojson").read_text())["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    area = abs(np.dot(ring[:-1, 0], ring[1:, 1]) - np.dot(ring[1:, 0], ring[:-1, 1])) / 2
    assert area == mask.sum()
    assert feature["properties"]["measurements"]["Area µm^2"] == pytest.approx(mask.sum() * 0.65**2, rel=1e-4)
    assert not (tmp_path / "well_movie.gif").exists()


def test_several_objects_have_rows_and_numbers_of_their_own(tmp_path: Path) -> None:
    ids = np.stack([ellipse(30, 20, 8, 8) * 3 + ellipse(30, 60, 9, 9) * 7] * 2).astype(np.uint16)
    run(tmp_path, part((ids > 0).astype(np.uint8), ids=ids, objects="all"))
    rows = table(tmp_path / "measurements.csv")
    assert [(row["frame"], row["object"]) for row in rows] == [("1", "3"), ("1", "7"), ("2", "3"), ("2", "7")]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "well_objects.tif"), ids)


def test_classes_are_measured_within_the_object_or_each_by_itself(tmp_path: Path) -> None:
    maps = ellipse(30, 40, 15, 20).astype(np.uint8)[None]
    maps[0][ellipse(30, 40, 5, 6)] = 2
    options: dict[str, Any] = {"num_classes": 3, "class_names": ["rim", "core"]}
    run(tmp_path / "main", part(maps), **options)
    [row] = table(tmp_path / "main" / "measurements.csv")
    assert int(row["area_px"]) == (maps > 0).sum()
    assert (int(row["area_rim_px"]), int(row["area_core_px"])) == ((maps == 1).sum(), (maps == 2).sum())
    features = json.loads((tmp_path / "main" / "well.geojson").read_text())["features"]
    assert [feature["properties"]["classification"]["name"] for feature in features] == ["rim", "core"]
    run(tmp_path / "each", part(maps, objects="each_class"), **options)
    rows = table(tmp_path / "each" / "measurements.csv")
    assert [(row["class"], int(row["area_px"])) for row in rows] == [
        ("rim", (maps == 1).sum()),
        ("core", (maps == 2).sum()),
    ]


def test_another_number_of_names_than_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 names of 2 classes"):
        FrameResults(tmp_path, num_classes=3, class_names=["one"])


def test_with_truth_the_scores_are_those_of_the_frames(tmp_path: Path) -> None:
    truth = movie()
    found = truth.copy()
    found[0] = ellipse(30, 44, 12, 14)
    found[3, :5, :5] = 1
    run(tmp_path, part(found, truth=truth), part(truth[:1], name="still", group="other", truth=truth[:1]))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    rows = table(tmp_path / "metrics_per_image.csv")
    assert [(row["image"], row["frame"], row["group"]) for row in rows[-2:]] == [
        ("well", "7", "well"),
        ("still", "1", "other"),
    ]
    ious = [(found[t] & truth[t]).sum() / max((found[t] | truth[t]).sum(), 1) for t in range(7)]
    np.testing.assert_allclose([float(row["iou"]) for row in rows[:7]], ious, rtol=1e-6)
    assert metrics["metrics"]["mean_iou"]["estimate"] == pytest.approx(np.mean([*ious, 1.0]))
    assert (metrics["n_frames"], metrics["n_images"], metrics["n_groups"]) == (8, 2, 2)
    assert metrics["by_group"]["other"]["metrics"]["mean_iou"] == 1
    assert "Agreement with the truth" in (tmp_path / "report.html").read_text()


def test_scores_that_are_unknown_are_left_out_of_their_mean() -> None:
    rows = [
        FrameScore("a", 1, "a", {"iou": 0.5, "hausdorff_px": math.nan}),
        FrameScore("a", 2, "a", {"iou": 1.0, "hausdorff_px": 4.0}),
    ]
    found = summarise(rows)["metrics"]
    assert found["mean_iou"] == {"estimate": 0.75, "low": None, "high": None}  # one group has no interval
    assert found["mean_hausdorff_px"]["estimate"] == 4
    assert summarise(rows[:1])["metrics"]["mean_hausdorff_px"]["estimate"] is None
    assert mean_scores(rows) == {"iou": 0.75, "hausdorff_px": 4}
    assert math.isnan(mean_scores(rows[:1])["hausdorff_px"])


def test_intervals_are_those_over_groups() -> None:
    rows = [FrameScore(f"{g}{i}", 1, g, {"iou": value}) for g, value in (("a", 0.2), ("b", 0.8)) for i in range(50)]
    interval = summarise(rows)["metrics"]["mean_iou"]
    assert (interval["low"], interval["estimate"], interval["high"]) == pytest.approx((0.2, 0.5, 0.8))


def test_a_sequence_whose_last_part_is_missing_is_closed_and_says_so(tmp_path: Path) -> None:
    maps = movie()
    run(tmp_path, part(maps[:3], 0, 7))
    found = tifffile.imread(tmp_path / "well_label.tif")
    np.testing.assert_array_equal(found, [*maps[:3], *np.zeros_like(maps[3:])])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["each_image"]["well"]["notes"] == ["frames left out: 4 of 7"]


@pytest.mark.parametrize("broken", [(2,), (0,), (5,), (0, 1, 5), (0, 1, 2, 3)])
def test_pages_and_rows_go_with_the_frames_where_some_cannot_be_read(tmp_path: Path, broken: tuple[int, ...]) -> None:
    source = tmp_path / "in"
    source.mkdir()
    truth = [ellipse(30, 40, 12, 12 + 2 * t) for t in range(6)]
    for number, mask in enumerate(truth):
        path = source / f"well_t{number:02d}.png"
        cv2.imwrite(str(path), (60 + 150 * mask).astype(np.uint8))
        if number in broken:
            path.write_bytes(path.read_bytes()[:90])
    handler = whole_run(source, tmp_path / "out", frames_per_item=4)
    assert len(handler.problems) == (1 if len(broken) == 4 else len(broken))  # a part without any frame is one problem
    pages = tifffile.imread(tmp_path / "out" / "well_label.tif")
    rows = table(tmp_path / "out" / "measurements.csv")
    assert len(pages) == 6
    assert [row["frame"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    for number, (page, row) in enumerate(zip(pages, rows, strict=True)):
        if number in broken:
            assert not page.any() and not row["object"] and "left out" in row["note"]
        else:
            assert ((page > 0) & truth[number]).sum() / ((page > 0) | truth[number]).sum() > 0.9
            assert row["object"] == "1" and int(row["area_px"]) == (page > 0).sum()
        assert row["frame_name"] in (f"well_t{number:02d}", "" if len(broken) == 4 and number in broken else None)
    each = json.loads((tmp_path / "out" / "summary.json").read_text())["each_image"]["well"]
    assert (each["frames"], each["frames_left_out"]) == (6 - len(broken), [number + 1 for number in broken])
    assert each["frames_without_object"] == []


def test_a_missing_frame_has_empty_pages_of_numbers_and_probabilities_too(tmp_path: Path) -> None:
    maps = movie()[:3]
    ids = maps.astype(np.uint16) * 300
    probability = np.stack([maps * 200, maps * 50], axis=1)
    kept = {"numbers": (0, 2), "frames": ("a", "c"), "count": 3, "of": 3, "source": ["a.png", "b.png", "c.png"]}
    values = {"ids": ids[[0, 2]], "probability": probability[[0, 2]], "objects": "all", "seconds_per_frame": 3600.0}
    run(tmp_path, part(maps[[0, 2]], **kept, **values), save_probabilities=True)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "well_objects.tif"), [ids[0], 0 * ids[0], ids[2]])
    pages = tifffile.imread(tmp_path / "well_prob.tif").reshape(3, 2, ROWS, COLUMNS)
    np.testing.assert_array_equal(pages, [probability[0], 0 * probability[0], probability[2]])
    rows = table(tmp_path / "measurements.csv")
    assert [(row["frame_name"], float(row["time_h"])) for row in rows] == [("a", 0), ("b", 1), ("c", 2)]


@pytest.mark.parametrize("option", ["pixel_size_um", "minutes_per_frame"])
@pytest.mark.parametrize("value", ["abc", 0, -1, True])
def test_a_width_or_time_that_cannot_be_is_refused_by_its_name(tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"--{option}: found .*expected a number above 0"):
        FrameResults(tmp_path, **{option: value})


def test_a_run_that_breaks_off_leaves_former_results_alone(tmp_path: Path) -> None:
    (tmp_path / "well_label.tif").write_bytes(b"former")
    bad = part(movie()[3:6], 3, 7)
    del bad["pixels"]
    with pytest.raises(KeyError):
        run(tmp_path, part(movie()[:3], 0, 7), bad, max_pending=0)
    assert [path.name for path in tmp_path.iterdir()] == ["well_label.tif"]
    assert (tmp_path / "well_label.tif").read_bytes() == b"former"


def test_pages_appear_when_they_are_complete_and_never_when_discarded(tmp_path: Path) -> None:
    writer = PagesWriter(tmp_path / "a.tif", 0.5)
    writer.add(movie()[0])
    assert not (tmp_path / "a.tif").exists()
    writer.discard()
    assert list(tmp_path.iterdir()) == []
    writer = PagesWriter(tmp_path / "a.tif", 0.5)
    for page in movie():
        writer.add(page)
    writer.close()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), movie())
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_probabilities_have_a_page_per_frame(tmp_path: Path) -> None:
    maps = movie()
    probability = (maps * 200)[:, None]
    run(tmp_path, part(maps, probability=probability), save_probabilities=True)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "well_prob.tif"), probability[:, 0])


def test_frames_shown_are_spread_from_the_first_to_the_last() -> None:
    assert shown_frames(1000, 5) == [0, 250, 500, 749, 999]
    assert shown_frames(3, 5) == [0, 1, 2]


@pytest.mark.parametrize("scale", [0.4, 1, 3, 9])
def test_pictures_of_a_sequence_are_of_one_size_whatever_the_frame(scale: float) -> None:
    shape = (round(ROWS * scale), round(COLUMNS * scale))
    frame, labels = np.zeros((2, *shape), np.uint8), np.zeros(shape, np.uint8)
    labels[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 1
    look = look_of(frame)
    picture = frame_picture(frame[0], labels, look, "frame 1")
    assert picture.shape[:2] == (look.size[0] + 18, look.size[1])
    assert max(look.size) >= 200 or scale > 3
    assert max(look.size) <= 400
    assert (picture[18:] == look.colour).all(axis=2).any()


def test_curves_stop_where_a_value_is_missing() -> None:
    drawn = time_curves([1, 2, 3, 4, 5], {"area": [1.0, 2.0, None, 4.0, 5.0]}, "frame")
    assert drawn.count("<polyline") == 2
    assert time_curves([1, 2], {"area": [None, None]}, "frame") == ""
    assert time_curves([1], {"area": [1.0]}, "frame") == ""


class Brightness(torch.nn.Module):
    """A network that calls bright what is bright after a little smoothing."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        smooth = torch.nn.functional.avg_pool2d(image[:, :1], 5, 1, 2)
        logits = (smooth - 0.5) * 20
        return torch.cat([-logits, logits], dim=1)


def whole_run(source: Path, folder: Path, frames_per_item: int = 4, **options: Any) -> FrameResults:
    """From files to results, as inference.json puts it together."""
    handler = FrameResults(folder, **options)
    records = sequence_records(source, frames_per_item=frames_per_item)
    loader = ReadAheadLoader(Dataset(records, Compose([ReadFramesd("image", size=96)])), ahead=2, collate=False)
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader,
        network=Brightness(),
        inferer=TiledInferer(patch_size=128, overlap=32, activation="softmax", amp=False),
        postprocessing=Compose([ClassMapsd("pred"), MainObjectd("pred")]),
        decollate=False,
        val_handlers=[handler],
    ).run()
    return handler


def test_from_a_stack_to_its_measurements(tmp_path: Path) -> None:
    truth = np.stack([ellipse(30, 40, 14, 18 + 0.5 * t) for t in range(10)])
    debris = ellipse(6, 70, 4, 4) | ellipse(54, 8, 3, 3)
    noise = np.random.default_rng(0).normal(0, 300, truth.shape)
    pixels = (3000 + 9000 * (truth | debris) + noise).astype(np.uint16)
    header = {"axes": "TYX", "unit": "um", "finterval": 900}
    tifffile.imwrite(tmp_path / "film.tif", pixels, imagej=True, resolution=(1.25, 1.25), metadata=header)
    handler = whole_run(tmp_path / "film.tif", tmp_path / "out")
    assert handler.problems == []
    found = tifffile.imread(tmp_path / "out" / "film_label.tif")
    assert ((found > 0) & truth).sum() / ((found > 0) | truth).sum() > 0.95
    rows = table(tmp_path / "out" / "measurements.csv")
    areas = [float(row["area_um2"]) for row in rows]
    np.testing.assert_allclose(areas, truth.sum(axis=(1, 2)) * 0.64, rtol=0.05)
    assert float(rows[-1]["time_h"]) == pytest.approx(2.25)


def test_bad_input_stops_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    bright = (60 + 150 * ellipse(30, 40, 14, 18)).astype(np.uint8)
    cv2.imwrite(str(source / "good.png"), bright)
    cv2.imwrite(str(source / "black.png"), np.zeros_like(bright))
    cv2.imwrite(str(source / "colour.png"), np.stack([bright, bright, bright // 2], axis=2))
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    nan = bright.astype(np.float32)
    nan[0, :5] = np.nan
    tifffile.imwrite(source / "nan.tif", nan[None])
    tifffile.imwrite(source / "two.tif", np.stack([bright, bright]), imagej=True, metadata={"axes": "CYX"})
    handler = whole_run(source, tmp_path / "out")
    assert [problem.name for problem in handler.problems] == ["broken", "two"]
    rows = {row["image"]: row for row in table(tmp_path / "out" / "measurements.csv")}
    assert {name: bool(row["object"]) for name, row in rows.items()} == {
        "black": False,
        "colour": True,
        "good": True,
        "nan": True,
    }
    assert "5 NaN" in rows["nan"]["note"]
    with pytest.raises(SystemExit):
        handler.exit()


def test_images_with_masks_are_scored(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for number in range(2):
        mask = ellipse(30, 40, 14, 18 + number)
        cv2.imwrite(str(tmp_path / "in" / "images" / f"{number}.png"), (60 + 150 * mask).astype(np.uint8))
        cv2.imwrite(str(tmp_path / "in" / "masks" / f"{number}.png"), (255 * mask).astype(np.uint8))
    whole_run(tmp_path / "in", tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["n_frames"] == 2
    assert metrics["metrics"]["mean_iou"]["estimate"] > 0.9


@pytest.mark.data
def test_real_frames_as_a_movie(real_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "well"
    source.mkdir()
    for number, path in enumerate(sorted((real_data / "gastruloid" / "images").glob("gastruloid_B*"))[:6]):
        (source / f"frame_{number:03d}.png").write_bytes(path.read_bytes())
    handler = whole_run(source, tmp_path / "out")
    assert handler.problems == []
    rows = table(tmp_path / "out" / "measurements.csv")
    assert [row["frame_name"] for row in rows] == [f"frame_{number:03d}" for number in range(6)]
    assert all(float(row["area_px"]) > 1000 for row in rows)
    assert (tmp_path / "out" / "well_movie.gif").is_file()
