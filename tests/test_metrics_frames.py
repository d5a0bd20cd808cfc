"""Scores of class maps, frame by frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.metrics.frames import score_frames
from common.metrics.pixel import score_pixels


def square(top: int = 20, side: int = 30, size: int = 80, value: int = 1) -> np.ndarray:
    frame = np.zeros((1, size, size), np.uint8)
    frame[0, top : top + side, 20 : 20 + side] = value
    return frame


def test_equal_maps_are_perfect() -> None:
    assert score_frames(square(), square())[0] == {
        "iou": 1.0, "dice": 1.0, "pixel_accuracy": 1.0, "boundary_f1": 1.0, "hausdorff_px": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_dice_and_iou_are_monai_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.random((1, 20, 30)) < 0.4 for _ in range(2))
    score, reference = score_frames(one, other)[0], score_pixels(other[0], one[0])
    assert score["dice"] == pytest.approx(reference.dice) and score["iou"] == pytest.approx(reference.iou)


def test_pixel_accuracy_is_one_minus_the_hamming_distance() -> None:
    moved = score_frames(square(24), square(20))[0]
    assert moved["pixel_accuracy"] == pytest.approx(1 - 2 * 4 * 30 / 80**2)


def test_a_shift_within_the_tolerance_keeps_the_boundary_and_one_beyond_does_not() -> None:
    near, far = score_frames(square(21), square())[0], score_frames(square(30), square())[0]
    assert near["boundary_f1"] == 1.0 and near["hausdorff_px"] == pytest.approx(1)
    assert far["boundary_f1"] < 0.7 and far["hausdorff_px"] == pytest.approx(10, abs=0.1)


def test_empty_frames_count() -> None:
    nothing = np.zeros_like(square())
    both, missed, invented = (
        score_frames(*pair)[0] for pair in ((nothing,) * 2, (nothing, square()), (square(), nothing))
    )
    assert both["iou"] == both["boundary_f1"] == 1 and math.isnan(both["hausdorff_px"])
    assert missed["iou"] == missed["boundary_f1"] == invented["dice"] == 0 and math.isnan(missed["hausdorff_px"])


def test_several_classes_are_averaged_and_listed() -> None:
    truth = np.maximum(square(), square(10, 5, value=2))
    predicted = truth.copy()
    predicted[predicted == 2] = 0
    score = score_frames(predicted, truth, classes=2)[0]
    assert (score["iou_1"], score["iou_2"], score["iou"]) == (1.0, 0.0, 0.5)


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shape"):
        score_frames(square(), square(size=70))
