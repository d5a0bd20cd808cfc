"""Scores of classes: against brute force, by slide, with intervals, and read back as they were written."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as PilImage
from running import REPOSITORY, script_module

from common.crossval.out_of_fold import gather, write_gathered
from common.crossval.runs import CrossValidation, Plan
from common.engine.checkpoints import file_hash
from common.errors import InputError
from common.figures import CLASSES, figures_of
from common.metrics.classification import ClassRow, class_scores, confusion_matrix, reliability, slide_rows
from common.metrics.classification_summary import (
    class_tables,
    read_rows,
    rows_table,
    summarise_classes,
    write_class_metrics,
)
from common.report.class_plots import confusion_plot, reliability_plot

NAMES = ("CLL", "FL", "MCL")


def random_rows(seed: int, count: int = 120, skill: float = 1.0) -> list[ClassRow]:
    """Images of 24 slides of 12 cases, right more often than not; a few have no class."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        slide = number % 24
        truth = slide // 2 % 3
        probabilities = rng.dirichlet(np.ones(3) + skill * (np.arange(3) == truth))
        predicted = -1 if rng.random() < 0.05 else int(probabilities.argmax())
        votes = (0, 0, 0) if predicted < 0 else tuple(rng.multinomial(50, probabilities).tolist())
        name = f"i{number:03d}"
        rows.append(ClassRow(name, f"c{slide // 2}", f"s{slide}", truth, predicted, tuple(probabilities), votes))
    return rows


def row(truth: int, predicted: int, confidence: float = 1.0, slide: str = "s", name: str = "i") -> ClassRow:
    """Of two classes."""
    probabilities = (confidence, 1 - confidence) if predicted == 0 else (1 - confidence, confidence)
    return ClassRow(name, slide, slide, truth, predicted, probabilities, (1, 1))


@pytest.mark.parametrize("seed", range(8))
def test_scores_equal_their_definitions_counted_one_by_one(seed: int) -> None:
    rows = random_rows(seed)
    matrix = confusion_matrix(rows, 3)
    assert matrix.sum() == len(rows)
    scores = class_scores(matrix)
    assert scores.accuracy == pytest.approx(np.mean([r.truth == r.predicted for r in rows]))
    recalls, f1s = [], []
    for index in range(3):
        true = [r for r in rows if r.truth == index]
        found = [r for r in rows if r.predicted == index]
        right = sum(r.predicted == index for r in true)
        recalls.append(right / len(true))
        precision = right / len(found)
        f1s.append(2 * precision * recalls[-1] / (precision + recalls[-1]))
        assert (scores.recall[index], scores.precision[index]) == pytest.approx((recalls[-1], precision))
        assert scores.f1[index] == pytest.approx(f1s[-1])
    assert (scores.balanced_accuracy, scores.macro_f1) == pytest.approx((np.mean(recalls), np.mean(f1s)))


@pytest.mark.parametrize("seed", range(8))
def test_the_calibration_error_equals_its_definition(seed: int) -> None:
    rows = [r for r in random_rows(seed) if r.predicted >= 0]
    expected = 0.0
    for low in range(10):
        own = [r for r in rows if low / 10 < max(r.probabilities) <= (low + 1) / 10]
        if own:
            accuracy = np.mean([r.truth == r.predicted for r in own])
            expected += len(own) / len(rows) * abs(accuracy - np.mean([max(r.probabilities) for r in own]))
    assert reliability(rows).calibration_error == pytest.approx(expected)


def test_perfect_answers_are_perfect_and_calibrated() -> None:
    rows = [row(number % 2, number % 2, slide=f"s{number}") for number in range(10)]
    metrics = summarise_classes(rows, "ab", resamples=50)["metrics"]
    perfect = {name: value["estimate"] for name, value in metrics.items() if name != "calibration_error"}
    assert set(perfect.values()) == {1.0}
    assert metrics["calibration_error"]["estimate"] == 0


def test_confidence_in_wrong_answers_is_an_error_of_calibration() -> None:
    assert reliability([row(0, 1, 0.95)] * 4).calibration_error == pytest.approx(0.95)
    assert reliability([row(0, 0, 0.75)] * 3 + [row(1, 0, 0.75)]).calibration_error == pytest.approx(0)
    assert math.isnan(reliability([row(0, -1)]).calibration_error)


def test_an_image_without_class_is_wrong_and_in_the_last_column() -> None:
    rows = [row(0, 0), row(0, -1), row(1, 1)]
    matrix = confusion_matrix(rows, 2)
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0]]
    scores = class_scores(matrix)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.recall.tolist() == [0.5, 1] and scores.precision.tolist() == [1, 1]


def test_a_class_that_does_not_occur_has_no_recall_and_does_not_lower_the_mean() -> None:
    scores = class_scores(confusion_matrix([row(0, 0), row(0, 0)], 2))
    assert scores.balanced_accuracy == 1 and math.isnan(scores.recall[1]) and math.isnan(scores.precision[1])
    summary = summarise_classes([row(0, 0), row(0, 0)], "ab")
    assert summary["metrics"]["recall_b"] == {"estimate": None, "low": None, "high": None}
    json.dumps(summary, allow_nan=False)


def test_classes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        confusion_matrix([row(0, 2)], 2)
    with pytest.raises(ValueError, match="a probability for each"):
        summarise_classes([row(0, 0)], NAMES)
    with pytest.raises(ValueError, match="no images"):
        summarise_classes([], NAMES)


def test_a_slide_has_the_class_of_the_mean_probability_of_its_images() -> None:
    rows = [row(0, 1, 0.55, "s", "a"), row(0, 1, 0.55, "s", "b"), row(0, 0, 0.95, "s", "c"), row(1, -1, 1, "t", "d")]
    sure, empty = slide_rows(rows)
    assert (sure.image, sure.predicted, sure.votes) == ("s", 0, (1, 2)), "one sure image outweighs two unsure ones"
    assert sum(sure.probabilities) == pytest.approx(1)
    assert empty.predicted == -1 and empty.votes == (0, 0)


def test_slides_count_once_however_many_images_they_have() -> None:
    rows = [row(0, 0, slide="s", name=str(number)) for number in range(9)] + [row(1, 0, slide="t", name="z")]
    summary = summarise_classes(rows, "ab")
    assert summary["metrics"]["accuracy"]["estimate"] == 0.9
    assert summary["metrics"]["slide_accuracy"]["estimate"] == 0.5
    assert (summary["n_images"], summary["n_slides"], summary["n_groups"]) == (10, 2, 2)
    assert summary["slide_confusion"] == [[1, 0, 0], [1, 0, 0]]


def test_intervals_draw_whole_cases_and_contain_the_estimate() -> None:
    rows = random_rows(0)
    metrics = summarise_classes(rows, NAMES, resamples=200)["metrics"]
    for name in ("accuracy", "balanced_accuracy", "slide_accuracy"):
        assert metrics[name]["low"] < metrics[name]["estimate"] < metrics[name]["high"], name
    # Whole cases that are right or wrong leave a wider interval than single images would.
    split_cases = [r._replace(predicted=r.truth if int(r.group[1:]) % 2 else (r.truth + 1) % 3) for r in rows]
    wide = summarise_classes(split_cases, NAMES, resamples=200)["metrics"]["accuracy"]
    single = [r._replace(group=r.image) for r in split_cases]
    narrow = summarise_classes(single, NAMES, resamples=200)["metrics"]["accuracy"]
    assert wide["estimate"] == narrow["estimate"] and wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


@pytest.mark.parametrize("seed", range(4))
def test_rows_written_and_read_are_the_same(seed: int, tmp_path: Path) -> None:
    rows = random_rows(seed)
    (tmp_path / "rows.csv").write_text(rows_table(rows, NAMES))
    assert read_rows(tmp_path / "rows.csv") == (rows, NAMES)


def test_a_table_that_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(rows_table(random_rows(0), NAMES).replace("i001,c0,s1,CLL", "i001,c0,s1,ABC"))
    with pytest.raises(InputError, match="line 3, which cannot be read"):
        read_rows(tmp_path / "rows.csv")


def test_an_evaluation_writes_its_files_and_tables(tmp_path: Path) -> None:
    rows = random_rows(1)
    metrics = write_class_metrics(tmp_path, rows, NAMES)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    found = list(csv.DictReader(io.StringIO((tmp_path / "confusion.csv").read_text())))
    assert [line["true_class"] for line in found] == [*NAMES, *NAMES]
    assert (
        sum(int(line[f"predicted_{name}"]) for line in found[:3] for name in NAMES) + metrics["n_without_class"] == 120
    )
    assert found[3]["counted"] == "slides" and sum(map(sum, metrics["slide_confusion"])) == 24
    for name in ("confusion.svg", "reliability.svg"):
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")
    whole, each = class_tables(metrics)
    assert [line[1] for line in whole.rows] == [120, 24] and [line[0] for line in each.rows] == list(NAMES)
    assert all(len(line) == len(table.columns) for table in (whole, each) for line in table.rows)
    write_class_metrics(tmp_path, [r._replace(predicted=-1) for r in rows], NAMES)
    assert not (tmp_path / "reliability.svg").exists(), "that of other images is not left behind"


def test_pictures_show_every_count_and_escape_names() -> None:
    matrix = np.array([[7, 2, 0], [1, 13, 5]])
    page = confusion_plot(matrix, ("<a>", "b"))
    texts = [element.text for element in ElementTree.fromstring(page).iter() if element.tag.endswith("text")]
    assert {"7", "2", "0", "1", "13", "5", "<a>", "no class"} <= set(texts)
    assert "no class" not in confusion_plot(matrix * [1, 1, 0], ("a", "b"))
    with pytest.raises(ValueError, match="for 3 names"):
        confusion_plot(matrix, NAMES)
    dots = reliability_plot([3, 0, 1], [0.2, None, 0.9], [0.5, None, 1.0], 0.25)
    assert dots.count('class="bin"') == 2 and "calibration error 0.250" in dots
    assert reliability_plot([0, 0], [None, None], [None, None], None) == ""


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> CrossValidation:
    """A cross-validation of three folds, all evaluated."""
    bundle = tmp_path / "classifier"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "configs" / "metadata.json").write_text(json.dumps({"figures": "classes"}))
    rows = random_rows(3)
    records = [{"name": r.image, "group": r.group, "fold": int(r.group[1:]) % 3} for r in rows]
    run = CrossValidation(bundle, tmp_path / "cv", Plan(records, [0, 1, 2]))
    for fold in run.plan.folds:
        run.folder(fold).mkdir(parents=True)
        (run.folder(fold) / "model.pt").write_bytes(bytes([fold]))
        own = [r for r, record in zip(rows, records, strict=True) if record["fold"] == fold]
        write_class_metrics(run.results(fold), own, NAMES)
        sha = file_hash(run.folder(fold) / "model.pt", 64)
        (run.results(fold) / "summary.json").write_text(json.dumps({"weights": {"sha256": sha}, "problems": []}))
    return run


def test_figures_out_of_fold_are_those_of_all_rows_together(run: CrossValidation) -> None:
    assert figures_of(run.bundle) is CLASSES
    metrics = gather(run).metrics
    whole = summarise_classes(
        sorted(random_rows(3), key=lambda r: (int(r.group[1:]) % 3, r.image)), NAMES
    )  # as the folds give them
    assert {name: metrics[name] for name in whole} == whole
    for fold, part in enumerate(metrics["cross_validation"]["folds"]):
        own = json.loads((run.results(fold) / "metrics.json").read_text())
        assert part["metrics"] == {name: value["estimate"] for name, value in own["metrics"].items()}


def test_the_report_of_a_cross_validation_has_confusion_and_reliability(run: CrossValidation) -> None:
    page = write_gathered(run, gather(run)).read_text()
    for text in ("Classes against the truth", "Each class", "Each fold", 'class="confusion"', 'class="bin"'):
        assert text in page
    assert (run.output_dir / "confusion.svg").read_text() in page
    assert len(list(csv.DictReader((run.output_dir / "metrics_per_image.csv").open(newline="")))) == 120


def test_folds_with_other_classes_are_not_pooled(run: CrossValidation) -> None:
    write_class_metrics(run.results(1), read_rows(run.results(1) / "metrics_per_image.csv")[0], ("a", "b", "c"))
    with pytest.raises(InputError, match="CLL, FL, MCL and a, b, c; expected the same classes"):
        gather(run)


def test_the_baseline_tells_how_to_use_it() -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "colour_baseline.py"), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert shown.returncode == 0 and "python scripts/colour_baseline.py lymphoma" in shown.stdout


def stained(root: Path, by_slide: bool) -> Path:
    """Two classes of three slides, whose colour and contrast tell the slide, or (``by_slide`` False) the class.

    Neighbours in colour are slides of the other class.
    """
    rng = np.random.default_rng(0)
    for slide in range(6):
        for number in range(4):
            kind, level = "AB"[slide % 2], slide if by_slide else 5 * (slide % 2)
            noise = rng.integers(-4 - 4 * level, 5 + 4 * level, (32, 32, 3))
            pixels = np.clip(np.array([60 + 25 * level, 200 - 25 * level, 90 + 20 * level]) + noise, 0, 255).astype(
                np.uint8
            )
            (root / kind).mkdir(parents=True, exist_ok=True)
            PilImage.fromarray(pixels).save(root / kind / f"s{slide}_{number}.png")
    return root


def accuracies(results: dict[str, Any]) -> dict[str, float]:
    return {name: metrics["metrics"]["accuracy"]["estimate"] for name, metrics in results.items()}


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_colour_that_tells_the_slide_alone_fails_once_the_slide_is_left_out(space: str, tmp_path: Path) -> None:
    script = script_module("colour_baseline")
    leak = accuracies(script.baseline(stained(tmp_path / "slides", True), None, None, [], space))
    assert leak["image left out"] == 1 and leak["slide left out"] < 0.34
    truth = accuracies(script.baseline(stained(tmp_path / "classes", False), None, None, [], space))
    assert set(truth.values()) == {1.0}


def test_the_nearest_neighbour_equals_brute_force() -> None:
    script, rng = script_module("colour_baseline"), np.random.default_rng(0)
    features, classes = rng.normal(size=(30, 6)) * [1, 9, 1, 1, 50, 1], rng.integers(0, 3, 30)
    left_out = script.equal(rng.integers(0, 5, 30))
    found = script.nearest_classes(features, classes, left_out)
    for image in range(30):
        rest = np.flatnonzero(~left_out[image])
        scaled = features / features[rest].std(axis=0)
        nearest = min(rest, key=lambda other: float(np.linalg.norm(scaled[other] - scaled[image])))
        assert found[image] == classes[nearest]
    assert script.nearest_classes(features, classes, np.ones((30, 30), bool)).tolist() == [-1] * 30


@pytest.mark.data
def test_colour_recognises_the_slides_of_the_lymphomas_and_not_the_disease(real_data: Path) -> None:
    problems: list[Any] = []
    folder = real_data / "lymphoma"
    found = accuracies(script_module("colour_baseline").baseline(folder, folder / "image_level_folds", None, problems))
    assert found["image left out"] > 0.8 and found["lists of image_level_folds"] > 0.75
    assert found["slide left out"] < 0.5
    assert len(problems) == 1
