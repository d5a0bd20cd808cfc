"""Command line overrides: misspelt ones are refused by name, all that MONAI understands passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.engine.overrides import check_names, check_overrides, settings_given
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
        ("--train#handlers#0#tag_name", "-1"),
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


def test_a_number_without_value_is_refused(configs: dict[str, str]) -> None:
    for arguments in (("--max_epochs",), ("--max_epochs", "--dataset_dir", "x")):
        with pytest.raises(InputError, match="--max_epochs: found True; expected a number above 0, such as 3"):
            check("--config_file", configs["one"], *arguments)


PATHS: dict[str, Any] = {
    "dataset_dir": "data",
    "output_dir": "$@bundle_root + '/eval'",
    "ckpt_dir": "runs",
    "ckpt_path": "model.pt",
    "finetune_from": None,
    "also_train": None,
    "lists": None,
    "hold_out": None,
    "diameter": 32.0,
    "train": {"reader": {"_target_": "Reader", "data_dir": "a"}},
}


@pytest.fixture
def paths(tmp_path: Path) -> str:
    (tmp_path / "paths.json").write_text(json.dumps(PATHS))
    return str(tmp_path / "paths.json")


@pytest.mark.parametrize(
    "name",
    ["dataset_dir", "output_dir", "ckpt_dir", "ckpt_path", "finetune_from", "also_train", "lists", "bundle_root"]
    + ["train#reader#data_dir", "train::reader::data_dir"],
)
def test_a_path_that_is_read_as_a_number_is_refused(paths: str, name: str) -> None:
    for arguments in ((f"--{name}", "2024_01_15"), (f"--{name}=2024_01_15",)):
        with pytest.raises(InputError) as caught:
            check("--config_file", paths, *arguments)
        assert caught.value.path == f"--{name}"
        assert caught.value.found.startswith("2024_01_15, ") and "read as the number 20240115" in caught.value.found
        assert caught.value.expected.startswith("a path that is no number, such as ./2024")


def test_the_number_is_named_as_it_is_given_and_as_it_is_read(paths: str) -> None:
    with pytest.raises(InputError, match=r"--dataset_dir: found 7, which is read as the number 7; .* \./7$"):
        check("--config_file", paths, "--dataset_dir", "7")
    with pytest.raises(InputError, match="found first,2024, in which 2024 is read as the number 2024"):
        check("--config_file", paths, "--dataset_dir", "first,2024")
    with pytest.raises(InputError, match="found 1e3, which is read as the number 1000.0; expected .* ./1e3"):
        check("--config_file", paths, "--output_dir", "1e3")
    with pytest.raises(InputError, match="found True, which is read as a bool; expected a path$"):
        check("--config_file", paths, "--output_dir", "--diameter", "3")
    with pytest.raises(InputError, match="found a,b, which is read as a tuple; expected a path$"):
        check("--config_file", paths, "--output_dir", "a,b")


@pytest.mark.parametrize(
    "value",
    [
        "./2024_01_15",
        "/data/2024",
        "2024-01-15",
        "2024_01_15/",
        "0815",
        "day1",
        "None",
        "$@bundle_root",
        "a b",
        "'2024'",
    ],
)
@pytest.mark.parametrize("name", ["dataset_dir", "ckpt_path", "finetune_from"])
def test_paths_that_are_text_pass(paths: str, name: str, value: str) -> None:
    check("--config_file", paths, f"--{name}", value)


def test_several_data_sets_pass_and_what_takes_no_path_may_be_a_number(paths: str) -> None:
    for value in ("a,b", "[a,b]", "['a b','./7']"):
        check("--config_file", paths, "--dataset_dir", value, "--also_train", value)
    check("--config_file", paths, "--hold_out", "7", "--diameter", "2024_01")


SETTINGS: dict[str, Any] = {
    "dataset_dir": "data",
    "ckpt_dir": "runs",
    "num_workers": 1,
    "val_interval": 5,
    "diameter": 32.0,
    "device": {"_target_": "scripts.common.engine.devices.pick_device", "name": "auto"},
    "loss": {"_target_": "DiceCELoss", "weights": [1.0, 1.0]},
    "train": {
        "crops": {"_target_": "WarpSettings", "size": 256},
        "inferer": {"_target_": "Inferer", "amp": "auto"},
        "handlers": [{"_target_": "StatsHandler", "tag_name": "loss"}],
    },
}


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., dict[str, str]]:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(SETTINGS))
    return lambda *given: settings_given(["/env/bundle/__main__.py", "run", "--config_file", str(file), *given])


def test_overrides_that_change_a_training_are_its_settings(settings: Callable[..., dict[str, str]]) -> None:
    assert settings() == {}
    given = settings("--train#crops#size", "128", "--loss#weights", "[1.0,0.0]", "--diameter", "16")
    assert given == {"diameter": "16", "loss#weights": "[1, 0]", "train#crops#size": "128"}
    assert list(given) == sorted(given)


def test_spelling_and_order_of_overrides_make_no_difference(settings: Callable[..., dict[str, str]]) -> None:
    one = settings("--train#crops#size", "128", "--loss#weights", "[1.0,0.0]", "--diameter", "16")
    assert settings("--diameter=16.0", "-loss::weights", "(1, 0)", "--train::crops::size=128.0") == one
    assert settings("--diameter", "20", "--diameter", "16", "--loss#weights=1,0", "--train#crops#size", "128") == one
    assert settings("--diameter", "17") != settings("--diameter", "16")


def test_overrides_that_cannot_change_a_training_are_none_of_its_settings(
    settings: Callable[..., dict[str, str]],
) -> None:
    plain = ("--dataset_dir", "x", "--ckpt_dir=y", "--num-workers", "0", "--val_interval", "1", "--bundle_root", "b")
    assert settings(*plain, "--logging_file", "l.conf", "--run_id", "run", "--meta_file", "m.json") == {}
    assert settings("--device", "cpu") == settings("--device#name", "cpu") == settings("--train#inferer#amp", "x") == {}
    assert settings("--diameter", "32", "--loss#weights", "[1, 1]", "--train#crops#size", "None") == {}
    assert settings("--tracking", "mlflow", "--experiment_name", "mine") == {}


def test_an_argument_that_the_config_leaves_at_its_default_is_a_setting(
    settings: Callable[..., dict[str, str]],
) -> None:
    assert settings("--train#crops#rotation", "20") == {"train#crops#rotation": "20"}
    assert settings("--train#handlers#0#tag_name", "x") == {"train#handlers#0#tag_name": "x"}


def test_settings_in_a_file_of_arguments_count(tmp_path: Path, settings: Callable[..., dict[str, str]]) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"diameter": 16, "train#crops#size": 256}))
    assert settings("--args_file", str(file)) == {"diameter": "16"}
    assert settings("--args_file", str(file), "--diameter", "8") == {"diameter": "8"}


def test_other_programs_have_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest", "run", "--diameter", "16"])
    assert settings_given() == {}
