"""Volumes with truth, ACDC's and one's own: every slice once, the same pixels and classes however they are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.cine.phantom.study import Phantom, phantom_cine
from common.cine.reading.geometry import stack_affine
from common.cine.reading.stacks import stack_records, stacks_of
from common.cine.regions import LvRegionsd
from common.cine.scores.summary import score_stack, summarise_cardiac, volumes_of, write_cardiac_metrics
from common.cine.scores.tables import read_frames
from common.cine.slices import read_slice
from common.cine.transforms import ReadSliced, ReadStackd
from common.datasets import acdc
from common.datasets.datalist import read_datalist, write_datalist
from common.datasets.lv_labels import read_lv_label
from common.datasets.records import load_datalist
from common.datasets.splits import Split
from common.engine.losses import PartialClassLoss
from common.errors import InputError, Problem
from common.outputs import nifti
from common.outputs.nifti import kept_nifti, write_nifti

pytest.importorskip("nibabel")

REPOSITORY = Path(__file__).resolve().parents[1]
SLICES, ES = 5, 3
TO_ACDC = np.array([0, 3, 2], np.uint8)


def heart(seed: int) -> Phantom:
    return phantom_cine(phases=ES + 1, slices=SLICES, size=(48, 40), spacing_mm=4.0, rotated=seed % 2 == 1, seed=seed)


def place(phantom: Phantom) -> np.ndarray:
    return stack_affine(phantom.positions, phantom.orientation, phantom.spacing_mm)


def truth_of(phantom: Phantom, phase: int) -> np.ndarray:
    """The phantom fills every slice; here the first one is above the ventricle."""
    truth = phantom.truth[phase].copy()
    truth[0] = 0
    return truth


def write_patient(folder: Path, number: int) -> Phantom:
    """ACDC's files of one generated patient; the right ventricle is a square in the corner."""
    phantom, name = heart(number), f"patient{number:03d}"
    own = folder / name
    own.mkdir(parents=True)
    for phase in (0, ES):
        drawn = TO_ACDC[truth_of(phantom, phase)]
        drawn[1:, :4, :4] = 1
        stem = own / f"{name}_frame{phase + 1:02d}"
        write_nifti(f"{stem}.nii.gz", phantom.pixels[phase], place(phantom))
        write_nifti(f"{stem}_gt.nii.gz", drawn, place(phantom))
    write_nifti(own / f"{name}_4d.nii.gz", phantom.pixels, place(phantom), 40)
    (own / "Info.cfg").write_text(f"ED: 1\nES: {ES + 1}\nGroup: DCM\nHeight: 168.0\nNbFrame: {ES + 1}\nWeight: 70.0\n")
    return phantom


def write_own(folder: Path, name: str, pixels: np.ndarray, truth: np.ndarray, affine: np.ndarray) -> None:
    for part, values in (("images", pixels), ("masks", truth)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        write_nifti(folder / part / f"{name}.nii.gz", values, affine)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, list[Phantom]]:
    """Two patients, the second one's slices at an angle to all axes."""
    folder = tmp_path / "ACDC"
    return folder, [write_patient(folder / "database" / "training", number) for number in (2, 1)]


def test_every_slice_of_a_frame_is_a_record(two: tuple[Path, list[Phantom]]) -> None:
    folder, phantoms = two
    found = load_datalist(folder)
    assert len(found) == 2 * 2 * SLICES == len({record["name"] for record in found})
    record = next(record for record in found if record["name"] == "patient002_frame04_s03")
    assert Path(record["image"]).name == "patient002_frame04.nii.gz"
    assert Path(record["label"]).name == "patient002_frame04_gt.nii.gz"
    assert (record["plane"], record["slice"], record["phase"], record["moment"]) == (2, 2, 4, "es")
    assert (record["group"], record["modality"]) == ("patient002", "cine_mr")
    assert record["spacing_mm"] == pytest.approx([4, 4]) and record["slice_distance_mm"] == pytest.approx(8)
    assert record["instance"] == 2 * (ES + 1) + 4
    assert {record["moment"] for record in found} == {"ed", "es"}


@pytest.mark.parametrize("patient", ["patient001", "patient002"])
def test_slices_and_stacks_agree_on_pixels_and_truth(two: tuple[Path, list[Phantom]], patient: str) -> None:
    folder, phantoms = two
    phantom = phantoms[patient == "patient001"]
    own = [record for record in load_datalist(folder) if record["group"] == patient]
    [record] = stacks_of(own)
    [item] = ReadStackd("image", pixel_mm=4.0)(record)
    assert (item["name"], item["group"], item["problems"], item["phase_numbers"]) == (patient, patient, [], [1, ES + 1])
    assert item["present"].all() and item["drawn"].all() and item["myocardium_known"].all()
    assert (item["ed_phase"], item["es_phase"]) == (0, 1)
    assert np.array_equal(item["pixels"], phantom.pixels[[0, ES]])
    assert np.array_equal(item["truth"], [truth_of(phantom, 0), truth_of(phantom, ES)])
    single = ReadSliced("image", pixel_mm=4.0)
    for record, place_ in zip(own, np.argwhere(item["present"]).tolist(), strict=True):
        read, (phase, part) = single(record), place_
        assert np.array_equal(read["source"], item["pixels"][phase, part])
        assert np.array_equal(read["truth"], item["truth"][phase, part]) and read["myocardium_known"]
        assert torch.equal(read["image"], item["image"][phase * SLICES + part])
        assert item["stems"][phase][part] == record["name"]


def test_a_patient_is_on_one_side_of_a_split_and_survives_the_list(two: tuple[Path, list[Phantom]]) -> None:
    folder, _ = two
    split = Split(folder, fold=0, num_folds=2)
    sides = [{record["group"] for record in side} for side in (split.training, split.validation)]
    assert sides[0] and sides[1] and not sides[0] & sides[1] and split.problems == []
    write_datalist(folder / "list.json", split.training)
    again = read_datalist(folder / "list.json")
    assert again == split.training and json.dumps(again)
    assert len(stacks_of(again)) == 1


def test_an_empty_slice_trains_and_is_scored(two: tuple[Path, list[Phantom]]) -> None:
    folder, _ = two
    own = [record for record in load_datalist(folder) if record["group"] == "patient001"]
    label = ReadSliced("image", pixel_mm=4.0)(own[0])["label"]
    assert not label.any()
    logits = torch.zeros(1, 3, *label.shape[1:], requires_grad=True)
    loss = PartialClassLoss()(logits, label[None])
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()

    [item] = ReadStackd("image")(stacks_of(own)[0])
    item["pred"] = item["truth"].copy()
    item["pred"][1, 0, 10:20, 10:20] = 1  # a cavity where there is none
    missed, found = [row for row in score_stack(item) if row.slice == 1]
    assert (missed.endocardium, missed.epicardium, missed.myocardium, missed.pixel_accuracy) == (None, None, None, 1.0)
    assert found.endocardium is not None and found.endocardium.dice == 0 and found.myocardium is None
    metrics = summarise_cardiac(score_stack(item), [volumes_of(item)])["metrics"]  # type: ignore[list-item]
    drawn = 2 * (SLICES - 1)
    assert metrics["mean_dice"]["estimate"] == pytest.approx(drawn / (drawn + 1))
    assert metrics["myocardium_mean_dice"]["estimate"] == pytest.approx(1)
    write_cardiac_metrics(folder / "out", score_stack(item), [])
    assert len(read_frames(folder / "out" / "metrics_per_image.csv")) == 2 * SLICES
    regions = LvRegionsd("pred")(item)
    assert regions["label_cavity"].shape[0] == 2 * SLICES and not regions["label_cavity"][0].any()


def test_a_frame_without_label_and_a_label_without_frame_are_named(two: tuple[Path, list[Phantom]]) -> None:
    folder, _ = two
    own = folder / "database" / "training"
    (own / "patient001" / "patient001_frame01_gt.nii.gz").unlink()
    (own / "patient002" / "patient002_frame04.nii.gz").unlink()
    problems: list[Problem] = []
    found = load_datalist(folder, problems=problems)
    assert [problem.name for problem in problems] == ["patient001_frame01", "patient002_frame04_gt"]
    assert {record["name"][:18] for record in found} == {"patient001_frame04", "patient002_frame01"}
    with pytest.raises(InputError, match="patient001_frame01_gt.nii.gz"):
        load_datalist(folder)
    unlabelled = load_datalist(folder, need_labels=False)
    assert [r["label"] for r in unlabelled if r["name"].startswith("patient001_frame01")] == [None] * SLICES


def test_what_cannot_be_used_is_named_once_and_the_rest_goes_on(two: tuple[Path, list[Phantom]]) -> None:
    folder, phantoms = two
    first, second = (folder / "database" / "training" / f"patient00{n}" for n in (1, 2))
    cut_off(first / "patient001_frame01.nii.gz")
    cut_off(first / "patient001_frame04_gt.nii.gz")
    write_nifti(second / "patient002_frame01_gt.nii.gz", np.zeros((SLICES, 40, 48), np.uint8), np.eye(4))
    problems: list[Problem] = []
    found = load_datalist(folder, problems=problems)
    reasons = {problem.name: problem.reason for problem in problems}
    assert list(reasons) == ["patient001_frame01", "patient001_frame04", "patient002_frame01"]
    assert "patient001_frame01.nii.gz" in reasons["patient001_frame01"]
    assert "patient001_frame04_gt.nii.gz" in reasons["patient001_frame04"]
    assert "1 x 5 x 40 x 48" in reasons["patient002_frame01"] and "1 x 5 x 48 x 40" in reasons["patient002_frame01"]
    assert {record["name"][:18] for record in found} == {"patient002_frame04"}
    # Also where the file changes after it was listed.
    (record,) = [record for record in found if record["plane"] == 1]
    write_nifti(record["label"], np.zeros((SLICES, 40, 48), np.uint8), np.eye(4))
    with pytest.raises(InputError, match="40 rows x 48 columns"):
        read_lv_label(record, (48, 40))


def test_other_values_are_refused_with_the_file(two: tuple[Path, list[Phantom]], tmp_path: Path) -> None:
    folder, phantoms = two
    label = folder / "database" / "training" / "patient002" / "patient002_frame01_gt.nii.gz"
    write_nifti(label, np.full((SLICES, 48, 40), 4, np.uint8), np.eye(4))
    with pytest.raises(InputError, match=r"patient002_frame01_gt.nii.gz: found the values 4; expected 0 to 3"):
        load_datalist(folder)
    write_own(tmp_path / "own", "a", phantoms[0].pixels[0], TO_ACDC[phantoms[0].truth[0]], place(phantoms[0]))
    with pytest.raises(InputError, match=r"a.nii.gz: found the values 0, 2, 3; expected 0, 1"):
        load_datalist(tmp_path / "own")


@pytest.mark.parametrize("line", ["ED: one", "NbFrame: "])
def test_an_unusable_info_file_is_named_and_none_leaves_the_moments_open(tmp_path: Path, line: str) -> None:
    write_patient(tmp_path, 3)
    (tmp_path / "patient003" / "Info.cfg").write_text(line)
    with pytest.raises(InputError, match=r"Info.cfg"):
        load_datalist(tmp_path)
    (tmp_path / "patient003" / "Info.cfg").unlink()
    found = load_datalist(tmp_path)
    assert {(record["moment"], record["instance"]) for record in found} == {(None, None)}
    [item] = ReadStackd("image")(stacks_of(found)[0])
    assert len(np.unique(item["instances"])) == 2 * SLICES


# One's own volumes


def test_own_volumes_of_two_moments_are_one_heart_of_the_slices_with_cavity(tmp_path: Path) -> None:
    phantom = heart(4)
    for phase, name in ((0, "x_ed"), (ES, "x_es")):
        write_own(tmp_path, name, phantom.pixels[phase], truth_of(phantom, phase), place(phantom))
    found = load_datalist(tmp_path)
    assert len(found) == 2 * (SLICES - 1) and {record["group"] for record in found} == {"x"}
    [item] = ReadStackd("image")(stacks_of(found)[0])
    assert (item["name"], item["ed_phase"], item["es_phase"]) == ("x", 0, 1)
    assert np.array_equal(item["truth"], phantom.truth[[0, ES], 1:])
    assert found[0]["name"] == "x_ed_s02"


def test_a_table_of_patients_keeps_two_hearts_of_one_patient_together_and_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "c")):
        phantom = heart(number)
        write_own(tmp_path, name, phantom.pixels[0], phantom.truth[0], place(phantom))
    (tmp_path / "patients.csv").write_text("image,patient\na,p1\nb,p1\nc,p2\n")
    found = load_datalist(tmp_path)
    assert [(record["name"], record["group"]) for record in stacks_of(found)] == [("a", "p1"), ("b", "p1"), ("c", "p2")]
    split = Split(tmp_path, fold=0, num_folds=2)
    assert len({record["stack"] for record in split.training} | {record["stack"] for record in split.validation}) == 3


def test_of_a_volume_of_several_phases_the_drawn_ones_are_taken(tmp_path: Path) -> None:
    phantom = heart(5)
    truth = phantom.truth.copy()
    truth[1] = 0  # nobody drew this phase, and of the last the cavity alone
    truth[ES][truth[ES] == 2] = 0
    write_own(tmp_path, "heart", phantom.pixels, truth, place(phantom))
    found = load_datalist(tmp_path)
    assert sorted({record["phase"] for record in found}) == [1, 3, 4]
    assert found[-1]["name"] == "heart_p04_s05" and found[-1]["plane"] == ES * SLICES + SLICES - 1
    [item] = ReadStackd("image")(stacks_of(found)[0])
    assert item["phase_numbers"] == [1, 3, 4] and item["myocardium_known"].all(axis=1).tolist() == [True, True, False]
    assert np.array_equal(item["truth"], truth[[0, 2, 3]]) and np.array_equal(item["pixels"], phantom.pixels[[0, 2, 3]])


def test_own_volumes_without_partner_or_cavity_are_named(tmp_path: Path) -> None:
    phantom = heart(6)
    for name, truth in (("a", phantom.truth[0]), ("b", phantom.truth[0]), ("c", np.zeros_like(phantom.truth[0]))):
        write_own(tmp_path, name, phantom.pixels[0], truth, place(phantom))
    (tmp_path / "masks" / "b.nii.gz").unlink()
    problems: list[Problem] = []
    found = load_datalist(tmp_path, problems=problems)
    assert [problem.name for problem in problems] == ["b", "c"] and {record["stack"] for record in found} == {"a"}


def test_a_mask_that_lies_elsewhere_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    phantom = heart(6)
    write_own(tmp_path, "a", phantom.pixels[0], phantom.truth[0], place(phantom))
    load_datalist(tmp_path)
    assert not caplog.records
    write_nifti(tmp_path / "masks" / "a.nii.gz", phantom.truth[0], np.diag([-1.0, 1, 1, 1]) @ place(phantom))
    load_datalist(tmp_path)
    assert "voxel by voxel" in caplog.text


def test_pictures_are_not_taken_for_volumes(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"")
    assert not acdc.matches(tmp_path)


# One plane of a volume


def test_a_plane_has_to_be_named_and_there(two: tuple[Path, list[Phantom]]) -> None:
    folder, phantoms = two
    record = load_datalist(folder)[0]
    for plane in (None, -1, SLICES, "1"):
        with pytest.raises(InputError, match="5 slices"):
            read_slice(record["image"], plane=plane)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="5 slices"):
        read_lv_label({**record, "plane": SLICES}, (48, 40))
    one = folder / "one.nii"
    write_nifti(one, phantoms[0].pixels[0, :1], np.diag([2.0, 3, 8, 1]))
    found = read_slice(one)
    assert np.array_equal(found.pixels, phantoms[0].pixels[0, 0]) and found.spacing_mm == pytest.approx((3, 2))
    assert read_slice(one, [1.5, 1.5]).spacing_mm == (1.5, 1.5)


def test_a_volume_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Any] = []
    real = nifti.read_nifti
    monkeypatch.setattr(nifti, "read_nifti", lambda path: reads.append(path) or real(path))
    path = tmp_path / "a.nii.gz"
    write_nifti(path, np.zeros((3, 8, 8), np.float32), np.eye(4))
    slices = [read_slice(path, plane=plane).pixels for plane in (0, 1, 2)]
    assert len(reads) == 1
    slices[0][:] = 7  # what is handed out is the caller's own
    assert not read_slice(path, plane=0).pixels.any()
    with pytest.raises(ValueError):
        kept_nifti(path).pixels[:] = 1
    write_nifti(path, np.ones((3, 8, 8), np.float32), np.eye(4))
    os.utime(path, ns=(1, 1))
    assert read_slice(path, plane=0).pixels.all() and len(reads) == 2


def test_inference_still_takes_the_volumes_themselves(two: tuple[Path, list[Phantom]]) -> None:
    found = stack_records(two[0])
    assert {record["kind"] for record in found} == {"nifti"} and len(found) == 6


def test_without_nibabel_the_readers_import_and_the_error_names_the_package(two: tuple[Path, list[Phantom]]) -> None:
    code = """
import sys
sys.modules["nibabel"] = None
from common.cine.reading.pictures import read_pictures
from common.datasets.records import load_datalist
try:
    load_datalist(sys.argv[1])
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(two[0])], cwd=REPOSITORY, capture_output=True, text=True)
    assert "pip install 'nibabel" in done.stdout, done.stderr
