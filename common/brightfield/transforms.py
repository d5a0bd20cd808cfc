"""MONAI dictionary transforms of frames: what the network sees of them, and its maps back on the source's pixels."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch.nn import functional

from ..errors import InputError
from ..flags import as_flag
from ..images.classes import largest_class
from .frames import network_image, network_label, resample
from .reading.records import Frames, read_frames, read_label


class ReadFramesd(MapTransform):
    """Read the frames of a record, for the network and as they are.

    The item keeps what the record has and gets ``<key>``, (frames, channels, rows', columns') float32 at the network's size,
    or (1, channels, depth', rows', columns') of a volume; from :class:`.reading.records.Frames` ``pixels``, ``frames``
    (names), ``numbers``, ``pixel_size_um``, ``seconds_per_frame``, ``notes``, ``frame_notes`` and ``problems``; ``source``,
    ``seconds_read``; and where the record has a label ``truth``, (frames, rows, columns) uint8 on the source's pixels.

    Args:
        keys: one key: a path, or the paths of a movie's frames.
        size: longest side of a frame as the network sees it.
        channels: that the network takes.
        spatial_dims: 3 takes the frames as planes of one volume.
        num_classes: with the background; a label with others is refused.

    Raises:
        InputError: what :func:`.reading.records.read_frames` and :func:`.reading.records.read_label` refuse, and a class
            that there is not.
    """

    def __init__(
        self, keys: KeysCollection, size: int = 256, channels: int = 1, spatial_dims: int = 2, num_classes: int = 2
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 1 or spatial_dims not in (2, 3):
            raise ValueError(
                f"{len(self.keys)} keys and {spatial_dims} dimensions; expected one key, 2 or 3 dimensions"
            )
        self.size, self.channels, self.spatial_dims, self.num_classes = size, channels, spatial_dims, num_classes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        began = time.perf_counter()
        item: dict[Any, Any] = dict(data)
        key = str(self.keys[0])
        item["source"] = item[key]
        found = read_frames(item, self.channels, self.spatial_dims)
        item.update(
            pixels=found.pixels,
            frames=found.names,
            numbers=found.numbers,
            pixel_size_um=found.pixel_size_um,
            seconds_per_frame=found.seconds_per_frame,
            notes=found.notes,
            frame_notes=found.frame_notes,
            problems=list(found.problems),
        )
        if item.get("label") is not None:
            item["truth"] = self._truth(item, found)
        # Not under ``label``: MONAI's engines take what is there for a tensor of the network's size.
        item.pop("label", None)
        item[key] = network_image(found.pixels, self.size, self.spatial_dims)
        item["seconds_read"] = time.perf_counter() - began
        return item

    def _truth(self, record: Mapping[str, Any], found: Frames) -> np.ndarray:
        label = read_label(record, found)
        if label.max(initial=0) >= self.num_classes:
            raise InputError(
                _first_path(record["label"]),
                f"the class {label.max()}",
                f"classes from 0 to {self.num_classes - 1} (num_classes counts the background)",
            )
        return label


class ReadSamplesd(ReadFramesd):
    """Read a record for training: a list of items, one per frame or per volume, with what training needs and no more.

    Each has ``<key>`` (channels, ...) float32 and ``label`` (1, ...) uint8, both at the network's size.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:  # type: ignore[override]
        item: dict[Any, Any] = super().__call__(data)
        key = str(self.keys[0])
        if "truth" not in item:
            raise InputError(_first_path(item["source"]), "no label", "a mask for each image of a training")
        labels = network_label(item["truth"], self.size, self.spatial_dims)
        return [{key: image, "label": label} for image, label in zip(item[key], labels, strict=True)]


def _first_path(paths: Any) -> str:
    return str(paths if isinstance(paths, str) or not isinstance(paths, (list, tuple)) else paths[0])


class ClassMapsd(MapTransform):
    """Probabilities at the network's size to classes on the pixels of the source.

    The key becomes (frames, rows, columns) uint8. Adds ``foreground`` (frames, rows, columns) uint8, 255 times the
    probability of any class but the background, ``seconds_decode``, and if asked ``probability`` (frames, classes - 1, rows,
    columns) uint8, 255 being 1.

    Args:
        keys: (frames, classes, rows', columns') or (1, classes, depth', rows', columns'); the item has ``pixels``.
        keep_probability: keep the probabilities of the classes.
        spatial_dims: 2 or 3.
        chunk: frames that are resampled at once.
    """

    def __init__(
        self, keys: KeysCollection, keep_probability: bool | str = False, spatial_dims: int = 2, chunk: int = 16
    ) -> None:
        super().__init__(keys)
        self.keep_probability = as_flag(keep_probability, "save_probabilities")
        self.spatial_dims, self.chunk = spatial_dims, chunk

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item: dict[Any, Any] = dict(data)
        for key in self.key_iterator(item):
            began = time.perf_counter()
            maps, shape = item[key], tuple(item["pixels"].shape[:3])
            classes, foreground = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
            kept = np.empty((shape[0], maps.shape[1] - 1, *shape[1:]), np.uint8) if self.keep_probability else None
            for place, part in self._parts(maps, shape):
                classes[place] = largest_class(part).cpu().numpy()
                scaled = (part[:, 1:] * 255).round_().clamp_(0, 255).to(torch.uint8)
                foreground[place] = (255 - (part[:, 0] * 255).round_().clamp_(0, 255)).to(torch.uint8).cpu().numpy()
                if kept is not None:
                    kept[place] = scaled.cpu().numpy()
            item[key], item["foreground"] = classes, foreground
            if kept is not None:
                item["probability"] = kept
            item["seconds_decode"] = time.perf_counter() - began
        return item

    def _parts(self, maps: torch.Tensor, shape: tuple[int, ...]) -> Any:
        """Slices of frames, and the probabilities there (frames, classes, rows, columns) on the source's pixels."""
        if self.spatial_dims == 3:
            whole = resample(maps.detach().float(), shape)[0]
            yield slice(0, shape[0]), whole.movedim(0, 1)
            return
        for start in range(0, len(maps), self.chunk):
            # In float32: rounded probabilities tie, and the processor resamples no half precision.
            part = maps[start : start + self.chunk].detach().float()
            yield slice(start, start + len(part)), resample(part, shape[1:])


class ClassMasksd(MapTransform):
    """Class maps as one-hot masks (frames, classes, rows, columns) float32 under ``<key>_onehot``, for MONAI's Dice and IoU.

    A volume, whose planes are no cases of their own, becomes (1, classes, depth, rows, columns).

    Args:
        keys: (frames, rows, columns) uint8.
        num_classes: with the background.
        spatial_dims: 2 or 3.
    """

    def __init__(self, keys: KeysCollection, num_classes: int = 2, spatial_dims: int = 2) -> None:
        super().__init__(keys)
        self.num_classes, self.spatial_dims = num_classes, spatial_dims

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item: dict[Any, Any] = dict(data)
        for key in self.key_iterator(item):
            classes = torch.from_numpy(np.ascontiguousarray(item[key])).long()
            masks = functional.one_hot(classes, self.num_classes).movedim(-1, 1).float()
            item[f"{key}_onehot"] = masks.movedim(1, 0)[None] if self.spatial_dims == 3 else masks
        return item
