"""Images with a class: each layout is read alike, slides and cases stay together, and what is wrong is named."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from common.crossval.runs import make_plan
from common.datasets.class_folders import as_entries, case_of, found_classes, from_entries, matches, slide_of
from common.datasets.datalist import read_datalist, write_datalist
from common.datasets.folds import by_image, check_folds, group_of, split, warn_of_leak, with_folds
from common.datasets.list_files import read_fold_lists, write_fold_lists
from common.datasets.records import images_only, load_datalist
from common.datasets.slide_names import slides_told
from common.datasets.splits import Split
from common.errors import InputError, Problem

CLASSES = ("CLL", "FL", "MCL")
# Slides of each class; two of FL are blocks of one case.
SLIDES = {
    "CLL": ("sj-03-1", "sj-03-2-R2", "sj-03-3"),
    "FL": ("sj-05-6-R3", "sj-05-6-R4", "sj-05-7-R1", "sj-05-8"),
    "MCL": ("sj-04-1", "sj-04-2", "sj-04-3"),
}
EACH = 3


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(path)
    return path


def files(slides: dict[str, tuple[str, ...]] | None = None) -> list[tuple[str, str, str]]:
    """(class, slide, stem) of each image."""
    every = SLIDES if slides is None else slides
    return [(c, slide, f"{slide}_{n:03d}") for c, own in every.items() for slide in own for n in range(1, EACH + 1)]


def folders(root: Path, slides: dict[str, tuple[str, ...]] | None = None, ending: str = ".png") -> Path:
    for name, _, stem in files(slides):
        image(root / name / f"{stem}{ending}")
    return root


def flat(root: Path, slides: dict[str, tuple[str, ...]] | None = None) -> Path:
    for name, _, stem in files(slides):
        image(root / f"{name}-{stem}.tif")
    return root


def tabled(root: Path) -> Path:
    rows = []
    for number, (name, slide, _) in enumerate(files()):
        path = image(root / "pictures" / f"{number}.png").relative_to(root)
        rows.append(f"{path.as_posix()},{name},{slide}")
    (root / "images.csv").write_text("\n".join(["path,class,slide", *rows]) + "\n")
    return root


def known(records: list[dict[str, Any]]) -> Counter:
    return Counter((record["label"], record["slide"], record["group"]) for record in records)


EXPECTED = Counter({(name, slide, case_of(slide)): EACH for name, own in SLIDES.items() for slide in own})


@pytest.mark.parametrize("make", [folders, flat, tabled])
@pytest.mark.parametrize("class_names", [None, CLASSES])
def test_every_layout_tells_the_same_classes_slides_and_cases(make: Any, class_names: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "data")
    records = load_datalist(root, class_names=class_names)
    assert known(records) == EXPECTED
    assert len({record["name"] for record in records}) == len(records)
    assert json.loads(json.dumps(records)) == records
    assert all(record["modality"] == "" and Path(record["image"]).is_file() for record in records)
    assert found_classes(root) == CLASSES


def test_blocks_of_one_case_stay_together() -> None:
    assert case_of("sj-05-6124-R3") == case_of("sj-05-6124-R4") == "sj-05-6124"
    assert case_of("sj-05-588-R10") == "sj-05-588"
    assert case_of("sj-05-R3-588") == "sj-05-R3-588", "only at the end"
    assert slide_of("CLL-sj-03-476_001", CLASSES) == slide_of("sj-03-476_001") == "sj-03-476"


def test_a_table_of_patients_counts_before_the_names(tmp_path: Path) -> None:
    root = folders(tmp_path)
    rows = [f"{stem}.png,{'x' if slide in ('sj-04-1', 'sj-04-2') else slide}" for _, slide, stem in files()]
    (root / "patients.csv").write_text("\n".join(["image,patient", *rows]) + "\n")
    groups = {record["slide"]: record["group"] for record in load_datalist(root, class_names=CLASSES)}
    assert groups["sj-04-1"] == groups["sj-04-2"] == "x"


def test_images_of_one_name_in_two_classes_are_told_apart(tmp_path: Path) -> None:
    for name in ("a/1_001.png", "b/1_002.png", "b/2_001.png", "a/3_001.png", "b/4_001.png", "a/4-R2_001.png"):
        image(tmp_path / name)
    image(tmp_path / "a" / "s7.png")
    image(tmp_path / "b" / "s7.png").rename(tmp_path / "b" / "s7.PNG")
    (tmp_path / "b" / "1_002.png").unlink()
    with pytest.raises(
        InputError, match=r"the slide s7 in the classes a, b; .* images\.csv \(path, class, slide\) can"
    ):
        load_datalist(tmp_path, class_names=("a", "b"))
    rows = ["a/s7.png,a,s1", "b/s7.PNG,b,s2"]
    (tmp_path / "images.csv").write_text("\n".join(["path,class,slide", *rows]))
    problems: list[Problem] = []
    found = load_datalist(tmp_path, class_names=("a", "b"), problems=problems)
    assert [record["name"] for record in found] == ["a-s7", "b-s7"]
    assert len(problems) == 1 and "5 images that the table does not list" in problems[0].reason


@pytest.mark.parametrize("make", [folders, flat])
def test_an_unknown_class_is_named_once_with_its_images(make: Any, tmp_path: Path) -> None:
    root = make(tmp_path, {**SLIDES, "DLBCL": ("sj-09-1",)})
    with pytest.raises(
        InputError, match=r"3 images of the unknown class 'DLBCL': .*; expected the classes CLL, FL, MCL"
    ):
        load_datalist(root, class_names=CLASSES)
    problems: list[Problem] = []
    assert known(load_datalist(root, class_names=CLASSES, problems=problems)) == EXPECTED
    assert [problem.name for problem in problems] == ["DLBCL"]


def test_names_of_no_class_at_all_are_named_too(tmp_path: Path) -> None:
    for name in ("X-s_001.png", "Y-s_002.png"):
        image(tmp_path / name)
    with pytest.raises(InputError, match="unknown class 'X': X-s_001.png"):
        load_datalist(tmp_path, class_names=CLASSES)


def test_files_of_the_table_that_are_absent_are_one_problem(tmp_path: Path) -> None:
    root = tabled(tmp_path)
    for number in (0, 4):
        (root / "pictures" / f"{number}.png").unlink()
    problems: list[Problem] = []
    assert len(load_datalist(root, problems=problems)) == len(files()) - 2
    (problem,) = problems
    assert "2 files of the table that are not there: pictures/0.png, pictures/4.png" in problem.reason


@pytest.mark.parametrize("ending", ["_{:03d}", "-{:03d}", " - {:03d}", " ({})", "_{:03d} (2)"])
def test_however_images_are_numbered_those_of_a_slide_stay_together(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, own in SLIDES.items():
        for slide in own:
            for number in range(1, EACH + 1):
                image(tmp_path / name / f"{slide}{ending.format(number)}.png")
    with caplog.at_level(logging.WARNING):
        assert known(load_datalist(tmp_path, class_names=CLASSES)) == EXPECTED
        assert known(images_only(tmp_path, CLASSES)) == EXPECTED
    assert not caplog.records


def test_a_number_of_the_slide_s_own_name_counts_no_images() -> None:
    slides = ["sj-03-476", "sj-03-2810", "sj-05-048", "sj-05-588", "S21-00123", "S21-00124", "LY-001", "LY-002"]
    assert slides_told(slides) == [""] * len(slides)
    assert slide_of("sj-03-2810") == "sj-03-2810" and slide_of("sj-03-2810-001") == "sj-03-2810-001", "alone"
    assert slides_told(["sj-03-001", "sj-03-002"], ["CLL", "FL"]) == ["", ""], "a slide has one class"
    assert slides_told(["sj-05-1881-R1-003", "sj-05-1881-R1-014"]) == ["sj-05-1881-R1"] * 2
    assert slides_told(["sj-03-476 (1)", "sj-03-476 (2)", "sj-03-588 (1)"]) == ["sj-03-476", "sj-03-476", "sj-03-588"]


def test_copies_are_of_the_slide_of_their_original() -> None:
    assert slides_told(["s1_001", "s1_001 (1)", "s1_002"]) == ["s1"] * 3
    assert slides_told(["s1-001", "s1-001 (1)", "s1-002"]) == ["s1"] * 3
    assert slides_told(["s1", "s1 (1)"]) == ["s1"] * 2
    assert slides_told(["photo", "photo (1)"]) == [""] * 2


@pytest.mark.parametrize(
    "name",
    ["IMG_{:04d}", "image-{:03d}", "Img_ {:03d}", "DSC_{:04d}", "DSCN{:04d}", "Scan_{}", "photo ({})", "Bild_{:03d}"]
    + [
        "snap-{:03d}",
        "untitled_{}",
        "slide_{:03d}",
        "{}",
        "_{:03d}",
        "IMG_20210304_{:06d}",
        "20210304_{:06d}",
        "CLL_{}",
    ],
)
@pytest.mark.parametrize("restart", [False, True])
def test_names_of_cameras_are_no_slides(
    name: str, restart: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place, label in enumerate(CLASSES):
        for number in range(1, 4):
            image(tmp_path / label / f"{name.format(number if restart else 3 * place + number)}.png")
    with caplog.at_level(logging.WARNING):
        split_ = Split(tmp_path, 0, num_folds=3, class_names=CLASSES)
    assert len({r["slide"] for r in [*split_.training, *split_.validation]}) == 9
    [message] = caplog.messages
    assert message.startswith("no slide is known for 9 of 9 images (")
    assert message.endswith("each is taken for a slide of its own; images.csv (path, class, slide) can tell")
    loose = tmp_path / "loose"
    for number in range(3):
        image(loose / f"{name.format(number)}.png")
    found = images_only(loose, CLASSES)
    assert len({r["slide"] for r in found}) == len({r["group"] for r in found}) == 3


def test_unknown_slides_are_counted_once_and_not_where_something_else_tells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = folders(tmp_path / "data")
    image(root / "CLL" / "IMG_0001.png")
    image(root / "CLL" / "sj-03-2810.png")
    image(root / "CLL" / "TCGA-18-5592-DX1.png")
    with caplog.at_level(logging.WARNING):
        load_datalist(root, class_names=CLASSES)
        [message] = caplog.messages
        assert f"2 of {len(files()) + 3} images (IMG_0001, sj-03-2810): " in message
        caplog.clear()
        rows = [f"{path.stem},{path.stem}" for path in root.glob("*/*.png")]
        (root / "patients.csv").write_text("\n".join(["image,patient", *rows]))
        load_datalist(root, class_names=CLASSES)
        images_only(root / "CLL" / "IMG_0001.png", CLASSES)
    assert not caplog.records


def test_a_data_list_without_slides_warns_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [{"image": str(image(tmp_path / f"IMG_{n}.png")), "class": CLASSES[n % 3]} for n in range(6)]
    entries[0]["patient"] = "p"
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    with caplog.at_level(logging.WARNING):
        load_datalist(tmp_path / "list.json", class_names=CLASSES)
    assert "no slide is known for 5 of 6 images" in caplog.text


def test_other_layouts_are_not_taken_for_classes(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        for number in range(3):
            image(tmp_path / "pairs" / kind / f"a_{number:03d}.png")
    assert not matches(tmp_path / "pairs"), "equal names in two folders are images and masks"
    for number in range(3):
        image(tmp_path / "coco" / ("train" if number else "val") / f"a_{number:03d}.png")
    assert matches(tmp_path / "coco")
    (tmp_path / "coco" / "annotations.json").write_text("{}")
    assert not matches(tmp_path / "coco")
    (tmp_path / "images.csv").write_text("image,group\na.png,1\n")
    assert not matches(tmp_path)


def test_inference_needs_no_class_but_knows_the_slide(tmp_path: Path) -> None:
    for name in ("sj-05-6124-R3_001.png", "CLL-sj-03-1_002.png", "photo.png"):
        image(tmp_path / name)
    found = {r["name"]: (r["slide"], r["group"]) for r in images_only(tmp_path, CLASSES)}
    assert found == {
        "sj-05-6124-R3_001": ("sj-05-6124-R3", "sj-05-6124"),
        "CLL-sj-03-1_002": ("sj-03-1", "sj-03-1"),
        "photo": ("photo", "photo"),
    }
    (single,) = images_only(tmp_path / "photo.png", CLASSES)
    assert single["slide"] == "photo" and single["label"] is None
    assert known(images_only(folders(tmp_path / "below"), CLASSES)) == EXPECTED


def test_a_data_list_gives_the_records_back(tmp_path: Path) -> None:
    records = load_datalist(folders(tmp_path / "data"), class_names=CLASSES)
    write_datalist(tmp_path / "list.json", as_entries(records))
    assert all("label" not in entry for entry in json.loads((tmp_path / "list.json").read_text())["training"])
    assert from_entries(read_datalist(tmp_path / "list.json")) == records
    assert load_datalist(tmp_path / "list.json", class_names=CLASSES) == records
    assert load_datalist(tmp_path / "list.json") == records


def test_ones_own_data_list_of_classes_is_enough(tmp_path: Path) -> None:
    entries = [{"image": str(image(tmp_path / f"s{n // 2}_{n}.png")), "class": CLASSES[n // 4]} for n in range(12)]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    split_ = Split(tmp_path / "list.json", 0, num_folds=2, class_names=CLASSES)
    assert len(split_.training) == len(split_.validation) == 6
    assert not {r["slide"] for r in split_.training} & {r["slide"] for r in split_.validation}
    with pytest.raises(InputError, match="4 images with the label 'MCL'"):
        load_datalist(tmp_path / "list.json", class_names=CLASSES[:2])
    (problem,) = Split(tmp_path / "list.json", 0, num_folds=2, class_names=CLASSES[:2]).problems
    assert problem.name == "list.json: MCL"


@pytest.mark.parametrize("seed", range(10))
def test_folds_keep_cases_together_and_hold_every_class(seed: int, tmp_path: Path) -> None:
    records = with_folds(load_datalist(folders(tmp_path), class_names=CLASSES), 3, seed)
    places: dict[str, set[int]] = {}
    for record in records:
        places.setdefault(record["group"], set()).add(record["fold"])
    assert all(len(own) == 1 for own in places.values())
    for fold in range(3):
        counts = Counter(record["label"] for record in records if record["fold"] == fold)
        assert set(counts) == set(CLASSES)
    assert check_folds(records) == [0, 1, 2]


def test_a_class_with_one_slide_cannot_be_cross_validated_but_trained_on(tmp_path: Path) -> None:
    root = folders(tmp_path, {**SLIDES, "MCL": ("sj-04-1",)})
    with pytest.raises(InputError, match="the class MCL with one patient or slide, sj-04-1"):
        Split(root, 0, num_folds=3, class_names=CLASSES)
    with pytest.raises(InputError, match="the class MCL with one"):
        make_plan(root, 3, class_names=CLASSES)
    assert len(Split(root, -1, class_names=CLASSES).training) == len(files()) - 2 * EACH
    assert Split(root, 0, num_folds=3, class_names=CLASSES, split_by="image").validation


def test_a_class_that_is_validated_on_must_be_trained_on(tmp_path: Path) -> None:
    records = load_datalist(folders(tmp_path), class_names=CLASSES)
    own = [{**record, "fold": int(record["label"] == "FL")} for record in records]
    with pytest.raises(InputError, match=r"the class FL \(sj-05-6, sj-05-7, sj-05-8\) in validation alone"):
        split(own, 1)
    with pytest.raises(InputError, match="in validation alone"):
        check_folds(own)


def test_folds_by_image_are_allowed_and_say_that_they_leak(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folders(tmp_path / "data")
    with caplog.at_level(logging.WARNING):
        by_case = Split(root, 0, num_folds=3, class_names=CLASSES)
        assert not caplog.records
        leaking = Split(root, 0, num_folds=3, class_names=CLASSES, split_by="image")
    assert "divided by image: " in caplog.text and "too good for new patients" in caplog.text
    shared = {group_of(r) for r in leaking.training} & {group_of(r) for r in leaking.validation}
    assert shared and not {r["name"] for r in leaking.training} & {r["name"] for r in leaking.validation}
    assert not {group_of(r) for r in by_case.training} & {group_of(r) for r in by_case.validation}
    with pytest.raises(InputError, match="split_by: found 'slide'; expected one of group, image"):
        Split(root, 0, split_by="slide")


def test_what_was_divided_by_image_stays_so_in_the_data_list(tmp_path: Path) -> None:
    root = folders(tmp_path / "data")
    plan = make_plan(root, 3, split_by="image", class_names=CLASSES)
    write_datalist(tmp_path / "list.json", as_entries(plan.records))
    again = Split(tmp_path / "list.json", 1, class_names=CLASSES)
    assert [r["name"] for r in again.validation] == [r["name"] for r in plan.of_fold(1)]
    assert {r["group"] for r in plan.records} == {case_of(slide) for _, slide, _ in files()}, "intervals draw cases"


def test_leaks_are_counted() -> None:
    records = [{"name": str(n), "group": "ab"[n // 2]} for n in range(4)]
    assert warn_of_leak(records, [0, 1, 0, 0]) == 2
    assert warn_of_leak(records, [0, 0, 1, 1]) == 0


@pytest.fixture(name="listed")
def _listed(tmp_path: Path) -> Path:
    """Image lists in which every slide is in every fold, as the original's."""
    (tmp_path / "lists").mkdir()
    lines = [f"{name}/{stem}.tif" for name, _, stem in files()]
    for fold in range(EACH):
        for side in ("test", "train"):
            own = [line for number, line in enumerate(lines) if (number % EACH == fold) is (side == "test")]
            (tmp_path / "lists" / f"{side}_w32_parent_{fold + 1}.txt").write_text("\n".join(own) + "\n")
    return tmp_path / "lists"


@pytest.mark.parametrize("make", [folders, flat])
def test_image_lists_are_read_for_every_layout_but_by_image_alone(make: Any, listed: Path, tmp_path: Path) -> None:
    records = load_datalist(make(tmp_path / "data"), class_names=CLASSES)
    with pytest.raises(InputError, match="split_by image, which leaks|in the train and in the test list"):
        read_fold_lists(listed, records)
    read = read_fold_lists(listed, by_image(records))
    assert all(int(record["name"][-1]) - 1 == record["fold"] for record in read)
    assert [record["group"] for record in read] == [record["group"] for record in records]
    write_fold_lists(tmp_path / "again", read)
    assert read_fold_lists(tmp_path / "again", by_image(records)) == read


def test_names_of_the_lists_without_an_image_are_one_counted_problem(listed: Path, tmp_path: Path) -> None:
    root = folders(tmp_path / "data")
    for name in ("sj-03-1_001", "sj-03-1_002"):
        (root / "CLL" / f"{name}.png").unlink()
    plan = make_plan(root, lists=listed, split_by="image", class_names=CLASSES)
    assert len(plan.records) == len(files()) - 2 and plan.folds == [0, 1, 2]
    (problem,) = plan.problems
    assert (
        f"2 of {len(files())} names without an image here: CLL/sj-03-1_001.tif, CLL/sj-03-1_002.tif" in problem.reason
    )
    records = by_image(load_datalist(root, class_names=CLASSES))
    with pytest.raises(InputError, match=r"found CLL/sj-03-1_001.tif, which no image has"):
        read_fold_lists(listed, records)
    (listed / "test_w32_parent_1.txt").write_text("CLL/elsewhere_001.tif\n")
    with pytest.raises(InputError, match="elsewhere_001.tif, which no image has"):
        read_fold_lists(listed, records, [])


@pytest.mark.data
def test_the_lymphomas_are_24_slides_of_23_cases(real_data: Path) -> None:
    records = load_datalist(real_data / "lymphoma", class_names=CLASSES)
    assert Counter(record["label"] for record in records) == {"CLL": 87, "FL": 114, "MCL": 92}
    slides = {record["slide"]: record["group"] for record in records}
    assert (len(slides), len(set(slides.values()))) == (24, 23)
    assert slides["sj-05-6124-R3"] == slides["sj-05-6124-R4"]
    assert len({record["fold"] for record in with_folds(records, 23)}) == 23


@pytest.mark.data
def test_the_published_lists_of_the_lymphomas_leak(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = real_data / "lymphoma"
    plan = make_plan(folder, lists=folder / "image_level_folds", split_by="image", class_names=CLASSES)
    assert [len(plan.of_fold(fold)) for fold in plan.folds] == [60, 64, 61, 51, 57]
    assert "81 of 374 names without an image here" in plan.problems[0].reason
    assert "293 of 293 images" in caplog.text
