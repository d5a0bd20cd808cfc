"""The 2018 Data Science Bowl layout (BBBC038): ``<ImageId>/images/*.png`` and ``<ImageId>/masks/*.png``.

``classes.csv`` (A. Goodman's table of modalities) and ``mosaics.csv`` (tiles cut from one field) are used if they lie
in the folder or beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError, Problem, leave_out
from ..images.reading import is_image_name
from .patients import patient_groups
from .tables import read_table

# (foreground, background) of classes.csv
_MODALITIES = {
    ("white", "black"): "fluorescence",
    ("purple", "purple"): "purple_on_purple",
    ("purple", "white"): "purple_on_white",
    ("black", "white"): "brightfield",
    ("purple", "yellow"): "purple_on_yellow",
}
_EXPECTED = "<ImageId>/images/ with one image and <ImageId>/masks/ with one PNG per nucleus"


def matches(folder: Path) -> bool:
    """Whether a subfolder has an ``images`` folder with exactly one image (also below ``stage1_train``)."""
    root = _root(folder)
    if not root.is_dir():
        return False
    return any(len(_images(entry)) == 1 for entry in root.iterdir() if (entry / "images").is_dir())


def records(
    folder: Path,
    modality_table: Path | None = None,
    mosaic_table: Path | None = None,
    need_labels: bool = True,
    problems: list[Problem] | None = None,
) -> list[dict[str, Any]]:
    """One record per image, sorted by name; ``label`` is the sorted list of its binary masks.

    ``group`` is ``mosaic-<mosaic_idx>`` where the table has one, else the patient where ``patients.csv`` or a TCGA barcode
    tells it (:func:`.patients.patient_groups`), else the image's own name. ``mosaic`` and ``mosaic_position`` are kept
    where known; ``modality`` is left out where no table tells it.

    Raises:
        InputError: a table that cannot be used, a folder without its image or (``need_labels``) without masks, or an
            image without mosaic that ``patients.csv`` lacks (noted in ``problems`` and left out, if given).
    """
    root = _root(folder)
    modalities = _read_modalities(modality_table or _beside(root, "classes.csv"))
    mosaics = _read_mosaics(mosaic_table or _beside(root, "mosaics.csv"))
    found = []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or not ((entry / "images").is_dir() or (entry / "masks").is_dir()):
            continue
        try:
            record = _record(entry, need_labels)
        except InputError as error:
            leave_out(entry.name, error, problems)
            continue
        if entry.name in modalities:
            record["modality"] = modalities[entry.name]
        found.append({**record, **mosaics.get(entry.name, {})})
    alone = [record["name"] for record in found if "mosaic" not in record]
    # Cells of a screen have no patients that anyone could tell: no warning asks for them.
    patients = patient_groups(root, alone, problems, required=need_labels, otherwise=str)
    known = [record for record in found if "mosaic" in record or record["name"] in patients]
    return [record if "mosaic" in record else {**record, "group": patients[record["name"]]} for record in known]


def _record(entry: Path, need_labels: bool) -> dict[str, Any]:
    images = _images(entry)
    if len(images) != 1:
        raise InputError(entry, f"{len(images)} images in its folder images/", _EXPECTED)
    masks = entry / "masks"
    label = [str(mask) for mask in sorted(masks.iterdir()) if is_image_name(mask)] if masks.is_dir() else []
    if not label and need_labels:
        raise InputError(entry, "no masks", _EXPECTED)
    return {"name": images[0].stem, "image": str(images[0]), "label": label or None, "group": images[0].stem}


def _root(folder: Path) -> Path:
    return folder / "stage1_train" if (folder / "stage1_train").is_dir() else folder


def _images(entry: Path) -> list[Path]:
    folder = entry / "images"
    return sorted(file for file in folder.iterdir() if is_image_name(file)) if folder.is_dir() else []


def _beside(root: Path, name: str) -> Path | None:
    return next((folder / name for folder in (root, root.parent) if (folder / name).is_file()), None)


def _read_modalities(table: Path | None) -> dict[str, str]:
    if table is None:
        return {}
    rows = read_table(table, ("filename", "foreground", "background"))
    pairs = {_stem(row["filename"]): (row["foreground"], row["background"]) for row in rows}
    return {name: _MODALITIES.get(pair, f"{pair[0]}_on_{pair[1]}") for name, pair in pairs.items()}


def _read_mosaics(table: Path | None) -> dict[str, dict[str, Any]]:
    if table is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for row in read_table(table, ("img_id", "mosaic_idx")):
        if row["mosaic_idx"]:
            # Tiles that share an index are one field even where their position in it is unknown.
            known = {"group": f"mosaic-{row['mosaic_idx']}", "mosaic": row["mosaic_idx"]}
            position = row.get("mosaic_position")
            found[_stem(row["img_id"])] = {**known, "mosaic_position": position} if position else known
    return found


def _stem(name: str) -> str:
    return name[: -len(".png")] if name.lower().endswith(".png") else name
