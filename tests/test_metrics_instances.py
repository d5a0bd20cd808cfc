"""Instance scores: the histogram equals the definitions written as loops over pairs."""

from __future__ import annotations

import doctest
import importlib
import time

import numpy as np
import pytest

from common.metrics import instances
from common.metrics.instances import THRESHOLDS_PERCENT, match, overlap, score_image, total


def random_map(rng: np.random.Generator, shape: tuple[int, int] = (24, 31)) -> np.ndarray:
    """Touching rectangles with scattered ids; empty in one case of eight."""
    labels = np.zeros(shape, np.int32)
    if rng.random() < 0.125:
        return labels
    for identity in rng.choice(np.arange(1, 5000), size=rng.integers(1, 12), replace=False):
        row, column = rng.integers(0, shape[0] - 2), rng.integers(0, shape[1] - 2)
        height, width = rng.integers(1, 10, size=2)
        labels[row : row + height, column : column + width] = identity
    return labels


def disturbed(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """The map shifted by up to a pixel, objects lost, merged and renamed: every kind of IoU occurs."""
    labels = np.roll(labels, rng.integers(-1, 2, size=2), axis=(0, 1))
    ids = np.unique(labels[labels > 0])
    for identity in ids[rng.random(len(ids)) < 0.2]:
        labels[labels == identity] = rng.choice([0, ids[0]])
    return np.where(labels > 0, labels * 3 + 7, 0)


def pairs(rng: np.random.Generator, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for index in range(count):
        truth = random_map(rng)
        found.append((truth, disturbed(rng, truth.copy()) if index % 2 else random_map(rng)))
    return found


def brute_force(truth: np.ndarray, predicted: np.ndarray) -> dict[str, object]:
    """The definitions, one pair of whole-image masks at a time."""
    true_masks = [truth == i for i in np.unique(truth) if i]
    predicted_masks = [predicted == i for i in np.unique(predicted) if i]
    both = [[int((t & p).sum()) for p in predicted_masks] for t in true_masks]
    either = [[int((t | p).sum()) for p in predicted_masks] for t in true_masks]
    true_positives, matched_iou = [], []
    for percent in THRESHOLDS_PERCENT:
        hits = [
            both[i][j] / either[i][j]
            for i in range(len(true_masks))
            for j in range(len(predicted_masks))
            if 100 * both[i][j] > percent * either[i][j]
        ]
        true_positives.append(len(hits))
        if percent == 50:
            matched_iou = hits
    numerator, denominator, used = 0, 0, set()
    for i, mask in enumerate(true_masks):
        iou = [b / e for b, e in zip(both[i], either[i], strict=True)]
        if not iou or max(iou) == 0:
            denominator += int(mask.sum())
            continue
        best = int(np.argmax(iou))
        used.add(best)
        numerator, denominator = numerator + both[i][best], denominator + either[i][best]
    denominator += sum(int(mask.sum()) for j, mask in enumerate(predicted_masks) if j not in used)
    objects = len(true_masks) + len(predicted_masks)
    precision = [tp / (objects - tp) if objects else 1.0 for tp in true_positives]
    foreground, found = truth > 0, predicted > 0
    return {
        "true_positives": true_positives,
        "competition_score": float(np.mean(precision)),
        "ap50": precision[0],
        "f1": 2 * true_positives[0] / objects if objects else 1.0,
        "panoptic_quality": 2 * sum(matched_iou) / objects if objects else 1.0,
        "aji": numerator / denominator if denominator else 1.0,
        "dice": 2 * (foreground & found).sum() / (foreground.sum() + found.sum()) if objects else 1.0,
        "iou": (foreground & found).sum() / (foreground | found).sum() if objects else 1.0,
    }


def test_histogram_equals_brute_force(rng: np.random.Generator) -> None:
    seen = set()
    for truth, predicted in pairs(rng, 300):
        score, expected = score_image(truth, predicted), brute_force(truth, predicted)
        assert score.true_positives.tolist() == expected.pop("true_positives")
        for name, value in expected.items():
            assert getattr(score, name) == pytest.approx(value, abs=1e-12), name
        seen.update(score.true_positives.tolist())
        assert score.truth_objects == len(np.unique(truth[truth > 0]))
        assert score.predicted_objects == len(np.unique(predicted[predicted > 0]))
    assert {0, 1, 2, 3} <= seen  # the maps did exercise matches


def test_missing_one_of_four_gives_three_quarters() -> None:
    truth = np.zeros((20, 20), np.int32)
    for index, (row, column) in enumerate([(1, 1), (1, 11), (11, 1), (11, 11)]):
        truth[row : row + 8, column : column + 8] = index + 1
    for missing in range(1, 5):
        score = score_image(truth, np.where(truth == missing, 0, truth))
        assert score.competition_score == 0.75
        assert score.ap50 == 0.75


def test_empty_maps_score_one_together_and_zero_alone() -> None:
    empty, one = np.zeros((4, 5), np.int32), np.eye(4, 5, dtype=np.int32)
    assert set(score_image(empty, empty).scores().values()) == {1.0}
    assert set(score_image(empty, one).scores().values()) == {0.0}
    assert set(score_image(one, empty).scores().values()) == {0.0}
    assert score_image(np.zeros((0, 5), int), np.zeros((0, 5), int)).ap50 == 1.0


def test_identity_scores_one_and_renaming_changes_nothing(rng: np.random.Generator) -> None:
    for truth, predicted in pairs(rng, 20):
        assert set(score_image(truth, truth).scores().values()) == {1.0}
        ids = np.concatenate(([0], np.cumsum(rng.integers(1, 100_000, size=predicted.max()))))
        assert score_image(truth, ids[predicted]).scores() == score_image(truth, predicted).scores()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_dtype_does_not_matter(dtype: type, rng: np.random.Generator) -> None:
    truth, predicted = (rng.integers(0, 200, size=(9, 9)) for _ in range(2))
    assert score_image(truth.astype(dtype), predicted).scores() == score_image(truth, predicted).scores()


def test_thresholds_are_exceeded_and_not_reached() -> None:
    for percent in THRESHOLDS_PERCENT:
        truth = np.ones((1, 100), np.int32)
        exact, above = np.zeros_like(truth), np.zeros_like(truth)
        exact[0, :percent], above[0, : percent + 1] = 1, 1
        assert match(overlap(truth, exact), percent / 100).true_positives == 0
        assert match(overlap(truth, above), percent / 100).true_positives == 1
        assert score_image(truth, exact).true_positives.sum() == (percent - 50) // 5
    assert match(overlap(truth, exact), np.arange(0.5, 1, 0.05)[9]).true_positives == 0


def test_matching_is_one_to_one_and_agrees_with_the_score(rng: np.random.Generator) -> None:
    for truth, predicted in pairs(rng, 60):
        found = overlap(truth, predicted)
        score = score_image(truth, predicted)
        for index, percent in enumerate(THRESHOLDS_PERCENT):
            matching = match(found, percent / 100)
            assert len(set(matching.truth_index)) == len(set(matching.predicted_index)) == matching.true_positives
            assert matching.true_positives == score.true_positives[index]
            assert matching.false_positives == score.false_positives[index]
            assert matching.false_negatives == score.false_negatives[index]
        for pair in range(len(found.intersection)):
            true_mask = truth == found.truth_ids[found.truth_index[pair]]
            predicted_mask = predicted == found.predicted_ids[found.predicted_index[pair]]
            assert found.intersection[pair] == (true_mask & predicted_mask).sum()
            assert found.union[pair] == (true_mask | predicted_mask).sum()


def test_panoptic_quality_is_the_product_of_its_parts(rng: np.random.Generator) -> None:
    for truth, predicted in pairs(rng, 40):
        score = score_image(truth, predicted)
        assert score.panoptic_quality == pytest.approx(score.segmentation_quality * score.recognition_quality)


def test_pooled_equals_one_large_image(rng: np.random.Generator) -> None:
    several = pairs(rng, 12)
    truth = np.hstack([np.where(t > 0, t + 100_000 * i, 0) for i, (t, _) in enumerate(several)])
    predicted = np.hstack([np.where(p > 0, p + 100_000 * i, 0) for i, (_, p) in enumerate(several)])
    whole = score_image(truth, predicted)
    scores = [score_image(t, p) for t, p in several]
    expected = whole.scores()
    found = total(scores).scores()
    assert found == pytest.approx(expected)


def test_panoptic_quality_agrees_with_monai(rng: np.random.Generator) -> None:
    import torch
    from monai.metrics import compute_panoptic_quality
    from skimage.segmentation import relabel_sequential

    compared = 0
    for truth, predicted in pairs(rng, 30):
        if not truth.any() or not predicted.any():
            continue
        maps = [torch.from_numpy(relabel_sequential(m)[0].astype(np.int32)) for m in (predicted, truth)]
        expected = float(compute_panoptic_quality(*maps, match_iou_threshold=0.5))
        assert score_image(truth, predicted).panoptic_quality == pytest.approx(expected, abs=1e-4)
        compared += 1
    assert compared > 15


def test_unusable_maps_are_refused() -> None:
    labels = np.ones((3, 4), int)
    with pytest.raises(ValueError, match="shape"):
        overlap(labels, labels.T)
    with pytest.raises(ValueError, match="integer"):
        overlap(labels, labels.astype(float))
    with pytest.raises(ValueError, match="integer"):
        overlap(labels > 0, labels)
    with pytest.raises(ValueError, match="-1"):
        overlap(labels, -labels)
    for threshold in (0.49, 1.0):
        with pytest.raises(ValueError, match="threshold"):
            match(overlap(labels, labels), threshold)


def test_four_thousand_nuclei_take_a_fraction_of_a_second() -> None:
    rows, columns = np.mgrid[0:2000, 0:2000]
    cells = (rows // 32) * 63 + columns // 32 + 1
    disc = (rows % 32 - 16) ** 2 + (columns % 32 - 16) ** 2 < 12**2
    truth = np.where(disc, cells, 0).astype(np.int32)
    predicted = np.roll(truth, 2, axis=(0, 1))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        score = score_image(truth, predicted)
        seconds.append(time.perf_counter() - start)
    assert score.truth_objects > 3900
    assert min(seconds) < 0.5  # 0.05 s on an idle core; the slack is for a busy machine


def test_examples_in_the_docstrings_run() -> None:
    results = [doctest.testmod(module) for module in (instances, importlib.import_module("common.metrics.overlap"))]
    assert sum(result.attempted for result in results) >= 10
    assert sum(result.failed for result in results) == 0
