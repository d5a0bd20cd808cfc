"""The command line tools: what they write, what they refuse, and that nothing generic reaches site-packages."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from running import REPOSITORY, script_module

from common.cine.function import heart_function, measure_volumes
from common.cine.reading.study import read_studies
from common.datasets.labels import read_instances
from common.datasets.records import images_only, load_datalist
from common.images.reading import read_image
from common.nuclei.synthetic import stained_image, write_bowl_layout
from common.nuclei.targets import typical_diameter
from common.outputs.labels import read_label_tiff

SCRIPTS = REPOSITORY / "scripts"
BUNDLES = sorted(path.parent for path in (REPOSITORY / "bundles").glob("*/configs"))


def tool(name: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool as a user does, from another folder."""
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def write(path: Path, text: str = "{}") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle in name only, with all that must not be exported."""
    folder = tmp_path / "own" / "some_bundle"
    for name in ("configs/metadata.json", "configs/train.json", "scripts/__init__.py", "docs/README.md", "LICENSE"):
        write(folder / name)
    write(folder / "models" / "model.pt", "weights")
    for name in ("runs/fold0/model.pt", "eval/summary.json", "scripts/__pycache__/x.pyc", ".cache/y", "a.partial.pt"):
        write(folder / name)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "export_bundle.py",
        "check_bundle.py",
        "make_demo_data.py",
        "colour_baseline.py",
        "contact_sheet.py",
        "hide_annotations.py",
        "benchmark.py",
        "demo.py",
    ],
)
def test_help_shows_examples(name: str) -> None:
    shown = tool(name, "--help")
    assert shown.returncode == 0
    assert f"python scripts/{name} " in shown.stdout


def test_export_holds_the_bundle_and_the_shared_package_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    done = tool("export_bundle.py", "some_bundle", tmp_path / "out", cwd=bundle.parent)
    assert done.returncode == 0, done.stderr
    copy = tmp_path / "out" / "some_bundle"
    files = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    shared = {name for name in files if name.startswith("scripts/common/")}
    assert files - shared == {
        "LICENSE",
        "configs/metadata.json",
        "configs/train.json",
        "docs/README.md",
        "models/model.pt",
        "scripts/__init__.py",
    }
    own = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "common").rglob("*.py")}
    assert shared == {f"scripts/{name}" for name in own}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["some_bundle"]
    assert f"--bundle_root {copy}" in done.stdout
    assert "MB" in done.stdout


def test_export_replaces_an_earlier_copy_only_when_forced(bundle: Path, tmp_path: Path) -> None:
    tool("export_bundle.py", bundle, tmp_path / "out")
    left = tmp_path / "out" / "some_bundle" / "left.txt"
    write(left)
    refused = tool("export_bundle.py", bundle, tmp_path / "out")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ") and "--force" in refused.stderr
    assert left.exists()
    assert tool("export_bundle.py", bundle, tmp_path / "out", "--force").returncode == 0
    assert not left.exists()


def test_export_never_replaces_what_is_no_bundle(bundle: Path, tmp_path: Path) -> None:
    precious = tmp_path / "out" / "some_bundle" / "thesis.txt"
    write(precious)
    assert tool("export_bundle.py", bundle, tmp_path / "out", "--force").returncode == 1
    assert precious.exists()


@pytest.mark.parametrize("place", ["own", "own/some_bundle", "own/some_bundle/models"])
def test_export_never_writes_over_the_bundle_itself(bundle: Path, tmp_path: Path, place: str) -> None:
    before = sorted(bundle.parent.rglob("*"))
    assert tool("export_bundle.py", bundle, tmp_path / place, "--force").returncode == 1
    assert sorted(bundle.parent.rglob("*")) == before


def test_export_refuses_files_too_large_for_the_zoo_and_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    with (bundle / "models" / "model.pt").open("wb") as file:
        file.truncate(25 * 1000**2 + 1)
    refused = tool("export_bundle.py", bundle, tmp_path / "out")
    assert refused.returncode == 1
    assert "models/model.pt" in refused.stderr
    assert not list((tmp_path / "out").iterdir())


def test_export_names_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    refused = tool("export_bundle.py", tmp_path, tmp_path / "out")
    assert refused.returncode == 1
    assert "configs/metadata.json" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_every_bundle_passes_the_checks_of_the_zoo(path: Path) -> None:
    checked = tool("check_bundle.py", path)
    assert checked.returncode == 0, checked.stdout
    assert " failed " not in checked.stdout


def _drop_licence(copy: Path) -> None:
    (copy / "LICENSE").unlink()


def _drop_heading(copy: Path) -> None:
    card = copy / "docs" / "README.md"
    card.write_text(card.read_text().replace("Limitations", "Good points"))


def _edit(name: str, **changes: object) -> Callable[[Path], None]:
    def change(copy: Path) -> None:
        path = copy / "configs" / name
        config = json.loads(path.read_text())
        for key, value in changes.items():
            if value is None:
                del config[key]
            else:
                config[key] = value
        path.write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("check", "spoil", "reason"),
    [
        ("files", _drop_licence, "LICENSE"),
        ("version", _edit("metadata.json", version="9.9.9"), "9.9.9"),
        ("pins", _edit("metadata.json", required_packages_version={"scipy": ">=1.13"}), "scipy"),
        ("schema", _edit("metadata.json", authors=None), "authors"),
        ("paths", _edit("train.json", ckpt_dir="/home/somebody/runs"), "/home/somebody"),
        ("paths", _edit("inference.json", imports=["$import scripts.common"]), "scripts"),
        ("train properties", _edit("train.json", dataset_dir=None), "dataset_dir"),
        ("inference properties", _edit("inference.json", inferer=None), "inferer"),
        ("model card", _drop_heading, "Limitations"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_check_finds_what_it_is_for(tmp_path: Path, check: str, spoil: Callable[[Path], None], reason: str) -> None:
    good, spoilt = tmp_path / "good", tmp_path / "spoilt"
    for copy in (good, spoilt):
        shutil.copytree(BUNDLES[0], copy, ignore=shutil.ignore_patterns("runs", "eval", "__pycache__"))
        write(copy / "models" / "model.pt", "weights")
    spoil(spoilt)
    schema = tmp_path / "schema.json"
    write(schema, json.dumps({"required": ["authors"]}))
    done = tool("check_bundle.py", good, spoilt, "--only", check, "--schema", schema)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [lines[0][0], lines[1][0], lines[2][0], lines[3][0]] == ["good", "ok", "spoilt", "failed"], done.stdout
    assert reason in done.stdout.splitlines()[3]
    assert done.returncode == 1


def test_demo_data_is_of_every_kind_and_can_be_read(tmp_path: Path) -> None:
    assert tool("make_demo_data.py", tmp_path / "data").returncode == 0
    records = {record["name"]: record for record in images_only(tmp_path / "data")}
    images = {name: read_image(record["image"]).pixels for name, record in records.items()}
    unlabelled = [name for name, record in records.items() if record["label"] is None]
    assert unlabelled == ["immunohistochemistry"]
    assert images["immunohistochemistry"].shape == (512, 512, 3)
    assert any(pixels.dtype == np.uint16 for pixels in images.values())
    assert any(pixels.shape[0] != pixels.shape[1] for pixels in images.values())
    assert {record["modality"] for record in records.values()} == {
        "fluorescence",
        "purple_on_purple",
        "purple_on_white",
    }
    sizes = [typical_diameter(read_instances(record)) for record in records.values() if record["label"]]
    assert min(sizes) < 20
    assert max(sizes) > 50


def test_demo_data_for_training_has_truth_everywhere(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert tool("make_demo_data.py", folder, "--labelled_only", "--copies", "2", "--seed", "3").returncode == 0
    records = load_datalist(folder)
    assert len(records) == 14
    assert len({Path(record["image"]).read_bytes() for record in records}) == 14


def test_the_former_spelling_of_labelled_only_is_understood_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    module, given = script_module("make_demo_data"), list[object]()
    monkeypatch.setattr(module, "write_demo_data", lambda *options: given.append(options[-1]) or [])
    for words in (["x"], ["x", "--labelled_only"], ["x", "--labelled-only"]):
        monkeypatch.setattr("sys.argv", ["make_demo_data.py", *words])
        assert module.main() == 0
    assert given == [False, True, True]
    assert "--labelled-only" not in tool("make_demo_data.py", "--help").stdout


def test_the_data_of_the_demo_are_whole_and_of_the_generators_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, made = script_module("demo"), list[str]()

    def make(folder: Path) -> None:
        write(folder / "a.tif", "a")
        made.append(folder.name)
        if len(made) == 1:
            raise KeyboardInterrupt
        write(folder / "b.tif", "b")

    monkeypatch.setitem(module.DEMOS, "some", module.Demo(make, ()))
    with pytest.raises(KeyboardInterrupt):
        module.made_data("some", tmp_path)
    for _ in range(2):
        assert module.made_data("some", tmp_path) == tmp_path / "data"
        assert {path.name for path in (tmp_path / "data").iterdir()} == {"a.tif", "b.tif"}
    assert made == ["data.partial"] * 2  # not a third time
    write(tmp_path / "data" / "stale.tif")
    monkeypatch.setattr(module, "generators_version", lambda: "another")
    module.made_data("some", tmp_path)
    assert not (tmp_path / "data" / "stale.tif").exists()
    assert len(made) == 3
    (tmp_path / "data.version").unlink()  # as in a folder that is not the demo's
    write(tmp_path / "data" / "precious.txt")
    module.made_data("some", tmp_path)
    assert (tmp_path / "data.earlier1" / "precious.txt").exists()
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"a.tif", "b.tif"}


def test_the_version_of_the_generators_is_that_of_their_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = script_module("demo")
    before = module.generators_version()
    for name in ("common", "scripts"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    assert module.generators_version() == before
    with (tmp_path / "common" / "cine" / "phantom" / "scene.py").open("a") as file:
        file.write("# changed")
    assert module.generators_version() != before


def test_cine_demo_data_is_a_study_with_its_truth_and_patients_with_drawings(tmp_path: Path) -> None:
    done = tool("make_demo_data.py", tmp_path / "heart", "--cine")
    assert done.returncode == 0, done.stderr
    (study,) = read_studies(tmp_path / "heart" / "study")
    assert study.pixels.shape == (20, 6, 192, 192)
    truth = tmp_path / "heart" / "truth"
    maps = [[read_label_tiff(truth / f"{source.path.stem}_label.tif") for source in row] for row in study.sources]
    found = heart_function(measure_volumes(np.array(maps), study.spacing_mm, study.slice_distance_mm or 0))
    told = json.loads((truth / "function.json").read_text())
    assert told["edv_ml"] == pytest.approx(found.edv_ml)
    assert told["ejection_fraction_percent"] == pytest.approx(found.ejection_fraction_percent)
    records = load_datalist(tmp_path / "heart" / "drawn")
    assert len(records) == 3 * 6 * 2
    assert len({record["group"] for record in records}) == 3


def test_demo_data_never_joins_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "mine.txt")
    refused = tool("make_demo_data.py", tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ") and "not empty" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_distribution_installs_no_module(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 reads this pyproject.toml")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    write(tmp_path / "README.md", "text")
    for name in ("common/__init__.py", "scripts/tool.py", "tests/test_x.py", "bundles/b/scripts/__init__.py"):
        write(tmp_path / name, "")
    for kind in ("build_wheel", "build_editable"):
        script = f"from setuptools import build_meta; print(build_meta.{kind}('{kind}'))"
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=True)
        (wheel,) = (tmp_path / kind).glob("*.whl")
        content = zipfile.ZipFile(wheel)
        top = {name.split("/")[0] for name in content.namelist()}
        (metadata,) = {name for name in top if not name.startswith("__editable__")}
        assert metadata.startswith("medbundles-")
        assert content.read(f"{metadata}/top_level.txt").split() == []


def test_nothing_generic_can_be_imported_from_elsewhere(tmp_path: Path) -> None:
    script = (
        "import importlib.util as u; print([n for n in ('common', 'scripts', 'tests', 'bundles') if u.find_spec(n)])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


def test_the_installed_distribution_has_no_files_of_generic_name() -> None:
    # Looked up in site-packages: the build's own list of sources in the repository would be found first.
    place = [sysconfig.get_path("purelib")]
    installed = list(importlib.metadata.distributions(name="medbundles", path=place))
    if not installed:
        pytest.skip("medbundles is not installed here (make setup)")
    files = installed[0].files or []
    assert files
    assert not [str(file) for file in files if file.parts[0] in ("common", "scripts", "tests", "bundles")]


def test_annotations_are_hidden_where_one_fold_trains_and_nowhere_else(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "hidden"
    for number in range(4):
        made = stained_image((96, 96), 8, 16, np.random.default_rng(number), 0.2)
        for kind, pixels in (("images", made.pixels), ("masks", made.instances.astype(np.uint16))):
            (data / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(data / kind / f"s{number}.tif", pixels)
    done = tool("hide_annotations.py", data, out, "--num_folds", "2", "--share", "0.5")
    assert done.returncode == 0, done.stderr
    full, partial, ignored = (load_datalist(out / f"{name}.json") for name in ("full", "partial", "ignored"))
    assert [record["fold"] for record in full].count(0) == 2
    for whole, part, bare in zip(full, partial, ignored, strict=True):
        truth, left = read_instances(whole), read_instances(part)
        assert np.array_equal(left, read_instances(bare)) and not bare.get("partial")
        if whole["fold"] == 0:
            assert np.array_equal(truth, left) and not part.get("partial")
        else:
            assert part["partial"] and len(np.unique(left)) - 1 == round((len(np.unique(truth)) - 1) / 2)
            assert np.array_equal(truth > 0, (truth > 0) | (left > 0))
    again = tool("hide_annotations.py", data, out)
    assert again.returncode == 1 and "a new or an empty folder" in again.stderr and "Traceback" not in again.stderr


@pytest.mark.parametrize("value", [None, "true", "false"])
def test_the_benchmark_switches_test_time_augmentation_on_or_off_or_leaves_it_to_the_bundle(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, given = script_module("benchmark"), list[list[str]]()

    def measure(bundle: Path, images: Path, overrides: list[str], name: str) -> object:
        given.append(overrides)
        return module.Row(name, 1, 1, dict.fromkeys(module.STAGES, 1.0), 0.5, 1.0)

    monkeypatch.setattr(module, "measure", measure)
    words = ["--sizes", "32x32", "--count", "1", *([] if value is None else ["--tta", value])]
    monkeypatch.setattr("sys.argv", ["benchmark.py", *words])
    assert module.main() == 0
    assert given == [[] if value is None else [f"--tta={value}"]]


@pytest.mark.parametrize("words", [["--sizes", "256"], ["--sizes", "0x9"], ["--sizes", "axb"], ["--study", "20"]])
def test_a_size_that_is_none_is_refused_in_one_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark.py", *words])
    with pytest.raises(SystemExit, match="2"):
        script_module("benchmark").main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {words[0]}: '{words[1]}'; expected two numbers" in last


@pytest.mark.parametrize(
    ("summary", "shown"),
    [({"images": 2, "objects": 9}, "4"), ({"stacks": 2, "frames": 6}, "3"), ({"images": 2, "patches": 8}, "4")],
)
def test_the_benchmark_reads_the_summary_of_every_kind_of_bundle(
    summary: dict[str, int], shown: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = script_module("benchmark")
    more = {"seconds": dict.fromkeys(module.STAGES, 1.0), "network_share_of_wall_time": 0.5}
    script = (
        "import json, sys; folder = [a for a in sys.argv if a.startswith('--output_dir=')][0][13:];"
        f"open(folder + '/summary.json', 'w').write(json.dumps({summary | more!r}))"
    )
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}" "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(fake))
    row = module.measure(tmp_path, tmp_path, [], "name")
    cells = [cell.strip() for cell in module.table([row]).splitlines()[-1].split("|")]
    assert cells[1:3] == ["2 x name", shown]


@pytest.mark.slow
def test_the_benchmark_scores_and_times_what_needs_no_network(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    made = stained_image((128, 160), 12, 24, np.random.default_rng(1), 0.3)
    tifffile.imwrite(tmp_path / "images" / "a.tif", made.pixels)
    tifffile.imwrite(tmp_path / "masks" / "a.tif", made.instances.astype(np.uint16))
    done = tool("benchmark.py", "--images", tmp_path, "--only_compare")
    assert done.returncode == 0, done.stderr
    head, _, baseline, each, fourth = (line.split("|")[1:-1] for line in done.stdout.strip().splitlines())
    assert [cell.strip() for cell in head[:3]] == ["method", "images", "s per image"]
    assert float(baseline[3]) > 0.5 and float(each[2]) > float(fourth[2]) > 0
    wrong = tool("benchmark.py", "--images", tmp_path / "nothing", "--only_compare")
    assert wrong.returncode == 1 and "no such file or folder" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_contact_sheet_is_written_for_each_image_and_a_mistake_is_one_line(tmp_path: Path) -> None:
    for number in range(2):
        made = stained_image((120, 140), 8, 20, np.random.default_rng(number), 0.5)
        write_bowl_layout(tmp_path / "data", f"s{number}", made.pixels, made.instances)
    done = tool("contact_sheet.py", tmp_path / "data", tmp_path / "sheets")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["s0_patches.png", "s1_patches.png"]
    wrong = tool("contact_sheet.py", tmp_path / "nothing", tmp_path / "sheets")
    assert wrong.returncode == 1
    assert "no such file or folder" in wrong.stderr
    assert "Traceback" not in wrong.stderr
