"""Frames of a record, whatever they were stored as: one picture, a stack, or a movie that is a folder of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.labels import soft_mask
from ...errors import InputError, Problem, leave_out
from ...images.reading import image_shape, narrowed, read_stored
from .tiff import TiffFrames, read_tiff_frames, tiff_frames

TIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Frames:
    """Some frames of a sequence.

    Attributes:
        pixels: (frames, rows, columns), or (frames, rows, columns, channels) for networks of several channels; uint8, uint16
            or float32, finite.
        names: what each frame is called: the name of its file, or its number in the stack from 1 on.
        numbers: index of each frame in its sequence, from 0.
        pixel_size_um: width of a pixel, None where the file does not tell.
        seconds_per_frame: None where the file does not tell.
        notes: what a reader of the results should know of all frames.
        frame_notes: what should be known of each frame, "" mostly.
        problems: frames that were left out.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    pixel_size_um: float | None = None
    seconds_per_frame: float | None = None
    notes: tuple[str, ...] = ()
    frame_notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_frames(record: Mapping[str, Any], channels: int = 1, spatial_dims: int = 2) -> Frames:
    """The frames of a record of :mod:`.sequences`, or of any data list (one file).

    Colour is averaged where the network takes one channel, grey is repeated where it takes three, and ``notes`` say so.
    Values that are NaN or infinite become the median of their frame, which ``frame_notes`` says. A frame of a movie in
    files that cannot be read, or is of another size than the first, is left out and named in ``problems``.

    Args:
        record: ``image`` is a path or the paths of a movie's frames; ``first`` and ``count`` choose frames of it.
        channels: that the network takes.
        spatial_dims: 3 takes the frames as planes of one volume, in which none may be left out.

    Raises:
        InputError: nothing can be read, or a number of channels that fits neither.
    """
    source, first = record["image"], int(record.get("first", 0))
    if isinstance(source, (str, Path)):
        stored, whole = _read_file(Path(source), first, record.get("count"))
        several = whole.frames > 1
        numbers = tuple(range(first, first + len(stored))) if several else (first,)
        names = tuple(str(number + 1) for number in numbers) if several else (Path(source).stem,)
        problems: list[Problem] = []
        size, seconds, at = whole.pixel_size_um, whole.seconds_per_frame, Path(source)
    else:
        problems = []
        files, stored, size = _read_files([Path(file) for file in source], problems if spatial_dims == 2 else None)
        numbers = tuple(first + index for index in files)
        names = tuple(Path(source[index]).stem for index in files)
        seconds, at = None, Path(source[0]).parent
    stored, notes = _with_channels(stored, channels, at)
    pixels, frame_notes = _finite(narrowed(stored, at))
    return Frames(pixels, names, numbers, size, seconds, notes, frame_notes, tuple(problems))


def read_label(record: Mapping[str, Any], frames: Frames) -> np.ndarray:
    """The class map of every frame that was read.

    Args:
        record: ``label`` is a label image (a stack for a stack), or the paths of one per frame. Integers are classes; a
            mask of black and white (0/255, soft edges too, see :func:`.labels.soft_mask`) is class 1.
        frames: what :func:`read_frames` gave for the record.

    Returns:
        (frames, rows, columns) uint8.

    Raises:
        InputError: absent, no integers, or another size or number of frames than the image.
    """
    source, first = record["label"], int(record.get("first", 0))
    if isinstance(source, (str, Path)):
        stored, whole = _read_file(Path(source), first, record.get("count"), expand_palette=False)
        if whole.frames != int(record.get("of", whole.frames)) and "of" in record:
            raise InputError(source, f"{whole.frames} frames", f"{record['of']}, as the image has")
    else:
        parts = [_read_file(Path(source[number - first]), 0, 1, expand_palette=False)[0] for number in frames.numbers]
        if len({part.shape for part in parts}) > 1:
            raise InputError(source[0], "masks of several sizes", "masks of one size")
        stored = np.concatenate(parts)
    at = source if isinstance(source, (str, Path)) else source[0]
    maps = _one_plane(stored, Path(at))
    if maps.shape != frames.pixels.shape[:3]:
        raise InputError(at, _size_text(maps.shape), f"{_size_text(frames.pixels.shape[:3])}, the size of the image")
    return _classes(maps, Path(at))


def frame_count(path: str | Path) -> tuple[int, int, int]:
    """(frames, rows, columns) of a file from its header; raises :class:`InputError` for what cannot be read."""
    if _is_tiff(Path(path)):
        found = tiff_frames(Path(path))
        return found.frames, found.rows, found.columns
    return 1, *image_shape(path)


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in TIFF_SUFFIXES and path.is_file() and path.stat().st_size > 0


def _read_file(path: Path, first: int, count: int | None, expand_palette: bool = True) -> tuple[np.ndarray, TiffFrames]:
    """(frames, rows, columns[, channels]) as stored, alpha dropped."""
    if _is_tiff(path):
        return read_tiff_frames(path, first, count)
    pixels, size = read_stored(path, expand_palette)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] <= 2 else pixels[..., :3]
    return pixels[None], TiffFrames(1, pixels.shape[0], pixels.shape[1], 3 if pixels.ndim == 3 else 1, size)


def _read_files(files: Sequence[Path], problems: list[Problem] | None) -> tuple[list[int], np.ndarray, float | None]:
    """Which of the files are frames, their pixels, and the pixel size of the first."""
    kept: list[int] = []
    found: list[np.ndarray] = []
    size: float | None = None
    error: InputError | None = None
    for index, file in enumerate(files):
        try:
            stored, whole = _read_file(file, 0, 2)
            if whole.frames > 1:
                raise InputError(file, f"a stack of {whole.frames} frames", "one frame of a movie")
            if found and stored.shape[1:3] != found[0].shape[1:3]:
                raise InputError(
                    file, _size_text(stored.shape), f"{_size_text(found[0].shape)}, as {files[kept[0]].name}"
                )
        except InputError as caught:
            error = caught
            leave_out(file.stem, caught, problems)
            continue
        size = whole.pixel_size_um if not found else size
        kept.append(index)
        found.append(stored)
    if not found:
        raise error or InputError("movie", "no frame", "one at least")
    if len({part.ndim for part in found}) > 1:  # some are grey, some the same grey stored as RGB
        found = [np.repeat(part[..., None], 3, axis=3) if part.ndim == 3 else part for part in found]
    return kept, np.concatenate(found), size


def _size_text(shape: Sequence[int]) -> str:
    plural = "s" if shape[0] != 1 else ""
    return f"{shape[0]} frame{plural} of {shape[1]} x {shape[2]} pixels"


def _with_channels(stored: np.ndarray, channels: int, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames with the channels of the network, and what was done for it."""
    found = stored.shape[3] if stored.ndim == 4 else 1
    if found == 3 and channels == 1:
        if all(np.array_equal(stored[..., 0], stored[..., other]) for other in (1, 2)):
            return stored[..., 0], ()
        grey = stored.mean(axis=3, dtype=np.float32)
        grey = np.rint(grey).astype(stored.dtype) if stored.dtype.kind in "iu" else grey
        return grey, ("colour was averaged to grey",)
    if found == 1 and channels == 3:
        return np.repeat(stored[..., None] if stored.ndim == 3 else stored, 3, axis=3), ("grey was repeated as colour",)
    if found != channels:
        raise InputError(
            path, f"{found} channel{'s' * (found > 1)}", f"{channels}, as the network takes (--in_channels)"
        )
    return stored, ()


def _finite(pixels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames without NaN and infinite values, and a note for each that had any."""
    notes = [""] * len(pixels)
    if pixels.dtype.kind != "f":
        return pixels, tuple(notes)
    for number, frame in enumerate(pixels):
        bad = ~np.isfinite(frame)
        count = int(np.count_nonzero(bad))
        if count == frame.size:
            frame[...], notes[number] = 0, "all pixels are NaN or infinite"
        elif count:
            frame[bad] = np.median(frame[~bad])
            notes[number] = f"{count} NaN or infinite values replaced by the frame's median"
    return pixels, tuple(notes)


def _one_plane(stored: np.ndarray, path: Path) -> np.ndarray:
    """(frames, rows, columns) of a mask that may have been stored as RGB."""
    if stored.ndim == 3:
        return stored
    if not all(np.array_equal(stored[..., 0], stored[..., other]) for other in range(1, stored.shape[3])):
        raise InputError(path, "a coloured picture", "a label image: integers, one per class")
    return stored[..., 0]


def _classes(maps: np.ndarray, path: Path) -> np.ndarray:
    if maps.dtype == bool:
        return maps.astype(np.uint8)
    if maps.dtype.kind not in "iu" or (maps.size and maps.min() < 0):
        raise InputError(path, f"a label image of {maps.dtype}", "integers from 0 on, one per class")
    highest = int(maps.max()) if maps.size else 0
    mask = soft_mask(maps)
    if mask is not None:
        return mask.astype(np.uint8)
    if highest > 254:
        raise InputError(path, f"the value {highest}", "classes up to 254, or a mask of 0 and 255")
    return maps.astype(np.uint8)
