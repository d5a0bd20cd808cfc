"""The threshold is the best on validation images, and where only some nuclei are annotated only those count."""

from __future__ import annotations

import doctest
import importlib
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import InputError
from common.metrics.annotated import AnnotatedScore, keep_known, score_annotated, score_truth, total_annotated
from common.metrics.instances import score_image, total
from common.nuclei.instances import DecodeSettings, decode
from common.nuclei.thresholds import (
    CRITERIA,
    FOREGROUND_GRID,
    ThresholdCurve,
    ThresholdSearch,
    ValidationMaps,
    choose,
    read_choice,
    stored_settings,
    write_choice,
)
from common.report.svg import curves as draw_curves

SETTINGS = DecodeSettings(min_confidence=0.1)


def maps(
    rng: np.random.Generator, edge: float = 0.5, shape: tuple[int, int] = (90, 110), spacing: int = 28
) -> ValidationMaps:
    """Discs on a grid, touching if it is narrow; the probability is about ``edge`` at their outlines."""
    truth, outside = np.zeros(shape, np.int32), np.full(shape, 99.0)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centres = [(row, column) for row in range(15, 80, spacing) for column in range(15, 100, spacing)]
    for identity, (row, column) in enumerate(centres, start=1):
        away = np.hypot(rows - row, columns - column) - rng.uniform(6, 11)
        truth[away <= 0] = identity
        outside = np.minimum(outside, away)
    slope = 1 / (1 + np.exp(outside / 2))
    foreground = np.where(slope > 0.5, edge + (slope - 0.5) * 2 * (1 - edge), slope * 2 * edge)
    noisy = np.clip(foreground + rng.normal(0, 0.01, shape), 0, 1).astype(np.float32)
    return ValidationMaps(noisy, np.clip(-outside / 8, 0, 1).astype(np.float32), truth, 18.0)


def threshold_curves(
    images: Iterable[ValidationMaps],
    thresholds: Sequence[float] = FOREGROUND_GRID,
    seeds: Sequence[float] | None = None,
    settings: DecodeSettings | None = None,
) -> list[ThresholdCurve]:
    search = ThresholdSearch(thresholds, seeds, settings)
    for image in images:
        search.add(image)
    return search.curves()


@pytest.mark.parametrize("name", ["common.nuclei.thresholds", "common.metrics.annotated"])
def test_examples_in_the_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_curves_equal_scoring_each_threshold_by_itself(rng: np.random.Generator) -> None:
    images = [maps(rng, spacing=17), maps(rng, shape=(88, 105), spacing=17)]
    found = threshold_curves(images, [0.7, 0.3, 0.5], [0.9, 0.2], SETTINGS)
    assert [curve.seed for curve in found] == [0.2, 0.9]
    for curve in found:
        assert curve.thresholds == (0.3, 0.5, 0.7)
        assert curve.images == 2
        for index, threshold in enumerate(curve.thresholds):
            settings = replace(SETTINGS, foreground=threshold, seed=curve.seed)
            scores = [
                score_image(m.truth, decode(m.foreground, m.distance, m.diameter, settings).labels) for m in images
            ]
            pooled = total(scores)
            expected = (pooled.dice, pooled.f1, pooled.aji, pooled.panoptic_quality)
            assert tuple(curve.scores(name)[index] for name in CRITERIA) == pytest.approx(expected)
        assert len(set(curve.dice)) == 3
    assert found[0].aji != found[1].aji


@pytest.mark.parametrize("edge", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("criterion", ["dice", "aji", "pq"])  # F1 is flat while every disc is matched
def test_threshold_found_is_where_the_outlines_are(edge: float, criterion: str, rng: np.random.Generator) -> None:
    [curve] = threshold_curves([maps(rng, edge)], settings=SETTINGS)
    assert curve.best(criterion) == pytest.approx(edge, abs=0.06)


def test_images_are_taken_one_by_one(rng: np.random.Generator) -> None:
    alive: list[int] = []

    def stream() -> Iterator[ValidationMaps]:
        for index in range(3):
            alive.append(index)
            yield maps(rng)

    found = threshold_curves(stream(), [0.5], settings=SETTINGS)
    assert alive == [0, 1, 2]
    assert found[0].images == 3


def curve_of(*values: float, seed: float = 0.5) -> ThresholdCurve:
    places = tuple(round(0.1 * (index + 1), 1) for index in range(len(values)))
    return ThresholdCurve(places, values, values, values, values, seed, 1)


@pytest.mark.parametrize(
    ("values", "plateau", "best"),
    [
        ((0.1, 0.9, 0.9, 0.9, 0.2), 0.0, 0.3),
        ((0.1, 0.9, 0.9, 0.2, 0.2), 0.0, 0.2),  # even: the lower middle
        ((0.9, 0.1, 0.9, 0.9, 0.9), 0.0, 0.4),  # the longest run
        ((0.9, 0.2, 0.9, 0.2, 0.9), 0.0, 0.1),
        ((0.890, 0.899, 0.9, 0.899, 0.898), 0.0, 0.3),
        ((0.899, 0.899, 0.899, 0.899, 0.9), 0.0015, 0.3),
        ((0.3,), 0.0, 0.1),
    ],
)
def test_ties_go_to_the_middle_of_the_plateau(values: tuple[float, ...], plateau: float, best: float) -> None:
    assert curve_of(*values).best("f1", plateau) == best


def test_choice_takes_the_seed_of_the_best_curve() -> None:
    curves = [curve_of(0.2, 0.9, 0.1, seed=0.6), curve_of(0.3, 0.5, 0.5, seed=0.2), curve_of(0.8, 0.7, 0.1, seed=0.4)]
    choice = choose(curves, "pq", plateau=0.0)
    assert (choice.seed, choice.foreground, choice.criterion) == (0.6, 0.2, "pq")
    assert choice.curve is curves[0]
    settings = choice.settings(DecodeSettings(min_diameter=0.3))
    assert settings == DecodeSettings(foreground=0.2, seed=0.6, min_diameter=0.3)


def test_stored_choice_is_read_back(tmp_path: Path, rng: np.random.Generator) -> None:
    choice = choose(threshold_curves([maps(rng)], [0.3, 0.5], [0.3, 0.5], SETTINGS), "dice")
    write_choice(tmp_path / "models" / "threshold.json", choice)
    assert read_choice(tmp_path / "models" / "threshold.json") == choice


def test_other_files_and_options_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    write_choice(tmp_path / "good.json", choose([curve_of(0.5, 0.6)]))
    content = json.loads((tmp_path / "good.json").read_text())
    del content["curves"][0]["aji"]
    for name, text in (
        ("part.json", json.dumps(content)),
        ("list.json", "[]"),
        ("none.json", "{"),
        ("word.json", '"a"'),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name):
            read_choice(tmp_path / name)
    with pytest.raises(InputError, match="missing.json"):
        read_choice(tmp_path / "missing.json")
    with pytest.raises(InputError, match="one of dice, f1, aji, pq"):
        curve_of(0.5).best("accuracy")
    with pytest.raises(InputError, match="validation images"):
        threshold_curves([])
    for wrong in ([], [0.5, 1.2], [-0.1]):
        with pytest.raises(InputError, match="thresholds"):
            threshold_curves([maps(rng)], wrong)
    with pytest.raises(InputError, match="curves"):
        choose([])


def test_picture_marks_the_chosen_threshold_and_names_every_curve() -> None:
    choice = choose([curve_of(0.5, 0.9, 0.6)])
    root = ElementTree.fromstring(choice.svg())
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    assert {"Dice", "F1", "AJI", "PQ", "0.2"} <= set(texts)
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert len(lines) == 4
    points = [[float(number) for number in pair.split(",")] for pair in lines[0].attrib["points"].split()]
    mark = next(
        element for element in root.iter() if element.tag.endswith("line") and "median" in element.get("class", "")
    )
    highest = min(points, key=lambda point: point[1])  # y runs down
    assert float(mark.attrib["x1"]) == pytest.approx(highest[0])
    with pytest.raises(ValueError, match="curves"):
        draw_curves([0.5], {"a": [1]}, "x")


def partly(rng: np.random.Generator, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All nuclei, those of them that are annotated, and the pixels near the annotated ones."""
    every = maps(rng).truth
    annotated = np.where(np.isin(every, np.flatnonzero(rng.random(every.max() + 1) < share)), every, 0)
    known = cv2.dilate((annotated > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return every, annotated, known


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_finding_more_than_was_annotated_costs_nothing(share: float, rng: np.random.Generator) -> None:
    every, annotated, known = partly(rng, share)
    count = len(np.unique(annotated)) - 1
    assert count > 0
    for places in (known, None):
        assert score_annotated(annotated, every, places) == AnnotatedScore(count, count, count, count)
    assert score_annotated(annotated, np.zeros_like(every), known) == AnnotatedScore(count, 0, 0, 0)


def test_fully_known_images_score_as_usual(rng: np.random.Generator) -> None:
    item = maps(rng)
    found = decode(item.foreground, item.distance, item.diameter, replace(SETTINGS, foreground=0.8)).labels
    found[:, :20] = 0
    found[:8, 60:80] = 99
    usual = score_image(item.truth, found)
    score = score_annotated(item.truth, found, np.ones(item.truth.shape, bool))
    assert (score.annotated, score.judged) == (usual.truth_objects, usual.predicted_objects)
    assert score.f1 == usual.f1 < 1
    assert 0 < score.sensitivity < 1


def test_each_count_on_a_case_done_by_hand() -> None:
    truth = np.zeros((4, 30), np.int32)
    truth[0, 0:10], truth[1, 0:10], truth[2, 0:10] = 3, 5, 9
    known = np.zeros_like(truth)
    known[3, :15] = 1
    predicted = np.zeros_like(truth)
    predicted[0, 0:9] = 1  # matches
    predicted[1, 0:4], predicted[1, 4:8] = 2, 3  # two fragments: covered, not matched
    predicted[2, 9:15] = 4  # mostly in the unknown
    predicted[3, 13:16] = 5  # two of three pixels on known background: false
    predicted[3, 20:30] = 6  # nobody knows
    assert score_annotated(truth, predicted, known) == AnnotatedScore(annotated=3, matched=1, covered=2, judged=4)
    assert score_annotated(truth, predicted) == AnnotatedScore(annotated=3, matched=1, covered=2, judged=3)
    assert np.unique(keep_known(predicted, (truth > 0) | (known > 0))).tolist() == [0, 1, 2, 3, 5]
    total = total_annotated([AnnotatedScore(3, 1, 2, 4), AnnotatedScore(1, 1, 1, 2)])
    assert (total.sensitivity, total.coverage, total.precision, total.f1) == (0.5, 0.75, 1 / 3, 0.4)
    empty = score_annotated(np.zeros_like(truth), np.zeros_like(truth))
    assert (empty.sensitivity, empty.coverage, empty.precision, empty.f1) == (1, 1, 1, 1)
    with pytest.raises(ValueError, match="shape"):
        score_annotated(truth, predicted, known.T)


def test_threshold_by_annotated_nuclei_ignores_what_lies_in_the_unknown(rng: np.random.Generator) -> None:
    item = maps(rng)
    annotated = np.where(item.truth % 3 == 1, item.truth, 0)
    known = cv2.dilate((annotated > 0).astype(np.uint8), np.ones((9, 9), np.uint8))
    [partial] = threshold_curves([item._replace(truth=annotated, known=known)], [0.5], settings=SETTINGS)
    [blind] = threshold_curves([item._replace(truth=annotated)], [0.5], settings=SETTINGS)
    [full] = threshold_curves([item], [0.5], settings=SETTINGS)
    assert partial.f1 == full.f1 == (1.0,)
    assert partial.dice[0] == pytest.approx(full.dice[0], abs=0.02)
    assert blind.dice[0] < 0.7


def test_without_a_stored_choice_the_settings_stay_as_they_are(tmp_path: Path) -> None:
    base = DecodeSettings(min_confidence=0.7)
    assert stored_settings(tmp_path / "threshold.json", base) == base


def test_objects_nobody_could_have_marked_do_not_count_against_partial_truth() -> None:
    truth = np.zeros((40, 60), np.int32)
    truth[5:15, 5:15] = 1
    found = truth.copy()
    found[5:15, 30:40] = 2  # a nucleus that was not annotated
    assert score_truth(truth, found, partial=True).f1 == 1
    assert score_truth(truth, found, partial=True).dice == 1
    assert score_truth(truth, found).f1 == pytest.approx(2 / 3)
    assert score_truth(truth, np.zeros_like(truth), partial=True).f1 == 0
