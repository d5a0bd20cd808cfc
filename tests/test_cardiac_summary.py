"""Scores of stacks with known truth: contours, volumes, the tables that give them back, the summary of all."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hearts import SHAPE, ring, shifted, stack, worse
from PIL import Image
from scipy import ndimage

from common.cine.scores.challenge import bland_altman, challenge_summary
from common.cine.scores.summary import (
    FrameRow,
    StackVolumes,
    Volumes,
    agreement_table,
    cardiac_table,
    score_stack,
    summarise_cardiac,
    volumes_of,
    write_cardiac_metrics,
)
from common.cine.scores.tables import frames_table, read_frames, read_volumes, volumes_table
from common.datasets.lv_labels import read_lv_label
from common.datasets.records import load_datalist
from common.errors import InputError
from common.metrics.cumulative import PixelAccuracy
from common.metrics.pixel import score_pixels
from common.report.html import write_report


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    return [worse(name, seed) for seed, name in enumerate(("ann", "ben", "cleo", "dora"))]


@pytest.fixture(scope="module")
def rows(items: list[dict[str, Any]]) -> list[FrameRow]:
    return [row for item in items for row in score_stack(item)]


@pytest.fixture(scope="module")
def volumes(items: list[dict[str, Any]]) -> list[StackVolumes]:
    return [found for item in items if (found := volumes_of(item)) is not None]


def test_a_perfect_prediction_has_overlap_one_and_distance_nought() -> None:
    found = score_stack(stack())
    assert len(found) == 8
    for row in found:
        for score in (row.endocardium, row.epicardium) if row.moment == "ed" else (row.endocardium,):
            assert score is not None
            assert (score.dice, score.iou) == (1, 1)
            assert (score.apd_mm, score.hausdorff_mm) == pytest.approx((0, 0), abs=1e-9)
            assert score.good
        assert row.pixel_accuracy == 1, "a wall that nobody drew is no error"
        assert row.myocardium == ((1, 1) if row.moment == "ed" else None)


def test_frames_are_named_by_their_records_phases_and_moments() -> None:
    found = score_stack(stack("ann", 2))
    assert [(row.image, row.stack, row.phase, row.slice, row.moment) for row in found] == [
        ("ann-1-0", "ann", 20, 1, "ed"),
        ("ann-1-1", "ann", 20, 2, "ed"),
        ("ann-2-0", "ann", 9, 1, "es"),
        ("ann-2-1", "ann", 9, 2, "es"),
    ]
    bare = stack("ann", 2, stems=[[None] * 2 for _ in range(3)], es_phase=None)
    assert [(row.image, row.moment) for row in score_stack(bare)] == [("ann", m) for m in ("ed", "ed", "", "")]


def square(size: int, left: int, top: int = 10) -> np.ndarray:
    maps = np.zeros((3, 1, *SHAPE), np.uint8)
    maps[:, :, top : top + size, left : left + size] = 1
    return maps


def test_a_grown_disc_has_the_distance_of_its_radii_in_mm(rng: np.random.Generator) -> None:
    """Outlines by the same rule on both sides: the distance is that of the radii, whatever pixels a line owns."""
    for _ in range(5):
        radius, (x, y) = rng.uniform(7, 9), 24 + rng.random(2)
        discs = {"truth": ring(radius, 0, x, y), "pred": ring(radius + 3, 0, x, y)}
        maps = {name: np.broadcast_to(disc, (3, 1, *SHAPE)) for name, disc in discs.items()}
        known = np.zeros((3, 1), bool)
        row = score_stack(stack(slices=1, spacing_mm=(1.5, 1.5), myocardium_known=known, **maps))[0]
        assert row.endocardium is not None
        assert row.endocardium.apd_mm == pytest.approx(3 * 1.5, rel=0.05)


def test_a_shifted_disc_is_off_by_the_shift_in_mm_at_most_and_by_two_thirds_of_it_on_average() -> None:
    """The normal of a circle shifted by s meets the other one s |cos| away, and the mean of |cos| is 2 / pi."""
    for axis, spacing in ((0, (1.5, 1.0)), (1, (1.0, 1.5))):
        shift = (4, 0) if axis == 0 else (0, 4)
        item = stack(slices=1, spacing_mm=spacing)
        item["pred"] = shifted(item["pred"], *shift)
        for row in score_stack(item):
            assert row.endocardium is not None
            assert row.endocardium.hausdorff_mm == pytest.approx(4 * 1.5, rel=0.05)
            assert row.endocardium.apd_mm == pytest.approx(4 * 1.5 * 2 / np.pi, rel=0.2)


def test_a_side_moved_by_some_pixels_is_so_many_mm_away() -> None:
    """Two squares with one corner in common: the two sides that moved are 3 px apart, 4.5 mm down and 3.75 mm across."""
    known = np.zeros((3, 1), bool)
    item = stack(slices=1, truth=square(20, 10), pred=square(23, 10), myocardium_known=known)
    row = score_stack(item)[0]
    assert row.endocardium is not None
    assert row.endocardium.hausdorff_mm == pytest.approx(math.hypot(4.5, 3.75), abs=1e-6)
    assert row.endocardium.dice == pytest.approx(2 * 400 / (400 + 529))


def test_a_missing_prediction_has_dice_nought_and_is_not_good() -> None:
    item = stack()
    item["pred"][1, 0] = 0
    missing, *others = score_stack(item)
    for score in (missing.endocardium, missing.epicardium):
        assert score is not None
        assert (score.dice, score.iou, score.found, score.good) == (0, 0, False, False)
    assert missing.pixel_accuracy == np.mean(item["truth"][1, 0] == 0)
    metrics = summarise_cardiac([missing, *others], resamples=0)["metrics"]
    assert metrics["mean_dice"]["estimate"] == pytest.approx(7 / 8)
    assert metrics["endocardium_good_percent"]["estimate"] == pytest.approx(100 * 7 / 8)
    assert metrics["endocardium_dice_of_good"]["estimate"] == 1
    assert metrics["epicardium_mean_dice"]["estimate"] == pytest.approx(3 / 4)
    assert metrics["myocardium_mean_dice"]["estimate"] == pytest.approx(3 / 4)


def test_frames_that_nobody_drew_have_no_score_and_no_volume() -> None:
    whole = stack()
    part = stack(drawn=whole["drawn"] & (np.arange(4) < 3))
    part["pred"][:, 3] = 1  # what is predicted there counts neither way
    assert score_stack(part) == [row for row in score_stack(whole) if row.slice < 4]
    shorter = stack(slices=3)
    assert volumes_of(part) == volumes_of(shorter) != volumes_of(whole)


def test_a_drawn_frame_without_cavity_counts_where_one_is_predicted() -> None:
    item = stack()
    item["truth"][1, :2] = 0
    item["pred"][1, 0] = 0
    right, wrong = score_stack(item)[:2]
    assert (right.endocardium, right.epicardium, right.pixel_accuracy) == (None, None, 1)
    assert wrong.endocardium is not None
    assert (wrong.endocardium.dice, wrong.endocardium.good) == (0, False)
    summary = summarise_cardiac(score_stack(item), resamples=0)
    assert summary["n_contours"] == {"endocardium": 7, "epicardium": 3}
    assert summary["n_images"] == 8


def test_without_truth_there_is_no_score_and_other_sizes_are_refused() -> None:
    bare = {key: value for key, value in stack().items() if key not in ("truth", "drawn", "myocardium_known")}
    assert score_stack(bare) == []
    assert volumes_of(bare) is None
    with pytest.raises(ValueError, match="differ in shape"):
        score_stack(stack(pred=np.zeros((3, 4, 9, 9), np.uint8)))


def test_volumes_are_areas_times_slice_distance() -> None:
    truth = np.concatenate([square(20, 5), square(20, 5)], axis=1)
    truth[2, :, 20:] = 0  # half of the rows at end-systole
    pred = truth.copy()
    pred[2, 1] = 0
    known = np.zeros((3, 2), bool)
    known[1, 0] = True
    truth[1, 0, 10:12, 40:50] = 2
    pred[1] = np.where(pred[1] == 0, 2, pred[1])  # of which only what is in the known frame counts
    found = volumes_of(stack(slices=2, truth=truth, pred=pred, myocardium_known=known))
    assert found is not None
    pixel_ml = 1.5 * 1.25 * 8 / 1000
    # Inside the lines through the outermost pixels: 20 pixels are 19 long.
    whole, half = 2 * 19 * 19, 2 * 9 * 19
    assert found.truth.edv_ml == pytest.approx(whole * pixel_ml)
    assert found.truth.esv_ml == pytest.approx(half * pixel_ml)
    assert found.truth.ejection_fraction_percent == pytest.approx(100 * (1 - half / whole))
    assert found.truth.mass_g == pytest.approx(1.05 * 1 * 9 * pixel_ml)
    assert found.predicted.ejection_fraction_percent == pytest.approx(100 * (1 - half / 2 / whole))
    assert found.predicted.mass_g == pytest.approx(1.05 * (47 * 63 - 19 * 19) * pixel_ml)


def test_what_is_not_known_of_the_volumes_is_none() -> None:
    assert volumes_of(stack(slice_distance_mm=None)) is None
    assert volumes_of(stack(ed_phase=None, es_phase=None)) is None
    assert volumes_of(stack(ed_phase=0, es_phase=None)) is None, "nothing is drawn in that phase"
    half = volumes_of(stack(es_phase=None))
    assert half is not None
    assert half.truth.edv_ml == half.predicted.edv_ml
    assert half.truth.esv_ml is half.truth.ejection_fraction_percent is None
    nothing = volumes_of(stack(pred=np.zeros((3, 4, *SHAPE), np.uint8)))
    assert nothing is not None
    assert nothing.predicted == Volumes(0.0, 0.0, None, 0.0)


def test_tables_give_back_what_they_were_made_of(
    rows: list[FrameRow], volumes: list[StackVolumes], tmp_path: Path
) -> None:
    odd = [rows[0]._replace(image='a, "b"', endocardium=None, pixel_accuracy=1 / 3), *rows[1:]]
    (tmp_path / "frames.csv").write_text(frames_table(odd))
    (tmp_path / "volumes.csv").write_text(volumes_table([*volumes, StackVolumes("e", "f", Volumes(), Volumes(1 / 3))]))
    assert repr(read_frames(tmp_path / "frames.csv")) == repr(odd), "nan differs from itself, its text does not"
    assert read_volumes(tmp_path / "volumes.csv")[:-1] == volumes
    assert read_volumes(tmp_path / "volumes.csv")[-1].predicted.edv_ml == 1 / 3
    (tmp_path / "frames.csv").write_text(frames_table(rows).replace(",20,", ",twenty,"))
    with pytest.raises(InputError, match=r"line 2.*twenty"):
        read_frames(tmp_path / "frames.csv")


def test_the_summary_is_that_of_the_challenge_and_the_plain_means(
    rows: list[FrameRow], volumes: list[StackVolumes]
) -> None:
    summary = summarise_cardiac(rows, volumes, resamples=100)
    metrics = summary["metrics"]
    plain = challenge_summary([row.endocardium for row in rows if row.endocardium is not None])
    for name, value in plain.items():
        assert metrics[f"endocardium_{name}"]["estimate"] == pytest.approx(value, nan_ok=True)
    for name in ("mean_dice", "mean_iou"):
        assert metrics[name] == metrics[f"endocardium_{name}"]
    by_patient = [
        np.mean([row.endocardium.good for row in rows if row.group == group and row.endocardium is not None])
        for group in ("ann", "ben", "cleo", "dora")
    ]
    assert metrics["endocardium_per_patient_good_percent"]["estimate"] == pytest.approx(100 * np.mean(by_patient))
    assert metrics["mean_pixel_accuracy"]["estimate"] == pytest.approx(np.mean([row.pixel_accuracy for row in rows]))
    dice = [row.myocardium.dice for row in rows if row.myocardium is not None]
    assert metrics["myocardium_mean_dice"]["estimate"] == pytest.approx(np.mean(dice))
    for interval in metrics.values():
        assert interval["low"] - 1e-9 <= interval["estimate"] <= interval["high"] + 1e-9
    assert (summary["n_images"], summary["n_groups"]) == (len(rows), 4)


def test_the_moments_divide_the_contours(rows: list[FrameRow]) -> None:
    summary = summarise_cardiac(rows, resamples=0)
    parts = summary["by_moment"]
    assert list(parts) == ["ed", "es"]
    counts = [part["n_contours"]["endocardium"] for part in parts.values()]
    assert sum(counts) == summary["n_contours"]["endocardium"]
    pooled = sum(n * p["metrics"]["mean_dice"]["estimate"] for n, p in zip(counts, parts.values(), strict=True))
    assert pooled / sum(counts) == pytest.approx(summary["metrics"]["mean_dice"]["estimate"])
    assert parts["es"]["metrics"]["mean_dice"]["estimate"] < parts["ed"]["metrics"]["mean_dice"]["estimate"]


def test_agreement_is_bland_and_altmans(rows: list[FrameRow], volumes: list[StackVolumes]) -> None:
    incomplete = StackVolumes("e", "e", Volumes(edv_ml=100.0), Volumes(edv_ml=90.0))
    summary = summarise_cardiac(rows, [*volumes, incomplete], resamples=100)
    found = summary["agreement"]["ejection_fraction_percent"]
    pairs = [(v.predicted.ejection_fraction_percent, v.truth.ejection_fraction_percent) for v in volumes]
    expected = bland_altman(*zip(*pairs, strict=True), resamples=100)
    assert (found["n"], found["left_out"]) == (4, 1)
    assert found["bias"] == pytest.approx(expected.bias._asdict())
    assert found["upper_limit"] == pytest.approx(expected.upper_limit._asdict())
    assert summary["metrics"]["bias_ejection_fraction_percent"] == found["bias"]
    assert summary["agreement"]["edv_ml"]["n"] == 5
    assert summarise_cardiac(rows, volumes[:1], resamples=0)["agreement"] == {}


def test_everything_is_written_and_nothing_of_an_earlier_run_stays(
    rows: list[FrameRow], volumes: list[StackVolumes], tmp_path: Path
) -> None:
    summary = write_cardiac_metrics(tmp_path / "new", rows, volumes)
    assert json.loads((tmp_path / "new" / "metrics.json").read_text()) == summary
    with (tmp_path / "new" / "metrics_per_image.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["image"] for row in table] == [row.image for row in rows]
    missing = next(row for row in table if row["endocardium_dice"] == "0.0")
    assert (missing["endocardium_apd_mm"], missing["endocardium_good"], missing["epicardium_dice"]) == ("", "0", "")
    assert (tmp_path / "new" / "bland_altman.svg").read_text().count('class="pair"') == 4
    write_cardiac_metrics(tmp_path / "new", rows[:3], [])
    left = {path.name for path in (tmp_path / "new").iterdir()}
    assert left == {"metrics.json", "metrics_per_image.csv", "metrics_per_patient.csv"}
    with pytest.raises(ValueError, match="no frames"):
        write_cardiac_metrics(tmp_path, [], [])


def test_tables_of_the_report_show_every_region_that_is_known(
    rows: list[FrameRow], volumes: list[StackVolumes], tmp_path: Path
) -> None:
    metrics = summarise_cardiac(rows, volumes, resamples=50)
    contours, agreement = cardiac_table(metrics), agreement_table(metrics)
    titles = ["endocardium", "endocardium, end-diastole", "endocardium, end-systole", "epicardium", "myocardium"]
    assert [row[0] for row in contours.rows] == titles
    assert all(len(row) == len(contours.columns) for row in contours.rows)
    first = dict(zip(contours.columns, contours.rows[0], strict=True))
    assert first["Dice"] == tuple(metrics["metrics"]["mean_dice"].values())
    assert [row[1] for row in agreement.rows] == [4, 4, 4, 4]
    write_report(tmp_path / "report.html", "both", {}, [], [contours, agreement])
    cavity = [row._replace(epicardium=None, myocardium=None, moment="") for row in rows if row.group == "ann"]
    alone = summarise_cardiac(cavity, resamples=50)
    assert [row[0] for row in cardiac_table(alone).rows] == ["endocardium"]
    assert alone["metrics"]["mean_dice"]["low"] is None
    write_report(tmp_path / "report.html", "one", {}, [], [cardiac_table(alone), agreement_table(alone)])


def test_pixel_accuracy_is_high_where_nothing_is_found() -> None:
    label = torch.from_numpy(ring(5, 0)).float()[None]
    metric = PixelAccuracy()
    metric([torch.zeros_like(label)], [label])
    assert float(metric.aggregate()) == pytest.approx(1 - np.mean(ring(5, 0) > 0))
    assert float(metric.aggregate()) > 0.97
    assert score_pixels(ring(5, 0), np.zeros(SHAPE)).dice == 0


@pytest.mark.parametrize("either", [(), (0, 2)])
def test_pixel_accuracy_counts_known_pixels(either: tuple[int, ...], rng: np.random.Generator) -> None:
    """Images of different sizes, as classes and as probabilities, against a count by hand."""
    metric, shares, counts = PixelAccuracy(either=either), [], np.zeros(2)
    for shape in ((7, 9), (4, 5), (12, 3)):
        label, pred = rng.integers(0, 4, shape), rng.integers(0, 3, shape)
        scores = torch.nn.functional.one_hot(torch.from_numpy(pred), 3).permute(2, 0, 1) + 0.1
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(label), 4).permute(2, 0, 1)
        metric([torch.from_numpy(pred)[None].float(), scores], [torch.from_numpy(label)[None], one_hot[:3]])
        right = np.isin(pred[label == 3], either).sum() + (pred == label).sum()
        known = label.size if either else (label != 3).sum()
        shares += [right / known] * 2
        counts += right, known
    assert float(metric.aggregate()) == pytest.approx(np.mean(shares))
    assert float(metric.aggregate("pooled")) == pytest.approx(counts[0] / counts[1])
    buffer = metric.get_buffer()
    assert buffer is not None
    assert buffer.ravel().tolist() == pytest.approx(shares)


def test_pixel_accuracy_leaves_out_images_that_are_unknown_altogether() -> None:
    metric = PixelAccuracy()
    assert math.isnan(metric.aggregate())
    metric(torch.zeros(2, 1, 4, 4), torch.cat([torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 3.0)]))
    assert (float(metric.aggregate()), float(metric.aggregate("pooled"))) == (1, 1)
    with pytest.raises(ValueError, match="sizes differ"):
        metric([torch.zeros(1, 4, 4)], [torch.zeros(1, 4, 5)])
    with pytest.raises(ValueError, match="unknown reduction"):
        PixelAccuracy(reduction="sum")


@pytest.mark.data
def test_a_real_patient_against_its_own_truth_and_against_a_smaller_heart(real_data: Path) -> None:
    records = [r for r in load_datalist(real_data / "sunnybrook" / "png") if r["group"] == "SC-HF-I-01"]
    item = real_stack(records)
    found = score_stack(item)
    assert [row.image for row in found] == [r["name"] for r in sorted(records, key=lambda r: (r["phase"], r["slice"]))]
    assert all(row.endocardium is not None and row.endocardium.apd_mm < 1e-9 for row in found)
    assert {row.moment for row in found if row.epicardium is not None} == {"ed"}
    own = volumes_of(item)
    assert own is not None
    assert own.truth == own.predicted
    assert own.truth.ejection_fraction_percent is not None
    assert 5 < own.truth.ejection_fraction_percent < 80
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])[None, None]
    smaller = {**item, "pred": np.where(ndimage.binary_dilation(item["truth"] == 0, cross), 0, item["truth"])}
    rows = score_stack(smaller)
    spacing = item["spacing_mm"][0]
    distances = [row.endocardium.apd_mm for row in rows if row.endocardium is not None and row.moment == "es"]
    assert np.median(distances) == pytest.approx(spacing, rel=0.25), "one pixel is taken off all around"
    assert all(row.endocardium is not None and row.endocardium.dice < 1 for row in rows if row.moment == "es")


def real_stack(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The stack of one patient, the truth as its prediction."""
    phases, slices = (sorted({r[key] for r in records}) for key in ("phase", "slice"))
    shape = next(iter({tuple(image_shape(r["image"])) for r in records}))
    item = stack("SC-HF-I-01", 1)
    size = (len(phases), slices[-1] - slices[0] + 1)
    truth, drawn, known = np.zeros((*size, *shape), np.uint8), np.zeros(size, bool), np.zeros(size, bool)
    stems: list[list[str | None]] = [[None] * size[1] for _ in phases]
    for record in records:
        place = phases.index(record["phase"]), record["slice"] - slices[0]
        label = read_lv_label(record, shape)
        truth[place], drawn[place], known[place] = label.classes, True, label.myocardium_known
        stems[place[0]][place[1]] = record["name"]
    moments = {r["moment"]: phases.index(r["phase"]) for r in records}
    return {
        **item,
        **{"truth": truth, "pred": truth.copy(), "drawn": drawn, "myocardium_known": known, "present": drawn},
        **{"stems": stems, "phase_numbers": phases, "ed_phase": moments["ed"], "es_phase": moments["es"]},
        "spacing_mm": tuple(records[0]["spacing_mm"]),
        "slice_distance_mm": records[0]["slice_distance_mm"],
    }


def image_shape(path: str) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.height, picture.width
