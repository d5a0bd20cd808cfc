"""MONAI dictionary transforms of cine MR: slices and stacks at the pixel size of the network, and its maps back."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..datasets.lv_labels import read_lv_label
from ..errors import Problem
from ..flags import as_flag
from ..images.classes import largest_class
from ..images.resize import resize
from .anatomy import clean_stack
from .reading.records import read_stacks
from .reading.stack import Stack
from .slices import lv_target, normalise_slices, read_slice, resampled_shape, spacing_of


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
            found = read_slice(record[str(key)], record.get("spacing_mm"), record.get("plane"))
            spacing = spacing_of(record, found, self.assumed_mm)
            shape = (found.pixels.shape[0], found.pixels.shape[1])
            target = resampled_shape(shape, spacing, self.pixel_mm)
            item[key] = network_image([found.pixels], target, self.channels)[0]
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


class ReadStackd(MapTransform):
    """Read the stacks of a record, for the network and as they are; gives a list, since a study may hold several.

    Each item has ``<key>`` (frames, channels, rows, columns) float32, the frames that exist at the pixel size and with
    the grey values of the network, in the order of ``np.argwhere(present)``; the fields of
    :class:`.reading.stack.Stack` except ``frames``; ``seconds_read``; ``problems``, a list of
    :class:`..errors.Problem` that the first item has for the whole record (:class:`..engine.loading.ReadAheadLoader`
    collects them); and where anything was drawn, those of :class:`.reading.stack.StackTruth`, ``truth`` being its classes.

    Args:
        keys: one key: what a record of :mod:`.reading.stacks` reads.
        pixel_mm: pixel size of the network.
        channels: 1, or 3 for networks that take colour; pictures of the other kind are averaged or repeated.
        assumed_mm: pixel size of pictures that nothing tells it of, which ``notes`` then say; None refuses them.
        outline_included: which pixels a drawn line owns, see :mod:`..datasets.contours`.

    Raises:
        InputError: nothing of the record can be used, or an unknown pixel size.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixel_mm: float = 1.25,
        channels: int = 1,
        assumed_mm: float | None = 1.4,
        outline_included: bool = True,
    ) -> None:
        super().__init__(keys)
        if channels not in (1, 3) or len(self.keys) != 1:
            raise ValueError(f"{channels} channels of {len(self.keys)} keys; expected 1 or 3, of one key")
        self.pixel_mm, self.channels = pixel_mm, channels
        self.assumed_mm, self.outline_included = assumed_mm, outline_included

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        began = time.perf_counter()
        record = {str(key): value for key, value in data.items()}
        problems: list[Problem] = []
        source = record[str(self.keys[0])]
        stacks = read_stacks(record, problems, source, self.assumed_mm, self.outline_included)
        shared = (time.perf_counter() - began) / len(stacks)
        items = []
        for stack in stacks:
            began = time.perf_counter()
            item = self._item(stack)
            items.append({**item, "seconds_read": shared + time.perf_counter() - began, "problems": []})
        items[0]["problems"] = problems
        return items

    def _item(self, stack: Stack) -> dict[Hashable, Any]:
        item: dict[Hashable, Any] = {
            field.name: getattr(stack, field.name) for field in fields(stack) if field.name not in ("frames", "truth")
        }
        target = resampled_shape(stack.pixels.shape[2:], stack.spacing_mm, self.pixel_mm)
        item[self.keys[0]] = network_image(stack.frames, target, self.channels)
        if stack.truth is not None:
            item.update({field.name: getattr(stack.truth, field.name) for field in fields(stack.truth)})
            item["truth"] = item.pop("classes")
        return item


class LvStackd(MapTransform):
    """Probabilities of a stack at each key to the left ventricle on the pixels of the source.

    The key becomes (phases, slices, rows, columns) uint8: 0 background, 1 cavity, 2 myocardium, made anatomical by
    :func:`.anatomy.clean_stack`. Adds ``removed_frames`` and ``filled_frames``, tuples of (phase, slice), and
    ``seconds_decode``.

    Args:
        keys: (frames, 3, rows, columns) probabilities, in the order of ``np.argwhere(present)``; the item has
            ``present``, ``pixels`` and ``spacing_mm`` too.
        keep_probability: add ``probability`` (frames, 2, rows, columns) uint8 of cavity and myocardium, 255 being 1, on the
            pixels of the source and not cleaned.
        clean: False leaves the classes as the network gives them.
        chunk: frames that are resampled at once.

    Raises:
        ValueError: another number of frames than ``present`` has.
    """

    def __init__(
        self, keys: KeysCollection, keep_probability: bool | str = False, clean: bool | str = True, chunk: int = 16
    ) -> None:
        super().__init__(keys)
        self.keep_probability, self.clean = as_flag(keep_probability, "save_probabilities"), as_flag(clean, "clean")
        self.chunk = chunk

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            began = time.perf_counter()
            present, spacing = np.asarray(item["present"], bool), item["spacing_mm"]
            maps = np.zeros(item["pixels"].shape, np.uint8)
            classes, probability = self._on_source(item[key], maps.shape[2:])
            maps[present] = classes
            item["removed_frames"], item["filled_frames"] = (), ()
            if self.clean:
                cleaned = clean_stack(maps, (float(spacing[0]), float(spacing[1])), present)
                maps = cleaned.maps
                item["removed_frames"], item["filled_frames"] = cleaned.removed_frames, cleaned.filled_frames
            item[key] = maps
            if probability is not None:
                item["probability"] = probability
            item["seconds_decode"] = time.perf_counter() - began
        return item

    def _on_source(self, maps: torch.Tensor, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
        """Classes (frames, rows, columns) and the probabilities that are kept, both uint8."""
        classes = np.empty((len(maps), *shape), np.uint8)
        kept = np.empty((len(maps), 2, *shape), np.uint8) if self.keep_probability else None
        for start in range(0, len(maps), self.chunk):
            # In float32: rounded probabilities tie, and the processor resamples no half precision.
            part = resize(maps[start : start + self.chunk].detach().float(), shape)
            classes[start : start + self.chunk] = largest_class(part).cpu().numpy()
            if kept is not None:
                scaled = (part[:, 1:] * 255).round_().clamp_(0, 255).to(torch.uint8)
                kept[start : start + self.chunk] = scaled.cpu().numpy()
        return classes, kept


def network_image(frames: Sequence[np.ndarray], shape: tuple[int, int], channels: int) -> torch.Tensor:
    """Frames (rows, columns[, 3]) of one size to (frames, channels, *shape) float32, each normalised by itself.

    One after the other: percentiles of a whole study at once take five times as long, and copies of it.
    """
    image = torch.empty(len(frames), channels, *shape)
    for number, frame in enumerate(frames):
        pixels = np.moveaxis(frame if frame.ndim == 3 else frame[..., None], -1, 0)
        if channels == 1 and len(pixels) > 1:
            pixels = pixels.mean(axis=0, keepdims=True)
        scaled = torch.from_numpy(np.ascontiguousarray(normalise_slices(pixels)))
        image[number] = resize(scaled[None], shape)[0]  # grey fills all channels
    return image
