"""Masks of drawn frames: which frames they hold, and what is left out as unknown."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import DiceMetric

from common.cine.regions import UNKNOWN, LvRegionsd


def stack() -> dict:
    truth = np.zeros((2, 3, 8, 8), np.uint8)
    truth[:, :, 2:6, 2:6] = 1
    truth[0, :, 1, 1:7] = 2
    drawn = np.array([[True, True, False], [True, False, False]])
    known = np.array([[True, True, True], [False, False, False]])
    return {"pred": truth.copy(), "truth": truth, "drawn": drawn, "myocardium_known": known}


def test_only_drawn_frames_are_scored_and_the_epicardium_where_it_is_known() -> None:
    item = LvRegionsd("pred")(stack())
    assert item["label_cavity"].shape == item["pred_cavity"].shape == (3, 1, 8, 8)
    assert item["label_epicardium"].sum(dim=(1, 2, 3)).tolist() == [16 + 6, 16 + 6, 0]


def test_pixels_that_may_be_myocardium_are_unknown() -> None:
    classes = LvRegionsd("pred")(stack())["label_classes"]
    assert not (classes[:2] == UNKNOWN).any()
    assert set(classes[2].unique().tolist()) == {1, UNKNOWN}


def test_a_perfect_prediction_has_dice_one_and_a_stack_without_epicardium_adds_nothing() -> None:
    metric = DiceMetric()
    perfect, bare = stack(), stack()
    bare["myocardium_known"] = np.zeros((2, 3), bool)
    for one in (perfect, bare):
        item = LvRegionsd("pred")(one)
        metric(item["pred_epicardium"], item["label_epicardium"])
    values = torch.as_tensor(metric.get_buffer())
    assert metric.aggregate().item() == 1.0
    assert torch.isfinite(values).sum() == 2, "two frames have an epicardium"
