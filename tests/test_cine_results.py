"""A run over cine stacks leaves whole, right and anonymous files, and names what it could not write."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from cine_items import COLUMNS, PHASES, ROWS, SLICES, discs, stack_item
from dicoms import PATIENT, write_cine
from ignite.engine import Engine
from PIL import Image
from readers import read_pixel_size
from scipy import ndimage
from test_report import Page

from common.cine.output.files import seg_choice, shown_phases, write_contours, write_frames
from common.cine.output.results import CineResults
from common.cine.output.tables import stack_function
from common.cine.reading.records import read_stacks
from common.cine.reading.stacks import stack_records
from common.cine.transforms import ReadStackd
from common.datasets.contours import contour_to_mask, read_contour
from common.errors import InputError, Problem
from common.outputs.labels import read_label_tiff
from common.outputs.nifti import read_nifti

SOURCE = ("name", "group", "kind", "pixels", "present", "spacing_mm", "paths", "stems", "instances", "phase_numbers")


def run(folder: Path, *items: dict[str, Any], **options: Any) -> CineResults:
    """Hands items on as an evaluator with ``decollate=False`` does: the source in its batch, the rest in its output."""

    def step(engine: Engine, batch: dict[str, Any]) -> dict[str, Any]:
        item = items[engine.state.iteration - 1]
        output = {key: value for key, value in item.items() if key not in SOURCE}
        return {"image": batch["image"], "label": None, **output}

    engine = Engine(step)
    handler = CineResults(folder, **options)
    handler.attach(engine)
    engine.run([{"image": torch.zeros(1), **{key: item[key] for key in SOURCE}} for item in items])
    return handler


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def dicom(tmp_path: Path) -> dict[str, Any]:
    """The item of a DICOM study of a made-up patient, as it is read, with discs for a prediction."""
    write_cine(tmp_path / "study", phases=PHASES, slices=SLICES)
    (record,) = stack_records(tmp_path / "study")
    (item,) = ReadStackd("image")(record)
    maps = np.zeros(item["pixels"].shape, np.uint8)
    for phase in range(PHASES):
        maps[phase, :, 2 : 10 - phase % 3, 3:14] = 2
        maps[phase, :, 4 : 8 - phase % 3, 5:12] = 1
    return {**item, "pred": maps, "removed_frames": (), "filled_frames": (), "seconds_decode": 0.1}


def test_a_run_leaves_the_files_of_the_contract_and_no_others(tmp_path: Path) -> None:
    item = stack_item()
    run(tmp_path, item)
    contours = tmp_path / "heart" / "contours-auto" / "medbundles"
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{stem}_label.tif" for row in item["stems"] for stem in row),
        *("heart", "heart_overlay.png", "heart_cine.gif", "measurements.csv", "volumes.csv", "function.csv"),
        *("summary.json", "report.html"),
    }
    assert {path.name for path in contours.iterdir()} == {
        f"IM-0001-{number:04d}-{kind}contour-auto.txt" for number in range(1, PHASES * SLICES + 1) for kind in "io"
    }


def test_label_files_hold_the_classes_and_the_pixel_size_of_frames_that_exist(tmp_path: Path) -> None:
    present = np.ones((PHASES, SLICES), bool)
    present[2, 1] = False
    item = stack_item(present=present)
    write_frames(tmp_path, item)
    assert len(list(tmp_path.iterdir())) == present.sum()
    for phase, part in np.argwhere(present):
        path = tmp_path / f"frame_{phase}_{part}_label.tif"
        assert np.array_equal(read_label_tiff(path), item["pred"][phase, part])
        assert read_pixel_size(path) == pytest.approx(1500)


@pytest.mark.parametrize("values", [{"spacing_assumed": True}, {"spacing_mm": (1.5, 1.2)}])
def test_a_pixel_size_that_is_not_known_or_not_one_number_is_not_written(tmp_path: Path, values: dict) -> None:
    write_frames(tmp_path, stack_item(phases=1, slices=1, **values))
    assert read_pixel_size(tmp_path / "frame_0_0_label.tif") is None


def test_probabilities_go_to_the_frames_they_belong_to(tmp_path: Path) -> None:
    present = np.ones((2, SLICES), bool)
    present[0, 1] = False
    probability = np.arange(5, dtype=np.uint8)[:, None, None, None] + np.zeros((5, 2, ROWS, COLUMNS), np.uint8)
    run(tmp_path, stack_item(phases=2, present=present, probability=probability), save_probabilities="true")
    for number, (phase, part) in enumerate(np.argwhere(present)):
        with Image.open(tmp_path / f"frame_{phase}_{part}_prob.tif") as picture:
            assert picture.n_frames == 2
            assert (np.asarray(picture) == number).all()
    assert not list((tmp_path).glob("frame_0_1*"))


def test_labels_of_240_frames_are_written_within_a_second_of_one_core(tmp_path: Path) -> None:
    maps = np.zeros((20, 12, 256, 256), np.uint8)
    maps[:, :, 100:140, 100:140] = discs(1, 1)[0, 0, :40, :40]
    stems = [[f"{phase}_{part}" for part in range(12)] for phase in range(20)]
    item = stack_item() | {"pred": maps, "present": np.ones((20, 12), bool), "stems": stems}
    began = time.thread_time()
    write_frames(tmp_path, item)
    assert time.thread_time() - began < 1.0
    assert len(list(tmp_path.iterdir())) == 240


@pytest.mark.parametrize("phases", [1, PHASES])
def test_a_volume_holds_all_phases_at_the_place_of_its_source(tmp_path: Path, phases: int) -> None:
    affine = np.array([[0, -1.5, 0.2, 5], [1.5, 0, 0.1, -3], [0, 0, 8, 7], [0, 0, 0, 1.0]])
    nowhere = [[None] * SLICES] * phases
    item = stack_item(phases, kind="nifti", affine=affine, time_step_ms=40.0, stems=nowhere)
    item["pixels"] = np.rint(item["pixels"])
    run(tmp_path, item, save_nifti_image=True)
    assert not list(tmp_path.glob("*.tif"))
    for name, expected, kind in (("label", item["pred"], np.uint8), ("image", item["pixels"], np.int16)):
        found = read_nifti(tmp_path / f"heart_{name}.nii.gz")
        assert np.array_equal(found.pixels, expected)
        assert found.pixels.dtype == kind
        assert np.allclose(found.affine, affine, atol=1e-5)
        assert found.time_step_ms == (pytest.approx(40) if phases > 1 else None)


def test_grey_values_between_whole_numbers_are_kept(tmp_path: Path) -> None:
    item = stack_item(1, affine=np.eye(4))
    run(tmp_path, item, save_nifti_image=True)
    assert np.array_equal(read_nifti(tmp_path / "heart_image.nii.gz").pixels, item["pixels"])


def blob(rng: np.random.Generator) -> np.ndarray:
    """(rows, columns) bool: a ragged part with holes, of any size from one pixel, and a smaller one."""
    field = ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), rng.uniform(0.5, 3))
    labels, _ = ndimage.label(field > np.quantile(field, rng.uniform(0.6, 0.995)), np.ones((3, 3)))
    return labels > 0


@pytest.mark.parametrize("seed", range(12))
def test_contours_read_back_give_the_filled_largest_part(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pred = np.zeros((2, 2, ROWS, COLUMNS), np.uint8)
    for frame in np.ndindex(2, 2):
        wall, cavity = blob(rng), blob(rng)
        pred[frame] = np.where(cavity, 1, np.where(wall, 2, 0))
    item = stack_item(2, 2, pred=pred)
    count = write_contours(tmp_path, item)
    folder = tmp_path / "heart" / "contours-auto" / "medbundles"
    assert count == len(list(folder.iterdir())) == 8
    for phase, part in np.ndindex(2, 2):
        for kind, mask in (("i", pred[phase, part] == 1), ("o", pred[phase, part] > 0)):
            path = folder / f"IM-0001-{item['instances'][phase, part]:04d}-{kind}contour-auto.txt"
            back = contour_to_mask(read_contour(path), (ROWS, COLUMNS), outline_included=True)
            labels, found = ndimage.label(mask, np.ones((3, 3)))
            parts = [ndimage.binary_fill_holes(labels == number) for number in range(1, found + 1)]
            assert any(np.array_equal(back, part) for part in parts)
            assert back.sum() >= 0.8 * max(part.sum() for part in parts)  # parts of one pixel or two have no area


def test_the_contour_of_one_part_is_that_part_exactly(tmp_path: Path) -> None:
    item = stack_item()
    write_contours(tmp_path, item)
    folder = tmp_path / "heart" / "contours-auto" / "medbundles"
    for phase, part in np.ndindex(PHASES, SLICES):
        for kind, mask in (("i", item["pred"][phase, part] == 1), ("o", item["pred"][phase, part] > 0)):
            path = folder / f"IM-0001-{item['instances'][phase, part]:04d}-{kind}contour-auto.txt"
            assert np.array_equal(contour_to_mask(read_contour(path), (ROWS, COLUMNS), outline_included=True), mask)


def test_without_myocardium_there_is_no_epicardium_and_without_cavity_nothing(tmp_path: Path) -> None:
    item = stack_item()
    item["pred"][0] = np.where(item["pred"][0] == 1, 1, 0)
    item["pred"][1] = 0
    write_contours(tmp_path, item)
    names = sorted(path.name for path in (tmp_path / "heart" / "contours-auto" / "medbundles").iterdir())
    first = {name for name in names if int(name[8:12]) in item["instances"][0]}
    assert {name[13] for name in first} == {"i"}
    assert not any(int(name[8:12]) in item["instances"][1] for name in names)
    assert len(names) == SLICES + 2 * 2 * SLICES


def test_the_animation_shows_every_phase(tmp_path: Path) -> None:
    run(tmp_path, stack_item(time_step_ms=40.0))
    with Image.open(tmp_path / "heart_cine.gif") as animation:
        assert animation.n_frames == PHASES
        assert animation.info["duration"] == 40


@pytest.mark.parametrize("values", [{"phases": 2}, {"pred": np.zeros((PHASES, SLICES, ROWS, COLUMNS), np.uint8)}])
def test_nothing_moves_in_two_phases_or_where_nothing_was_found(tmp_path: Path, values: dict) -> None:
    run(tmp_path, stack_item(**values))
    assert (tmp_path / "heart_overlay.png").is_file()
    assert not (tmp_path / "heart_cine.gif").exists()


def test_the_overlay_shows_the_phases_of_the_truth_where_there_are_any() -> None:
    item = stack_item(phase_numbers=[3, 9, 11, 20], trigger_times_ms=np.array([10.0, 50, 90, 130]))
    function = stack_function(item)
    assert shown_phases(item, function) == {0: "ED: phase 3, 10 ms", 2: "ES: phase 11, 90 ms"}
    drawn = {**item, "truth": item["pred"], "ed_phase": 3, "es_phase": 1}
    assert shown_phases(drawn, function) == {3: "ED: phase 20, 130 ms", 1: "ES: phase 9, 50 ms"}
    empty = stack_item(pred=np.zeros_like(item["pred"]))
    assert shown_phases(empty, stack_function(empty)) == {0: "phase 1", 1: "phase 2"}


def test_tables_and_summary_count_the_same_frames_and_stacks(tmp_path: Path) -> None:
    empty = stack_item(
        name="empty", stems=[[None] * SLICES] * PHASES, pred=np.zeros((PHASES, SLICES, ROWS, COLUMNS), int)
    )
    run(tmp_path, stack_item(removed_frames=((0, 1),)), empty, settings={"tta": False})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["stacks"], summary["frames"], summary["frames_with_ventricle"]) == (2, 24, 12)
    assert summary["stacks_without_ventricle"] == ["empty"]
    assert summary["seconds"]["decode"] == 1.0
    assert set(summary["seconds_of_writing"]) >= {"labels", "contours", "nifti", "dicom_seg", "overlay", "animation"}
    assert sum(summary["seconds_of_writing"].values()) <= summary["seconds"]["write"] + 0.01
    assert summary["each_stack"]["heart"]["frames_removed"] == 1
    assert len(table(tmp_path / "measurements.csv")) == 24
    assert len(table(tmp_path / "volumes.csv")) == 2 * PHASES
    first, second = table(tmp_path / "function.csv")
    assert float(first["edv_ml"]) > float(first["esv_ml"]) > 0
    assert (first["ed_phase"], first["es_phase"]) == ("1", "3")
    assert (second["edv_ml"], second["notes"]) == ("", "no left ventricle was found")


def test_the_page_holds_curve_animation_and_contours_of_every_stack(tmp_path: Path) -> None:
    run(tmp_path, stack_item(), stack_item(name="second", stems=[[None] * SLICES] * PHASES))
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    words = " ".join(page.texts)
    assert all(word in words for word in ("heart", "second", "EF in %", "Volumes of all phases", "endocardium", "ED "))
    assert [source[:15] for source in page.sources] == ["data:image/gif;", "data:image/jpeg"] * 2
    assert set(page.links) == {f"{name}_{file}" for name in ("heart", "second") for file in ("cine.gif", "overlay.png")}
    assert page.tags.count("polyline") == 4  # cavity and wall of two hearts


def test_animations_that_would_swell_the_page_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.report.moving.ROOM", 100)
    run(tmp_path, stack_item())
    page = Page((tmp_path / "report.html").read_text())
    assert [source[:15] for source in page.sources] == ["data:image/jpeg"]
    assert page.links == ["heart_cine.gif", "heart_overlay.png"]


def test_with_truth_there_are_metrics(tmp_path: Path) -> None:
    truth, known = discs(), np.zeros((PHASES, SLICES), bool)
    known[0] = True
    item = stack_item(
        truth=truth, drawn=np.ones((PHASES, SLICES), bool), myocardium_known=known, ed_phase=0, es_phase=2
    )
    run(tmp_path, item)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["n_images"] == PHASES * SLICES
    assert metrics["metrics"]["mean_dice"]["estimate"] == 1
    assert json.loads((tmp_path / "summary.json").read_text())["metrics"] == metrics["metrics"]
    assert len(table(tmp_path / "metrics_per_image.csv")) == PHASES * SLICES
    words = " ".join(Page((tmp_path / "report.html").read_text()).texts)
    assert "Contours against the truth" in words
    assert "truth" in words


def test_segmentations_are_written_of_both_ends_and_refer_to_their_slices(
    tmp_path: Path, dicom: dict[str, Any]
) -> None:
    pytest.importorskip("highdicom")
    run(tmp_path / "out", dicom)
    files = sorted((tmp_path / "out").glob("*_seg_phase*.dcm"))
    function = stack_function(dicom)
    ends = sorted(phase + 1 for phase in (function.ed_phase, function.es_phase) if phase is not None)
    assert [path.name for path in files] == [f"study_seg_phase{number:02d}.dcm" for number in ends]
    for path, number in zip(files, ends, strict=True):
        found = pydicom.dcmread(path)
        sources = {pydicom.dcmread(source).SOPInstanceUID for source in dicom["paths"][number - 1]}
        (series,) = found.ReferencedSeriesSequence
        assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == sources
        assert found.pixel_array.sum() == (dicom["pred"][number - 1] > 0).sum()
    run(tmp_path / "all", dicom, dicom_seg="all")
    assert len(list((tmp_path / "all").glob("*_seg_phase*.dcm"))) == PHASES
    run(tmp_path / "none", dicom, dicom_seg="false")
    assert not list((tmp_path / "none").glob("*_seg_phase*.dcm"))


def test_who_the_patient_is_stands_in_segmentations_alone(tmp_path: Path, dicom: dict[str, Any]) -> None:
    pytest.importorskip("highdicom")
    run(tmp_path / "out", dicom, save_nifti_image=True)
    secrets = [PATIENT.encode(), *PATIENT.encode().split(b"^"), b"secret-7", b"19700101", b"1.2.3.4", b"cine sax"]
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    segmentations = [path for path in files if path.suffix == ".dcm"]
    assert all(secrets[0] in path.read_bytes() for path in segmentations)
    assert len(segmentations) == 2
    for path in set(files) - set(segmentations):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        if path.suffix != ".html":  # its pictures are text, in which any short word may occur
            assert not any(secret in content for secret in secrets), path.name
    words = " ".join(Page((tmp_path / "out" / "report.html").read_text()).texts)
    assert not any(secret.decode() in words for secret in secrets)
    assert not any(secret.decode() in str(path.relative_to(tmp_path)) for path in files for secret in secrets)


def test_a_segmentation_that_fails_is_a_problem_and_the_rest_is_written(tmp_path: Path, dicom: dict[str, Any]) -> None:
    pytest.importorskip("highdicom")
    Path(dicom["paths"][0][1]).unlink()
    handler = run(tmp_path / "out", dicom, problems=[Problem("earlier", "left out")])
    assert [problem.name for problem in handler.problems] == ["earlier", "study"]
    assert len(list((tmp_path / "out").glob("*_label.tif"))) == PHASES * SLICES
    assert "study" in json.loads((tmp_path / "out" / "summary.json").read_text())["each_stack"]
    with pytest.raises(SystemExit):
        handler.exit()


def test_segmentations_need_their_package_unless_they_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [seg_choice(value) for value in ("false", "True", "all", False)] == ["none", "ends", "all", "none"]
    with pytest.raises(InputError, match="auto, all, true or false"):
        seg_choice("some")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert seg_choice("auto") == "none"
    with pytest.raises(InputError, match="pip install highdicom"):
        seg_choice("true")


def test_a_stack_that_cannot_be_written_is_a_problem_and_the_next_one_is(tmp_path: Path) -> None:
    (tmp_path / "heart").write_text("in the way of its contours")
    other = stack_item(name="other", stems=[[None] * SLICES] * PHASES)
    handler = run(tmp_path, stack_item(), other)
    assert [problem.name for problem in handler.problems] == ["heart"]
    assert [row["stack"] for row in table(tmp_path / "function.csv")] == ["other"]
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.data
def test_a_real_study_goes_from_its_files_to_its_report(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    (record,) = stack_records(real_data / "sunnybrook" / "challenge_training" / "SC-HF-I-2")
    (stack,) = read_stacks(record, [])
    pixels = stack.pixels
    maps = np.zeros(pixels.shape, np.uint8)
    maps[:, :, 110:140, 110:140] = 2
    maps[0, :, 114:136, 114:136] = 1
    maps[1:, :, 118:132, 118:132] = 1
    values = {name: getattr(stack, name) for name in SOURCE}
    values |= {"affine": stack.affine, "slice_distance_mm": stack.slice_distance_mm}
    run(tmp_path, stack_item(len(pixels), pixels.shape[1], **values, pred=maps))
    assert len(list(tmp_path.glob("*_label.tif"))) == stack.present.sum()
    assert len(list(tmp_path.glob("*_seg_phase*.dcm"))) == 2
    (row,) = table(tmp_path / "function.csv")
    areas = np.array([21**2, 13**2]) * np.prod(stack.spacing_mm)
    assert stack.slice_distance_mm is not None
    expected = areas * pixels.shape[1] * stack.slice_distance_mm / 1000
    assert [float(row[name]) for name in ("edv_ml", "esv_ml")] == pytest.approx(expected, rel=1e-5)
