"""MONAI dictionary transforms of microscopy: reading, normalising, random appearance, targets, maps to instances."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable

from .augment import augment
from .blocks import decode_in_blocks
from .datasets.labels import read_instances
from .flags import as_flag
from .images import read_image
from .instances import DecodeSettings
from .normalise import normalise
from .targets import touching_mask


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """(rows, columns, channels) array to a contiguous (channels, rows, columns) tensor of the same dtype."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0)))


class ReadMicroscopyd(MapTransform):
    """Read the image at each key and normalise it for the network.

    Adds to the item: ``<key>`` (3, rows, columns) float32 tensor, ``source`` the pixels as read (channels, rows, columns)
    for measurements and pictures, ``pixel_size_um`` (NaN where the file does not tell), ``path`` of the file,
    ``seconds_read``.

    Raises:
        InputError: the file cannot be read.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            began = time.perf_counter()
            item["path"] = str(item[key])
            image = read_image(item["path"])
            item[key] = to_tensor(normalise(image.pixels))
            item["source"] = np.moveaxis(image.pixels, -1, 0)
            item["pixel_size_um"] = float("nan") if image.pixel_size_um is None else image.pixel_size_um
            item["seconds_read"] = time.perf_counter() - began
        return item


class ReadInstancesd(MapTransform):
    """Read the truth at each key into a (1, rows, columns) int32 instance map; an item without truth loses the key.

    Raises:
        InputError: the truth cannot be read, or its size is not the image's.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.keys:
            if item.get(key) is None:
                item.pop(key, None)
                continue
            shape = tuple(item["source"].shape[-2:]) if "source" in item else None
            known = {str(k): v for k, v in item.items()}
            record = {**known, "image": item.get("path", item.get("image")), "label": item[key]}
            item[key] = torch.from_numpy(read_instances(record, shape))[None]
        return item


class RandAppearanced(Randomizable, MapTransform):
    """What another microscope, stain or laboratory would have made of the crop (:func:`.augment.augment`).

    Args:
        keys: image, (rows, columns, 3) float32 array.
        instances_key: instance map of the crop.
        modality_key: imaging modality of the crop.
        probability: share of crops that are changed.
    """

    def __init__(
        self,
        keys: KeysCollection,
        instances_key: str = "instances",
        modality_key: str = "modality",
        probability: float = 0.95,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.instances_key, self.modality_key, self.probability = instances_key, modality_key, probability

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            if self.R.rand() < self.probability:
                item[key] = augment(item[key], item[self.instances_key], item[self.modality_key], self.R)
        return item


class InstanceTargetsd(MapTransform):
    """The maps that the network learns, as ``label``: foreground, normalised distance, weight of the pixel.

    Pixels where objects touch weigh more (Ronneberger et al., U-Net, 2015), pixels beyond the field's border nothing.

    Args:
        keys: images (rows, columns, channels), made tensors (channels, rows, columns).
        touching_weight: what pixels between touching objects weigh; all others weigh 1.
    """

    def __init__(self, keys: KeysCollection, touching_weight: float = 4.0) -> None:
        super().__init__(keys)
        self.touching_weight = touching_weight

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = to_tensor(item[key])
        instances = item.pop("instances")
        weight = np.where(touching_mask(instances), self.touching_weight, 1.0) * item.pop("inside")
        maps = (instances > 0, item.pop("distance"), weight)
        item["label"] = torch.from_numpy(np.stack([m.astype(np.float32) for m in maps]))
        return item


class InstancesFromMapsd(MapTransform):
    """Network maps (2, rows, columns) at each key to an instance map (1, rows, columns) int32.

    Adds ``confidence`` (objects,) float32, ``object_diameter`` in pixels and ``seconds_decode``. The diameter comes with
    the maps from the size-adaptive inferer, else ``diameter`` is taken.

    Args:
        keys: maps, tensors in [0, 1].
        settings: thresholds; a :class:`.instances.DecodeSettings`.
        diameter: expected diameter of objects where the maps do not tell, in pixels.
        keep_probability: add ``probability``, the foreground map (1, rows, columns) float32.
    """

    def __init__(
        self,
        keys: KeysCollection,
        settings: DecodeSettings | None = None,
        diameter: float = 24.0,
        keep_probability: bool | str = False,
    ) -> None:
        super().__init__(keys)
        self.settings, self.diameter = settings or DecodeSettings(), diameter
        self.keep_probability = as_flag(keep_probability, "save_probabilities")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            began = time.perf_counter()
            diameter = float(getattr(item[key], "meta", {}).get("object_diameter", self.diameter))
            foreground, distance = np.asarray(item[key].detach().cpu(), np.float32)
            found = decode_in_blocks(foreground, distance, diameter, self.settings)
            if self.keep_probability:
                item["probability"] = foreground[None]
            item[key] = torch.from_numpy(found.labels)[None]
            item["confidence"] = found.confidence
            item["object_diameter"] = diameter
            item["seconds_decode"] = time.perf_counter() - began
        return item


class Foregroundd(MapTransform):
    """Instance maps to binary masks of the same shape, float32, under ``<key>_mask`` (for Dice and IoU)."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item[f"{key}_mask"] = (torch.as_tensor(item[key]) > 0).float()
        return item
