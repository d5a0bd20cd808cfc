"""The tissue bundle from end to end on generated sections: it learns, knows magnifications and skips empty glass."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from running import REPOSITORY, Results, command, run

from common.metrics.pixel import score_pixels
from common.synthetic import stained_image

BUNDLE = REPOSITORY / "bundles" / "pathology_nuclei_segmentation"
EPOCHS = 3
TRAINING = {
    "max_epochs": EPOCHS,
    "val_interval": EPOCHS,
    "samples_per_epoch": 64,
    "batch_size": 8,
    "num_workers": 0,
    "num_folds": 3,
    "train#crops#size": 64,
}

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


def test_empty_glass_costs_nothing_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels, _ = section(9, (512, 512))
    glass = np.full((512, 1536, 3), 243, np.uint8)
    write_image(tmp_path / "in" / "a.tif", np.hstack([pixels, glass]))
    small = {"patch_size": 256, "overlap": 32}
    skipped = infer(tmp_path / "in", tmp_path / "skipped", **small)
    whole = infer(tmp_path / "in", tmp_path / "whole", skip_background=False, **small)
    assert score_pixels(skipped.labels("a") > 0, whole.labels("a") > 0).dice >= 0.999
    network = [results.json("summary.json")["seconds"]["network"] for results in (skipped, whole)]
    assert network[0] < 0.7 * network[1]


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
