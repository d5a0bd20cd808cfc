"""The gastruloid bundle from end to end: it learns from few frames, finds aggregates by its weights, names bad input."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from running import REPOSITORY, Results, command, environment, run

from common.brightfield.generated.movies import Movie, draw_movie

BUNDLE = REPOSITORY / "bundles" / "brightfield_gastruloid_segmentation"
GROUPS = 4
SHORT = {"size": 64, "batch_size": 8, "num_workers": 0, "samples_per_epoch": 32, "max_epochs": 3, "val_interval": 1}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of four generated movies with masks, each movie a group; one mask has another size than its frame."""
    folder = tmp_path_factory.mktemp("frames")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    rows = []
    for number in range(GROUPS):
        movie = draw_movie(4, 96, seed=number)
        for index, (pixels, mask) in enumerate(zip(movie.pixels, movie.truth, strict=True)):
            name = f"movie{number}_{index}.png"
            cv2.imwrite(str(folder / "images" / name), pixels)
            cut = 10 if (number, index) == (0, 1) else 0
            cv2.imwrite(str(folder / "masks" / name), mask[cut:] * 255)
            rows.append(f"{name},movie{number}\n")
    (folder / "images.csv").write_text("image,group\n" + "".join(rows))
    return folder


@pytest.fixture(scope="module")
def trained(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("trained")
    arguments = command(BUNDLE, ["train.json"], dataset_dir=frames, ckpt_dir=folder, hold_out="group=movie3", **SHORT)
    done = subprocess.run(arguments, cwd=REPOSITORY, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1, "a mask of another size: " + done.stdout[-2000:] + done.stderr[-2000:]
    return Results(folder, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def movie() -> Movie:
    return draw_movie(6, 200, seed=1, bits=16)


@pytest.fixture(scope="module")
def found(movie: Movie, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Inference with the shipped weights on a movie of 2 um per pixel whose fourth frame is black, and a broken file."""
    folder = tmp_path_factory.mktemp("movie")
    pixels = movie.pixels.copy()
    pixels[3] = 0
    (folder / "in").mkdir()
    scale = {"resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(folder / "in" / "growing.tif", pixels, photometric="minisblack", **scale)
    (folder / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    arguments = command(BUNDLE, ["inference.json"], dataset_dir=folder / "in", output_dir=folder / "out")
    done = subprocess.run(arguments, cwd=REPOSITORY, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1, "a file was left out: " + done.stdout[-2000:] + done.stderr[-2000:]
    return Results(folder / "out", done.stdout + done.stderr)


def test_a_training_keeps_groups_apart_lowers_the_loss_and_draws_its_curve(trained: Results) -> None:
    losses = [float(row["loss"]) for row in trained.table("log.csv")]
    assert len(losses) == 3 and losses[-1] < losses[0]
    split = json.loads((trained.folder / "split.json").read_text())
    assert split["groups"] == {"training": ["movie0", "movie1", "movie2"], "validation": ["movie3"], "test": []}
    assert (trained.folder / "loss_curve.svg").is_file()
    assert {"val_mean_dice", "val_mean_iou", "val_pixel_accuracy"} <= set(trained.table("validation.csv")[-1])


def test_a_mask_of_another_size_is_named_and_left_out(trained: Results) -> None:
    assert "movie0_1.png" in trained.printed and "86 x 96 pixels" in trained.printed


def test_an_evaluation_scores_the_group_that_was_held_out(frames: Path, trained: Results, tmp_path: Path) -> None:
    asked = {"ckpt_path": trained.folder / "model.pt", "hold_out": "group=movie3", "size": 64}
    arguments = command(BUNDLE, ["train.json", "evaluate.json"], dataset_dir=frames, output_dir=tmp_path, **asked)
    scores = run(arguments, tmp_path, REPOSITORY)
    rows = scores.table("metrics_per_image.csv")
    assert len(rows) == 4 and {row["group"] for row in rows} == {"movie3"}
    assert 0 <= scores.json("metrics.json")["metrics"]["mean_iou"]["estimate"] <= 1


def test_the_shipped_weights_find_an_aggregate_in_every_frame_but_the_black_one(movie: Movie, found: Results) -> None:
    labels = tifffile.imread(found.folder / "growing_label.tif")
    assert labels.shape == movie.truth.shape and labels.dtype == np.uint8
    assert not labels[3].any()
    shown = [index for index in range(len(labels)) if index != 3]
    both = (labels[shown] & movie.truth[shown]).sum()
    assert both / (labels[shown] | movie.truth[shown]).sum() > 0.85
    rows = found.table("measurements.csv")
    assert len(rows) == len(labels)
    assert not rows[3]["area_px"] and float(rows[0]["area_px"]) > 0
    assert float(rows[0]["area_um2"]) == pytest.approx(4 * float(rows[0]["area_px"]), rel=0.01)


def test_a_broken_file_is_named_and_the_rest_goes_on(found: Results) -> None:
    assert [problem["name"] for problem in found.json("summary.json")["problems"]] == ["broken"]
    assert (found.folder / "report.html").is_file() and (found.folder / "growing_movie.gif").is_file()
