"""Training a classifier on patches of stained tissue: balanced samples, random patches, random stains."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from torch.nn import functional

from ..engine.numbered import NumberedDataset
from ..errors import InputError
from ..images.resize import mirrored_to
from ..tissue.stain import jitter_stains
from .places import TISSUE_SHARE, network_pixels, tissue_mask

_ATTEMPTS = 8  # at a patch with tissue
_STRONGEST = 2.0
_GREY = 0.25  # share of images without colour at strength 1


class BalancedDataset(NumberedDataset):
    """Random samples in which every class is as frequent as any other, and within a class every slide.

    Otherwise a slide of many images would teach its stain instead of the disease. Sample ``n`` is always the same.

    Args:
        data: items with ``label`` (any number) and ``slide``.
        transform, samples_per_epoch, seed: see :class:`..engine.numbered.NumberedDataset`.
    """

    @cached_property
    def _slides(self) -> list[list[list[dict[str, Any]]]]:
        """The items of every slide of every class."""
        slides: dict[int, dict[str, list[dict[str, Any]]]] = {}
        for item in self.data:
            slides.setdefault(int(item["label"]), {}).setdefault(str(item["slide"]), []).append(item)
        return [list(of_class.values()) for _, of_class in sorted(slides.items())]

    def draw(self, state: np.random.RandomState) -> dict[str, Any]:
        """A class, one of its slides, one of its items."""
        of_class = self._slides[state.randint(len(self._slides))]
        of_slide = of_class[state.randint(len(of_class))]
        return of_slide[state.randint(len(of_slide))]


class RandPatchd(Randomizable, MapTransform):
    """A random square of an image, a little enlarged or reduced; a few attempts are made to find tissue.

    Args:
        keys: images (3, rows, columns) float RGB from 0 to 1 at the scale of the network.
        patch_size: side of the patch in original pixels.
        network_scale: network pixels per original pixel.
        zoom: the patch is enlarged by up to this share, or reduced. Small, as the size of nuclei tells diseases apart.
        tissue_share: stained share of the pixels from which a patch is taken; after some attempts any is.
    """

    def __init__(
        self,
        keys: KeysCollection,
        patch_size: float,
        network_scale: float,
        zoom: float = 0.1,
        tissue_share: float = TISSUE_SHARE,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.size, self.zoom, self.tissue_share = network_pixels(patch_size, network_scale), zoom, tissue_share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self._patch(mirrored_to(item[key], (self.size, self.size)))
        return item

    def _patch(self, image: torch.Tensor) -> torch.Tensor:
        rows, columns = image.shape[1:]
        side = round(self.size / np.exp(self.R.uniform(-self.zoom, self.zoom)))
        side = min(side, rows, columns)
        patch = image[:, :side, :side]
        for _ in range(_ATTEMPTS):
            row, column = self.R.randint(rows - side + 1), self.R.randint(columns - side + 1)
            patch = image[:, row : row + side, column : column + side]
            if tissue_mask(patch.permute(1, 2, 0).numpy()).mean() >= self.tissue_share:
                break
        size = (self.size, self.size)
        return functional.interpolate(patch[None], size, mode="bilinear", align_corners=False)[0]


class RandStaind(Randomizable, MapTransform):
    """What another laboratory and another scanner would have made of the tissue (:func:`..tissue.stain.jitter_stains`).

    Args:
        keys: images (3, rows, columns) float RGB from 0 to 1.
        strength: 0 leaves every image as it is; 1 multiplies each stain by 0.6 to 1.5, adds up to 0.15 of optical density,
            and takes the colour from a quarter of the images.

    Raises:
        InputError: a strength outside 0 to 2.
    """

    def __init__(self, keys: KeysCollection, strength: float = 1.0) -> None:
        MapTransform.__init__(self, keys)
        if not 0 <= strength <= _STRONGEST:
            raise InputError("--stain_strength", repr(strength), f"a number from 0 (off) to {_STRONGEST:g}")
        self.strength = strength

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            if self.strength > 0:
                item[key] = self._changed(item[key])
        return item

    def _changed(self, image: torch.Tensor) -> torch.Tensor:
        gain = self.R.uniform(1 - 0.4 * self.strength, 1 + 0.5 * self.strength, 3)
        offset = self.R.uniform(-0.15 * self.strength, 0.15 * self.strength, 3)
        pixels = jitter_stains(image.permute(1, 2, 0).numpy(), gain, offset)
        light = self.R.uniform(1 - 0.15 * self.strength, 1 + 0.05 * self.strength, 3).astype(np.float32)
        pixels = np.clip(pixels * light, 0, 1)
        if self.R.rand() < _GREY * self.strength:
            weights = self.R.dirichlet((4.0, 4.0, 4.0)).astype(np.float32)
            pixels = np.repeat((pixels @ weights)[..., None], 3, axis=2)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
