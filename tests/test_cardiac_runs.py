"""The cardiac bundle from end to end: it learns from drawn slices, and finds the heart's function in whole studies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from running import REPOSITORY, Results, command, environment, run

from common.cine.phantom.files import write_phantom_pictures, write_phantom_study
from common.cine.phantom.study import Phantom, phantom_cine
from common.datasets.contours import contour_to_mask, read_contour
from common.metrics.pixel import score_pixels

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

BUNDLE = REPOSITORY / "bundles" / "cardiac_cine_mr_lv_segmentation"
EPOCHS = 3
SMALL = {"pixel_mm": 2.0, "crop_size": 96, "num_folds": 2, "num_workers": 0}
TRAINING = {**SMALL, "max_epochs": EPOCHS, "val_interval": EPOCHS, "samples_per_epoch": 64, "batch_size": 8}

PATIENT = "Unmistakable^Patient"  # long enough not to occur by chance in an encoded picture

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn slices of four generated patients, two in each of the challenge's groups, in the data set's own layout."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        phantom = phantom_cine(phases=4, slices=5, size=(128, 112), spacing_mm=2.0, seed=number)
        group = "training" if number < 2 else "validation"
        write_phantom_pictures(folder, phantom, f"SC-N-9{number}", group)
    return folder


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("trained")
    asked = {"dataset_dir": pictures, "ckpt_dir": folder, "hold_out": "challenge_group=validation", **TRAINING}
    return run(command(BUNDLE, ["train.json"], **asked), folder, REPOSITORY)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return phantom_cine(phases=6, slices=6, size=(160, 144), spacing_mm=1.6, rotated=True, seed=1)


@pytest.fixture(scope="module")
def found(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Inference with the shipped weights on a generated study, one of whose files is cut off."""
    folder = tmp_path_factory.mktemp("study")
    files = write_phantom_study(folder / "in", phantom, patient=PATIENT)
    broken = folder / "in" / "IM-0001-9999.dcm"
    broken.write_bytes(files[0, 0].read_bytes()[:-3000])
    arguments = command(BUNDLE, ["inference.json"], dataset_dir=folder / "in", output_dir=folder / "out")
    done = subprocess.run(arguments, cwd=REPOSITORY, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1, "a file was left out: " + done.stdout[-2000:] + done.stderr[-2000:]
    return Results(folder / "out", done.stdout + done.stderr)


def test_a_training_lowers_the_loss_and_keeps_the_groups_of_the_challenge_apart(trained: Results) -> None:
    losses = [float(row["loss"]) for row in trained.table("log.csv")]
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]
    records = json.loads((trained.folder / "split.json").read_text())["training"]
    patients = {side: {r["group"] for r in records if r["split"] == side} for side in ("training", "validation")}
    assert patients == {"training": {"SC-N-90", "SC-N-91"}, "validation": {"SC-N-92", "SC-N-93"}}


def test_training_reports_pixel_accuracy_beside_dice(trained: Results) -> None:
    row = trained.table("validation.csv")[-1]
    assert {"val_mean_dice", "val_mean_iou", "val_epicardium_dice", "val_pixel_accuracy"} <= set(row)
    assert float(row["val_pixel_accuracy"]) > float(row["val_mean_dice"])


def test_evaluation_scores_contours_and_volumes_of_the_other_group(
    pictures: Path, trained: Results, tmp_path: Path
) -> None:
    asked = {"ckpt_path": trained.folder / "model.pt", "hold_out": "challenge_group=validation", **SMALL}
    arguments = command(BUNDLE, ["train.json", "evaluate.json"], dataset_dir=pictures, output_dir=tmp_path, **asked)
    scores = run(arguments, tmp_path, REPOSITORY)
    assert {row["group"] for row in scores.table("metrics_per_image.csv")} == {"SC-N-92", "SC-N-93"}
    assert 0 <= scores.json("metrics.json")["metrics"]["mean_dice"]["estimate"] <= 1
    assert {row["group"] for row in scores.table("metrics_per_patient.csv")} == {"SC-N-92", "SC-N-93"}


def test_the_shipped_weights_find_the_heart_and_its_function(phantom: Phantom, found: Results) -> None:
    row = found.table("function.csv")[0]
    truth = phantom.function
    assert truth.ejection_fraction_percent is not None
    assert float(row["ejection_fraction_percent"]) == pytest.approx(truth.ejection_fraction_percent, abs=12)
    assert int(row["ed_phase"]) - 1 == truth.ed_phase
    middle = phantom.slices // 2
    for phase in range(phantom.phases):
        predicted = found.labels(f"IM-0001-{middle * phantom.phases + phase + 1:04d}")
        assert predicted.shape == (160, 144)
        assert score_pixels(phantom.truth[phase, middle] == 1, predicted == 1).dice > 0.85


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(phantom: Phantom, found: Results) -> None:
    summary = found.json("summary.json")
    assert summary["frames"] == phantom.phases * phantom.slices
    assert [Path(problem["name"]).name for problem in summary["problems"]] == ["IM-0001-9999.dcm"]


def test_nothing_tells_who_the_patient_is(found: Results) -> None:
    for path in found.folder.rglob("*"):
        assert PATIENT[:12] not in path.name
        if path.suffix in (".csv", ".json", ".html", ".txt"):
            assert PATIENT[:12] not in path.read_text()


def test_masks_contours_nifti_and_segmentation_agree(phantom: Phantom, found: Results) -> None:
    row = found.table("function.csv")[0]
    phase, part = int(row["ed_phase"]) - 1, phantom.slices // 2
    number = part * phantom.phases + phase + 1
    name = row["stack"]
    labels = found.labels(f"IM-0001-{number:04d}")
    drawn = read_contour(
        found.folder / name / "contours-auto" / "medbundles" / f"IM-0001-{number:04d}-icontour-auto.txt"
    )
    assert np.array_equal(contour_to_mask(drawn, labels.shape, outline_included=True), labels == 1)
    volume = np.asarray(nibabel.load(found.folder / f"{name}_label.nii.gz").dataobj)
    assert np.array_equal(volume[:, :, part, phase].T, labels)
    pytest.importorskip("highdicom")
    segmentation = pydicom.dcmread(found.folder / f"{name}_seg_phase{phase + 1:02d}.dcm")
    assert segmentation.Modality == "SEG"
    frames = {
        (item.SegmentIdentificationSequence[0].ReferencedSegmentNumber, place): mask
        for item, mask in zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True)
        for place in [tuple(np.round(item.PlanePositionSequence[0].ImagePositionPatient, 2).tolist())]
    }
    here = tuple(np.round(phantom.positions[part], 2).tolist())
    assert np.array_equal(frames[1, here] > 0, labels == 1)
    assert np.array_equal(frames[2, here] > 0, labels == 2)


@pytest.mark.data
def test_the_volume_of_a_real_heart_falls_once_and_rises_once(real_data: Path, tmp_path: Path) -> None:
    study = real_data / "sunnybrook" / "challenge_training" / "SC-HF-I-1"
    done = run(command(BUNDLE, ["inference.json"], dataset_dir=study, output_dir=tmp_path), tmp_path, REPOSITORY)
    volumes = np.array([float(row["cavity_ml"]) for row in done.table("volumes.csv")])
    assert len(volumes) == 20
    smooth = np.mean([np.roll(volumes, shift) for shift in (-1, 0, 1)], axis=0)  # one noisy phase is no second beat
    falls = np.diff(np.append(smooth, smooth[0])) < 0
    assert np.count_nonzero(falls != np.roll(falls, 1)) == 2, "one minimum and one maximum of the closed cycle"
    row = done.table("function.csv")[0]
    assert float(row["edv_ml"]) > float(row["esv_ml"]) > 50
    assert 10 < float(row["ejection_fraction_percent"]) < 50, "heart failure"
