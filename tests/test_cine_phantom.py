"""The generated study: its truth is what was drawn, and its files are read back as what it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.cine.function import measure_volumes
from common.cine.phantom.files import write_phantom_pictures, write_phantom_study
from common.cine.phantom.study import Phantom, phantom_cine
from common.cine.reading.geometry import base_to_apex, to_patient
from common.cine.reading.study import read_studies
from common.datasets.lv_labels import read_lv_label
from common.datasets.records import load_datalist
from common.errors import InputError, Problem
from common.images.reading import read_image

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def beat() -> Phantom:
    """A whole heart beat on small images that are not square."""
    return phantom_cine(phases=20, slices=6, size=(120, 136), slice_distance_mm=10.0, seed=1)


@pytest.fixture(scope="module")
def ends() -> Phantom:
    """End-systole and end-diastole."""
    return phantom_cine(phases=2, slices=5, size=(120, 136), slice_distance_mm=11.0, seed=3)


@pytest.mark.parametrize("slices", [6, 12])
@pytest.mark.parametrize("seed", range(3))
def test_volumes_of_the_truth_are_those_of_the_ellipsoid(seed: int, slices: int) -> None:
    made = phantom_cine(phases=3, slices=slices, size=(128, 128), slice_distance_mm=66 / slices, seed=seed)
    measured = measure_volumes(made.truth, made.spacing_mm, made.slice_distance_mm).cavity_ml
    assert made.shape_ml.min() > 20
    assert np.allclose(measured, made.shape_ml, rtol=0.02 if slices == 12 else 0.04)


def test_the_function_is_that_of_the_truth(beat: Phantom) -> None:
    found, volumes = beat.function, measure_volumes(beat.truth, beat.spacing_mm, beat.slice_distance_mm).cavity_ml
    assert (found.edv_ml, found.esv_ml) == (volumes.max(), volumes.min())
    assert found.ejection_fraction_percent == pytest.approx(100 * (1 - volumes.min() / volumes.max()))
    assert 45 < found.ejection_fraction_percent < 65
    assert (found.ed_phase, found.es_phase) == (19, 7)
    assert found.notes == ()
    assert found.es_time_ms == pytest.approx(0.4 * beat.trigger_times_ms[-1])


def test_the_heart_empties_once_and_fills_again(beat: Phantom) -> None:
    steps = np.sign(np.diff(np.roll(beat.shape_ml, 1)))
    assert (steps[:8] == -1).all()
    assert (steps[8:] >= 0).all()


def test_the_muscle_keeps_its_volume_and_thickens(beat: Phantom) -> None:
    areas = [(beat.truth[:, 1] == kind).sum(axis=(1, 2)) * beat.spacing_mm[0] ** 2 for kind in (1, 2)]
    inner, outer = np.sqrt(areas[0] / np.pi), np.sqrt((areas[0] + areas[1]) / np.pi)
    muscle = beat.function.curve.myocardium_ml
    assert np.ptp(muscle) < 0.03 * muscle.mean()
    assert 7.5 < (outer - inner)[19] < 10
    assert (outer - inner)[7] > 1.2 * (outer - inner)[19]


def test_every_slice_has_a_cavity_closed_by_muscle(beat: Phantom) -> None:
    around = np.zeros(beat.truth.shape, bool)
    for axis, step in ((2, 1), (2, -1), (3, 1), (3, -1)):
        around |= np.roll(beat.truth == 1, step, axis)
    assert (beat.truth == 1).any(axis=(2, 3)).all()
    assert not (around & (beat.truth == 0)).any()


def test_blood_is_bright_muscle_grey_and_air_dark(beat: Phantom) -> None:
    for pixels, truth in zip(
        beat.pixels[:, :5].reshape(-1, 120, 136), beat.truth[:, :5].reshape(-1, 120, 136), strict=True
    ):
        blood, muscle = np.median(pixels[truth == 1]), np.median(pixels[truth == 2])
        assert 1.5 * muscle < blood < pixels.max()
        assert np.percentile(pixels, 5) < 0.3 * muscle


def test_papillary_muscles_are_dark_and_belong_to_the_cavity() -> None:
    made = phantom_cine(phases=1, slices=6, size=(128, 128), slice_distance_mm=10.0)
    middle, cavity = made.pixels[0, 2], made.truth[0, 2] == 1
    blood = np.median(middle[cavity])
    assert 0.03 < (middle[cavity] < 0.65 * blood).mean() < 0.3


def test_a_seed_gives_one_study_and_another_seed_another(ends: Phantom) -> None:
    again = phantom_cine(phases=2, slices=5, size=(120, 136), slice_distance_mm=11.0, seed=3)
    other = phantom_cine(phases=2, slices=5, size=(120, 136), slice_distance_mm=11.0, seed=4)
    assert np.array_equal(again.pixels, ends.pixels) and np.array_equal(again.truth, ends.truth)
    assert not np.array_equal(other.truth, ends.truth)


def test_one_phase_is_end_diastole_and_none_is_refused() -> None:
    one = phantom_cine(phases=1, slices=3, size=(96, 96), slice_distance_mm=20.0)
    assert (one.function.ed_phase, one.function.es_phase) == (0, None)
    assert one.function.edv_ml == pytest.approx(one.shape_ml[0], rel=0.05)
    with pytest.raises(ValueError, match="0 phases"):
        phantom_cine(phases=0)


@pytest.mark.parametrize("rotated", [False, True])
def test_a_study_is_read_back_in_its_order_and_place(tmp_path: Path, rotated: bool) -> None:
    made = phantom_cine(phases=4, slices=3, size=(40, 56), slice_distance_mm=20.0, rotated=rotated)
    paths = write_phantom_study(tmp_path / "study", made)
    problems: list[Problem] = []
    (study,) = read_studies(tmp_path / "study", problems)
    assert problems == []
    assert np.array_equal(study.pixels, np.rint(made.pixels))
    assert study.spacing_mm == made.spacing_mm
    assert study.slice_distance_mm == pytest.approx(20.0)
    assert np.allclose(study.positions, made.positions, atol=1e-5)
    assert np.allclose(study.orientation, made.orientation, atol=1e-8)
    assert np.allclose(study.trigger_times_ms, made.trigger_times_ms[:, None], atol=1e-3)
    assert [source.path for source in study.sources[1]] == [paths[1, place] for place in range(3)]
    assert study.sources[1][2].instance_number == 2 * 4 + 1 + 1
    assert paths[1, 2].name == "IM-0001-0010.dcm"
    # The image's middle runs down the long axis.
    middle = to_patient(study.affine, np.array([[27.5, 19.5, 0.0], [27.5, 19.5, 2.0]]))
    assert np.allclose(np.diff(middle, axis=0)[0], 40 * base_to_apex(made.orientation), atol=1e-5)
    assert (np.abs(made.orientation) < 0.99).all() == rotated


def test_the_same_phantom_gives_the_same_files_and_another_one_other_instances(tmp_path: Path) -> None:
    made = phantom_cine(phases=2, slices=2, size=(32, 32), slice_distance_mm=30.0)
    other = phantom_cine(phases=2, slices=2, size=(32, 32), slice_distance_mm=30.0, seed=5)
    files = [write_phantom_study(tmp_path / str(n), p)[1, 1] for n, p in enumerate((made, made, other))]
    assert files[0].read_bytes() == files[1].read_bytes()
    uids = {read_studies(file)[0].sources[0][0].sop_instance_uid for file in files[1:]}
    assert len(uids) == 2


def test_pictures_are_read_as_the_data_set_is(tmp_path: Path, beat: Phantom, ends: Phantom) -> None:
    write_phantom_pictures(tmp_path, beat, "SC-N-90")
    write_phantom_pictures(tmp_path, ends, "SC-HYP-91", challenge_group="training")
    problems: list[Problem] = []
    records = load_datalist(tmp_path, problems=problems)
    assert problems == []
    assert {record["group"]: record["challenge_group"] for record in records} == {
        "SC-N-90": "validation",
        "SC-HYP-91": "training",
    }
    for patient, made in (("SC-N-90", beat), ("SC-HYP-91", ends)):
        own = {(record["moment"], record["slice"]): record for record in records if record["group"] == patient}
        assert own.keys() == {(moment, part) for moment in ("ed", "es") for part in range(made.slices)}
        assert {record["phase"] for record in own.values()} == {20, 8 if made is beat else 10}
        phase = {"ed": made.function.ed_phase, "es": made.function.es_phase}
        for (moment, part), record in own.items():
            assert record["spacing_mm"] == list(made.spacing_mm)
            assert record["slice_distance_mm"] == made.slice_distance_mm
            assert read_image(record["image"]).pixels.shape[:2] == (120, 136)
            check_drawn(record, made.truth[phase[moment], part], moment)


def check_drawn(record: dict, truth: np.ndarray, moment: str) -> None:
    """The mask is larger by its outline, without which it is the truth."""
    exact = read_lv_label(record, truth.shape, outline_included=False)
    cavity = (truth == 1).sum()
    assert exact.myocardium_known == (moment == "ed")
    assert (exact.classes == 1).sum() == pytest.approx(cavity, rel=0.04)
    assert (read_lv_label(record, truth.shape).classes == 1).sum() > 1.06 * cavity
    if moment == "ed":
        assert (exact.classes == 2).sum() == pytest.approx((truth == 2).sum(), rel=0.03)


def test_frames_without_drawing_are_written_on_request(tmp_path: Path, ends: Phantom, beat: Phantom) -> None:
    assert len(write_phantom_pictures(tmp_path / "some", beat)) == 2 * 6
    assert len(write_phantom_pictures(tmp_path / "all", beat, labelled_only=False)) == 20 * 6
    assert len(list((tmp_path / "all" / "endocardium").iterdir())) == 2 * 6
    assert len(list((tmp_path / "all" / "epicardium").iterdir())) == 6


def test_a_patient_is_never_written_twice(tmp_path: Path, ends: Phantom) -> None:
    write_phantom_pictures(tmp_path, ends)
    with pytest.raises(InputError, match="SC-N-90"):
        write_phantom_pictures(tmp_path, ends)


def test_without_pydicom_everything_but_dicom_works(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["pydicom"] = None
from pathlib import Path
from common.cine.phantom.study import phantom_cine
from common.cine.phantom.files import write_phantom_pictures, write_phantom_study
from common.errors import InputError
made = phantom_cine(phases=2, slices=2, size=(64, 64), slice_distance_mm=30.0)
print(len(write_phantom_pictures({str(tmp_path)!r}, made)))
try:
    write_phantom_study({str(tmp_path)!r}, made)
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("4\n")
    assert "pip install 'pydicom" in done.stdout
    assert not list(tmp_path.glob("*.dcm"))
