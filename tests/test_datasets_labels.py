"""Truth of every kind becomes the instance map it stands for."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as PilImage

from common.brightfield.reading.records import read_frames, read_label
from common.datasets.coco import decode_counts
from common.datasets.labels import compact_ids, read_instances, read_label_values
from common.errors import InputError
from common.images.reading import list_images

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


def _discs(side: int = 200, each_way: int = 5, scale: int = 1) -> np.ndarray:
    """uint8 0/255, discs of several sizes in rows and columns, none touching."""
    mask = np.zeros((side * scale, side * scale), np.uint8)
    step = side * scale // each_way
    for number in range(each_way**2):
        row, column = divmod(number, each_way)
        centre = (column * step + step // 2, row * step + step // 2 + number % 3)
        cv2.circle(mask, centre, step // 4 + scale * (number % 4), 255, -1)
    return mask


SOFTENED = {
    "antialiased": lambda mask: cv2.resize(_discs(scale=8), mask.shape[::-1], interpolation=cv2.INTER_AREA),
    "blurred": lambda mask: cv2.GaussianBlur(mask, (0, 0), 1.0),
    "resized": lambda mask: cv2.resize(_discs(side=100), mask.shape[::-1], interpolation=cv2.INTER_CUBIC),
    "jpeg": lambda mask: cv2.imdecode(
        cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_GRAYSCALE
    ),
}


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("kind", list(SOFTENED))
def test_a_mask_with_soft_edges_has_the_objects_of_the_sharp_one(tmp_path: Path, kind: str, declared: bool) -> None:
    sharp = _discs()
    soft = SOFTENED[kind](sharp)
    assert len(np.unique(soft)) > 3
    PilImage.fromarray(soft).save(tmp_path / "m.png")
    record = _record(tmp_path / "a.png", str(tmp_path / "m.png"), **({"label_kind": "binary"} if declared else {}))
    read = read_instances(record, sharp.shape)
    assert read.max() == 25
    assert np.array_equal(read > 0, soft > soft.max() / 2)


@pytest.mark.parametrize("radius", [4.3, 7.6, 30.2])
def test_one_soft_object_alone_is_one_object(tmp_path: Path, radius: float) -> None:
    # Its edge has hardly more pixels than values, so that the number of parts tells nothing.
    rows, columns = np.mgrid[:80, :80]
    distance = np.hypot(rows - 40.3, columns - 38.8)
    PilImage.fromarray((255 * (radius - distance + 0.5).clip(0, 1)).astype(np.uint8)).save(tmp_path / "m.png")
    assert read_instances(_record(tmp_path / "a.png", str(tmp_path / "m.png")), (80, 80)).max() == 1


@pytest.mark.parametrize("first", [1, 120, 231])
@pytest.mark.parametrize("seed", range(5))
def test_ids_near_the_top_of_8_bits_stay_ids(tmp_path: Path, first: int, seed: int) -> None:
    ids = cv2.connectedComponents(_discs(), connectivity=4)[1]
    order = np.concatenate([[0], first + np.random.default_rng(seed).permutation(25)])
    values = order[ids].astype(np.uint8)
    PilImage.fromarray(values).save(tmp_path / "m.png")
    read = read_instances(_record(tmp_path / "a.png", str(tmp_path / "m.png")), values.shape)
    assert np.array_equal(read, compact_ids(values))


def test_a_few_large_objects_of_8_bits_keep_their_ids_beside_a_small_one(tmp_path: Path) -> None:
    values = np.zeros((90, 90), np.uint8)
    values[5:60, 5:80], values[70:74, 10:14], values[62:66, 5:80] = 255, 1, 254
    PilImage.fromarray(values).save(tmp_path / "m.png")
    read = read_instances(_record(tmp_path / "a.png", str(tmp_path / "m.png")), values.shape)
    assert np.array_equal(read, compact_ids(values))


@pytest.mark.parametrize(("values", "parts"), [((1, 2), 50), ((100, 200), 50)])
def test_a_class_map_is_refused_with_value_and_number_of_parts(
    tmp_path: Path, values: tuple[int, int], parts: int
) -> None:
    sharp = _discs() > 0
    inner = cv2.erode(sharp.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    classes = np.where(inner, values[0], np.where(sharp, values[1], 0)).astype(np.uint8)
    PilImage.fromarray(classes).save(tmp_path / "m.png")
    words = (
        rf"m\.png: found a mask of 2 values in {parts} separate parts, 25 of them of the value {values[0]}; expected"
    )
    with pytest.raises(InputError, match=words + ".* ids .* 0 and 255"):
        read_instances(_record(tmp_path / "a.png", str(tmp_path / "m.png")), classes.shape)


def test_edges_too_soft_to_be_binary_are_refused(tmp_path: Path) -> None:
    PilImage.fromarray(cv2.GaussianBlur(_discs(), (0, 0), 9.0)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"m\.png: found a mask of .* separate parts"):
        read_instances(_record(tmp_path / "a.png", str(tmp_path / "m.png")), (200, 200))


@pytest.mark.parametrize("count", [2, 3, 25])
def test_objects_that_are_all_cut_in_two_and_have_crumbs_are_still_ids(
    tmp_path: Path, rng: np.random.Generator, count: int
) -> None:
    ids = cv2.connectedComponents(_discs(), connectivity=4)[1].astype(np.uint16)
    ids[ids > count] = 0
    for number in range(1, count + 1):
        rows, columns = np.nonzero(ids == number)
        ids[int(rows.mean()), columns.min() : columns.max() + 1] = 0
        for row, column in rng.integers(0, 200, (6, 2)):
            ids[row, column] = number
    tifffile.imwrite(tmp_path / "m.tif", ids)
    read = read_instances(_record(tmp_path / "a.png", str(tmp_path / "m.tif")), ids.shape)
    assert np.array_equal(read, compact_ids(ids))


@pytest.mark.parametrize("soft", [False, True])
def test_frames_and_instances_agree_on_what_is_a_binary_mask(tmp_path: Path, soft: bool) -> None:
    mask = SOFTENED["jpeg"](_discs()) if soft else _discs()
    PilImage.fromarray(mask).save(tmp_path / "m.png")
    record = _record(tmp_path / "m.png", str(tmp_path / "m.png"))
    found = read_label(record, read_frames(record))
    assert found.max() == 1
    assert np.array_equal(found[0] > 0, read_instances(record) > 0)


@pytest.mark.data
@pytest.mark.parametrize("folder", ["monuseg/instances", "tnbc/masks", "bbbc039/masks"])
def test_real_id_maps_are_read_as_they_are(real_data: Path, folder: str) -> None:
    for path in list_images(real_data / folder)[:6]:
        values = read_label_values(path)
        assert np.array_equal(read_instances(_record(path, str(path))), compact_ids(values))


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
