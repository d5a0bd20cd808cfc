"""Configs of every bundle: they parse, name what exists, and training, evaluation and inference do the same to an image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ReferenceResolver
from skimage.io import imsave

from common.datasets.splits import Split

REPOSITORY = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parent for path in (REPOSITORY / "bundles").glob("*/configs"))
# What is run with what. An overlay is never run alone.
RUNS = (("train.json",), ("inference.json",), ("train.json", "evaluate.json"), ("train.json", "multi_gpu_train.json"))
CHECK = {"_target_": "scripts.common.engine.overrides.check_overrides"}
# Arguments that change how fast an image is done, never what comes out.
SPEED = {"batch_size", "workers", "num_workers", "ahead"}
# What makes the masks that Dice and IoU are computed from.
MASKS = {"Foregroundd", "LvRegionsd", "ClassMasksd"}
# Handlers that write or print: with several processes, only the first may.
SPEAKING = ("StatsHandler", "ProgressHandler", "WeightsSaver", "CheckpointSaver", "LossCurve")

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def read(bundle: Path, *names: str) -> ConfigParser:
    """Config files merged as ``monai.bundle run`` does it."""
    parser = ConfigParser()
    parser.read_config([bundle / "configs" / name for name in names])
    return parser


def strings(node: Any) -> Iterator[str]:
    """All strings among the values of a config."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for value in node.values() if isinstance(node, dict) else node:
            yield from strings(value)


def expanded(config: ConfigParser, node: Any) -> Any:
    """A part of a config with its references replaced by what they stand for and arguments of speed left out."""
    if isinstance(node, dict):
        return {key: expanded(config, value) for key, value in node.items() if key not in SPEED}
    if isinstance(node, list):
        return [expanded(config, value) for value in node]
    if isinstance(node, str) and node.startswith("@"):
        return expanded(config, config[node[1:]])
    return node


def targets(transforms: list[dict[str, Any]]) -> list[str]:
    return [transform["_target_"].rsplit(".", 1)[-1] for transform in transforms]


@pytest.mark.parametrize("names", RUNS, ids="+".join)
def test_every_reference_names_an_id_that_exists(bundle: Path, names: tuple[str, ...]) -> None:
    check_references(read(bundle, *names))


def check_references(parser: ConfigParser) -> None:
    parser.parse()
    for text in strings(parser.get()):
        for reference in ReferenceResolver.match_refs_pattern(text):
            assert reference in parser, f"{reference} in {text!r}"


@pytest.mark.parametrize("names", RUNS, ids="+".join)
def test_run_begins_with_the_check_of_overrides(bundle: Path, names: tuple[str, ...]) -> None:
    assert read(bundle, *names)["run"][0] == CHECK


def test_what_a_bundle_has_beyond_the_contract_is_an_overlay_of_the_training(bundle: Path) -> None:
    contract = {name for names in RUNS for name in names} | {"metadata.json"}
    for path in sorted((bundle / "configs").glob("*.json")):
        if path.name not in contract:
            parser = read(bundle, "train.json", path.name)
            assert parser["run"][0] == CHECK
            check_references(parser)
            check_overlay(read(bundle, "train.json"), json.loads(path.read_text()))


def test_every_target_resolves_with_the_bundle_on_the_path(bundle: Path, tmp_path: Path) -> None:
    names = {
        node["_target_"]
        for path in (bundle / "configs").glob("*.json")
        for node in dictionaries(json.loads(path.read_text()))
        if "_target_" in node
    }
    script = """
import sys
from pydoc import locate
from monai.bundle.config_item import ComponentLocator
locator = ComponentLocator()
for name in sys.argv[1:]:
    module = "" if "." in name else locator.get_component_module_name(name)
    module = module[0] if isinstance(module, list) else module
    if module is None or locate(f"{module}.{name}" if module else name) is None:
        print(name)
"""
    # In a process of its own: every bundle has a package named scripts.
    found = subprocess.run(
        [sys.executable, "-c", script, *sorted(names)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(bundle)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(names) > 10
    assert found.stdout.split() == []


def dictionaries(node: Any) -> Iterator[dict[str, Any]]:
    """All dictionaries of a config, the outermost first."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, (dict, list)):
        for value in node.values() if isinstance(node, dict) else node:
            yield from dictionaries(value)


def test_no_config_imports_the_bundles_scripts(bundle: Path) -> None:
    for path in (bundle / "configs").glob("*.json"):
        assert not [text for text in strings(json.loads(path.read_text())) if re.match(r"\$\s*import\s+scripts", text)]


def test_networks_of_training_and_inference_are_equal(bundle: Path) -> None:
    assert read(bundle, "train.json")["network_def"] == read(bundle, "inference.json")["network_def"]


def test_an_image_is_prepared_equally_in_validation_and_inference(bundle: Path) -> None:
    train, inference = read(bundle, "train.json"), read(bundle, "inference.json")
    steps = [
        [step for step in expanded(config, config[f"{part}preprocessing"])["transforms"] if step["keys"] != "label"]
        for config, part in ((train, "validate#"), (inference, ""))
    ]
    assert steps[0]
    assert steps[0] == steps[1]


def test_maps_become_results_equally_in_validation_and_inference(bundle: Path) -> None:
    train, inference = read(bundle, "train.json"), read(bundle, "inference.json")
    validated = expanded(train, train["validate#postprocessing"])["transforms"]
    inferred = expanded(inference, inference["postprocessing"])["transforms"]
    if read(bundle, "metadata.json").get("figures") == "classes":  # of images: no masks
        assert validated == inferred
        return
    assert targets(validated)[-1] in MASKS, "masks for Dice come last, from finished results"
    assert validated[:-1] == inferred[: len(validated) - 1]
    assert len(validated) > 1


def test_inferers_of_validation_and_inference_are_equal(bundle: Path) -> None:
    train, inference = read(bundle, "train.json"), read(bundle, "inference.json")
    assert expanded(train, train["validate#inferer"]) == expanded(inference, inference["inferer"])


def test_evaluation_changes_nothing_of_how_an_image_is_done(bundle: Path) -> None:
    train, evaluate = read(bundle, "train.json"), read(bundle, "train.json", "evaluate.json")
    for part in ("network_def", "validate#preprocessing", "validate#inferer", "validate#postprocessing"):
        assert expanded(train, train[part]) == expanded(evaluate, evaluate[part])


@pytest.mark.parametrize("overlay", ["evaluate.json", "multi_gpu_train.json"])
def test_an_overlay_changes_only_what_the_training_config_has(bundle: Path, overlay: str) -> None:
    check_overlay(read(bundle, "train.json"), json.loads((bundle / "configs" / overlay).read_text()))


def check_overlay(train: ConfigParser, overlay: dict[str, Any]) -> None:
    for key in overlay:
        parent, _, name = key.removeprefix("+").rpartition("#")
        if parent:
            assert name in train[parent] or "_target_" in train[parent], f"{key} is no argument of any component"


def test_with_several_processes_only_the_first_writes_and_prints(bundle: Path) -> None:
    config = read(bundle, "train.json", "multi_gpu_train.json")
    for handler in [*config["train#handlers"], *config["validate#handlers"]]:
        speaks = handler["_target_"].rsplit(".", 1)[-1] in SPEAKING
        assert handler.get("_disabled_") == ("@is_not_rank0" if speaks else None), handler["_target_"]
    assert [step for step in config["run"] if "split.write" in str(step)] == [
        "$@is_not_rank0 or @split.write(@ckpt_dir + '/split.json')"
    ]


def test_several_processes_do_the_steps_of_one(bundle: Path) -> None:
    one, several = read(bundle, "train.json")["run"], read(bundle, "train.json", "multi_gpu_train.json")["run"]
    plain = [str(step).replace("$@is_not_rank0 or ", "$") for step in several]
    assert [step for step in plain if "logger" not in step] == [str(step) for step in one]


def test_a_run_is_told_from_another_by_its_images_and_settings_before_anything_is_written(bundle: Path) -> None:
    for names in (("train.json",), ("train.json", "multi_gpu_train.json")):
        config = read(bundle, *names)
        handler = config["train#handlers#1"]
        assert handler["_target_"].endswith(".RunCheckpoint")
        assert handler["signature"]["split"] == "$@split.fingerprint"
        assert {
            "fold",
            "seed",
            "max_epochs",
            "samples_per_epoch",
            "batch_size",
            "learning_rate",
            "finetune_from",
            "overrides",
        } < set(handler["signature"])
        given = {"_target_": "scripts.common.engine.overrides.settings_given"}
        assert handler["signature"]["overrides"] == given, "whatever else a command line changes"
        start = {"_target_": "scripts.common.engine.checkpoints.start_hash", "path": "@finetune_from"}
        assert handler["signature"]["finetune_from"] == start, "weights count by their content"
        # How often to validate may change from run to run, unless a training stops by it.
        assert ("val_interval" in handler["signature"]) == ("stopping" in config)
        steps = [str(step) for step in config["run"]]
        (written,) = (number for number, step in enumerate(steps) if "split.write" in step)
        assert steps[written - 1] == "$@train#handlers#1.check()"


def test_an_evaluation_says_what_the_weights_have_seen(bundle: Path) -> None:
    results = read(bundle, "train.json", "evaluate.json")["validate#handlers"][-1]
    assert results["settings"]["seen_in_training"] == "$@split.seen_by(@ckpt_path)"


def test_shipped_weights_say_what_they_have_seen_and_no_path(bundle: Path, tmp_path: Path) -> None:
    shipped = sorted((bundle / "models").glob("*.pt"))
    assert shipped
    written = {path.name for path in (bundle / "models").glob("*split.json")}
    assert written == {f"{path.stem}_split.json" for path in shipped}
    for weights in shipped:
        text = weights.with_name(f"{weights.stem}_split.json").read_text()
        entries = json.loads(text)["training"]
        assert entries and not re.search(r"[/\\\\ ]", text)
        assert all(set(entry) <= {"name", "group"} for entry in entries)
        assert len({entry["name"] for entry in entries}) == len(entries)
        for name, group, seen in ((entries[0]["name"], "other", 1), ("stranger", "other", 0), ("stranger", None, 1)):
            given = {"name": name, "group": group or entries[-1].get("group") or entries[-1]["name"]}
            assert _scored(tmp_path, given).seen_by(weights) == f"{seen} of 1"


def _scored(folder: Path, entry: dict[str, str]) -> Split:
    """The split of an evaluation on one image, by a data list."""
    imsave(folder / "image.png", np.arange(256, dtype=np.uint8).reshape(16, 16), check_contrast=False)
    listed = {"image": "image.png", "label": "image.png", "modality": "fluorescence", **entry}
    (folder / "list.json").write_text(json.dumps({"training": [listed]}))
    return Split(folder / "list.json", fold=-1)


def test_dice_and_iou_count_images_without_truth_as_the_tables_do(bundle: Path) -> None:
    config = read(bundle, "train.json")
    scored = {**config["validate#key_metric"], **config["validate#additional_metrics"]}
    found = {name: scored[name] for name in ("val_mean_dice", "val_mean_iou") if name in scored}
    if read(bundle, "metadata.json").get("figures") == "classes":  # of images: no masks
        assert not found
        return
    assert len(found) == 2
    for handler in found.values():
        assert handler["_target_"] == "monai.handlers.IgniteMetricHandler"
        assert handler["metric_fn"]["ignore_empty"] is False


@pytest.mark.parametrize("names", RUNS, ids="+".join)
def test_a_device_given_as_a_word_is_looked_up(bundle: Path, names: tuple[str, ...]) -> None:
    config = read(bundle, *names)
    uses = [text for text in strings(config.get()) if re.search(r"@device\b", text)]
    target = config["target_device"]
    assert uses == list(strings(target))[-1:], "everything else asks for target_device"
    if "multi_gpu_train.json" in names:  # each process has its own, before the bundle's scripts can be found
        config["device"] = "cpu"
        assert config.get_parsed_content("target_device") == torch.device("cpu")
    else:
        assert target == {"_target_": "scripts.common.engine.devices.pick_device", "name": "@device"}


def test_metadata_fits_the_official_schema(bundle: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    default = REPOSITORY.parent / "shared" / "meta_schema_20240725.json"
    schema = Path(os.environ.get("MEDBUNDLES_SCHEMA", default))
    if not schema.is_file():
        pytest.skip(f"the schema is not at {schema} (set MEDBUNDLES_SCHEMA)")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    errors = jsonschema.Draft201909Validator(json.loads(schema.read_text())).iter_errors(metadata)
    assert [error.message for error in errors] == []


def test_metadata_pins_the_versions_that_are_tested(bundle: Path) -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    pinned = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
        **metadata["required_packages_version"],
    }
    assert pinned == {name: tested.get(name) for name in pinned}


def test_metadata_pins_every_package_that_the_collection_needs(bundle: Path) -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    needed = set(re.findall(r'"([\w-]+)', block[1])) - {"monai", "torch", "numpy"}
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert needed
    assert needed <= set(metadata["required_packages_version"])


def test_metadata_says_what_the_network_takes_and_gives(bundle: Path) -> None:
    config = read(bundle, "inference.json")
    network = expanded(config, config["network_def"])
    data = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]
    # MONAI's networks do not agree on what these are called.
    takes = next(key for key in ("in_channels", "n_input_channels") if key in network)
    gives = next(key for key in ("out_channels", "num_classes") if key in network)
    for tensor, key in ((data["inputs"]["image"], takes), (data["outputs"]["pred"], gives)):
        channels = config.get_parsed_content(f"network_def#{key}")
        assert tensor["num_channels"] == channels == len(tensor["channel_def"])


def test_the_bundles_own_scripts_package_is_not_shadowed(bundle: Path) -> None:
    assert (bundle / "scripts" / "__init__.py").is_file()
    assert not (REPOSITORY / "scripts" / "__init__.py").exists(), "it would shadow every bundle's scripts package"
