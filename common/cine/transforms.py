"""MONAI dictionary transforms of cine MR: a slice and its label, at the pixel size of the network."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..datasets.lv_labels import read_lv_label
from ..resize import resize
from .slices import Slice, lv_target, normalise_slices, read_slice, resampled_shape, spacing_of


class ReadSliced(MapTransform):
    """Read the slice at each key, at the pixel size and with the grey values of the network.

    Adds to the item: ``<key>`` (channels, rows, columns) float32, ``source`` the pixels as read (rows, columns[, 3]),
    ``spacing_mm`` of the source (row, column), ``seconds_read``; and where the record has truth, ``label`` (1, rows,
    columns) uint8 at the network's pixel size (classes, and 3 where the myocardium is not known) and ``truth`` (rows,
    columns) uint8 on the source's pixels with ``myocardium_known``.

    Args:
        keys: paths of images.
        pixel_mm: pixel size of the network.
        channels: 1, or 3 for networks that take colour; pictures of the other kind are averaged or repeated.
        assumed_mm: pixel size of pictures that nothing tells it of; None refuses them.
        outline_included: which pixels a drawn line owns, see :mod:`..datasets.contours`.

    Raises:
        InputError: a file that cannot be read, an unknown pixel size, a label of another size than the image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixel_mm: float = 1.25,
        channels: int = 1,
        assumed_mm: float | None = None,
        outline_included: bool = True,
    ) -> None:
        super().__init__(keys)
        if channels not in (1, 3):
            raise ValueError(f"channels is {channels}; expected 1 or 3")
        self.pixel_mm, self.channels = pixel_mm, channels
        self.assumed_mm, self.outline_included = assumed_mm, outline_included

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        record = {str(key): value for key, value in data.items()}
        for key in self.key_iterator(item):
            began = time.perf_counter()
            found = read_slice(record[str(key)], record.get("spacing_mm"))
            spacing = spacing_of(record, found, self.assumed_mm)
            shape = (found.pixels.shape[0], found.pixels.shape[1])
            target = resampled_shape(shape, spacing, self.pixel_mm)
            item[key] = resize(self._channels(found), target)[0]
            item["source"], item["spacing_mm"] = found.pixels, spacing
            if record.get("label") is None:
                item.pop("label", None)
            else:
                truth = read_lv_label(record, shape, self.outline_included)
                item["truth"], item["myocardium_known"] = truth.classes, truth.myocardium_known
                label = torch.from_numpy(lv_target(truth.classes, truth.myocardium_known))
                item["label"] = resize(label[None, None], target, labels=True)[0]
            item["seconds_read"] = time.perf_counter() - began
        return item

    def _channels(self, found: Slice) -> torch.Tensor:
        """(1, channels, rows, columns) float32, normalised."""
        pixels = found.pixels if found.pixels.ndim == 3 else found.pixels[..., None]
        pixels = np.moveaxis(pixels, -1, 0)
        if self.channels == 1:
            pixels = pixels.mean(axis=0, keepdims=True)
        elif len(pixels) == 1:
            pixels = np.repeat(pixels, self.channels, axis=0)
        return torch.from_numpy(np.ascontiguousarray(normalise_slices(pixels)))[None]
