"""MONAI dictionary transforms of images that are classified by their patches: reading at the network's scale, votes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..errors import InputError
from ..images.reading import read_image
from ..images.resize import resize
from .places import network_pixels, tissue_mask
from .votes import RULES, PatchVotes

logger = logging.getLogger(__name__)

SMALL_IMAGE = "smaller than a patch: mirrored up to it"
GREY_IMAGE = "a grey image, the network learned from colours"

_MOST_ENLARGED = 4.0  # beyond, nuclei are too coarse to be seen, and memory grows with its square
_SCALES = (0.02, 20.0)  # of what a microscope gives
_FULL_SCALES = (255.0, 4095.0, 65535.0)


class ReadTissued(MapTransform):
    """Read the image of stained tissue at each key, at the scale of the network.

    Adds to the item: ``<key>`` (3, rows', columns') float32 RGB from 0 to 1 at the scale of the network; ``pixels`` (rows,
    columns, 3) uint8 as read; ``source`` the file; ``scale`` network pixels per file pixel; ``assumed_scale``, file pixels
    per original pixel where nobody tells them, else None; ``slide`` and ``group``, the
    image's name where the record has none; ``notes``, a tuple of texts; ``seconds_read``; and where the record has a class
    and ``class_names`` are given, ``label`` its index, a tensor () int64 (engines hand on tensors alone).

    Args:
        keys: paths of images.
        patch_size: side of a patch in original pixels, to tell which images are too small.
        network_scale: network pixels per original pixel.
        image_scale: file pixels per original pixel, of all images; None believes the files (TIFF can tell its pixel size),
            and takes ``assumed_scale`` for those that do not tell.
        assumed_scale: see ``image_scale``.
        original_mpp: um per original pixel (0.25 at 40x).
        class_names: in the order of the network's outputs.

    Raises:
        InputError: a file that cannot be read, an image smaller than half a patch or too coarse, an unknown class, a
            scale that no microscope has.
    """

    def __init__(
        self,
        keys: KeysCollection,
        patch_size: float = 36,
        network_scale: float = 0.3,
        image_scale: float | str | None = None,
        assumed_scale: float = 0.3,
        original_mpp: float = 0.25,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__(keys)
        self.patch_size, self.network_scale = patch_size, network_scale
        self.image_scale = None if image_scale in (None, "") else _given(image_scale)
        self.assumed_scale, self.original_mpp, self.class_names = assumed_scale, original_mpp, tuple(class_names)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            began = time.perf_counter()
            path = Path(str(item[key]))
            image = read_image(path)
            pixels, notes = rgb_bytes(image.pixels), []
            assumed = self.image_scale is None and not image.pixel_size_um
            scale = self._scale(image.pixel_size_um, path)
            item[key] = at_scale(pixels, scale)
            size = network_pixels(self.patch_size, self.network_scale)
            if min(item[key].shape[1:]) < size:
                self._check_size(pixels, scale, path)
                notes.append(SMALL_IMAGE)
            if image.pixels.shape[2] == 1 and tissue_mask(pixels).any():  # white and black are grey, too
                notes.append(GREY_IMAGE)
            name = str(item.get("name") or path.stem)
            group = str(item.get("group") or item.get("slide") or name)
            item |= {"name": name, "group": group, "slide": str(item.get("slide") or group)}
            item |= {"pixels": pixels, "source": path, "scale": scale, "notes": tuple(notes)}
            item["assumed_scale"] = self.assumed_scale if assumed else None
            self._label(item, path)
            item["seconds_read"] = time.perf_counter() - began
        return item

    def _scale(self, pixel_size_um: float | None, path: Path) -> float:
        """Network pixels per file pixel."""
        image_scale = self.image_scale
        if image_scale is None and pixel_size_um:
            image_scale = self.original_mpp / pixel_size_um
        if image_scale is None:
            image_scale = self.assumed_scale
            _warn_assumed(image_scale)
        scale = self.network_scale / image_scale
        if scale > _MOST_ENLARGED:
            found = f"{image_scale:g} of its pixels per original pixel"
            least = self.network_scale / _MOST_ENLARGED
            raise InputError(path, found, f"at least {least:g}; --image_scale says otherwise if the file errs")
        return scale

    def _check_size(self, pixels: np.ndarray, scale: float, path: Path) -> None:
        least = math.ceil(0.5 * self.patch_size * self.network_scale / scale)
        rows, columns = pixels.shape[:2]
        if min(rows, columns) < least:
            expected = f"at least {least} x {least}, half a patch of {self.patch_size:g} original pixels"
            raise InputError(path, f"an image of {columns} x {rows} pixels", expected)

    def _label(self, item: dict[Hashable, Any], path: Path) -> None:
        label = item.pop("label", None)
        if label is None or not self.class_names:
            return
        if label not in self.class_names:
            raise InputError(path, f"the class {label!r}", f"one of {', '.join(self.class_names)}")
        item["label"] = torch.tensor(self.class_names.index(label))


class PatchVotesd(MapTransform):
    """What :class:`..inferers.PatchInferer` gives, at each key, to a :class:`.votes.PatchVotes`.

    Adds ``image_probabilities`` (classes,) float64, sums to 1; ``predicted``, the index of the class, -1 where no patch
    votes; ``margin``, by how much it leads; ``seconds_decode``.

    Args:
        keys: of the prediction.
        rule: how patches become the image: "vote" or "mean", see :data:`.votes.RULES`.

    Raises:
        InputError: another rule.
    """

    def __init__(self, keys: KeysCollection, rule: str = "mean") -> None:
        super().__init__(keys)
        if rule not in RULES:
            raise InputError("--rule", repr(rule), " or ".join(RULES))
        self.rule = rule

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            began = time.perf_counter()
            votes = PatchVotes.from_tensors(item[key])
            item[key] = votes
            item["image_probabilities"] = votes.image_probability(self.rule)
            item["predicted"], item["margin"] = votes.predicted(self.rule), votes.margin(self.rule)
            item["seconds_decode"] = time.perf_counter() - began
        return item


def rgb_bytes(pixels: np.ndarray) -> np.ndarray:
    """(rows, columns, 1 or 3) of any full scale to (rows, columns, 3) uint8; grey is repeated.

    The full scale is the smallest of 1 (floats), 255, 4095 and 65535 that the image does not exceed. Contrast is not
    stretched: how pale a stain is stays as it was.
    """
    if pixels.dtype != np.uint8:
        highest = float(pixels.max())
        scales = (1.0, *_FULL_SCALES) if pixels.dtype.kind == "f" else _FULL_SCALES
        full = next((scale for scale in scales if highest <= scale), highest)
        pixels = np.rint(np.clip(pixels * np.float32(255 / full), 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)


def at_scale(pixels: np.ndarray, scale: float) -> torch.Tensor:
    """(rows, columns, 3) uint8 to (3, rows', columns') float32 from 0 to 1, enlarged by ``scale``."""
    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div_(255)
    return resize(image[None], [max(1, round(n * scale)) for n in pixels.shape[:2]])[0]


def _given(value: object) -> float:
    try:
        scale = float(str(value))
    except ValueError:
        scale = math.nan
    if not _SCALES[0] <= scale <= _SCALES[1]:
        expected = f"file pixels per original pixel, {_SCALES[0]:g} to {_SCALES[1]:g} (1 at 40x, 0.5 at 20x)"
        raise InputError("--image_scale", repr(value), expected)
    return scale


@cache
def _warn_assumed(scale: float) -> None:
    logger.warning(
        "the scale of at least one image is unknown: %g of its pixels per pixel at 40x is assumed; --image_scale can tell",
        scale,
    )
