"""What is scored while a network learns: the frames of a stack that somebody drew, region by region."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

UNKNOWN = 3
"""Class of pixels in ``label_classes`` that nobody can judge: background or myocardium where no epicardium was drawn."""


class LvRegionsd(MapTransform):
    """Drawn frames of a stack as masks, for Dice and IoU, and as classes, for pixel accuracy.

    Adds for ``pred`` and ``label`` (the truth) ``<name>_cavity`` and ``<name>_epicardium``, what the endocardial and the
    epicardial contour enclose, (frames, 1, rows, columns) float32, and ``<name>_classes`` uint8, for all drawn frames. Where
    nobody drew the epicardium its truth is empty, and MONAI's ``MeanDice`` leaves empty truths out, which there is what is
    wanted. Slices that are known to hold no ventricle (ACDC's) count for the cavity, whose metrics have
    ``ignore_empty=False`` for the same Dice as in an evaluation (:func:`.scores.frames.score_stack`).

    Args:
        keys: the predicted stack, (phases, slices, rows, columns) of classes 0 to 2, in an item with ``truth``, ``drawn``
            and ``myocardium_known`` (:mod:`.reading.stacks`).
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item: dict[Any, Any] = dict(data)
        drawn, known = np.asarray(item["drawn"]), np.asarray(item["myocardium_known"])
        truth = np.where(known[..., None, None] | (item["truth"] == 1), item["truth"], UNKNOWN)
        for key in self.key_iterator(item):
            for name, classes in ((key, item[key]), ("label", truth)):
                item[f"{name}_classes"] = torch.from_numpy(classes[drawn][:, None].astype(np.uint8))
                item[f"{name}_cavity"] = torch.from_numpy((classes[drawn] == 1)[:, None].astype(np.float32))
                heart = np.isin(classes[drawn], (1, 2)) & known[drawn][:, None, None]
                item[f"{name}_epicardium"] = torch.from_numpy(heart[:, None].astype(np.float32))
        return item
