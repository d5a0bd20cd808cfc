"""Each layout is recognised, its truth found, and what is missing is named."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from common.datasets.labels import read_instances
from common.datasets.records import images_only, load_datalist
from common.errors import InputError, Problem

SHAPE = (6, 10)


def _image(path: Path, value: int = 0, size: tuple[int, int] = SHAPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, value, np.uint8)
    PilImage.fromarray(pixels).save(path)
    return path


def _mask(path: Path, columns: slice = slice(2, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, columns] = 255
    PilImage.fromarray(mask).save(path)
    return path


def _names(records: list[dict[str, Any]]) -> list[str]:
    return [record["name"] for record in records]


@pytest.fixture
def dsb(tmp_path: Path) -> Path:
    root = tmp_path / "root" / "stage1_train"
    for name in ("b", "a", "c"):
        _image(root / name / "images" / f"{name}.png")
        _mask(root / name / "masks" / "2.png", slice(6, 9))
        _mask(root / name / "masks" / "1.png")
    return root


def test_dsb_masks_are_sorted_and_read(dsb: Path) -> None:
    records = load_datalist(dsb)
    assert _names(records) == ["a", "b", "c"]
    assert [Path(mask).name for mask in records[0]["label"]] == ["1.png", "2.png"]
    assert read_instances(records[0]).max() == 2
    assert json.loads(json.dumps(records)) == records
    assert _names(load_datalist(dsb.parent)) == ["a", "b", "c"], "the folder above stage1_train is taken too"


@pytest.mark.parametrize("place", ["within", "beside", "given"])
def test_dsb_tables_give_modality_and_mosaic(dsb: Path, tmp_path: Path, place: str) -> None:
    folder = {"within": dsb, "beside": dsb.parent, "given": tmp_path}[place]
    (folder / "classes.csv").write_text(
        "filename,foreground,background\na.png,white,black\nb.png,purple,yellow\nc.png,green,red\n"
    )
    (folder / "mosaics.csv").write_text("img_id,cluster,mosaic_idx,mosaic_position\na,x,7,up_left\nb,x,7,\nc,x,,\n")
    tables = (
        {"modality_table": folder / "classes.csv", "mosaic_table": folder / "mosaics.csv"} if place == "given" else {}
    )
    first, second, third = load_datalist(dsb, **tables)
    assert [first["modality"], second["modality"], third["modality"]] == [
        "fluorescence",
        "purple_on_yellow",
        "green_on_red",
    ]
    assert first["group"] == second["group"] == "mosaic-7"
    assert third["group"] == "c"
    assert first["mosaic_position"] == "up_left"
    assert "mosaic_position" not in second
    assert "mosaic" not in third


def test_dsb_modality_is_guessed_without_a_table(dsb: Path) -> None:
    _image(dsb / "b" / "images" / "b.png", 230)
    assert [record["modality"] for record in load_datalist(dsb)] == ["fluorescence", "brightfield", "fluorescence"]


def test_dsb_without_masks_is_for_inference_only(dsb: Path) -> None:
    for mask in (dsb / "b" / "masks").iterdir():
        mask.unlink()
    with pytest.raises(InputError, match="b: found no masks"):
        load_datalist(dsb)
    assert load_datalist(dsb, need_labels=False)[1]["label"] is None
    assert _names(images_only(dsb)) == ["a", "b", "c"]


def test_dsb_folder_without_its_image_is_named(dsb: Path) -> None:
    (dsb / "c" / "images" / "c.png").unlink()
    with pytest.raises(InputError, match="c: found 0 images"):
        load_datalist(dsb)


def test_tables_that_cannot_be_used_are_named(dsb: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv: found no such file"):
        load_datalist(dsb, modality_table=tmp_path / "absent.csv")
    (dsb / "classes.csv").write_text("name,kind\na,b\n")
    with pytest.raises(InputError, match=r"found the columns name, kind; expected the columns filename"):
        load_datalist(dsb)


REGION = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in [(2, 1), (5, 1), (5, 3), (2, 3)])
XML = f"<Annotations><Region><Vertices>{REGION}</Vertices></Region></Annotations>"


@pytest.fixture
def tissue(tmp_path: Path) -> Path:
    for name in ("TCGA-18-5592-01Z-00-DX1", "TCGA-18-5592-01Z-00-DX2", "other"):
        _image(tmp_path / "tissue_images" / f"{name}.tif")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{name}.xml").write_text(XML)
    return tmp_path


def test_imagescope_groups_by_the_patient_of_the_barcode(tissue: Path) -> None:
    records = load_datalist(tissue)
    assert [record["group"] for record in records] == ["TCGA-18-5592", "TCGA-18-5592", "other"]
    assert read_instances(records[0]).tolist() == [
        [int(1 <= r < 3 and 2 <= c < 5) for c in range(10)] for r in range(6)
    ]


def test_imagescope_files_may_lie_side_by_side(tissue: Path) -> None:
    for file in [*(tissue / "annotations").iterdir(), *(tissue / "tissue_images").iterdir()]:
        file.rename(tissue / file.name)
    (tissue / "annotations").rmdir()
    (tissue / "tissue_images").rmdir()
    assert len(load_datalist(tissue)) == 3


def test_imagescope_warns_of_images_nobody_annotated_and_refuses_lost_annotations(tissue: Path) -> None:
    (tissue / "annotations" / "other.xml").unlink()
    with pytest.warns(UserWarning, match="other not annotated, left out"):
        assert len(load_datalist(tissue)) == 2
    assert len(images_only(tissue)) == 3
    (tissue / "annotations" / "lost.xml").write_text(XML)
    with pytest.raises(InputError, match="1 annotation without image: lost"):
        load_datalist(tissue)


def test_outlines_come_before_instance_maps_image_by_image(tissue: Path) -> None:
    for name in ("other", "TCGA-18-5592-01Z-00-DX1"):
        _mask(tissue / "instances" / f"{name}.png")
    (tissue / "annotations" / "other.xml").unlink()
    endings = {record["name"]: Path(record["label"]).suffix for record in load_datalist(tissue)}
    assert endings == {"TCGA-18-5592-01Z-00-DX1": ".xml", "TCGA-18-5592-01Z-00-DX2": ".xml", "other": ".png"}


def test_tissue_without_patient_among_barcodes_is_named(tissue: Path) -> None:
    with pytest.warns(UserWarning, match="no patient is known for other, taken for a patient each"):
        load_datalist(tissue)
    (tissue / "patients.csv").write_text(
        "image,patient\nother.tif,P\nTCGA-18-5592-01Z-00-DX1,Q\nTCGA-18-5592-01Z-00-DX2,P\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [record["group"] for record in load_datalist(tissue)] == ["Q", "P", "P"]


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    for name in ("12750_500_f00003", "12750_500_f00009", "8863_500_f1"):
        _image(tmp_path / f"{name}_original.tif", 200)
        _mask(tmp_path / f"{name}_mask.png")
    return tmp_path


def test_partly_annotated_images_say_so_and_know_their_patient(partial: Path) -> None:
    records = load_datalist(partial)
    assert _names(records) == ["12750_500_f00003_original", "12750_500_f00009_original", "8863_500_f1_original"]
    assert [record["group"] for record in records] == ["12750", "12750", "8863"]
    assert all(record["partial"] is True for record in records)
    assert read_instances(records[0]).sum() == 6
    assert json.loads(json.dumps(records)) == records
    assert _names(images_only(partial)) == _names(records), "masks are no images"


def test_a_table_of_patients_counts_before_the_code_in_the_name(partial: Path) -> None:
    (partial / "patients.csv").write_text(
        "image,patient\n" + "".join(f"{file.name},P\n" for file in partial.glob("*_original.tif"))
    )
    assert {record["group"] for record in load_datalist(partial)} == {"P"}


def test_partly_annotated_images_and_masks_must_be_complete(partial: Path) -> None:
    (partial / "8863_500_f1_mask.png").unlink()
    with pytest.raises(InputError, match="1 image without mask: 8863_500_f1"):
        load_datalist(partial)
    problems: list[Problem] = []
    assert len(load_datalist(partial, problems=problems)) == 2
    assert [problem.name for problem in problems] == ["8863_500_f1"]
    assert [record["label"] is None for record in images_only(partial)] == [False, False, True]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        _image(tmp_path / "images" / f"{name}.png")
        _mask(tmp_path / "masks" / f"{name}.tif")
    return tmp_path


def test_folders_match_equal_stems_of_any_ending(pairs: Path) -> None:
    records = load_datalist(pairs)
    assert _names(records) == ["a", "b"]
    assert [record["group"] for record in records] == ["a", "b"]
    assert read_instances(records[1]).sum() == 6


def test_folders_of_binary_masks_per_image(pairs: Path) -> None:
    (pairs / "masks" / "a.tif").unlink()
    _mask(pairs / "masks" / "a" / "1.png")
    _mask(pairs / "masks" / "a" / "2.png", slice(6, 8))
    (pairs / "masks" / "b.tif").unlink()
    (pairs / "masks" / "b").mkdir()
    records = load_datalist(pairs)
    assert read_instances(records[0]).max() == 2
    assert read_instances(records[1]).max() == 0, "an empty folder is an image without objects"


def test_a_mask_without_its_image_is_named(pairs: Path) -> None:
    _mask(pairs / "masks" / "lost.png")
    with pytest.raises(InputError, match="masks: found 1 mask without image: lost"):
        load_datalist(pairs)


def test_an_image_without_its_mask_is_named(pairs: Path) -> None:
    for number in range(5):
        _image(pairs / "images" / f"new{number}.png")
    with pytest.raises(InputError, match="images: found 5 images without mask: new0, new1, new2 and 2 more"):
        load_datalist(pairs)
    assert [record["label"] is None for record in images_only(pairs)] == [False, False] + [True] * 5


def test_two_images_of_one_name_are_refused(pairs: Path) -> None:
    _image(pairs / "images" / "a.tif")
    with pytest.raises(InputError, match=r"several files of one name: a\.png, a\.tif"):
        load_datalist(pairs)


@pytest.mark.parametrize("text", ["image,patient\na.png,P1\nb.png,P1\nz.png,P9\n", "image;patient\na;P1\nb;P1\n"])
def test_patients_are_the_groups(pairs: Path, text: str) -> None:
    (pairs / "patients.csv").write_text(text)
    assert [record["group"] for record in load_datalist(pairs)] == ["P1", "P1"]


def test_an_image_without_patient_is_named(pairs: Path) -> None:
    (pairs / "patients.csv").write_text("image,patient\na.png,P1\n")
    with pytest.raises(InputError, match=r"patients\.csv: found no patient for b"):
        load_datalist(pairs)
    problems: list[Problem] = []
    assert _names(load_datalist(pairs, problems=problems)) == ["a"]
    assert [problem.name for problem in problems] == ["b"]
    assert "no patient for b" in problems[0].reason
    assert _names(images_only(pairs)) == ["a", "b"], "where nothing is split nobody needs the patient"


def test_barcodes_tell_the_patient_in_every_layout(pairs: Path) -> None:
    for folder in ("images", "masks"):
        for file in (pairs / folder).iterdir():
            file.rename(file.with_name(f"TCGA-A7-A13E-01Z_{file.name}"))
    assert [record["group"] for record in load_datalist(pairs)] == ["TCGA-A7-A13E"] * 2


@pytest.mark.parametrize("inner", ["", "images"])
@pytest.mark.parametrize("as_file", [False, True])
def test_coco_is_taken_as_file_or_folder(tmp_path: Path, inner: str, as_file: bool) -> None:
    for name in ("b", "a"):
        _image(tmp_path / inner / f"{name}.png")
    content = {
        "images": [{"id": 1, "file_name": "b.png"}, {"id": 2, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "segmentation": [[2, 1, 5, 1, 5, 3, 2, 3]]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    records = load_datalist(tmp_path / "coco.json" if as_file else tmp_path)
    assert _names(records) == ["a", "b"]
    assert [read_instances(record).sum() for record in records] == [0, 6]
    (tmp_path / inner / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: found no such file"):
        load_datalist(tmp_path / "coco.json")


def test_a_data_list_is_relative_to_its_file(tmp_path: Path) -> None:
    _image(tmp_path / "x" / "a.png")
    _mask(tmp_path / "y" / "m.png")
    entries = [{"image": "x/a.png", "label": "y/m.png", "patient": 12, "fold": 2}]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    for path in (tmp_path / "list.json", tmp_path):
        [record] = load_datalist(path)
        assert (record["name"], record["group"], record["fold"]) == ("a", "12", 2)
        assert read_instances(record).sum() == 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"training": []}', "an empty data list"),
        ('{"training": [{"label": "m.png"}]}', "the entry"),
        ('{"training": [{"image": "absent.png"}]}', "no such file"),
        ('{"training": [{"image": "a.png", "fold": "first"}]}', "fold 'first'"),
        ('{"training": [{"image": "a.png"}]}', "1 images without label: a"),
        ('{"training": ', "no readable JSON"),
        ('{"other": 1}', "a file ending in '.json'"),
    ],
)
def test_broken_data_lists_are_refused(tmp_path: Path, content: str, words: str) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(InputError, match=words):
        load_datalist(tmp_path / "list.json")


def test_an_unknown_layout_says_what_is_there_and_what_is_known(tmp_path: Path) -> None:
    for name in ("train", "test"):
        _image(tmp_path / name / "images" / "a.png")
        _image(tmp_path / name / "images" / "b.png")
    with pytest.raises(
        InputError, match=r"found test/, train/; expected one of: .*tissue_images.*images/ \+ masks/.*COCO"
    ):
        load_datalist(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        load_datalist(tmp_path / "empty")
    with pytest.raises(InputError, match="no such file or folder"):
        load_datalist(tmp_path / "absent")


def test_a_truncated_image_is_named_before_training_starts(pairs: Path) -> None:
    file = pairs / "images" / "b.png"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"b\.png"):
        load_datalist(pairs)


def test_inference_takes_a_file_a_folder_or_images_within(tmp_path: Path) -> None:
    _image(tmp_path / "images" / "a.png")
    _image(tmp_path / "images" / "b.tif")
    assert _names(images_only(tmp_path)) == ["a", "b"]
    assert _names(images_only(tmp_path / "images")) == ["a", "b"]
    [record] = images_only(tmp_path / "images" / "b.tif")
    assert record["label"] is None
    assert Path(record["image"]).is_absolute()


@pytest.mark.parametrize("masks", [False, True])
def test_images_in_subfolders_that_are_not_read_are_named_in_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, masks: bool
) -> None:
    for name in ("a.png", "sub/b.png", "sub/c.png"):
        _image(tmp_path / "images" / name)
    if masks:
        _mask(tmp_path / "masks" / "a.png")
        assert _names(load_datalist(tmp_path)) == ["a"]
    else:
        assert _names(images_only(tmp_path)) == ["a"]
    warned = [record.getMessage() for record in caplog.records if "subfolders" in record.getMessage()]
    assert warned == [f"{tmp_path / 'images'}: 2 images in subfolders are not read: sub/b.png, sub/c.png"]


def test_a_folder_without_subfolders_or_with_one_mask_per_object_warns_of_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _image(tmp_path / "images" / "a.png")
    _mask(tmp_path / "masks" / "a" / "1.png")
    _mask(tmp_path / "masks" / "a" / "2.png", slice(6, 9))
    assert _names(load_datalist(tmp_path)) == _names(images_only(tmp_path / "images")) == ["a"]
    assert "subfolders" not in caplog.text


def test_images_and_masks_that_are_links_to_nowhere_are_problems_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _image(tmp_path / "images" / f"{name}.png")
        _mask(tmp_path / "masks" / f"{name}.png")
    _mask(tmp_path / "masks" / "dead.png")
    (tmp_path / "images" / "dead.png").symlink_to(tmp_path / "moved" / "dead.png")
    (tmp_path / "masks" / "b.png").unlink()
    (tmp_path / "masks" / "b.png").symlink_to(tmp_path / "moved" / "b.png")
    problems: list[Problem] = []
    records = load_datalist(tmp_path, problems=problems)
    assert _names(records) == ["a", "b"]
    assert [problem.name for problem in problems] == ["dead"]
    assert "a link that leads nowhere" in problems[0].reason
    with pytest.raises(InputError, match=r"masks/b\.png: found a link that leads nowhere"):
        read_instances(records[1])


def test_inference_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image in this folder"):
        images_only(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        images_only(tmp_path / "absent")
    _image(tmp_path / "a.png")
    _image(tmp_path / "a.tif")
    with pytest.raises(InputError, match="several images named a"):
        images_only(tmp_path)


@pytest.mark.data
def test_real_tissue_images_with_their_outlines(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "tissue_images").symlink_to(real_data / "monuseg" / "tissue_images")
    with zipfile.ZipFile(real_data / "monuseg" / "annotations.zip") as archive:
        archive.extractall(tmp_path / "annotations")
    with pytest.warns(UserWarning, match="14 more not annotated"):
        records = load_datalist(tmp_path)
    assert len(records) == 13
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        instances = read_instances(records[0])
    assert instances.shape == (1000, 1000)
    assert instances.max() > 100
    # Beside the outlines there are label images for all thirty, of a patient each.
    (tmp_path / "instances").symlink_to(real_data / "monuseg" / "instances")
    labels = [Path(record["label"]).suffix for record in images_only(tmp_path)]
    assert (labels.count(".xml"), labels.count(".png")) == (13, 17)


@pytest.mark.data
def test_two_real_hospitals_are_one_data_list(real_data: Path) -> None:
    records = load_datalist([real_data / "monuseg", real_data / "tnbc"])
    assert [record["dataset"] for record in records] == ["monuseg"] * 30 + ["tnbc"] * 39
    assert len({record["group"] for record in records[:30]}) == 30
    assert len({record["group"] for record in records[30:]}) == 8
    assert {record["modality"] for record in records} <= {"purple_on_purple", "purple_on_white"}


@pytest.mark.data
def test_real_label_images_and_patients(real_data: Path) -> None:
    records = images_only(real_data / "tnbc")
    assert len(records) == 39
    assert len({record["group"] for record in records}) == 8
    assert read_instances(records[0]).max() > 5


def test_dsb_images_of_a_patient_stay_together(dsb: Path) -> None:
    (dsb / "patients.csv").write_text("image,patient\na.png,p\nb.png,p\nc.png,q\n")
    assert [record["group"] for record in load_datalist(dsb)] == ["p", "p", "q"]
    (dsb / "mosaics.csv").write_text("img_id,mosaic_idx\nb,7\nc,7\n")
    assert [record["group"] for record in load_datalist(dsb)] == ["p", "mosaic-7", "mosaic-7"]
    (dsb / "patients.csv").write_text("image,patient\nb.png,p\n")
    problems: list[Problem] = []
    assert _names(load_datalist(dsb, problems=problems)) == ["b", "c"]
    assert [problem.name for problem in problems] == ["a"]
    assert _names(images_only(dsb)) == ["a", "b", "c"]


def _coco(folder: Path, *files: str) -> Path:
    for name in files:
        _image(folder / name)
    images = [{"id": number, "file_name": name} for number, name in enumerate(files)]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": []}))
    return folder


def test_coco_images_of_a_patient_stay_together(tmp_path: Path) -> None:
    slides = ("TCGA-18-5592-01Z-1.png", "TCGA-18-5592-01Z-2.png", "x.png")
    folder = _coco(tmp_path / "set", *slides)
    assert [record["group"] for record in load_datalist(folder)] == ["TCGA-18-5592", "TCGA-18-5592", "x"]
    (folder / "patients.csv").write_text("image,patient\n" + "".join(f"{name},p\n" for name in slides[1:]))
    problems: list[Problem] = []
    assert [record["group"] for record in load_datalist(folder / "coco.json", problems=problems)] == ["p", "p"]
    assert [problem.name for problem in problems] == ["TCGA-18-5592-01Z-1"]
    assert len(images_only(folder)) == 3


def test_an_unrelated_file_beside_images_does_not_stop_their_inference(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "notes.json").write_text("{not json")
    assert _names(images_only(tmp_path)) == ["a"]
    for read in (images_only, load_datalist):
        with pytest.raises(InputError, match=r"notes\.json: found no readable JSON"):
            read(tmp_path / "notes.json")
    with pytest.raises(InputError, match=r"notes\.json: found no readable JSON"):
        load_datalist(tmp_path)


@pytest.mark.parametrize("name", ["plate1/g16", "plate1\\g16", "../g16", "..", "a/../b", "line\nbreak"])
def test_a_name_in_a_data_list_becomes_that_of_a_file(tmp_path: Path, name: str) -> None:
    entry = {"image": str(_image(tmp_path / "i.png")), "name": name}
    (tmp_path / "list.json").write_text(json.dumps({"training": [entry]}))
    (record,) = images_only(tmp_path / "list.json")
    assert (tmp_path / f"{record['name']}_label.tif").resolve().parent == tmp_path.resolve()
    assert record["name"].isprintable() and record["name"].strip(".")
    assert record["group"] == name


def test_names_that_become_one_are_refused(tmp_path: Path) -> None:
    images = [str(_image(tmp_path / f"{number}.png")) for number in (1, 2)]
    entries = [{"image": image, "name": name} for image, name in zip(images, ("p/g", "p_g"), strict=True)]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    with pytest.raises(InputError, match="several images named p_g"):
        images_only(tmp_path / "list.json")
