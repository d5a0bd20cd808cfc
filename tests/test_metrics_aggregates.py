"""Scores of sets of images: foreground, intervals, the MONAI metric, the summary."""

from __future__ import annotations

import csv
import doctest
import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from monai.utils import CommonKeys

from common.metrics.annotated import AnnotatedScore
from common.metrics.bootstrap import bootstrap_interval, bootstrap_intervals
from common.metrics.cumulative import InstanceMetric
from common.metrics.instance_summary import MEANS, ImageRow, summarise, write_metrics
from common.metrics.instances import SCORES, score_image, total
from common.metrics.pixel import score_pixels


def squares(missing: int = 0, count: int = 4, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """``count`` squares in a row, of which the prediction lacks the last ``missing``."""
    truth = np.zeros((size, count * 8), np.int32)
    for index in range(count):
        truth[2:8, 8 * index + 1 : 8 * index + 7] = index + 1
    return truth, np.where(truth > count - missing, 0, truth)


def rows_of(missing: list[int], groups: str, modalities: str) -> list[ImageRow]:
    return [
        ImageRow(f"image {i}", group, modality, score_image(*squares(m)))
        for i, (m, group, modality) in enumerate(zip(missing, groups, modalities, strict=True))
    ]


@pytest.mark.parametrize(
    "name", ["pixel", "bootstrap", "cumulative", "instance_summary"], ids=lambda name: f"common.metrics.{name}"
)
def test_examples_in_the_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"common.metrics.{name}"))
    assert result.failed == 0


def test_pixel_scores_equal_their_definitions(rng: np.random.Generator) -> None:
    for _ in range(20):
        truth, predicted = rng.random((2, 13, 17)) < rng.uniform(0.1, 0.9)
        score = score_pixels(truth, predicted.astype(np.uint8) * 255)
        assert score.dice == pytest.approx(2 * (truth & predicted).sum() / (truth.sum() + predicted.sum()))
        assert score.iou == pytest.approx((truth & predicted).sum() / (truth | predicted).sum())


def test_false_positives_on_an_empty_image_count_zero() -> None:
    empty, spot = np.zeros((5, 6), bool), np.eye(5, 6, dtype=bool)
    assert score_pixels(empty, empty) == (1.0, 1.0)
    assert score_pixels(empty, spot) == (0.0, 0.0)
    assert score_pixels(spot, empty) == (0.0, 0.0)
    with pytest.raises(ValueError, match="shape"):
        score_pixels(empty, empty.T)


def test_pixel_scores_agree_with_instance_scores(rng: np.random.Generator) -> None:
    truth, predicted = rng.integers(0, 4, size=(2, 20, 30))
    pixels, instances = score_pixels(truth, predicted), score_image(truth, predicted)
    assert pixels.dice == pytest.approx(instances.dice)
    assert pixels.iou == pytest.approx(instances.iou)


def test_groups_are_drawn_whole() -> None:
    """Two groups whose means are 0 and 1: a resample holds both, the one twice, or the other twice."""
    seen: set[tuple[float, ...]] = set()

    def remember(items: list[float]) -> float:
        seen.add(tuple(sorted(items)))
        return float(np.mean(items))

    bootstrap_interval([0.0, 1.0, 0.0, 1.0], ["a", "b", "a", "b"], remember, resamples=200)
    assert seen == {(0.0, 0.0, 1.0, 1.0), (0.0,) * 4, (1.0,) * 4}


def test_interval_of_a_mean_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(60):
        values = rng.normal(size=40)
        interval = bootstrap_interval(values, None, np.mean, resamples=300, seed=trial)
        assert interval.low < interval.estimate < interval.high
        hits += interval.low < 0 < interval.high
    assert 50 <= hits <= 60  # 95 % of 60 are 57


def test_correlated_images_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(8), 10)
    values = rng.normal(size=8)[patients] + 0.1 * rng.normal(size=80)
    grouped = bootstrap_interval(values, patients.tolist(), np.mean)
    single = bootstrap_interval(values, None, np.mean)
    assert grouped.high - grouped.low > 2 * (single.high - single.low)
    assert grouped.estimate == single.estimate == pytest.approx(values.mean())


def test_one_group_has_no_interval_and_seeds_repeat() -> None:
    alone = bootstrap_interval([1.0, 2.0], ["a", "a"], np.mean)
    assert alone.estimate == 1.5
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    values = np.random.default_rng(0).normal(size=20)
    first, again, other = (bootstrap_interval(values, None, np.mean, seed=seed) for seed in (5, 5, 6))
    assert first == again != other
    both = bootstrap_intervals(values, None, lambda items: {"mean": float(np.mean(items))}, seed=5)
    assert both["mean"] == first


def test_unusable_resampling_is_refused() -> None:
    with pytest.raises(ValueError, match="no items"):
        bootstrap_interval([], None, np.mean)
    with pytest.raises(ValueError, match="2 items, but 1 groups"):
        bootstrap_interval([1, 2], ["a"], np.mean)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval([1, 2], None, np.mean, confidence=95)


@pytest.mark.parametrize("name", SCORES)
def test_metric_equals_the_pooled_and_mean_scores(name: str, rng: np.random.Generator) -> None:
    pairs = [rng.integers(0, 5, size=(2, 6, 9)) for _ in range(5)]
    pairs.append(np.zeros((2, 6, 9), int))
    scores = [score_image(truth, predicted) for truth, predicted in pairs]
    metric = InstanceMetric(name)
    for batch in (pairs[:4], pairs[4:]):
        truth, predicted = (torch.from_numpy(np.stack([p[i] for p in batch]))[:, None] for i in (0, 1))
        assert metric(y_pred=predicted, y=truth).shape == (len(batch), 1)
    assert float(metric.aggregate()) == pytest.approx(np.mean([getattr(score, name) for score in scores]), abs=1e-6)
    assert float(metric.aggregate("pooled")) == pytest.approx(getattr(total(scores), name), abs=1e-6)
    assert metric.get_buffer().shape == (6, 1)
    metric.reset()
    assert math.isnan(metric.aggregate())


def test_metric_takes_lists_of_different_sizes_and_float_meta_tensors() -> None:
    truths, predictions = zip(*(squares(missing, count) for missing, count in ((1, 4), (0, 3))), strict=True)
    metric = InstanceMetric("ap50")
    metric([MetaTensor(p[None].astype(np.float32)) for p in predictions], [torch.from_numpy(t[None]) for t in truths])
    assert metric.get_buffer().ravel().tolist() == [0.75, 1.0]
    with pytest.raises(ValueError, match="rows, columns"):
        metric(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="0 truths"):
        metric(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="unknown metric"):
        InstanceMetric("accuracy")
    with pytest.raises(ValueError, match="unknown reduction"):
        InstanceMetric(reduction="sum")


def test_handler_reports_the_metric_of_an_ignite_engine() -> None:
    pairs = [squares(missing) for missing in (0, 1, 2)]
    data = [(torch.from_numpy(p)[None, None], torch.from_numpy(t)[None, None]) for t, p in pairs]
    engine = Engine(lambda _, batch: batch)
    engine.state.metric_details = {}
    IgniteMetricHandler(InstanceMetric(), save_details=True).attach(engine, "competition_score")
    IgniteMetricHandler(InstanceMetric("ap50", reduction="pooled")).attach(engine, "ap50")
    for _ in range(2):  # the second epoch starts afresh
        engine.run(data)
        assert engine.state.metrics["competition_score"] == pytest.approx((1 + 0.75 + 0.5) / 3)
        assert engine.state.metrics["ap50"] == pytest.approx(9 / 12)
        assert engine.state.metric_details["competition_score"].ravel().tolist() == [1.0, 0.75, 0.5]


def test_evaluator_takes_it_as_key_metric() -> None:
    data = [{"image": torch.from_numpy(p)[None, None].float(), "label": torch.from_numpy(t)[None, None]}
            for t, p in (squares(0), squares(2))]  # fmt: skip
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=data,
        network=torch.nn.Identity(),
        key_val_metric={
            "competition_score": IgniteMetricHandler(
                InstanceMetric(), output_transform=from_engine([CommonKeys.PRED, CommonKeys.LABEL])
            )
        },
    )
    evaluator.run()
    assert evaluator.state.best_metric == pytest.approx(0.75)


def test_summary_counts_and_breaks_down() -> None:
    summary = summarise(rows_of([0, 1, 2, 4], "aabc", "ffbb"), resamples=200)
    assert (summary["n_images"], summary["n_groups"], summary["n_objects"]) == (4, 3, 16)
    assert summary["n_predicted_objects"] == 9
    assert summary["metrics"]["competition_score"]["estimate"] == pytest.approx((1 + 0.75 + 0.5 + 0) / 4)
    assert summary["metrics"]["ap50"]["estimate"] == pytest.approx(9 / 16)
    assert list(summary["by_modality"]) == ["b", "f"]
    assert summary["by_modality"]["f"]["metrics"]["ap50"] == {"estimate": 0.875, "low": None, "high": None}
    assert summary["by_modality"]["b"]["n_groups"] == 2
    assert set(summary["metrics"]) == {*SCORES, *(f"mean_{name}" for name in MEANS)}
    for interval in summary["metrics"].values():
        assert interval["low"] <= interval["estimate"] <= interval["high"]


def test_summary_of_partial_truth_counts_annotated_objects_alone() -> None:
    rows = rows_of([1, 2], "ab", "  ")
    assert "partially_annotated" not in summarise(rows, resamples=5)
    rows = [row._replace(annotated=AnnotatedScore(4, 2, 3, 2)) for row in rows]
    assert summarise(rows, resamples=5)["partially_annotated"] == {
        "n_images": 2,
        "n_annotated": 8,
        "sensitivity": 0.5,
        "coverage": 0.75,
    }


def test_summary_intervals_equal_the_plain_bootstrap() -> None:
    rows = rows_of([0, 1, 2, 4, 3, 1], "aabcdd", "ffffff")
    summary = summarise(rows, resamples=150, seed=4)
    plain = bootstrap_interval(
        [row.score for row in rows], [row.group for row in rows], lambda s: total(s).panoptic_quality, 0.95, 150, 4
    )
    assert summary["metrics"]["panoptic_quality"] == pytest.approx(plain._asdict())


def test_metrics_are_written_as_json_and_csv(tmp_path: Path) -> None:
    rows = rows_of([0, 1], "aa", "f,")
    summary = write_metrics(tmp_path / "new", rows, extra={"weights": "abc"})
    written = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert written == summary
    assert written["weights"] == "abc"
    with (tmp_path / "new" / "metrics_per_image.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["image"] for row in table] == ["image 0", "image 1"]
    assert [float(row["competition_score"]) for row in table] == [1.0, 0.75]
    assert [int(row["false_negatives"]) for row in table] == [0, 1]
    assert table[1]["modality"] == ","
    assert len(list((tmp_path / "new").iterdir())) == 2
