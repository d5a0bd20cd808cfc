"""MONAI dictionary transforms of microscopy: reading, normalising, random appearance, targets, maps to instances."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable

from ..datasets.labels import read_instances
from ..flags import as_flag
from ..images.magnification import resolve_mpp, scale_to
from ..images.normalise import is_dark_field, normalise
from ..images.reading import read_image
from ..tissue.counterstain import BROWN_SHARE, brown_share, counterstain
from ..tissue.masks import possible_nuclei
from .augment import augment, unchanged
from .blocks import decode_in_blocks
from .instances import DecodeSettings
from .targets import touching_mask, typical_diameter

logger = logging.getLogger(__name__)


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


class Magnificationd(MapTransform):
    """The factor at each key that brings the image to the pixel size of the training, from ``pixel_size_um``.

    ``assumed_mpp`` is the pixel size that was taken where nobody tells it, else NaN.

    Args:
        keys: where the factor, a float, is put.
        training_mpp: pixel size at which the network was trained, in um.
        mpp: pixel size of all images, where the files do not tell it or tell it wrong; None believes the files.

    Raises:
        InputError: pixels too coarse for what the network looks for.
    """

    def __init__(self, keys: KeysCollection, training_mpp: float = 0.25, mpp: float | str | None = None) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.training_mpp, self.mpp = training_mpp, mpp

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        size = resolve_mpp(item["pixel_size_um"], self.mpp, self.training_mpp)  # type: ignore[arg-type]
        assumed = size.origin == "assumed"
        item["pixel_size_um"], item["assumed_mpp"] = (float("nan"), size.mpp) if assumed else (size.mpp, float("nan"))
        for key in self.keys:
            item[key] = scale_to(size.mpp, self.training_mpp, item["path"])
        return item


class PossibleNucleid(MapTransform):
    """Where nuclei may be in stained tissue (:func:`..tissue.masks.possible_nuclei`): ``possible`` (1, rows, columns) bool.

    Args:
        keys: pixels as read (channels, rows, columns).
        enabled: without it the whole image is possible.
    """

    def __init__(self, keys: KeysCollection, enabled: bool | str = True) -> None:
        super().__init__(keys)
        self.enabled = as_flag(enabled, "enabled")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            pixels = np.moveaxis(np.asarray(item[key]), 0, -1)
            # A grey picture has no stains to tell apart.
            look = self.enabled and pixels.shape[2] == 3
            possible = possible_nuclei(pixels) if look else np.ones(pixels.shape[:2], bool)
            item["possible"] = torch.from_numpy(possible)[None]
        return item


class Counterstaind(MapTransform):
    """The counterstain of immunohistochemistry by itself (:mod:`..tissue.counterstain`), for a second look.

    Adds ``counterstain``: (3, rows, columns) float32, normalised for the network; empty where the image is none.

    Args:
        keys: pixels as read (channels, rows, columns).
        enabled: without it no image has such a view.
    """

    def __init__(self, keys: KeysCollection, enabled: bool | str = True) -> None:
        super().__init__(keys)
        self.enabled = as_flag(enabled, "counterstain")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            pixels = np.moveaxis(np.asarray(item[key]), 0, -1)
            brown = self.enabled and pixels.shape[2] == 3 and not is_dark_field(pixels)
            if brown and brown_share(pixels) >= BROWN_SHARE:
                logger.info("%s: brown; its haematoxylin is looked at by itself too", item.get("name", key))
                item["counterstain"] = to_tensor(normalise(counterstain(pixels)))
            else:
                item["counterstain"] = torch.zeros(0)
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
        keys: image, (rows, columns, 3) float32 array of linear grey values, made what
            :func:`..images.normalise.normalise` gives.
        instances_key: instance map of the crop.
        modality_key: imaging modality of the crop.
        probability: share of crops that are changed.
        stains: change the colours of stained tissue too, not only light, focus and contrast.
    """

    def __init__(
        self,
        keys: KeysCollection,
        instances_key: str = "instances",
        modality_key: str = "modality",
        probability: float = 0.95,
        stains: bool | str = True,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.instances_key, self.modality_key, self.probability = instances_key, modality_key, probability
        self.stains = as_flag(stains, "stains")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            modality = item[self.modality_key]
            if self.R.rand() < self.probability:
                item[key] = augment(item[key], item[self.instances_key], modality, self.R, self.stains)
            else:
                item[key] = unchanged(item[key], modality)
        return item


class InstanceTargetsd(MapTransform):
    """The maps that the network learns, as ``label``: foreground, normalised distance, weight of the pixel.

    Pixels where objects touch weigh more (Ronneberger et al., U-Net, 2015), and so do those of small objects, which a loss
    per pixel would neglect; pixels beyond the field's border weigh nothing.

    Args:
        keys: images (rows, columns, channels), made tensors (channels, rows, columns).
        touching_weight: what pixels between touching objects weigh; the background weighs 1.
        small_weight: what pixels of the smallest objects weigh at most; in between it goes by the diameter, relative to
            that of the crop's typical object.
    """

    def __init__(self, keys: KeysCollection, touching_weight: float = 4.0, small_weight: float = 3.0) -> None:
        super().__init__(keys)
        self.touching_weight, self.small_weight = touching_weight, small_weight

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = to_tensor(item[key])
        instances = item.pop("instances")
        areas = np.bincount(instances.ravel())
        typical = np.nan_to_num(np.pi / 4 * typical_diameter(instances) ** 2)
        per_object = np.clip(np.sqrt(typical / np.maximum(areas, 1)), 1.0, self.small_weight)
        per_object[0] = 1.0
        weight = np.where(touching_mask(instances), self.touching_weight, per_object[instances]) * item.pop("inside")
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
        diameter: float = 32.0,
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
