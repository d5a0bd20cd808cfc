"""Fields of view: neighbouring tiles of one field put together again, so that nuclei on their seams are whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..datasets.labels import compact_ids

_PLACES = {"up_left": (0, 0), "up_right": (0, 1), "down_left": (1, 0), "down_right": (1, 1)}


def field_groups(records: Sequence[dict]) -> list[list[dict]]:
    """Records of one field together, every other record alone.

    Args:
        records: dicts; those with ``mosaic`` and a ``mosaic_position`` (up_left, up_right, down_left, down_right) can be
            joined. An incomplete field stays in single tiles.
    """
    fields: dict[str, list[dict]] = defaultdict(list)
    alone = []
    for record in records:
        if record.get("mosaic") not in (None, "") and record.get("mosaic_position") in _PLACES:
            fields[str(record["mosaic"])].append(record)
        else:
            alone.append([record])
    joined = []
    for tiles in fields.values():
        if sorted(t["mosaic_position"] for t in tiles) == sorted(_PLACES):
            joined.append(tiles)
        else:
            alone.extend([tile] for tile in tiles)
    return joined + alone


def stitch(tiles: Sequence[np.ndarray], positions: Sequence[str]) -> np.ndarray:
    """Four tiles (rows, columns[, channels]) of equal shape to their field, twice as high and wide."""
    rows, columns = tiles[0].shape[:2]
    field = np.zeros((2 * rows, 2 * columns, *tiles[0].shape[2:]), tiles[0].dtype)
    for tile, position in zip(tiles, positions, strict=True):
        r, c = _PLACES[position]
        field[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns] = tile
    return field


def stitch_instances(tiles: Sequence[np.ndarray], positions: Sequence[str]) -> np.ndarray:
    """Four instance maps to that of their field; objects cut by a seam become one.

    Two objects are one if the pixels at which they meet across the seam are at least half of what each shows there.

    Returns:
        (2 rows, 2 columns) int32, ids 1..N.
    """
    shifted, highest = [], 0
    for tile in tiles:
        shifted.append(np.where(tile > 0, tile + highest, 0))
        highest += int(tile.max())
    field = stitch(shifted, positions)
    rows, columns = tiles[0].shape
    parent = np.arange(highest + 1)
    for first, second in ((field[rows - 1], field[rows]), (field[:, columns - 1], field[:, columns])):
        shown_first, shown_second = (np.bincount(side, minlength=highest + 1) for side in (first, second))
        both = (first > 0) & (second > 0)
        pairs, contact = np.unique(np.stack([first[both], second[both]], 1), axis=0, return_counts=True)
        for (a, b), n in zip(pairs, contact, strict=True):
            if 2 * n >= max(shown_first[a], shown_second[b]):
                parent[_root(parent, b)] = _root(parent, a)
    roots = np.array([_root(parent, i) for i in range(highest + 1)])
    return compact_ids(roots[field])


def _root(parent: np.ndarray, index: int) -> int:
    while parent[index] != index:
        index = int(parent[index])
    return int(index)
