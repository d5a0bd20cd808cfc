"""The bundle from end to end on generated images: it learns, survives a kill, and leaves what the contract promises.

Each run is a process of its own, as a user starts it: two bundles in one process would share a package named scripts.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from running import REPOSITORY, Results, command, environment, run, short_training

from common.images.reading import image_shape
from common.nuclei.synthetic import fluorescence_image, stained_image, write_bowl_layout

BUNDLE = REPOSITORY / "bundles" / "microscopy_nuclei_instance_segmentation"
EPOCHS = 6
TRAINING = {**short_training(EPOCHS), "train#crops#diameter": 12}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small images with truth, one of them not square, in the Data Science Bowl's layout."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(10):
        rng = np.random.default_rng(number)
        shape = (96, 128) if number == 0 else (112, 112)
        make = stained_image if number % 5 == 4 else fluorescence_image
        write_bowl_layout(folder, f"image_{number}", *make(shape, 16, 14, rng))
    return folder


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A short training, not interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = command(BUNDLE, ["train.json"], dataset_dir=images, ckpt_dir=folder, **TRAINING)
    return run(arguments, folder, REPOSITORY)


@pytest.fixture(scope="module")
def inferred(images: Path, trained: Results, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Inference with the trained weights, from the bundle's own folder with relative paths."""
    folder = tmp_path_factory.mktemp("inferred")
    arguments = command(Path(), ["inference.json"], dataset_dir=images, output_dir=folder)
    return run([*arguments, "--ckpt_path", str(trained.folder / "model.pt")], folder, BUNDLE)


@pytest.fixture(scope="module")
def evaluated(images: Path, trained: Results, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Evaluation of the fold that the training did not see, from the repository's root."""
    folder = tmp_path_factory.mktemp("evaluated")
    arguments = command(
        BUNDLE,
        ["train.json", "evaluate.json"],
        dataset_dir=images,
        output_dir=folder,
        ckpt_path=trained.folder / "model.pt",
        fold=0,
    )
    return run(arguments, folder, REPOSITORY)


@pytest.fixture(scope="module")
def exported(images: Path, trained: Results, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Inference of an exported copy, from elsewhere and without the repository."""
    home = tmp_path_factory.mktemp("exported")
    tool = [sys.executable, str(REPOSITORY / "scripts" / "export_bundle.py"), str(BUNDLE), str(home / "zoo")]
    subprocess.run(tool, check=True, capture_output=True)
    arguments = command(
        home / "zoo" / BUNDLE.name,
        ["inference.json"],
        dataset_dir=images,
        output_dir=home / "results",
        ckpt_path=trained.folder / "model.pt",
    )
    return run(arguments, home / "results", home)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def split(trained: Results) -> dict[str, str]:
    """On which side of the split each image was."""
    return {record["name"]: record["split"] for record in trained.json("split.json")["training"]}


def test_a_short_training_lowers_the_loss(trained: Results) -> None:
    losses = [float(row["loss"]) for row in trained.table("log.csv")]
    assert len(losses) == EPOCHS
    assert losses[-1] < 0.85 * losses[0]


def test_a_training_leaves_weights_split_and_metrics(trained: Results) -> None:
    assert all(value.dtype != torch.float32 for value in weights(trained.folder / "model.pt").values())
    assert Counter(split(trained).values()) == {"training": 8, "validation": 2}
    (metrics,) = trained.table("validation.csv")
    assert 0 <= float(metrics["val_mean_dice"]) <= 1
    assert not list(trained.folder.glob("*.partial*"))


def test_a_run_that_was_killed_and_resumed_ends_at_equal_weights(
    trained: Results, images: Path, tmp_path: Path
) -> None:
    arguments = command(BUNDLE, ["train.json"], dataset_dir=images, ckpt_dir=tmp_path, **TRAINING)
    first = subprocess.Popen(
        arguments, cwd=REPOSITORY, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    # An epoch's row of the log follows its checkpoint.
    while not (tmp_path / "log.csv").exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    assert first.wait() == -signal.SIGKILL, "the first run must be killed before it ends"
    epoch = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["epoch"]
    assert 1 <= epoch < EPOCHS
    resumed = run(arguments, tmp_path, REPOSITORY)
    assert f"after epoch {epoch}" in resumed.printed
    whole, parts = weights(trained.folder / "model.pt"), weights(tmp_path / "model.pt")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert [row["epoch"] for row in resumed.table("log.csv")] == [str(n + 1) for n in range(EPOCHS)]


@pytest.mark.parametrize("which", ["inferred", "exported"])
def test_inference_leaves_the_files_of_the_contract(which: str, images: Path, request: pytest.FixtureRequest) -> None:
    results: Results = request.getfixturevalue(which)
    names = [f"image_{number}" for number in range(10)]
    expected = {f"{name}{ending}" for name in names for ending in ("_label.tif", ".geojson", "_overlay.png")}
    assert {path.name for path in results.folder.iterdir()} >= expected | {
        "measurements.csv",
        "summary.json",
        "report.html",
    }
    assert not list(results.folder.glob("*.partial*"))
    for name in names:
        labels = results.labels(name)
        assert labels.shape == image_shape(images / name / "images" / f"{name}.png")
        assert labels.dtype in (np.uint16, np.uint32)
    assert all(f"{name}" in (results.folder / "report.html").read_text() for name in names)


def test_labels_polygons_measurements_and_summary_count_the_same_objects(inferred: Results) -> None:
    rows = Counter(row["image"] for row in inferred.table("measurements.csv"))
    for number in range(10):
        name = f"image_{number}"
        ids = np.unique(inferred.labels(name))
        features = inferred.json(f"{name}.geojson")["features"]
        assert len(ids) - 1 == len(features) == rows.get(name, 0)
    summary = inferred.json("summary.json")
    assert summary["images"] == 10
    assert summary["objects"] == sum(rows.values()) > 0
    assert summary["problems"] == []
    assert summary["seconds"]["wall"] >= summary["seconds"]["network"] > 0


def test_the_exported_copy_finds_what_the_bundle_finds(inferred: Results, exported: Results) -> None:
    for number in range(10):
        assert np.array_equal(inferred.labels(f"image_{number}"), exported.labels(f"image_{number}"))


def test_the_exported_copy_uses_its_own_shared_package(exported: Results) -> None:
    copy = exported.folder.parent / "zoo" / BUNDLE.name
    script = "import scripts.common as c; print(c.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=environment(), capture_output=True, text=True, check=True
    )
    assert Path(shown.stdout.strip()) == copy / "scripts" / "common" / "__init__.py"


def test_evaluation_scores_the_images_that_training_did_not_see(trained: Results, evaluated: Results) -> None:
    unseen = {name for name, side in split(trained).items() if side == "validation"}
    rows = evaluated.table("metrics_per_image.csv")
    assert {row["image"] for row in rows} == unseen
    assert {path.name for path in evaluated.folder.glob("*_label.tif")} == {f"{name}_label.tif" for name in unseen}


def test_evaluation_gives_every_metric_an_interval(evaluated: Results) -> None:
    metrics = evaluated.json("metrics.json")["metrics"]
    assert "mean_dice" in metrics
    for value in metrics.values():
        assert value["low"] <= value["estimate"] <= value["high"]


def test_evaluation_agrees_with_the_validation_of_the_training(trained: Results, evaluated: Results) -> None:
    (validated,) = trained.table("validation.csv")
    # The shipped weights are rounded to half precision.
    found = evaluated.json("metrics.json")["metrics"]["mean_dice"]["estimate"]
    assert found == pytest.approx(float(validated["val_mean_dice"]), abs=0.02)


def test_the_configuration_for_several_gpus_trains_with_one_process(images: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = {**TRAINING, "max_epochs": 1, "samples_per_epoch": 8, "batch_size": 4}
    arguments = command(
        BUNDLE, ["train.json", "multi_gpu_train.json"], dataset_dir=images, ckpt_dir=tmp_path, **options
    )
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    run(arguments, tmp_path, REPOSITORY, **place)
    # Names without DistributedDataParallel's prefix: one GPU can go on from there.
    names = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"]
    assert names.keys() == weights(tmp_path / "model.pt").keys()
