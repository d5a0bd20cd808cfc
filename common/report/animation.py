"""Pictures as an animation, for a file or for a page that stands alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..outputs.files import atomic

ANIMATIONS = {".gif": "GIF", ".png": "PNG"}

_GREYS, _MOST_COLOURS = 64, 128  # of a GIF: speckle in more greys doubles its size and is not seen


def encode_animation(pictures: Sequence[np.ndarray], ending: str = ".png", ms_per_picture: float = 50.0) -> bytes:
    """Pictures as an endless animation in memory, for a page that stands alone.

    Args:
        pictures: (rows, columns, 3) uint8 RGB each, all of one size.
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
