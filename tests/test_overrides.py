"""Command line overrides: misspelt ones are refused by name, all that MONAI understands passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.engine.overrides import check_names, check_overrides
from common.errors import InputError

TRAIN: dict[str, Any] = {
    "dataset_dir": "data",
    "max_epochs": 3,
    "network_def": {"_target_": "UNet", "channels": [4, 8]},
    "train": {
        "crops": {"_target_": "WarpSettings", "size": 32},
        "handlers": [{"_target_": "StatsHandler", "tag_name": "loss"}, {"_target_": "LrScheduleHandler"}],
        "trainer": {"_target_": "SupervisedTrainer", "max_epochs": "@max_epochs"},
    },
}
EVALUATE: dict[str, Any] = {"output_dir": "eval", "tta": False}


@pytest.fixture
def configs(tmp_path: Path) -> dict[str, str]:
    for name, content in (("train", TRAIN), ("evaluate", EVALUATE)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    train, evaluate = str(tmp_path / "train.json"), str(tmp_path / "evaluate.json")
    return {"one": train, "quoted": f"'{train}'", "both": f"['{train}', '{evaluate}']", "bare": f"[{train},{evaluate}]"}


def check(*arguments: str) -> None:
    check_overrides(["/env/monai/bundle/__main__.py", "run", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--max_epochs", "5"),
        ("--max_epochs=5", "--dataset_dir=a=b"),
        ("--max-epochs", "5"),
        ("-max_epochs", "5"),
        ("--dataset_dir", "-1"),
        ("--train#crops#size", "64"),
        ("--train::crops::size", "64"),
        ("--train#handlers#0#tag_name", "x"),
        ("--train::handlers::1", "{}"),
        ("--train#crops#rotation", "20"),  # an argument that the config leaves at its default
        ("--train#handlers#1#_disabled_", "true"),
        ("--bundle_root", "here", "--run_id", "run", "--logging_file", "l.conf", "--meta_file", "m.json"),
        ("--tracking", "mlflow", "--experiment_name", "mine", "--tracking_uri", "file:x"),
    ],
)
@pytest.mark.parametrize("files", ["one", "quoted", "both", "bare"])
def test_what_the_config_knows_passes(configs: dict[str, str], files: str, arguments: tuple[str, ...]) -> None:
    check("--config_file", configs[files], *arguments)
    check(*arguments, f"--config_file={configs[files]}")


@pytest.mark.parametrize(
    ("argument", "nearest"),
    [
        ("--max_epoch", "max_epochs"),
        ("--datasetdir=x", "dataset_dir"),
        ("--data-set-dir", "dataset_dir"),
        ("--train#crop#size", "train#crops#size"),
        ("--train::crop::size", "train#crops#size"),
        ("--network", "network_def"),
    ],
)
@pytest.mark.parametrize("files", ["one", "both"])
def test_a_misspelt_one_is_refused_with_the_nearest_name(
    configs: dict[str, str], files: str, argument: str, nearest: str
) -> None:
    with pytest.raises(InputError, match=f"did you mean.*{nearest}") as caught:
        check("--config_file", configs[files], "--max_epochs", "5", argument, "1")
    assert caught.value.path.replace("_", "-") == argument.partition("=")[0].replace("_", "-")


@pytest.mark.parametrize(
    "argument",
    [
        "--train#handlers#7",
        "--train#handlers#x",
        "--train#foo",
        "--max_epochs#a",
        "--train#crops#size#a",
        "--experiment_name",
    ],
)
def test_places_that_do_not_exist_are_refused(configs: dict[str, str], argument: str) -> None:
    with pytest.raises(InputError, match="no config file knows"):
        check("--config_file", configs["one"], argument, "1")


def test_each_of_several_files_counts(configs: dict[str, str]) -> None:
    check("--config_file", configs["both"], "--tta", "true")
    with pytest.raises(InputError, match="--tta"):
        check("--config_file", configs["one"], "--tta", "true")


def test_the_file_of_arguments_is_looked_into(configs: dict[str, str], tmp_path: Path) -> None:
    for content in ({"max_epochs": 5}, {"max_epoch": 5}):
        for files in (configs["one"], [configs["one"]]):
            (tmp_path / "args.json").write_text(json.dumps({"config_file": files, **content}))
            if "max_epochs" in content:
                check("--args_file", str(tmp_path / "args.json"))
            else:
                with pytest.raises(InputError, match="did you mean max_epochs"):
                    check("--args_file", str(tmp_path / "args.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["/usr/bin/pytest", "run", "--nonsense", "1"],
        ["/env/monai/bundle/__main__.py", "ckpt_export", "--config_file", "{one}", "--nonsense", "1"],
        ["/env/monai/bundle/__main__.py", "run", "--nonsense", "1"],
        ["/env/monai/bundle/__main__.py"],
        [],
    ],
)
def test_other_commands_are_no_business_of_it(configs: dict[str, str], arguments: list[str]) -> None:
    check_overrides([part.format(**configs) for part in arguments])


def test_the_command_line_of_the_process_is_the_default(
    configs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["/env/monai/bundle/__main__.py", "run", "--config_file", configs["one"], "--sede", "1"]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(InputError, match="--sede"):
        check_overrides()


COMPONENTS: dict[str, Any] = {
    "threshold_path": "t.json",
    "batch_size": 4,
    "diameter": None,
    "decode_settings": {"_target_": "scripts.common.nuclei.instances.DecodeSettings"},
    "optimizer": {"_target_": "torch.optim.AdamW"},
    "loss": {"_target_": "DiceCELoss"},
    "lacking": {"_target_": "no.such.Component"},
}


@pytest.fixture
def components(tmp_path: Path) -> Path:
    (tmp_path / "components.json").write_text(json.dumps(COMPONENTS))
    return tmp_path / "components.json"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("decode_settings#foregroud", "decode_settings#foreground"),
        ("decode_settings::foregroud", "decode_settings#foreground"),
        ("optimizer#weigth_decay", "optimizer#weight_decay"),
        ("loss#soft_max", "loss#softmax"),
        ("thresold", "threshold_path"),
    ],
)
def test_a_misspelt_argument_of_a_component_is_refused_with_the_nearest(
    components: Path, name: str, nearest: str
) -> None:
    with pytest.raises(InputError, match=f"did you mean {nearest}"):
        check_names(components, {name: "1"})


@pytest.mark.parametrize(
    "name", ["decode_settings#foreground", "loss#_disabled_", "loss#softmax", "lacking#whatever", "optimizer#eps"]
)
def test_an_argument_that_a_component_takes_passes(components: Path, name: str) -> None:
    check_names(components, {name: "1"})


@pytest.mark.parametrize("value", ["0", "-4", "0.0", "four", -1])
def test_counts_and_sizes_are_positive_numbers(components: Path, value: Any) -> None:
    with pytest.raises(InputError, match=f"--batch_size: found {value}; expected a number above 0, such as 4"):
        check_names(components, {"batch_size": value})


def test_a_number_an_expression_and_what_the_config_leaves_open_pass(components: Path) -> None:
    for value in ("8", 2, "$2 * 4", "@other", "[8, 8]"):
        check_names(components, {"batch_size": value})
    check_names(components, {"diameter": "auto"})
