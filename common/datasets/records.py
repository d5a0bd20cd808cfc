"""One data list whatever the layout: which images there are, where their truth is, what must stay together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import InputError, Problem, leave_out, listed
from ..images.modality import guess_modality
from ..images.reading import list_images, read_image, warn_below
from . import acdc, class_folders, coco, datalist, dsb2018, folders, imagescope, partial_masks, sunnybrook
from .folds import class_of
from .merging import dataset_names, dataset_paths, merge

_LAYOUTS = (
    "<ImageId>/images/*.png + <ImageId>/masks/*.png (Data Science Bowl 2018)",
    "tissue_images/*.tif + annotations/*.xml (ImageScope)",
    "images/ + masks/ with equal names",
    "<patient>_*_original.tif + <patient>_*_mask.png",
    "Sunnybrook DICOM + contour text, or its PNG images + masks",
    "patient001/patient001_frame01.nii.gz + patient001_frame01_gt.nii.gz + Info.cfg (ACDC)",
    "images/*.nii.gz + masks/*.nii.gz with equal names",
    "<CLASS>/<slide>_<nnn>.jpg, images.csv (path, class, slide), or <CLASS>-<slide>_<nnn>.tif",
    "a COCO JSON file",
    'a JSON data list {"training": [{"image", "label" or "class", "patient", "fold"}]}',
)


def load_datalist(
    dataset_dir: str | Path | Sequence[str | Path],
    modality_table: str | Path | None = None,
    mosaic_table: str | Path | None = None,
    need_labels: bool = True,
    problems: list[Problem] | None = None,
    modalities: str | Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Records of all images, in the order of their names; of several data sets one set after the other.

    Args:
        dataset_dir: a folder in one of the layouts of this package, or a COCO file or data list; or several of them, as
            a list or a comma-separated text (names that occur twice: see :func:`.merging.merge`).
        modality_table: ``classes.csv`` of the Data Science Bowl layout, if it does not lie in the folder or beside it.
        mosaic_table: likewise ``mosaics.csv``.
        need_labels: every image must have its truth.
        problems: images that cannot be used are noted here and left out; without it the first one raises.
        modalities: keep only these, a list or a comma-separated text; ``*`` stands for anything (``purple_on_*`` is H&E).
        class_names: the truth of an image is one of these classes; images of others are problems.

    Returns:
        Per image ``name`` (its stem, unique), ``image`` (absolute path), ``label`` (what :func:`.labels.read_instances`
        reads, or None), ``group`` (what must not be split: patient, slide, field, or the image itself), ``modality``
        (by the table, else guessed from the pixels) and ``dataset`` (its folder's name); where only some objects are
        marked also ``partial``: True (an unmarked pixel is then unknown, not background). Where the truth is a class,
        ``label`` and ``class`` are its name, ``slide`` is known too, ``group`` is the case and ``modality`` "". All
        values go into JSON.

    Raises:
        InputError: an unknown layout, what the layout's own reader finds wrong, or a modality that no image has.
    """
    paths = dataset_paths(dataset_dir)
    tables = _table(modality_table), _table(mosaic_table)
    datasets = {}
    for path, name in zip(paths, dataset_names(paths), strict=True):
        found = _layout_records(path, *tables, need_labels, problems, class_names)
        if found is None:
            unread = datalist.only_json(path)
            if unread is not None:
                datalist.read_json(unread)  # a list that is broken is the reason
            raise InputError(path, _contents(path), "one of: " + "; ".join(_LAYOUTS))
        if class_names:
            found = class_folders.with_slides(found, class_names)
            found = class_folders.check_classes(found, path, class_names, problems) if need_labels else found
        _check(found, path, need_labels)
        datasets[name] = found
    merged = merge(datasets)
    if len(paths) > 1:
        _check_names(merged, paths[0])
    return keep_modalities([record for record in merged if _has_modality(record, problems)], modalities)


def keep_modalities(found: list[dict[str, Any]], modalities: str | Sequence[str] | None) -> list[dict[str, Any]]:
    """The records of some modalities, in their order; of all where ``modalities`` is None or empty.

    Args:
        found: records with ``modality``.
        modalities: names in which ``*`` stands for anything, as a list or a comma-separated text.

    Raises:
        InputError: a name that fits no record; it lists the modalities that there are.
    """
    wanted = modalities.split(",") if isinstance(modalities, str) else list(modalities or ())
    wanted = [name.strip() for name in wanted if name.strip()]
    if not wanted:
        return found
    counts = Counter(record["modality"] for record in found)
    for name in wanted:
        if not any(fnmatchcase(kind, name) for kind in counts):
            present = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
            raise InputError("modalities", f"{name!r}, which no image is of", f"some of {present}")
    return [record for record in found if any(fnmatchcase(record["modality"], name) for name in wanted)]


def _has_modality(record: dict[str, Any], problems: list[Problem] | None) -> bool:
    """Guess the modality where no table told it; false if the image cannot be read."""
    if class_of(record) is not None:  # what is stratified by is the class
        record.setdefault("modality", "")
        return True
    if not record.get("modality"):
        try:
            record["modality"] = guess_modality(read_image(record["image"]).pixels)
        except InputError as error:
            leave_out(record["name"], error, problems)
            return False
    return True


def images_only(path: str | Path, class_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Records for inference: an image, a folder of images, or any layout of :func:`load_datalist`.

    ``label`` is None where no truth is known and ``modality`` is absent where no table tells it (looking at each image
    would read it twice). Images in subfolders that no layout names are not read, which a warning says. With
    ``class_names`` each record has ``slide`` and ``group`` as its name or table tells.

    Raises:
        InputError: nothing there, no image, or two images of one name, whose results would overwrite one another.
    """
    path = dataset_paths(Path(path))[0]
    found = _layout_records(path, None, None, need_labels=False, class_names=class_names)
    if found is None:
        inner = path / "images"
        place = inner if inner.is_dir() else path
        files = list_images(place)
        if place.is_dir():
            warn_below(place)
        found = [{"name": file.stem, "image": str(file), "label": None, "group": file.stem} for file in files]
    _check(found, path, need_labels=False)
    return class_folders.with_slides(found, class_names) if class_names else found


def _layout_records(
    path: Path,
    modality_table: Path | None,
    mosaic_table: Path | None,
    need_labels: bool,
    problems: list[Problem] | None = None,
    class_names: Sequence[str] | None = None,
) -> list[dict[str, Any]] | None:
    if path.is_dir():
        if dsb2018.matches(path):
            return dsb2018.records(path, modality_table, mosaic_table, need_labels, problems)
        if imagescope.matches(path):
            return imagescope.records(path, need_labels, problems)
        if sunnybrook.matches(path):
            return sunnybrook.records(path, need_labels, problems)
        if acdc.matches(path):  # before the other images/ + masks/
            return acdc.records(path, need_labels, problems)
        if folders.matches(path):
            return folders.records(path, need_labels, problems)
        if partial_masks.matches(path):
            return partial_masks.records(path, need_labels, problems)
        if class_folders.matches(path, class_names):
            return class_folders.records(path, need_labels, problems, class_names)
    if coco.matches(path):
        return coco.records(path, need_labels, problems)
    if datalist.matches(path):
        return class_folders.from_entries(datalist.records(path))
    if path.is_dir() and class_names and need_labels:  # to say which classes were found instead
        return class_folders.records(path, need_labels, problems, class_names) or None
    return None


def _table(path: str | Path | None) -> Path | None:
    return None if path in (None, "") else Path(str(path)).expanduser().absolute()


def _check(found: list[dict[str, Any]], path: Path, need_labels: bool) -> None:
    if not found:
        raise InputError(path, "no image", "at least one image")
    _check_names(found, path)
    bare = [record["name"] for record in found if record["label"] is None]
    if need_labels and bare:
        raise InputError(path, f"{len(bare)} images without label: {listed(bare, 3)}", "a label for each image")


def _check_names(found: list[dict[str, Any]], path: Path) -> None:
    twice = [name for name, count in Counter(record["name"] for record in found).items() if count > 1]
    if twice:
        images = ", ".join(record["image"] for record in found if record["name"] == twice[0])
        raise InputError(
            path, f"several images named {twice[0]}: {images}", "image names that differ before the ending"
        )


def _contents(path: Path) -> str:
    if path.is_file():
        return f"a file ending in {path.suffix!r}"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir() if not entry.name.startswith("."))
    if not names:
        return "an empty folder"
    return listed(names)
