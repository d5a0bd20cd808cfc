"""Images that their records put at a phase and a slice, as one stack, with the truth where it was drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...datasets.lv_labels import read_lv_label
from ...errors import InputError, Problem, leave_out
from ...names import safe_name
from ..slices import Slice, read_slice, spacing_of
from .stack import Stack, StackTruth, counted

Frame = tuple[int, int]

_SAME_SPACING = 1e-3


class _Image(NamedTuple):
    """A record of an image and what its file holds."""

    record: Mapping[str, Any]
    found: Slice


def read_pictures(
    record: Mapping[str, Any], problems: list[Problem], assumed_mm: float | None, outline_included: bool
) -> Stack:
    """The stack of a record of kind "pictures"; arguments and errors as :func:`.records.read_stacks` has them.

    Images that cannot be read, lie where another lies already, or differ in size or spacing from most are named and left
    out.
    """
    read = _read_images(record["frames"], problems)
    assumed = not any(image.found.spacing_mm for image in read.values())
    alike, spacing = _alike(read, assumed_mm, problems)
    numbers, slices = sorted({phase for phase, _ in alike}), sorted({part for _, part in alike})
    shape = (len(numbers), slices[-1] - slices[0] + 1)
    # In the order of np.argwhere(present).
    images = {(numbers.index(phase), part - slices[0]): alike[phase, part] for phase, part in sorted(alike)}
    present = np.zeros(shape, bool)
    pixels = np.zeros((*shape, *next(iter(images.values())).found.pixels.shape[:2]), np.float32)
    for place, image in images.items():
        present[place] = True
        pixels[place] = image.found.pixels if image.found.pixels.ndim == 2 else image.found.pixels.mean(axis=2)
    note = f"pixel size unknown, {spacing[0]:g} mm assumed: areas and volumes are as uncertain as that"
    distances = (image.record.get("slice_distance_mm") for image in images.values())
    return Stack(
        name=str(record["name"]),
        group=str(record["group"]),
        kind="pictures",
        pixels=pixels,
        frames=[image.found.pixels for image in images.values()],
        present=present,
        spacing_mm=spacing,
        paths=_table(shape, {place: str(image.record["image"]) for place, image in images.items()}),
        stems=_table(shape, {place: safe_name(str(image.record["name"])) for place, image in images.items()}),
        instances=_instances(images, shape),
        phase_numbers=numbers,
        spacing_assumed=assumed,
        slice_distance_mm=next((float(distance) for distance in distances if distance), None),
        notes=(note,) if assumed else (),
        truth=_truth(images, pixels.shape, outline_included, problems),
    )


def _read_images(records: Sequence[Mapping[str, Any]], problems: list[Problem]) -> dict[Frame, _Image]:
    """Images by the numbers of their phase and slice, as far as they can be read."""
    read: dict[Frame, _Image] = {}
    errors: list[tuple[str, InputError]] = []
    for record in records:
        phase, part = (record[key] if isinstance(record.get(key), int) else 1 for key in ("phase", "slice"))
        try:
            if (phase, part) in read:
                both = f"a second image of phase {phase} and slice {part}, beside {read[phase, part].record['name']}"
                raise InputError(record["image"], both, "one")
            found = read_slice(record["image"], record.get("spacing_mm"), record.get("plane"))
            read[phase, part] = _Image(record, found)
        except InputError as error:
            errors.append((str(record["name"]), error))
    if not read:
        raise errors[0][1]
    for name, reason in errors:
        leave_out(name, reason, problems)
    return read


def _alike(
    images: dict[Frame, _Image], assumed_mm: float | None, problems: list[Problem]
) -> tuple[dict[Frame, _Image], tuple[float, float]]:
    """The images that have the size and spacing of most; an unknown spacing is that of the others, or assumed."""
    some = list(images.values())
    told = next((image for image in some if image.found.spacing_mm), some[0])
    usual = spacing_of(dict(told.record), told.found, assumed_mm)
    sizes = np.array([image.found.pixels.shape[:2] for image in some])
    spacings = np.array([image.found.spacing_mm or usual for image in some])
    same = (sizes[:, None] == sizes).all(-1) & np.isclose(spacings[:, None], spacings, _SAME_SPACING, 0).all(-1)
    best = int(same.sum(axis=1).argmax())
    wanted = f"{sizes[best][0]} x {sizes[best][1]} pixels of {spacings[best][0]:g} x {spacings[best][1]:g} mm"
    for image, size, spacing, fits in zip(some, sizes, spacings, same[best], strict=True):
        if not fits:
            other = f"{size[0]} x {size[1]} pixels of {spacing[0]:g} x {spacing[1]:g} mm"
            error = InputError(image.record["image"], other, f"{wanted} like most of its stack")
            leave_out(str(image.record["name"]), error, problems)
    kept = {place: image for (place, image), fits in zip(images.items(), same[best], strict=True) if fits}
    return kept, (float(spacings[best][0]), float(spacings[best][1]))


def _table(shape: Frame, values: dict[Frame, str]) -> list[list[str | None]]:
    return [[values.get((phase, part)) for part in range(shape[1])] for phase in range(shape[0])]


def _instances(images: dict[Frame, _Image], shape: Frame) -> np.ndarray:
    numbers = [image.record.get("instance") for image in images.values()]
    given = [number for number in numbers if isinstance(number, int)]
    numbered, instances = counted(shape), np.zeros(shape, np.int64)
    if len(set(given)) < len(images):
        given = [int(numbered[place]) for place in images]
    for place, number in zip(images, given, strict=True):
        instances[place] = number
    return instances


def _truth(
    images: dict[Frame, _Image], shape: tuple[int, ...], outline_included: bool, problems: list[Problem]
) -> StackTruth | None:
    """What was drawn; a drawing that cannot be used is named, and its frame counts as not drawn."""
    if not any(image.record.get("label") for image in images.values()):
        return None
    classes, drawn, known = np.zeros(shape, np.uint8), np.zeros(shape[:2], bool), np.zeros(shape[:2], bool)
    for place, image in images.items():
        label = image.record.get("label")
        try:
            if isinstance(label, str):
                found = read_lv_label(dict(image.record), (shape[2], shape[3]), outline_included)
                classes[place], drawn[place], known[place] = found.classes, True, found.myocardium_known
            elif label is not None:
                raise InputError(image.record["image"], "truth in several files", "one mask or contour per image")
        except InputError as error:
            leave_out(f"{image.record['name']} (truth)", error, problems)
    return StackTruth(classes, drawn, known, _phase_of(images, "ed"), _phase_of(images, "es"))


def _phase_of(images: dict[Frame, _Image], moment: str) -> int | None:
    phases = Counter(phase for (phase, _), image in images.items() if image.record.get("moment") == moment)
    return phases.most_common(1)[0][0] if phases else None
