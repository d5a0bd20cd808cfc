"""The tissue bundle from end to end on generated sections: it learns, knows magnifications and skips empty glass."""

from __future__ import annotations

import csv
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from running import REPOSITORY, Results, command, run, short_training

from common.images.reading import read_image
from common.metrics.pixel import score_pixels
from common.nuclei.synthetic import stained_image
from common.nuclei.thresholds import PLATEAU, read_choice
from common.tissue.sampling import hide_annotations

BUNDLE = REPOSITORY / "bundles" / "pathology_nuclei_segmentation"
EPOCHS = 3
TRAINING = {**short_training(EPOCHS), "num_folds": 3}

pytestmark = pytest.mark.slow


def write_image(path: Path, pixels: np.ndarray, um: float = 0.25) -> None:
    """An RGB TIFF that tells its pixel size."""
    per_cm = 1e4 / um
    tifffile.imwrite(path, pixels, photometric="rgb", resolution=(per_cm, per_cm), resolutionunit="CENTIMETER")


def section(number: int, shape: tuple[int, int] = (160, 160)) -> tuple[np.ndarray, np.ndarray]:
    made = stained_image(shape, 24, 20, np.random.default_rng(number), 0.5)
    return made.pixels, made.instances


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sections of three patients with truth."""
    folder = tmp_path_factory.mktemp("sections")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    rows = [("image", "patient")]
    for number in range(6):
        pixels, instances = section(number)
        write_image(folder / "images" / f"s{number}.tif", pixels)
        tifffile.imwrite(folder / "masks" / f"s{number}.tif", instances.astype(np.uint16))
        rows.append((f"s{number}.tif", f"patient {number % 3}"))
    with (folder / "patients.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("trained")
    return run(command(BUNDLE, ["train.json"], dataset_dir=images, ckpt_dir=folder, **TRAINING), folder, REPOSITORY)


def infer(images: Path, output: Path, **overrides: object) -> Results:
    """Inference with the shipped weights."""
    arguments = command(BUNDLE, ["inference.json"], dataset_dir=images, output_dir=output, **overrides)
    return run(arguments, output, REPOSITORY)


def test_a_training_lowers_the_loss_and_splits_by_patient(trained: Results) -> None:
    losses = [float(row["loss"]) for row in trained.table("log.csv")]
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]
    records = json.loads((trained.folder / "split.json").read_text())["training"]
    patients = [{r["group"] for r in records if r["split"] == side} for side in ("training", "validation")]
    assert patients[0] & patients[1] == set()
    assert len(patients[1]) == 1


def test_evaluation_scores_the_patient_that_training_did_not_see(
    images: Path, trained: Results, tmp_path: Path
) -> None:
    chosen = {"ckpt_path": trained.folder / "model.pt", "fold": 0, "num_folds": 3}
    arguments = command(
        BUNDLE, ["train.json", "evaluate.json"], dataset_dir=images, output_dir=tmp_path / "scores", **chosen
    )
    scores = run(arguments, tmp_path / "scores", REPOSITORY)
    rows = scores.table("metrics_per_image.csv")
    assert len(rows) == 2
    assert len({row["group"] for row in rows}) == 1
    assert 0 <= scores.json("metrics.json")["metrics"]["aji"]["estimate"] <= 1


def test_the_threshold_is_chosen_on_validation_images_and_found_beside_the_weights(
    images: Path, trained: Results, tmp_path: Path
) -> None:
    weights = shutil.copy(trained.folder / "model.pt", tmp_path / "weights.pt")
    asked = {"dataset_dir": images, "ckpt_path": weights, "fold": 0, "num_folds": 3, "criterion": "dice"}
    run(command(BUNDLE, ["train.json", "threshold.json"], **asked), tmp_path, REPOSITORY)
    choice = read_choice(tmp_path / "weights_threshold.json")
    assert choice.curve.images == 2
    assert choice.criterion == "dice"
    assert max(choice.curve.dice) - choice.curve.dice[choice.curve.thresholds.index(choice.foreground)] <= PLATEAU
    ElementTree.parse(tmp_path / "weights_threshold.svg")
    content = (tmp_path / "weights_threshold.json").read_text()
    (tmp_path / "weights_threshold.json").write_text(
        content.replace(f'"foreground": {choice.foreground},', '"foreground": 0.37,')
    )
    found = infer(images / "images", tmp_path / "found", ckpt_path=weights)
    assert found.json("summary.json")["settings"]["foreground_threshold"] == 0.37


def test_where_only_some_nuclei_are_marked_these_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    marked = 0
    for number in range(2):
        pixels, instances = section(20 + number)
        kept = hide_annotations(instances, 0.7, np.random.RandomState(number))
        marked += len(np.unique(kept)) - 1
        write_image(tmp_path / "in" / f"1275{number}_500_original.tif", pixels)
        cv2.imwrite(str(tmp_path / "in" / f"1275{number}_500_mask.png"), (kept > 0).astype(np.uint8) * 255)
    arguments = command(
        BUNDLE, ["train.json", "evaluate.json"], dataset_dir=tmp_path / "in", output_dir=tmp_path / "scores"
    )
    metrics = run(arguments, tmp_path / "scores", REPOSITORY).json("metrics.json")
    found = metrics["partially_annotated"]
    assert found["n_images"] == 2
    assert marked - 2 <= found["n_annotated"] <= marked  # touching nuclei of a binary mask are one
    assert found["sensitivity"] > 0.7 and found["coverage"] > 0.8
    # What nobody marked does not count against the prediction.
    assert metrics["n_predicted_objects"] <= found["n_annotated"] + 2


def test_the_shipped_weights_leave_the_files_of_the_contract_and_the_two_pictures(tmp_path: Path) -> None:
    pixels, instances = section(7)
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.tif", pixels)
    results = infer(tmp_path / "in", tmp_path / "out")
    endings = ("_label.tif", ".geojson", "_overlay.png", "_class.png", "_prob.png")
    assert [e for e in endings if not (results.folder / f"a{e}").is_file()] == []
    found = results.labels("a") > 0
    np.testing.assert_array_equal(cv2.imread(str(results.folder / "a_class.png"), -1) > 0, found)
    probability = cv2.imread(str(results.folder / "a_prob.png"))
    np.testing.assert_array_equal(probability[..., 1].astype(int) + probability[..., 2], 255)
    assert score_pixels(instances > 0, found).dice > 0.7
    assert {"solidity", "haematoxylin_mean_od"} <= set(results.table("measurements.csv")[0])


def test_sections_at_another_magnification_are_seen_at_that_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels, instances = section(8, (192, 192))
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    write_image(tmp_path / "in" / "at_40.tif", pixels)
    write_image(tmp_path / "in" / "at_20.tif", half, um=0.5)
    results = infer(tmp_path / "in", tmp_path / "out")
    fine, coarse = results.labels("at_40"), results.labels("at_20")
    assert coarse.shape == (96, 96)
    assert score_pixels(np.kron(coarse > 0, np.ones((2, 2), bool)), fine > 0).dice > 0.85
    assert coarse.max() == pytest.approx(fine.max(), rel=0.25)


def test_what_the_user_says_of_the_pixel_size_counts_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.tif", section(8)[0], um=0.5)
    results = infer(tmp_path / "in", tmp_path / "out", mpp=0.25)
    told = infer(tmp_path / "in", tmp_path / "told")
    areas = [[float(row["area_um2"]) for row in r.table("measurements.csv")] for r in (results, told)]
    assert np.median(areas[0]) == pytest.approx(np.pi * (20 * 0.25 / 2) ** 2, rel=0.4)
    assert np.median(areas[1]) > 2 * np.median(areas[0])


def test_empty_glass_costs_nothing_and_changes_nothing(tmp_path: Path) -> None:
    pixels, _ = section(9, (512, 512))
    glass = np.full((512, 1536, 3), 243, np.uint8)
    check_skipping(np.hstack([pixels, glass]), tmp_path)


def test_half_a_real_section_of_glass_takes_half_the_time_and_changes_nothing(real_data: Path, tmp_path: Path) -> None:
    tissue = read_image(sorted((real_data / "monuseg" / "tissue_images").glob("*.tif"))[0]).pixels[:768, :768]
    glass = 243 + np.random.default_rng(0).integers(-3, 4, tissue.shape)
    check_skipping(np.hstack([tissue, glass.astype(np.uint8)]), tmp_path)


def check_skipping(pixels: np.ndarray, folder: Path) -> None:
    (folder / "in").mkdir()
    write_image(folder / "in" / "a.tif", pixels)
    small = {"patch_size": 256, "overlap": 32}
    best = [float("inf"), float("inf")]
    for _ in range(3):  # the quickest of each counts: other programs only ever add time
        skipped = infer(folder / "in", folder / "skipped", **small)
        whole = infer(folder / "in", folder / "whole", skip_background=False, **small)
        assert score_pixels(skipped.labels("a") > 0, whole.labels("a") > 0).dice >= 0.999
        taken = [results.json("summary.json")["seconds"]["network"] for results in (skipped, whole)]
        best = [min(pair) for pair in zip(best, taken, strict=True)]
        if best[0] < 0.7 * best[1]:
            return
    pytest.fail(f"{best[0]:.2f} s with skipping, {best[1]:.2f} s without")


def test_a_section_of_absurd_pixels_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "coarse.tif", section(3)[0], um=4.0)
    write_image(tmp_path / "in" / "white.tif", np.full((80, 90, 3), 255, np.uint8))
    output = tmp_path / "out"
    with pytest.raises(AssertionError, match="um per pixel"):
        infer(tmp_path / "in", output)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["images"] == 1
    assert [problem["name"] for problem in summary["problems"]] == ["coarse"]
    assert summary["objects"] == 0
