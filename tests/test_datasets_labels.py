"""Truth of every kind becomes the instance map it stands for."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as PilImage

from common.datasets.coco import decode_counts
from common.datasets.labels import compact_ids, read_instances
from common.errors import InputError

SHAPE = (9, 14)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    PilImage.fromarray(np.zeros(SHAPE, np.uint8)).save(path)
    return path


def _record(image: Path, label: Any, **more: Any) -> dict[str, Any]:
    return {"name": image.stem, "image": str(image), "label": label, "group": image.stem, **more}


def _mask(path: Path, rows: slice, columns: slice) -> str:
    mask = np.zeros(SHAPE, np.uint8)
    mask[rows, columns] = 255
    PilImage.fromarray(mask).save(path)
    return str(path)


def _touching() -> np.ndarray:
    labels = np.zeros(SHAPE, np.int32)
    labels[1:4, 1:5], labels[1:4, 5:9], labels[6:8, 10:13] = 1, 2, 3
    return labels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, np.float32])
def test_label_images_of_any_depth_keep_touching_objects_apart(image: Path, dtype: type) -> None:
    tifffile.imwrite(image.with_name("m.tif"), _touching().astype(dtype))
    read = read_instances(_record(image, str(image.with_name("m.tif"))))
    assert read.dtype == np.int32
    assert np.array_equal(read, _touching())


def test_ids_become_consecutive_in_their_order(image: Path) -> None:
    labels = np.array([0, 70000, 5, 3_000_000])[_touching()].astype(np.uint32)
    tifffile.imwrite(image.with_name("m.tif"), labels)
    read = read_instances(_record(image, str(image.with_name("m.tif"))))
    assert np.array_equal(read, np.array([0, 2, 1, 3])[_touching()])


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_to_compact_ids_agree(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 40, (6, 7)) * np.random.default_rng(seed + 1).integers(0, 2)
    # The largest value decides between table and sort.
    assert np.array_equal(compact_ids(labels), compact_ids(labels * (1 << 21)))


@pytest.mark.parametrize("value", [1, 255])
def test_a_binary_mask_gives_its_4_connected_components(image: Path, value: int) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 1:3] = mask[3:5, 3:5] = mask[6, 8:12] = value
    PilImage.fromarray(mask).save(image.with_name("m.png"))
    read = read_instances(_record(image, str(image.with_name("m.png"))))
    assert read.max() == 3
    assert read[2, 2] != read[3, 3]
    assert np.array_equal(read > 0, mask > 0)


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_declared_binary_is_read_as_one(image: Path, value: int, channels: int) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 1:3] = mask[6, 8:12] = value
    PilImage.fromarray(mask if channels == 1 else np.dstack([mask] * 3)).save(image.with_name("m.png"))
    read = read_instances(_record(image, str(image.with_name("m.png")), label_kind="binary"))
    assert np.array_equal(read, np.where(mask > 0, np.where(np.arange(SHAPE[1]) > 6, 2, 1), 0))


def test_soft_edges_of_a_mask_declared_binary_are_cut_at_one_half(image: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:7, 2:8] = 255
    mask[0, 2:8], mask[7, 2:8], mask[8, 13] = 90, 170, 3
    PilImage.fromarray(mask).save(image.with_name("m.png"))
    read = read_instances(_record(image, str(image.with_name("m.png")), label_kind="binary"))
    assert np.array_equal(read, (mask > 127).astype(np.int32))


@pytest.mark.parametrize("factor", [1, 80])
def test_ids_in_a_mask_declared_binary_are_refused(image: Path, factor: int) -> None:
    PilImage.fromarray((_touching() * factor).astype(np.uint8)).save(image.with_name("m.png"))
    with pytest.raises(InputError, match=r"m\.png: found a mask of 4 values; expected a binary mask"):
        read_instances(_record(image, str(image.with_name("m.png")), label_kind="binary"))


def test_an_empty_mask_declared_binary_has_no_objects(image: Path) -> None:
    PilImage.fromarray(np.zeros(SHAPE, np.uint8)).save(image.with_name("m.png"))
    assert not read_instances(_record(image, str(image.with_name("m.png")), label_kind="binary")).any()


def test_an_empty_mask_is_an_image_without_objects(image: Path) -> None:
    PilImage.fromarray(np.zeros(SHAPE, np.uint8)).save(image.with_name("m.png"))
    assert not read_instances(_record(image, str(image.with_name("m.png")))).any()
    assert read_instances(_record(image, [])).shape == SHAPE


def test_one_bit_and_palette_masks_hold_their_ids(image: Path) -> None:
    PilImage.fromarray(_touching() > 0).save(image.with_name("bit.png"))
    assert np.array_equal(read_instances(_record(image, str(image.with_name("bit.png")))) > 0, _touching() > 0)
    palette = PilImage.fromarray(_touching().astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 200, 10, 10, 200, 10, 10, 0, 0, 250])
    palette.save(image.with_name("palette.png"))
    assert np.array_equal(read_instances(_record(image, str(image.with_name("palette.png")))), _touching())


def test_binary_masks_become_objects_in_their_order_without_the_empty_ones(image: Path) -> None:
    masks = [
        _mask(image.with_name("1.png"), slice(0, 2), slice(0, 3)),
        _mask(image.with_name("2.png"), slice(0, 0), slice(0, 0)),
        _mask(image.with_name("3.png"), slice(2, 4), slice(0, 3)),
    ]
    expected = np.zeros(SHAPE, np.int32)
    expected[:2, :3], expected[2:4, :3] = 1, 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_instances(_record(image, masks)), expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_overlap_goes_to_the_smaller_mask_with_one_warning(image: Path, reverse: bool) -> None:
    masks = [
        _mask(image.with_name("large.png"), slice(0, 6), slice(0, 9)),
        _mask(image.with_name("small.png"), slice(2, 4), slice(3, 5)),
        _mask(image.with_name("other.png"), slice(5, 7), slice(8, 10)),
    ]
    with pytest.warns(UserWarning, match=r"a\.png: 5 pixels") as caught:
        read = read_instances(_record(image, masks[::-1] if reverse else masks))
    assert len(caught) == 1
    assert (read == read[2, 3]).sum() == 4
    assert (read == read[5, 8]).sum() == 4
    assert (read == read[0, 0]).sum() == 54 - 5


def test_labels_of_another_size_are_refused_with_both_sizes(image: Path) -> None:
    # The transposed size, as readers in (x, y) order would have it.
    PilImage.fromarray(np.zeros(SHAPE[::-1], np.uint8)).save(image.with_name("m.png"))
    for label in (str(image.with_name("m.png")), [str(image.with_name("m.png"))]):
        with pytest.raises(InputError, match=r"m\.png: found a mask of 14 rows x 9 columns; .* 9 rows x 14 columns"):
            read_instances(_record(image, label))


def test_a_colour_mask_is_refused_unless_its_channels_are_equal(image: Path) -> None:
    labels = _touching().astype(np.uint8)
    PilImage.fromarray(np.stack([labels, labels, labels], -1)).save(image.with_name("grey.png"))
    assert np.array_equal(read_instances(_record(image, str(image.with_name("grey.png")))), _touching())
    PilImage.fromarray(np.stack([labels, labels, labels * 2], -1)).save(image.with_name("colour.png"))
    with pytest.raises(InputError, match=r"colour\.png: found a colour image as mask"):
        read_instances(_record(image, str(image.with_name("colour.png"))))


@pytest.mark.parametrize(("value", "words"), [(-1.0, "negative"), (0.5, "fractions"), (np.nan, "fractions")])
def test_values_that_are_no_ids_are_refused(image: Path, value: float, words: str) -> None:
    labels = _touching().astype(np.float32)
    labels[0, 0] = value
    tifffile.imwrite(image.with_name("m.tif"), labels)
    with pytest.raises(InputError, match=words):
        read_instances(_record(image, str(image.with_name("m.tif"))))


def test_a_record_without_label_is_refused(image: Path) -> None:
    with pytest.raises(InputError, match="no label"):
        read_instances(_record(image, None))


def test_a_truncated_mask_is_named(image: Path) -> None:
    mask = Path(_mask(image.with_name("cut.png"), slice(0, 2), slice(0, 3)))
    mask.write_bytes(mask.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cut\.png"):
        read_instances(_record(image, [str(mask)]))


def _xml(path: Path, *regions: list[tuple[float, float]], attributes: str = "") -> str:
    text = "".join(
        f'<Region Id="{number}" {attributes}><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in region)
        + "</Vertices></Region>"
        for number, region in enumerate(regions, start=1)
    )
    path.write_text(f"<Annotations><Annotation><Regions>{text}</Regions></Annotation></Annotations>")
    return str(path)


def test_imagescope_outlines_are_x_y_and_clipped(image: Path) -> None:
    label = _xml(image.with_name("a.xml"), [(10, 1), (20, 1), (20, 4), (10, 4)], [(-3, 6), (2, 6), (2, 30), (-3, 30)])
    expected = np.zeros(SHAPE, np.int32)
    expected[1:4, 10:], expected[6:, :2] = 1, 2
    assert np.array_equal(read_instances(_record(image, label)), expected)


def test_outlines_of_which_nothing_is_left_are_counted(image: Path) -> None:
    inside, outside, between = (
        [(1, 1), (4, 1), (4, 4)],
        [(40, 1), (50, 1), (50, 4)],
        [(6.6, 6.6), (6.8, 6.6), (6.8, 6.8)],
    )
    label = _xml(image.with_name("a.xml"), outside, inside, between)
    with pytest.warns(UserWarning, match=r"a\.xml: 2 of 3 outlines cover no pixel .* 9 rows x 14 columns"):
        assert read_instances(_record(image, label)).max() == 1
    label = _xml(image.with_name("b.xml"), outside)
    with pytest.warns(UserWarning, match=r"b\.xml: 1 of 1 outlines"):
        assert not read_instances(_record(image, label)).any()


def test_regions_without_area_are_left_out_with_file_and_region(image: Path) -> None:
    label = _xml(image.with_name("a.xml"), [(1, 1), (5, 5)], [(1, 1), (4, 1), (4, 4)])
    with pytest.warns(UserWarning, match=r"a\.xml: region 1 has 2 vertices"):
        assert read_instances(_record(image, label)).max() == 1
    label = _xml(image.with_name("b.xml"), [(1, 1), (4, 1), (4, 4)], attributes='NegativeROA="1"')
    with pytest.warns(UserWarning, match=r"b\.xml: region 1 is negative"):
        assert not read_instances(_record(image, label)).any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><Annotations>&b;</Annotations>', "entities"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><Annotations>&a;</Annotations>', "entities"),
        ("<Annotations><Annotation>", "no readable XML"),
        ("<svg/>", "root 'svg'"),
        ('<Annotations><Region><Vertex X="1"/></Region></Annotations>', "without numbers"),
        ('<Annotations><Region><Vertex X="nan" Y="1"/></Region></Annotations>', "not finite"),
    ],
)
def test_harmful_or_broken_xml_is_refused(image: Path, text: str, words: str) -> None:
    image.with_name("a.xml").write_text(text)
    with pytest.raises(InputError, match=rf"a\.xml: found .*{words}"):
        read_instances(_record(image, str(image.with_name("a.xml"))))


def _encoded(runs: list[int]) -> str:
    """COCO's compressed run lengths, the inverse of ``decode_counts``."""
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            code, value = value & 0x1F, value >> 5
            last = value == (-1 if code & 0x10 else 0)
            text += chr(48 + (code if last else code | 0x20))
            if last:
                break
    return text


def _runs(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[0], mask.ravel(order="F").astype(int)])
    changes = np.flatnonzero(np.diff(flat)).tolist()
    return np.diff([0, *changes, mask.size]).tolist()


def _coco(image: Path, *annotations: dict[str, Any]) -> dict[str, Any]:
    content = {
        "images": [{"id": 4, "file_name": "a.png"}],
        "annotations": [{"id": number, "image_id": 4, **entry} for number, entry in enumerate(annotations)],
    }
    path = image.with_name("coco.json")
    path.write_text(json.dumps(content))
    return _record(image, str(path), coco_image_id=4)


@pytest.mark.parametrize("seed", range(30))
def test_compressed_run_lengths_are_decoded(seed: int) -> None:
    runs = np.random.default_rng(seed).integers(0, 5000, 25).tolist()
    assert decode_counts(_encoded(runs)) == runs


@pytest.mark.parametrize("compressed", [False, True])
def test_coco_run_lengths_give_the_mask(image: Path, rng: np.random.Generator, compressed: bool) -> None:
    mask = rng.random(SHAPE) < 0.4
    runs = _runs(mask)
    record = _coco(image, {"segmentation": {"size": list(SHAPE), "counts": _encoded(runs) if compressed else runs}})
    assert np.array_equal(read_instances(record) > 0, mask)


def test_coco_polygons_are_united_and_crowds_left_out(image: Path) -> None:
    record = _coco(
        image,
        {"segmentation": [[0, 0, 3, 0, 3, 2, 0, 2], [5, 0, 7, 0, 7, 2, 5, 2]], "iscrowd": 0},
        {"segmentation": {"size": list(SHAPE), "counts": [0, SHAPE[0] * SHAPE[1]]}, "iscrowd": 1},
        {"segmentation": [[9, 4, 12, 4, 12, 8, 9, 8]]},
    )
    expected = np.zeros(SHAPE, np.int32)
    expected[:2, :3] = expected[:2, 5:7] = 1
    expected[4:8, 9:12] = 2
    assert np.array_equal(read_instances(record), expected)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ({"size": [14, 9], "counts": [126]}, "size"),
        ({"size": [9, 14], "counts": [5, 5]}, "10 pixels"),
        ({"size": [9, 14], "counts": [-5, 131]}, "126 pixels"),
        ({"size": [9, 14], "counts": ["x"]}, "cannot be decoded"),
        ([[1, 2, 3]], "no list of x y"),
        ([[1, 2, 3, float("nan"), 4, 5]], "not finite"),
        (None, "without segmentation"),
    ],
)
def test_broken_coco_annotations_are_refused(image: Path, segmentation: Any, words: str) -> None:
    with pytest.raises(InputError, match=rf"coco\.json: found .*{words}"):
        read_instances(_coco(image, {"segmentation": segmentation}))


def test_an_image_that_the_coco_file_lacks_is_refused(image: Path) -> None:
    with pytest.raises(InputError, match="no image of id 5"):
        read_instances({**_coco(image), "coco_image_id": 5})
