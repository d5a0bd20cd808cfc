"""Feeding a training: fields in memory, weighted sampling by modality, crops that depend on their number alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..datasets.labels import read_instances
from ..engine.numbered import NumberedDataset, read_items
from ..errors import Problem
from ..flags import as_flag
from ..images.normalise import to_unit_range
from ..images.reading import read_image
from ..tissue.sampling import SamplingSettings, find_sites, known_mask
from .fields import field_groups, stitch, stitch_instances
from .targets import normalised_distance, typical_diameter
from .warp import Source, WarpSettings, draw_crop, paste_mosaic


def load_fields(
    records: Sequence[dict[str, Any]],
    progress: bool = True,
    problems: list[Problem] | None = None,
    sampling: SamplingSettings | None = None,
    draw_sites: bool | str = False,
    mpp: float | None = None,
) -> list[Source]:
    """Read all training images and their truth, put tiles of one field together, compute the distance maps.

    Args:
        records: dicts with ``image``, ``label``, ``modality``, and ``mosaic``, ``mosaic_position`` where known. Where
            ``partial`` is true only some objects are annotated, and what is neither an object nor its edge nor likely
            background teaches nothing.
        progress: show a bar.
        problems: fields that cannot be read are noted here and left out; without it the first one raises.
        sampling: how sites of three kinds are drawn, and what is known where truth is partial (stained tissue only).
        draw_sites: draw crops at those sites; otherwise near objects.
        mpp: pixel size of the training, in micrometres: images whose files tell theirs are scaled to it, others by the
            size of their objects. None scales all by their objects.

    Raises:
        InputError: nothing to train on, or a file that cannot be read.
    """
    settings, draw = sampling or SamplingSettings(), as_flag(draw_sites, "sampling")
    fields = [{"name": tiles[0]["name"], "tiles": tiles} for tiles in field_groups(records)]
    return read_items(fields, lambda field: _load_field(field["tiles"], settings, draw, mpp), problems, progress)


def _load_field(tiles: Sequence[dict[str, Any]], sampling: SamplingSettings, draw: bool, mpp: float | None) -> Source:
    read = [read_image(tile["image"]) for tile in tiles]
    images = [image.pixels for image in read]
    truths = [read_instances(tile, image.shape[:2]) for tile, image in zip(tiles, images, strict=True)]
    if len(tiles) > 1:
        positions = [tile["mosaic_position"] for tile in tiles]
        channels = max(image.shape[2] for image in images)
        images = [np.broadcast_to(image, (*image.shape[:2], channels)) for image in images]
        pixels, instances = stitch(images, positions), stitch_instances(truths, positions)
    else:
        pixels, instances = images[0], truths[0]
    normal = to_unit_range(pixels)
    if (
        normal.shape[2] == 3
        and np.array_equal(normal[..., 0], normal[..., 1])
        and np.array_equal(normal[..., 0], normal[..., 2])
    ):
        normal = normal[..., :1]
    size = read[0].pixel_size_um
    tissue = np.broadcast_to(pixels, (*pixels.shape[:2], 3))  # a grey picture among the stained ones
    sites = find_sites(instances, tissue, sampling) if draw else None
    return Source(
        normal.astype(np.float16),
        instances,
        distance=np.rint(normalised_distance(instances) * 255).astype(np.uint8),
        diameter=typical_diameter(instances),
        modality=tiles[0]["modality"],
        tiles=len(tiles),
        scale=size / mpp if mpp and size else float("nan"),
        sites=sites if sites and sites.any else None,
        known=known_mask(instances, tissue, sampling) if tiles[0].get("partial") else None,
    )


def modality_weights(fields: Sequence[Source]) -> np.ndarray:
    """Probability of each field: modalities by the square root of their images, fields within by that of their pixels.

    A modality with a tenth of the images is seen about a third as often as the largest, not a tenth.
    """
    size = np.array([np.sqrt(field.instances.size) for field in fields])
    share = Counter[str]()
    for field in fields:
        share[field.modality] += field.tiles
    total = {name: size[[f.modality == name for f in fields]].sum() for name in share}
    weights = np.array([s / total[f.modality] * np.sqrt(share[f.modality]) for s, f in zip(size, fields, strict=True)])
    return np.asarray(weights / weights.sum())


class CropDataset(NumberedDataset):
    """Endless random crops of fields; item ``n`` is always the same crop.

    Args:
        data: fields.
        transform: applied to each crop, a dict with ``image`` (rows, columns, 3) float32, ``instances`` (rows, columns)
            int32, ``distance`` float32, ``inside`` bool, ``modality``. Its random state is set for every item.
        settings: how crops are drawn.
        mosaic_probability: share of crops put together from four fields of one modality.
        samples_per_epoch: length of the data set.
        seed: of everything random.
    """

    def __init__(
        self,
        data: Sequence[Source],
        transform: Callable | None = None,
        settings: WarpSettings | None = None,
        mosaic_probability: float = 0.2,
        samples_per_epoch: int = 800,
        seed: int = 0,
    ) -> None:
        super().__init__(data, transform, samples_per_epoch, seed)
        self.settings, self.mosaic_probability = settings or WarpSettings(), mosaic_probability
        self.cumulative = np.cumsum(modality_weights(data))
        self.same = {m: [i for i, f in enumerate(data) if f.modality == m] for m in {f.modality for f in data}}

    def draw(self, state: np.random.RandomState) -> dict[str, Any]:
        """A crop of a field, or of four fields."""
        field = self.data[min(int(np.searchsorted(self.cumulative, state.rand())), len(self.data) - 1)]
        crop = draw_crop(field, self.settings, state)
        if state.rand() < self.mosaic_probability:
            others = state.choice(self.same[field.modality], 3)
            crop = paste_mosaic([crop] + [draw_crop(self.data[i], self.settings, state) for i in others], state)
        return {
            "image": crop.pixels,
            "instances": crop.instances,
            "distance": crop.distance,
            "inside": crop.inside,
            "modality": field.modality,
        }
