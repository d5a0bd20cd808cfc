"""NIfTI volumes of the heart with truth: the ACDC data (cine MR, MICCAI challenge of 2017), and volumes of one's own.

ACDC's layout, at any depth below the folder:

- ``patient001/patient001_frame01.nii.gz``, the volume of one phase, and ``patient001_frame01_gt.nii.gz`` beside it: 1 right
  ventricle, 2 myocardium, 3 cavity of the left ventricle. Every slice was judged, so one without ventricle is known to
  have none. The whole heart beat, ``patient001_4d.nii.gz``, has no truth and is passed over.
- ``patient001/Info.cfg``: which frame is end-diastole (``ED: 1``) and end-systole (``ES: 12``), and how many there are
  (``NbFrame: 30``).

One's own: ``images/a.nii.gz`` and ``masks/a.nii.gz`` of 1 cavity and 2 myocardium, optionally ``patients.csv`` (image,
patient). Volumes of one phase named ``a_ed`` and ``a_es``, or ``a_frame01`` and so on, are one heart. Volumes of several
phases will do as well. Here a slice without cavity is one that nobody drew, and so is the myocardium of a phase without any.

Source: O. Bernard et al., Deep learning techniques for automatic MRI cardiac multi-structures segmentation and
diagnosis: is the problem solved?, IEEE Trans Med Imaging 37 (2018) 2514-2525.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, Problem, leave_out, listed
from ..outputs.nifti import NiftiStack, kept_nifti, modified, read_nifti
from .folders import refuse_alone
from .patients import patient_groups

logger = logging.getLogger(__name__)

_NIFTI = re.compile(r"(?P<stem>[^.].*?)\.nii(?:\.gz)?", re.IGNORECASE)
_FRAME = re.compile(r"(?P<stack>.+)_frame(?P<frame>\d+)(?P<drawn>_gt)?", re.IGNORECASE)
_MOMENT = re.compile(r"(?P<stack>.+)_(?P<moment>ed|es)", re.IGNORECASE)
_INFO = "Info.cfg"
_SAME_MM = 0.05  # steps from voxel to voxel that count as the same
_ACDC_CLASSES = np.array([0, 0, 2, 1], np.uint8)
_OWN_CLASSES = np.array([0, 1, 2], np.uint8)


class Drawn(NamedTuple):
    """What was drawn on the planes of a volume, those of the first phase first.

    Attributes:
        classes: (planes, rows, columns) uint8, read-only: 0 background, 1 cavity, 2 myocardium.
        myocardium_known: (planes,) bool.
        shape: phases, slices, rows, columns.
        affine: (4, 4), see :class:`..outputs.nifti.NiftiStack`.
    """

    classes: np.ndarray
    myocardium_known: np.ndarray
    shape: tuple[int, ...]
    affine: np.ndarray


@dataclass(frozen=True)
class _Volume:
    """Files of a volume, and what their names tell."""

    name: str
    image: Path
    label: Path | None
    stack: str
    group: str
    frame: int | None = None
    moment: str | None = None
    frames: int | None = None
    every_slice: bool = False


def matches(folder: Path) -> bool:
    """Whether the folder holds ACDC's frames, or NIfTI files in ``images/`` beside ``masks/``."""
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        return bool(_niftis(folder / "images"))
    return next(_frames(folder), None) is not None


def records(folder: Path, need_labels: bool = True, problems: list[Problem] | None = None) -> list[dict[str, Any]]:
    """One record per slice, volume by volume: of ACDC every slice, of one's own volumes those with a drawn cavity.

    All volumes are read once, so that a damaged one is named once and not by each of its slices. Label and image belong
    together voxel by voxel.

    Returns:
        Per slice ``name`` (patient001_frame01_s03, the third slice; unique), ``image`` and ``label`` (paths of the volumes;
        None without label), ``plane`` (from 0, see :attr:`..outputs.nifti.NiftiStack.planes`), ``group`` (the patient),
        ``stack`` (whose slices are one heart), ``phase`` (ACDC's frame number, else from 1), ``slice`` (from 0),
        ``moment`` ("ed", "es" or None), ``instance`` (counted through the phases of one slice after the other; None where
        it is not known how many there are), ``spacing_mm`` [row, column], ``slice_distance_mm`` and ``modality``
        "cine_mr". All values go into JSON.

    Raises:
        InputError: a damaged volume, a label of another shape or with other values, an unusable ``Info.cfg``, with
            ``need_labels`` a volume without label or a label without volume (these are noted in ``problems`` and left
            out, if given); nibabel is not installed; see also :func:`.patients.patient_groups`.
    """
    made: list[dict[str, Any]] = []
    own = (folder / "images").is_dir() and (folder / "masks").is_dir()
    for volume in (_own_volumes if own else _acdc_volumes)(folder, need_labels, problems):
        try:
            made += _slices(volume, need_labels)
        except InputError as error:
            leave_out(volume.name, error, problems)
    return made


def read_drawn(path: str | Path) -> Drawn:
    """The classes of a label volume; ACDC's numbers where the name says ``_frame01_gt``, else ours.

    Raises:
        InputError: a file that cannot be read, or other values.
    """
    path = Path(path)
    return _drawn(path, modified(path))


@lru_cache(maxsize=2)
def _drawn(path: Path, changed: int) -> Drawn:
    volume = read_nifti(path)
    values = volume.pixels
    stem = _stem(path)
    frame = _FRAME.fullmatch(stem) if stem else None
    acdc = frame is not None and frame["drawn"] is not None
    classes = _ACDC_CLASSES if acdc else _OWN_CLASSES
    present = np.unique(values).tolist()
    if not set(present) <= set(range(len(classes))):
        expected = "0 to 3 as ACDC has them" if acdc else "0, 1 (cavity) and 2 (myocardium)"
        raise InputError(path, f"the values {listed(f'{value:g}' for value in present)}", expected)
    maps = classes[values.astype(np.uint8)]
    known = np.full(maps.shape[:2], acdc) | (maps == 2).any(axis=(1, 2, 3))[:, None]
    maps.flags.writeable = False
    return Drawn(maps.reshape(-1, *maps.shape[2:]), known.ravel(), maps.shape, volume.affine)


def _slices(volume: _Volume, need_labels: bool) -> list[dict[str, Any]]:
    found = kept_nifti(volume.image)
    phases, slices = found.pixels.shape[:2]
    single = phases == 1
    if volume.every_slice and not single:
        raise InputError(volume.image, f"{phases} phases", "the volume of one phase")
    phase = volume.frame if single and volume.frame is not None else 1
    frames = volume.frames or (None if single and volume.frame is not None else phases)
    made = []
    for plane in _chosen(volume, found, need_labels):
        here, part = phase + plane // slices, plane % slices
        made.append(
            {
                "name": f"{volume.name}{'' if single else f'_p{here:02d}'}_s{part + 1:02d}",
                "image": str(volume.image),
                "label": None if volume.label is None else str(volume.label),
                "plane": plane,
                "group": volume.group,
                "stack": volume.stack if single else volume.name,
                "phase": here,
                "slice": part,
                "moment": volume.moment if single else None,
                "instance": part * frames + here if frames and here <= frames else None,
                "spacing_mm": [round(size, 6) for size in found.spacing_mm],
                "slice_distance_mm": round(found.slice_distance_mm, 6),
                "modality": "cine_mr",
            }
        )
    return made


def _chosen(volume: _Volume, image: NiftiStack, need_labels: bool) -> list[int]:
    """The planes that become records."""
    planes, shape = list(range(len(image.planes))), image.pixels.shape
    if volume.label is None:
        return planes
    drawn = read_drawn(volume.label)
    if drawn.shape != shape:
        sizes = [" x ".join(map(str, size)) for size in (drawn.shape, shape)]
        expected = f"{sizes[1]} (phases, slices, rows, columns), as {volume.image.name} has"
        raise InputError(volume.label, f"a label of {sizes[0]}", expected)
    if volume.every_slice or not need_labels:
        return planes
    if not np.allclose(drawn.affine[:3, :3], image.affine[:3, :3], atol=_SAME_MM):
        logger.warning("%s lies elsewhere than its image: it is taken voxel by voxel, not turned", volume.label)
    with_cavity = np.flatnonzero((drawn.classes == 1).any(axis=(1, 2))).tolist()
    if not with_cavity:
        raise InputError(volume.label, "no cavity in any slice", "the cavity drawn as 1")
    if len(with_cavity) < len(planes):
        logger.info("%s: %d of %d slices have a cavity drawn", volume.name, len(with_cavity), len(planes))
    return with_cavity


def _acdc_volumes(folder: Path, need_labels: bool, problems: list[Problem] | None) -> list[_Volume]:
    files = sorted(_frames(folder), key=lambda found: str(found[0]))
    labels = {(path.parent, name["stack"], name["frame"]): path for path, name in files if name["drawn"]}
    volumes = []
    for path, name in files:
        if name["drawn"]:
            continue
        label = labels.pop((path.parent, name["stack"], name["frame"]), None)
        try:
            if label is None and need_labels:
                raise InputError(path, "no label beside it", f"{_stem(path)}_gt.nii.gz")
            info = _info(path.parent / _INFO)
        except InputError as error:
            leave_out(str(_stem(path)), error, problems)
            continue
        frame = int(name["frame"])
        moment = next((moment for moment in ("ed", "es") if info.get(moment) == frame), None)
        frames, patient = info.get("nbframe"), name["stack"]
        volumes.append(
            _Volume(str(_stem(path)), path, label, patient, patient, frame, moment, frames, every_slice=True)
        )
    for path in labels.values() if need_labels else ():
        leave_out(str(_stem(path)), InputError(path, "a label without image", "the frame beside it"), problems)
    bare = {volume.image.parent for volume in volumes if not (volume.image.parent / _INFO).is_file()}
    if bare:
        logger.warning("no %s in %s: end-diastole and end-systole unknown", _INFO, listed(sorted(bare)))
    return volumes


def _own_volumes(folder: Path, need_labels: bool, problems: list[Problem] | None) -> list[_Volume]:
    images, masks = _niftis(folder / "images"), _niftis(folder / "masks")
    if need_labels:
        refuse_alone(folder / "images", images, masks, "image", "mask", problems)
        refuse_alone(folder / "masks", masks, images, "mask", "image", problems)
    used = [name for name in images if name in masks or not need_labels]
    groups = patient_groups(folder, used, problems, required=need_labels, otherwise=lambda name: _place(name)[0])
    return [_Volume(name, images[name], masks.get(name), *_own_place(name, groups[name])) for name in groups]


def _own_place(name: str, group: str) -> tuple[str, str, int | None, str | None]:
    stack, frame, moment = _place(name)
    return stack, group, frame, moment


def _place(name: str) -> tuple[str, int | None, str | None]:
    """Stack, number of the phase and moment, as far as the name of a volume tells."""
    if frame := _FRAME.fullmatch(name):
        return frame["stack"], int(frame["frame"]), None
    if moment := _MOMENT.fullmatch(name):
        which = moment["moment"].lower()
        return moment["stack"], 1 if which == "ed" else 2, which
    return name, None, None


def _niftis(folder: Path) -> dict[str, Path]:
    """NIfTI files of a folder by their names without ending, in their order.

    Raises:
        InputError: two of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = _stem(path)
        if stem and stem in found:
            raise InputError(folder, f"{found[stem].name} and {path.name}", "one of the two")
        if stem and path.is_file():
            found[stem] = path
    return found


def _frames(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """ACDC's frames and labels, with what their names say."""
    for path in folder.rglob("*_frame*.nii*"):
        stem = _stem(path)
        name = _FRAME.fullmatch(stem) if stem else None
        if name and path.is_file():
            yield path, name


def _stem(path: Path) -> str | None:
    """Name without ending; None of hidden files and of what is no NIfTI."""
    name = _NIFTI.fullmatch(path.name)
    return name["stem"] if name else None


def _info(path: Path) -> dict[str, int]:
    """Whole numbers of ``Info.cfg`` by their names in lower case; none where there is no such file.

    Raises:
        InputError: end-diastole, end-systole or the number of frames is no whole number.
    """
    found: dict[str, int] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for key, _, value in (line.partition(":") for line in lines):
        name = key.strip().lower()
        if name in ("ed", "es", "nbframe"):
            if not value.strip().isdigit():
                raise InputError(path, f"{value.strip()!r} as {key.strip()}", "a whole number")
            found[name] = int(value)
    return found
