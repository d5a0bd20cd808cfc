"""Training samples from few images: geometry in two or three dimensions, generated aggregates, other laboratories' looks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from numpy.random import RandomState
from torch.nn import functional

from ..frames import normalise
from ..generated.aggregates import add_debris, add_rim, draw_ground, draw_inside, draw_scene


class RandWarpd(Randomizable, MapTransform):
    """Turn, mirror, zoom, stretch, bend and shake a sample, and cut it to a square or cube; any number of dimensions.

    One resampling for all of it. MONAI's ``RandAffined`` and ``Rand2DElasticd`` know no bending, their options differ
    between two and three dimensions, and they draw zooms without regard to how much of the frame the object fills.

    Args:
        keys: image (channels, ...) float and label (1, ...) integers, of equal size.
        size: of each side of what comes out.
        fill: share of what comes out that the objects fill, from and to, as far as ``zoom`` allows.
        zoom: smallest and largest factor.
        stretch: log of the largest ratio of two axes.
        bend: largest bow of a straight line across the sample, as a share of its side.
        shake: deviation of the elastic displacement, as a share of the side.
        labels: which of the keys hold classes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int,
        fill: tuple[float, float] = (0.06, 0.5),
        zoom: tuple[float, float] = (0.6, 1.8),
        stretch: float = 0.6,
        bend: float = 0.35,
        shake: float = 0.02,
        labels: Sequence[str] = ("label",),
    ) -> None:
        MapTransform.__init__(self, keys)
        self.size, self.fill, self.zoom, self.stretch = size, tuple(fill), tuple(zoom), stretch
        self.bend, self.shake, self.labels = bend, shake, tuple(labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item: dict[Any, Any] = dict(data)
        if item.get("generated"):
            return item
        label = item[self.labels[0]]
        grid = self._grid(np.asarray(label[0]) > 0)
        for key in self.key_iterator(item):
            is_label = key in self.labels
            values = torch.as_tensor(item[key])
            warped = functional.grid_sample(
                values[None].float(),
                grid[None],
                mode="nearest" if is_label else "bilinear",
                padding_mode="reflection",
                align_corners=False,
            )[0]
            item[key] = warped.to(values.dtype) if is_label else warped
        return item

    def _grid(self, objects: np.ndarray) -> torch.Tensor:
        """(*size, dims) where each element comes from, in the units of ``grid_sample``: -1 to 1, last axis first."""
        shape = np.array(objects.shape)
        dims = len(shape)
        line = (np.arange(self.size) + 0.5 - self.size / 2).astype(np.float32)
        places = np.stack(np.meshgrid(*[line] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
        places = self._bent(places)
        places += self._shaken(dims)
        places = places @ self._matrix(dims).T / self._zoom(objects)
        centre = self._centre(objects) + self.R.uniform(-0.2, 0.2, dims) * self.size
        places = (places + centre) / shape * 2 - 1
        return torch.from_numpy(places[:, ::-1].astype(np.float32)).reshape(*[self.size] * dims, dims)

    def _zoom(self, objects: np.ndarray) -> float:
        filled = np.count_nonzero(objects)
        if not filled:
            return float(np.exp(self.R.uniform(*np.log(self.zoom))))
        wanted = np.exp(self.R.uniform(*np.log(self.fill))) * self.size**objects.ndim
        return float(np.clip((wanted / filled) ** (1 / objects.ndim), self.zoom[0], self.zoom[1]))

    def _centre(self, objects: np.ndarray) -> np.ndarray:
        """The middle of the objects, or of the sample where there are none or by chance."""
        middle = np.array(objects.shape) / 2
        if self.R.rand() < 0.3 or not objects.any():
            return middle
        return np.array([(axis.min() + axis.max() + 1) / 2 for axis in np.nonzero(objects)])

    def _matrix(self, dims: int) -> np.ndarray:
        """A rotation, perhaps mirrored, of a stretched sample."""
        turn, other = (np.linalg.qr(self.R.standard_normal((dims, dims)))[0] for _ in range(2))
        logs = self.R.uniform(-0.5, 0.5, dims) * self.R.uniform(0, self.stretch)
        return turn @ np.diag(np.exp(logs - logs.mean())) @ other

    def _bent(self, places: np.ndarray) -> np.ndarray:
        """The first axis bows with the square of the second; as the rotation follows, any line does with any other."""
        if self.R.rand() < 0.5 or places.shape[1] < 2:
            return places
        bow = self.R.uniform(-self.bend, self.bend) * self.size
        places = places.copy()
        places[:, 0] += bow * ((places[:, 1] / (self.size / 2)) ** 2 - 1 / 3)
        return places

    def _shaken(self, dims: int) -> np.ndarray:
        """(elements, dims) smooth random displacement."""
        knots = self.R.randint(3, 8)
        coarse = torch.from_numpy(self.R.standard_normal((1, dims, *[knots] * dims)).astype(np.float32))
        mode = "bicubic" if dims == 2 else "trilinear"
        fine = functional.interpolate(coarse, [self.size] * dims, mode=mode, align_corners=True)[0]
        return fine.reshape(dims, -1).T.numpy() * self.shake * self.size * self.R.rand()


class RandScened(Randomizable, MapTransform):
    """Put a generated aggregate (:mod:`..generated.aggregates`) in the place of a sample.

    Its inside may have the sample's texture. Only where frames are of one channel and there is one class
    besides the background; others are left as they are.

    Args:
        keys: image (1, rows, columns) and label (1, rows, columns).
        size: rows and columns.
        prob: share of generated samples.
        num_classes: with the background.
    """

    def __init__(self, keys: KeysCollection, size: int, prob: float = 0.5, num_classes: int = 2) -> None:
        MapTransform.__init__(self, keys)
        self.size, self.prob, self.num_classes = size, prob, num_classes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item: dict[Any, Any] = dict(data)
        if self.R.rand() >= self.prob or not is_brightfield(item, self.num_classes):
            return item
        pixels, mask = np.asarray(item["image"])[0], np.asarray(item["label"])[0] > 0
        scene = draw_scene(self.R, self.size, lambda: inner_texture(self.R, pixels, mask, self.size))
        item["image"], item["label"] = torch.from_numpy(scene.pixels[None]), torch.from_numpy(scene.mask[None])
        item["generated"] = True
        return item


class RandLookd(Randomizable, MapTransform):
    """Give a filmed aggregate another look: another ground, rims, shed cells, uneven light, dark for bright.

    Only where :class:`RandScened` would act, and not on what it made.

    Args:
        keys: image (1, rows, columns) and label (1, rows, columns).
        prob: share of samples of which anything is changed.
        num_classes: with the background.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.7, num_classes: int = 2) -> None:
        MapTransform.__init__(self, keys)
        self.prob, self.num_classes = prob, num_classes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item: dict[Any, Any] = dict(data)
        if self.R.rand() < self.prob and not item.get("generated") and is_brightfield(item, self.num_classes):
            pixels, mask = np.asarray(item["image"])[0], np.asarray(item["label"], np.uint8)[0]
            item["image"] = torch.from_numpy(_other_look(self.R, pixels.astype(np.float32), mask)[None])
        return item


def _other_look(state: RandomState, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    size, bright = len(mask), bool(state.rand() < 0.5)
    if state.rand() < 0.3:
        pixels = 1 - pixels
    if state.rand() < 0.35 and mask.any():
        level = state.uniform(0.5, 0.9) if bright else state.uniform(0.05, 0.35)
        ground = draw_ground(state, size, level, bright)
        own = pixels[mask > 0]
        grains = (pixels - own.mean()) / (own.std() + 1e-6)
        inside = draw_inside(state, mask, ground, bright, lambda: grains)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), state.uniform(0.5, 1.6))
        pixels = ground * (1 - soft) + inside * soft
    elif state.rand() < 0.5:
        light = draw_ground(state, size, 0.0, bright)
        pixels = pixels + state.uniform(0.3, 1.0) * light
    if state.rand() < 0.35:
        pixels = add_rim(state, pixels, mask, bright)
    if state.rand() < 0.5:
        pixels = add_debris(state, pixels, mask)
    return np.asarray(pixels, np.float32)


class Normalised(MapTransform):
    """Grey values as :func:`..frames.normalise` gives them at inference: after all that changed them in a sample.

    Args:
        keys: (channels, ...) float32.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            values = np.moveaxis(np.asarray(item[key]), 0, -1)
            item[key] = torch.from_numpy(np.ascontiguousarray(np.moveaxis(normalise(values), -1, 0)))
        return item


def is_brightfield(item: Mapping[Any, Any], num_classes: int) -> bool:
    """Whether a sample is what :mod:`..generated.aggregates` draws: two dimensions, one channel, one class of objects."""
    return num_classes == 2 and item["image"].ndim == 3 and item["image"].shape[0] == 1


def inner_texture(state: RandomState, pixels: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """Grey values of an aggregate's inside, mirrored to (size, size), mean 0 and deviation 1.

    Args:
        state: of where it is taken and at which zoom.
        pixels: (rows, columns) float.
        mask: (rows, columns) bool.
        size: of what comes out.
    """
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    # The square within the largest disc.
    half = max(4, int(depth[row, column] * 0.7))
    patch = pixels[max(0, row - half) : row + half, max(0, column - half) : column + half].astype(np.float32)
    zoom = state.uniform(0.6, 1.5)
    zoomed = cv2.resize(patch, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    more = [max(0, size - length) for length in zoomed.shape]
    # A mirror has no seams; numpy repeats it as often as needed.
    filled = np.pad(zoomed, [(0, more[0]), (0, more[1])], mode="reflect")[:size, :size]
    return np.asarray((filled - filled.mean()) / (filled.std() + 1e-6), np.float32)
