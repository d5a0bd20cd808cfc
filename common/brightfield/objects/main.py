"""Class maps to objects: the main one of every frame, or all, without debris and holes and the same along time."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ...engine.results import as_array
from ...errors import InputError
from ...flags import as_flag
from .consistency import Region, region_of, settle
from .parts import Parts, classes_inside, filled, parts_of
from .tracking import Follower, main_parts
from .volumes import clean_volume

OBJECTS = ("main", "each_class", "all")


@dataclass(eq=False)
class _State:
    """What is known of a sequence from its earlier frames."""

    name: str = ""
    frame: int = 0
    followers: dict[int, Follower] = field(default_factory=dict)
    main: dict[int, int | None] = field(default_factory=dict)
    last: dict[int, Region | None] = field(default_factory=dict)


class MainObjectd(MapTransform):
    """Class maps at each key, cleaned: (frames, rows, columns) uint8, 0 background.

    Of each object holes are filled (with the nearest class), what is not part of an object becomes background. Frames of
    one sequence (``name``; parts of it with ``first``, in order) are made consistent along time: the object is followed
    (:mod:`.tracking`) and its outline settled between frames (:mod:`.consistency`).

    Adds ``objects``, as given; ``object_notes``, a tuple of text per frame; with "all" ``ids`` (frames, rows, columns)
    uint16, numbers that stay with the objects along time; and its time to ``seconds_decode``.

    Args:
        keys: (frames, rows, columns) class maps; the item may have ``foreground`` of the same shape, uint8 probability of
            not being background.
        objects: "main", one object per frame with all classes inside it; "each_class", one of each class; "all".
        consistent: False takes each frame by itself.
        min_fraction: smaller parts than this share of the frame are debris.
        spatial_dims: 3 takes the frames as planes of a volume, whose objects are connected in three dimensions.

    Raises:
        InputError: another word for ``objects``, or no switch for ``consistent``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        objects: str = "main",
        consistent: bool | str = True,
        min_fraction: float = 0.001,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__(keys)
        if objects not in OBJECTS:
            raise InputError("--objects", repr(objects), " or ".join(OBJECTS))
        self.objects, self.consistent = objects, as_flag(consistent, "consistent")
        self.min_fraction, self.spatial_dims = float(min_fraction), spatial_dims
        self._state = _State()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            began = time.perf_counter()
            maps = np.ascontiguousarray(as_array(item[key]), np.uint8)
            foreground = item.get("foreground")
            foreground = None if foreground is None or self.objects == "each_class" else as_array(foreground)
            notes: list[list[str]] = [[] for _ in maps]
            if self.spatial_dims == 3:
                cleaned, ids = clean_volume(maps, self.objects, self.min_fraction)
            else:
                self._enter(str(item.get("name", "")), int(item.get("first", 0)))
                cleaned, ids = self._cleaned(maps, foreground, notes)
                self._state.frame += len(maps)
            item[key] = cleaned
            item["objects"] = self.objects
            if ids is not None:
                item["ids"] = ids
            item["object_notes"] = tuple("; ".join(texts) for texts in notes)
            item["seconds_decode"] = float(item.get("seconds_decode", 0.0)) + time.perf_counter() - began
        return item

    def _enter(self, name: str, first: int) -> None:
        """Go on with a sequence, or begin another."""
        if first == 0 or name != self._state.name:
            self._state = _State(name)

    def _cleaned(
        self, maps: np.ndarray, foreground: np.ndarray | None, notes: list[list[str]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        min_area = round(self.min_fraction * maps[0].size) if len(maps) else 1
        if self.objects == "all":
            return self._all(maps, foreground, min_area)
        if self.objects == "main":
            regions = self._main(maps, foreground, min_area, 0)
            return _painted(maps, regions, notes), None
        cleaned = np.zeros_like(maps)
        for number in range(1, int(maps.max(initial=0)) + 1):
            own = (maps == number).view(np.uint8)
            inside = _painted(own, self._main(own, None, min_area, number), notes, f"class {number}: ")
            # A hole of one class may hold another: only background is filled.
            cleaned[(inside > 0) & ((maps == number) | ((cleaned == 0) & (maps == 0)))] = number
        return cleaned, None

    def _main(self, maps: np.ndarray, foreground: np.ndarray | None, min_area: int, number: int) -> list[Region | None]:
        """Region of the main object of every frame."""
        probability = [None] * len(maps) if foreground is None else list(foreground)
        frames = [parts_of(frame, fore, min_area) for frame, fore in zip(maps, probability, strict=True)]
        if not self.consistent:
            return [region_of(parts, _heaviest(parts)) for parts in frames]
        state = self._state
        follower = state.followers.setdefault(number, Follower())
        identities = [follower.follow(parts, state.frame + index) for index, parts in enumerate(frames)]
        chosen, state.main[number] = main_parts(frames, identities, state.main.get(number))
        regions = [region_of(parts, part) for parts, part in zip(frames, chosen, strict=True)]
        settled = settle(regions, foreground, state.last.get(number))
        state.last[number] = settled[-1] if settled else None
        return settled

    def _all(self, maps: np.ndarray, foreground: np.ndarray | None, min_area: int) -> tuple[np.ndarray, np.ndarray]:
        cleaned, ids = np.zeros_like(maps), np.zeros(maps.shape, np.uint16)
        follower = self._state.followers.setdefault(0, Follower())
        for index, frame in enumerate(maps):
            parts = parts_of(frame, None if foreground is None else foreground[index], min_area)
            if self.consistent:
                identities = follower.follow(parts, self._state.frame + index)
            else:
                identities = np.arange(1, len(parts) + 1)
            # Large ones first: an object inside a hole of another stays an object of its own.
            for part in np.argsort(-parts.areas, kind="stable").tolist():
                ids[index][parts.box(part)][filled(parts.crop(part))] = identities[part]
            cleaned[index] = classes_inside(frame, ids[index] > 0)
        return cleaned, ids


def _heaviest(parts: Parts) -> int | None:
    return int(parts.weights.argmax()) if len(parts) else None


def _painted(maps: np.ndarray, regions: list[Region | None], notes: list[list[str]], prefix: str = "") -> np.ndarray:
    """Class maps of what is inside the regions; their notes are added to those of the frames."""
    cleaned = np.zeros_like(maps)
    for index, region in enumerate(regions):
        if region is not None:
            cleaned[index][region.box] = classes_inside(maps[index][region.box], region.crop)
            if region.note:
                notes[index].append(prefix + region.note)
    return cleaned
