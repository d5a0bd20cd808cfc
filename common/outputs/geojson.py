"""Objects as a GeoJSON FeatureCollection that QuPath imports as detections.

Coordinates are x y in pixels of the full image from its top left corner, which is QuPath's convention: the top left
pixel spans 0 to 1. The file follows RFC 7946 in structure, not in its geographic coordinates.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_text

NAMESPACE = uuid.UUID("5f0c7a52-6a0e-5d8b-9a43-0c8f1f3f7b11")
"""Of the version 5 UUIDs (RFC 9562) of objects, so that the same result has the same ids whenever it is written."""

DEFAULT_COLOUR = (255, 214, 0)

QUPATH_NAMES = {
    "area_px": "Area px^2",
    "haematoxylin_mean_od": "Hematoxylin OD mean",
    "confidence": "Detection probability",
    "orientation_deg": "Orientation °",
    "touches_border": "Touches border",
}
"""Columns whose name in QuPath does not follow from the rule of :func:`qupath_name`."""

_UNITS = {"px": "px", "um": "µm", "um2": "µm^2"}

Polygons = Sequence[tuple[int, Sequence[np.ndarray]]]


def feature_collection(
    polygons: Polygons,
    image: str = "",
    name: str = "Nucleus",
    colour: tuple[int, int, int] = DEFAULT_COLOUR,
    measurements: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """One Feature per object.

    Args:
        polygons: (id, rings) per object, as ``common.datasets.polygons.instances_to_polygons`` gives them; each ring
            (vertices, 2) x y outlines one part of the object, without holes. Several parts become a MultiPolygon.
        image: name of the image; with the id it determines each feature's UUID.
        name: of the class.
        colour: red, green, blue of the class, 0 to 255.
        measurements: columns as ``common.outputs.measurements.measure`` gives them, "object" holding the ids. They get
            the names that QuPath uses (:func:`qupath_name`); lengths and areas in micrometres alone where they are
            known. Left out are the centroid, which QuPath works out itself and counts from another corner, and values
            that are not finite, since JSON has none.

    Raises:
        ValueError: an object has no outline of three vertices.

    >>> square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]])
    >>> [feature] = feature_collection([(1, [square])])["features"]
    >>> feature["geometry"]["coordinates"]
    [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]
    """
    return {"type": "FeatureCollection", "features": list(_features(polygons, image, name, colour, measurements))}


def qupath_name(column: str) -> str:
    """Name of a measurement as QuPath writes it: words, a capital in front, the unit behind.

    >>> [qupath_name(column) for column in ("area_um2", "area_px", "major_axis_px", "solidity", "haematoxylin_mean_od")]
    ['Area µm^2', 'Area px^2', 'Major axis px', 'Solidity', 'Hematoxylin OD mean']
    """
    if column in QUPATH_NAMES:
        return QUPATH_NAMES[column]
    stem, _, unit = column.rpartition("_")
    if unit not in _UNITS:
        stem, unit = column, ""
    words = stem.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]} {_UNITS.get(unit, '')}".rstrip()


def _features(
    polygons: Polygons,
    image: str,
    name: str,
    colour: tuple[int, int, int],
    measurements: Mapping[str, np.ndarray] | None,
) -> Iterator[dict[str, Any]]:
    measured = _measured(measurements)
    for identity, rings in polygons:
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(NAMESPACE, f"{image}/{int(identity)}")),
            "geometry": _geometry(identity, rings),
            "properties": {
                "objectType": "detection",
                "name": str(int(identity)),
                "classification": {"name": name, "color": list(colour)},
                "measurements": measured.get(int(identity), {}),
            },
        }


def _geometry(identity: int, rings: Sequence[np.ndarray]) -> dict[str, Any]:
    parts = [_closed(ring) for ring in rings if len(ring) >= 3]
    if not parts:
        raise ValueError(f"object {identity} has no outline of at least three vertices")
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts}
    return {"type": "MultiPolygon", "coordinates": [[part] for part in parts]}


def _closed(ring: np.ndarray) -> list[list[float]]:
    """Vertices with the first repeated at the end; integers where possible: shorter, and much faster to write."""
    ring = np.asarray(ring)
    if ring.dtype.kind == "f":
        whole = np.rint(ring)
        ring = whole.astype(np.int64) if np.array_equal(whole, ring) else np.round(ring.astype(np.float64), 2)
    points = ring.tolist()
    return points if points[0] == points[-1] else [*points, points[0]]


def _measured(measurements: Mapping[str, np.ndarray] | None) -> dict[int, dict[str, float]]:
    """Measurements of each object by its id."""
    if not measurements:
        return {}
    columns_kept = [name for name in measurements if _is_kept(name, measurements)]
    names = [qupath_name(name) for name in columns_kept]
    columns = [_plain(measurements[name]) for name in columns_kept]
    return {
        int(identity): {name: value for name, value in zip(names, values, strict=True) if math.isfinite(value)}
        for identity, *values in zip(measurements["object"], *columns, strict=True)
    }


def _is_kept(name: str, measurements: Mapping[str, np.ndarray]) -> bool:
    """Pixels where there are no micrometres."""
    if name == "object" or name.startswith("centroid_"):
        return False
    metric = "area_um2" if name == "area_px" else f"{name.removesuffix('_px')}_um"
    return not name.endswith("_px") or metric not in measurements


def _plain(column: np.ndarray) -> list[float]:
    column = np.asarray(column)
    return np.round(column.astype(np.float64), 4).tolist() if column.dtype.kind == "f" else column.astype(int).tolist()


def write_geojson(
    path: str | Path,
    polygons: Polygons,
    image: str = "",
    name: str = "Nucleus",
    colour: tuple[int, int, int] = DEFAULT_COLOUR,
    measurements: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a :func:`feature_collection`, whole or not at all; arguments as there.

    Raises:
        ValueError: an object has no outline of three vertices.
        InputError: the folder cannot be written.
    """
    encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
    # Feature by feature: millions of vertices held as Python lists would keep the garbage collector busy.
    features = ",".join(encode(feature) for feature in _features(polygons, image, name, colour, measurements))
    write_text(path, f'{{"type":"FeatureCollection","features":[{features}]}}')
