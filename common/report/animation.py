"""The beating heart as an animated picture: all phases of a stack, for a file or for a page that stands alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..outputs.files import atomic
from .cardiac_plots import labelled_box, tiles

ANIMATIONS = {".gif": "GIF", ".png": "PNG"}

_MOST_SLICES, _MOST_PIXELS = 12, 500_000  # of each picture
_GREYS, _MOST_COLOURS = 64, 128  # of a GIF: speckle in more greys doubles its size and is not seen


def cine_pictures(images: np.ndarray, maps: np.ndarray, names: Sequence[str] | None = None) -> list[np.ndarray]:
    """The pictures of an animation: :func:`tiles` of each phase, at one contrast, enlarged where they stay small.

    Of more than 12 slices, or of large ones, those shown are spread evenly over the slices with labels.

    Args:
        images, maps: as for :func:`tiles`.
        names: a caption per phase; None: "phase 1" and so on.

    Returns:
        (rows, columns, 3) uint8 RGB per phase, all of one size.

    Raises:
        ValueError: as :func:`tiles`.
    """
    maps = np.asarray(maps)
    height, width = (part.stop - part.start + 24 for part in labelled_box(maps, 0))
    zoom = 2 if 4 * height * width * min(maps.shape[1], _MOST_SLICES) <= _MOST_PIXELS else 1
    most = max(1, min(_MOST_SLICES, _MOST_PIXELS // (zoom * zoom * height * width)))
    levels = np.arange(maps.shape[1])
    if len(levels) > most:
        labelled = np.flatnonzero(maps.any(axis=(0, 2, 3)))
        levels = labelled if labelled.size else levels
        levels = levels[np.unique(np.linspace(0, len(levels) - 1, min(most, len(levels))).round().astype(int))]
    across = min(len(levels), 4)
    picture = tiles(images[:, levels], maps[:, levels], range(len(maps)), names, zoom, columns=across)
    return np.split(picture, len(maps))


def encode_animation(pictures: Sequence[np.ndarray], ending: str = ".png", ms_per_picture: float = 50.0) -> bytes:
    """Pictures as an endless animation in memory, for a page that stands alone.

    Args:
        pictures: (rows, columns, 3) uint8 RGB each, all of one size, such as :func:`tiles` of each phase.
        ending: ``.png`` (exact colours) or ``.gif`` (at most 256 colours, smaller, times rounded to 10 ms).
        ms_per_picture: how long each is shown.

    Raises:
        ValueError: no pictures, sizes that differ, or another ending.
    """
    if not pictures or len({picture.shape for picture in pictures}) > 1 or ending not in ANIMATIONS:
        raise ValueError(f"an animation is made of pictures of one size, as {' or '.join(ANIMATIONS)}, not {ending!r}")
    frames = _paletted(np.stack(pictures)) if ending == ".gif" else [Image.fromarray(p, "RGB") for p in pictures]
    stream = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:], "duration": ms_per_picture, "loop": 0}
    frames[0].save(stream, ANIMATIONS[ending], **more)
    return stream.getvalue()


def _paletted(pictures: np.ndarray) -> list[Image.Image]:
    """(n, rows, columns, 3) with one palette for all, since a palette per frame flickers.

    Grey pictures with lines in a few colours keep these colours exactly; a fifth of the time of quantising.
    """
    red, green, blue = (pictures[..., channel] for channel in range(3))
    coloured = (red != green) | (green != blue)
    lines = pictures[coloured].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, which = np.unique(lines, return_inverse=True)
    if len(colours) > _MOST_COLOURS:
        palette = Image.fromarray(np.concatenate(list(pictures)), "RGB").quantize(256, dither=Image.Dither.NONE)
        return [Image.fromarray(p, "RGB").quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    index = np.rint(np.arange(256) * ((_GREYS - 1) / 255)).astype(np.uint8)[red]
    index[coloured] = _GREYS + which
    greys = np.rint(np.arange(_GREYS) * (255 / (_GREYS - 1))).astype(np.uint8)
    table = [*greys.repeat(3).tolist(), *(byte for colour in colours.tolist() for byte in colour.to_bytes(3, "big"))]
    frames = [Image.fromarray(picture) for picture in index]
    for frame in frames:
        frame.putpalette(table)
    return frames


def write_animation(path: str | Path, pictures: Sequence[np.ndarray], ms_per_picture: float = 50.0) -> None:
    """Writes :func:`encode_animation` to a file, whole or not at all; ``.png`` or ``.gif`` by its ending.

    Raises:
        InputError: another ending, or a folder that cannot be written.
        ValueError: no pictures, or sizes that differ.
    """
    ending = Path(path).suffix.lower()
    if ending not in ANIMATIONS:
        raise InputError(path, f"the ending {ending!r}", f"an animation named {' or '.join(ANIMATIONS)}")
    encoded = encode_animation(pictures, ending, ms_per_picture)
    with atomic(path) as temporary:
        temporary.write_bytes(encoded)
