"""Files of one sequence, written while its parts come in: labels and probabilities page by page, whole or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ...outputs.files import atomic
from ...outputs.labels import MICROMETRES_PER_UNIT


class PagesWriter:
    """A compressed TIFF of many pages, each as :func:`...outputs.labels.write_label_tiff` writes its one.

    The file appears under its name when it is closed, and never after :meth:`discard`.

    Args:
        path: ends in .tif.
        pixel_size_um: edge of a pixel in micrometres, or None.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, path: Path, pixel_size_um: float | None = None) -> None:
        self._stack = ExitStack()
        temporary = self._stack.enter_context(atomic(path))
        self._file = self._stack.enter_context(tifffile.TiffWriter(temporary))
        self._options: dict[str, Any] = {}
        if pixel_size_um:
            per_centimetre = MICROMETRES_PER_UNIT[3] / pixel_size_um
            self._options = {"resolution": (per_centimetre, per_centimetre), "resolutionunit": "CENTIMETER"}

    def add(self, page: np.ndarray) -> None:
        """Append a page, (rows, columns) integers."""
        self._file.write(
            page,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 3},
            metadata=None,
            contiguous=False,
            **self._options,
        )

    def close(self) -> None:
        """The file is complete."""
        self._stack.close()

    def discard(self) -> None:
        """The file is not wanted: what was written of it is removed, what had its name stays."""
        error = RuntimeError("discarded")
        self._stack.__exit__(type(error), error, None)  # as if writing had failed
