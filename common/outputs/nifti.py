"""Stacks as NIfTI-1 with their place in the patient: images and class maps, one phase or the whole heart beat."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .files import atomic

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_EXPECTED = "a NIfTI image of 2, 3 or 4 dimensions"
_KEPT = 4  # volumes in memory, for readers of single planes
_SCANNER = 1  # code of sform and qform: scanner-based anatomical coordinates (NIfTI-1, nifti1.h)
_MS_PER_UNIT = {"sec": 1e3, "msec": 1.0, "usec": 1e-3}
_MM_PER_UNIT = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


def lps_to_ras(affine: np.ndarray) -> np.ndarray:
    """The same affine with RAS coordinates, as NIfTI wants it; applied twice it is undone.

    >>> lps_to_ras(np.eye(4)).diagonal().tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@dataclass(frozen=True, eq=False)
class NiftiStack:
    """A NIfTI image in the order of a cine stack.

    Attributes:
        pixels: (phases, slices, rows, columns); of a 3D file with one phase. Integers stay integers, unless scaled.
        affine: (4, 4) from (column, row, slice, 1) to DICOM's patient coordinates in mm (LPS).
        time_step_ms: from phase to phase, None where the file does not say.
    """

    pixels: np.ndarray
    affine: np.ndarray
    time_step_ms: float | None

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Between rows, between columns."""
        return float(np.linalg.norm(self.affine[:3, 1])), float(np.linalg.norm(self.affine[:3, 0]))

    @property
    def slice_distance_mm(self) -> float:
        return float(np.linalg.norm(self.affine[:3, 2]))

    @property
    def planes(self) -> np.ndarray:
        """(phases * slices, rows, columns): all slices of the first phase, then those of the next."""
        return self.pixels.reshape(-1, *self.pixels.shape[2:])


def write_nifti(path: str | Path, pixels: np.ndarray, affine: np.ndarray, time_step_ms: float | None = None) -> None:
    """Writes a stack as NIfTI-1, whole or not at all. The same stack gives the same bytes.

    The file's axes are x, y, z[, t] = column, row, slice[, phase]; both its affines say where they lie (RAS). Only the
    sform does for a tilted stack (slices stacked at an angle to their normal), which the qform cannot express.

    Args:
        path: ends in .nii or .nii.gz.
        pixels: (slices, rows, columns) gives a 3D file, (phases, slices, rows, columns) a 4D one. Booleans become uint8,
            64-bit integers 32-bit ones.
        affine: (4, 4) from (column, row, slice, 1) to DICOM's patient coordinates in mm (LPS), as
            :func:`..cine.reading.geometry.stack_affine` gives it.
        time_step_ms: from phase to phase, kept in seconds; 0 (unknown) where it is not given.

    Raises:
        ValueError: another number of axes, another ending, or 64-bit integers that do not fit.
        InputError: nibabel, an optional package, is not installed; or the folder cannot be written.
    """
    nib, pixels = _nibabel(path), np.asarray(pixels)
    if pixels.ndim not in (3, 4) or pixels.dtype.kind not in "biuf":
        raise ValueError(f"a stack is ([phases,] slices, rows, columns), not {pixels.shape} of {pixels.dtype}")
    if not str(path).endswith(NIFTI_SUFFIXES):
        raise ValueError(f"a NIfTI file ends in {' or '.join(NIFTI_SUFFIXES)}, not {path}")
    ras = lps_to_ras(np.asarray(affine, dtype=np.float64))
    image = nib.Nifti1Image(_storable(pixels).transpose(_axes(pixels.ndim)), ras)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(ras, _SCANNER)
    image.set_qform(ras, _SCANNER)
    if not np.allclose(image.get_qform(), ras, atol=1e-3):
        image.set_qform(None, 0)
    zooms = np.linalg.norm(ras[:3, :3], axis=0).tolist() + [(time_step_ms or 0) / 1e3] * (pixels.ndim - 3)
    image.header.set_zooms(zooms)
    data = image.to_bytes()
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(data, 1, mtime=0) if str(path).endswith(".gz") else data)


def _axes(count: int) -> tuple[int, ...]:
    """Order of axes from (t, z, y, x) to (x, y, z, t), the same both ways."""
    return tuple(range(count))[::-1]


def _storable(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize == 8:
        narrow = pixels.astype(np.int32)
        if not np.array_equal(narrow, pixels):
            raise ValueError(f"values from {pixels.min()} to {pixels.max()} do not fit 32 bits")
        return narrow
    return pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels


def read_nifti(path: str | Path) -> NiftiStack:
    """Read a NIfTI image (ours, ACDC's, any with axes column, row[, slice[, time]]) in the order of a cine stack.

    The order of the voxels is kept, whatever their orientation: the affine says where they are.

    Raises:
        InputError: the file is absent, damaged, no NIfTI, or has another number of dimensions; or nibabel, an optional
            package, is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a folder" if path.is_dir() else "no such file", _EXPECTED)
    nib = _nibabel(path)
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
        space, time = image.header.get_xyzt_units()
        zooms = image.header.get_zooms()
    except Exception as error:  # nibabel, gzip and zlib raise exceptions of many kinds on damaged files
        raise InputError(path, f"an unreadable file ({str(error).splitlines()[0]})", _EXPECTED) from error
    shape = values.shape
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3, 4) or not values.size or values.dtype.kind not in "iuf":
        raise InputError(path, f"an image of shape {values.shape} of {values.dtype}", _EXPECTED)
    values = values.reshape(*shape, *[1] * (4 - len(shape)))
    scale = _MM_PER_UNIT.get(space, 1.0)
    step = float(zooms[3]) * _MS_PER_UNIT.get(time, 1e3) if len(shape) == 4 and zooms[3] > 0 else None
    return NiftiStack(
        pixels=np.ascontiguousarray(values.transpose(_axes(4))),
        affine=np.diag([scale, scale, scale, 1.0]) @ lps_to_ras(image.affine),
        time_step_ms=step,
    )


def kept_nifti(path: str | Path) -> NiftiStack:
    """As :func:`read_nifti`, but the last few files are not read again unless they change; the pixels are read-only.

    For those who take one plane at a time, each of which would decompress the whole volume.
    """
    path = Path(path)
    return _kept(path, modified(path))


def modified(path: Path) -> int:
    """When the file was last written, 0 where there is none: what is kept of a file holds for that time alone."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def plane_number(path: str | Path, plane: int | None, count: int) -> int:
    """The plane that is asked for, counted as in :attr:`NiftiStack.planes`; of a single one it need not be said.

    Raises:
        InputError: there is no such plane among the ``count`` of the file, or it is not said which.
    """
    number = 0 if plane is None and count == 1 else plane
    if not isinstance(number, int) or not 0 <= number < count:
        asked = "none of them named" if plane is None else f"not plane {plane}"
        raise InputError(path, f"{count} slices, {asked}", '"plane" of each image in the data list, counted from 0')
    return number


@lru_cache(maxsize=_KEPT)
def _kept(path: Path, changed: int) -> NiftiStack:
    found = read_nifti(path)
    found.pixels.flags.writeable = False
    return found


def _nibabel(path: str | Path) -> Any:
    """Imported where it is needed: an optional package, without which all other files can still be read."""
    try:
        import nibabel
    except ImportError as error:
        raise InputError(path, "no package for NIfTI", "nibabel: pip install 'nibabel>=5.3'") from error
    return nibabel
