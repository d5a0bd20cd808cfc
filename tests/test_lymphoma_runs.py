"""The lymphoma bundle from end to end: it learns classes of generated tissue by slide, and its patches vote."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from running import REPOSITORY, Results, command, environment, run

from common.nuclei.synthetic import stained_image
from common.outputs.png import write_png

BUNDLE = REPOSITORY / "bundles" / "pathology_lymphoma_classification"
CLASSES = {
    "CLL": (150, 8),
    "FL": (40, 16),
    "MCL": (0, 12),
}  # nuclei and their diameter in pixels: nobody takes one for another
EPOCHS = 6
SMALL = {"patch_size": 200, "stride": 200, "num_workers": 0, "network_def#block_inplanes": "[8,8,16,16]"}
TRAINING = {"max_epochs": EPOCHS, "val_interval": EPOCHS, "samples_per_epoch": 48, "batch_size": 8, "num_folds": 2}

pytestmark = pytest.mark.slow


def write_images(folder: Path) -> None:
    """Two slides of each class with two images each; every slide has its own amount of eosin."""
    for number, (name, (count, diameter)) in enumerate(CLASSES.items()):
        (folder / name).mkdir(parents=True)
        for slide in range(2):
            rng = np.random.default_rng([number, slide])
            for image in range(2):
                made = stained_image((96, 128), count, diameter, rng, eosin=0.2 + 0.3 * slide)
                write_png(folder / name / f"made-{number}{slide}_{image:03d}.png", made.pixels)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("trained")
    asked = {"dataset_dir": images, "ckpt_dir": folder, "fold": 0, **SMALL, **TRAINING}
    return run(command(BUNDLE, ["train.json"], **asked), folder, REPOSITORY)


@pytest.fixture(scope="module")
def scored(images: Path, trained: Results, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("scored")
    asked = {"ckpt_path": trained.folder / "model.pt", "fold": 0, "num_folds": 2, **SMALL}
    arguments = command(BUNDLE, ["train.json", "evaluate.json"], dataset_dir=images, output_dir=folder, **asked)
    return run(arguments, folder, REPOSITORY)


def test_a_training_lowers_the_loss_and_shares_no_slide(trained: Results) -> None:
    losses = [float(row["loss"]) for row in trained.table("log.csv")]
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]
    records = json.loads((trained.folder / "split.json").read_text())["training"]
    slides = {side: {r["slide"] for r in records if r["split"] == side} for side in ("training", "validation")}
    assert len(slides["training"]) == len(slides["validation"]) == len(CLASSES)
    assert not slides["training"] & slides["validation"]
    assert "val_accuracy" in trained.table("validation.csv")[-1]


def test_evaluation_scores_images_and_slides_of_the_other_fold(scored: Results) -> None:
    metrics = scored.json("metrics.json")
    assert metrics["n_images"] == 6
    assert metrics["n_slides"] == 3
    accuracy = metrics["metrics"]["accuracy"]
    right = [row["true_class"] == row["predicted_class"] for row in scored.table("metrics_per_image.csv")]
    assert accuracy["estimate"] == pytest.approx(np.mean(right))
    assert accuracy["low"] <= accuracy["estimate"] <= accuracy["high"]
    for name in ("confusion.csv", "confusion.svg", "reliability.svg", "report.html"):
        assert (scored.folder / name).stat().st_size > 0


def test_inference_names_class_votes_and_probabilities_of_every_image(images: Path, tmp_path: Path) -> None:
    files = images / "MCL"
    found = run(command(BUNDLE, ["inference.json"], dataset_dir=files, output_dir=tmp_path), tmp_path, REPOSITORY)
    rows = found.table("predictions.csv")
    assert [row["image"] for row in rows] == sorted(path.stem for path in files.iterdir())
    for row in rows:
        assert row["predicted_class"] in CLASSES
        assert sum(float(row[f"probability_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
        assert sum(int(row[f"votes_{name}"]) for name in CLASSES) == int(row["patches"]) - int(row["white_patches"])
        assert (tmp_path / f"{row['image']}_votes.png").is_file()
    assert {row["slide"] for row in found.table("slides.csv")} == {"made-20", "made-21"}


def test_a_file_that_is_no_image_is_named_and_a_white_image_has_no_class(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_png(folder / "white_001.png", np.full((160, 160, 3), 250, np.uint8))
    (folder / "broken_001.png").write_bytes(b"no picture")
    (folder / "good_001.png").write_bytes((images / "CLL" / "made-00_000.png").read_bytes())
    arguments = command(BUNDLE, ["inference.json"], dataset_dir=folder, output_dir=tmp_path / "out")
    done = subprocess.run(arguments, cwd=REPOSITORY, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    found = Results(tmp_path / "out", done.stdout + done.stderr)
    assert "broken_001" in found.printed
    classes = {row["image"]: row["predicted_class"] for row in found.table("predictions.csv")}
    assert classes["white_001"] == ""
    assert classes["good_001"] in CLASSES
