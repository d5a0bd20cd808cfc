"""Wrong overrides: MONAI adds an unknown id to the config and goes on, as if nothing had been asked."""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from types import TracebackType
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator

from ..errors import InputError, input_error

_OPTIONS = {"config_file", "meta_file", "logging_file", "run_id", "init_id", "final_id", "args_file", "tracking"}
# What the contract of the bundles allows without the config naming it, and MONAI's own.
_ALWAYS = {"bundle_root", "workflow_type", "workflow_name"}
# MONAI's own with ``tracking``, for MLflow.
_TRACKING = {"tracking_uri", "experiment_name", "run_name", "is_not_rank0", "save_execute_config"}
# What every component takes from MONAI's parser.
_OF_COMPONENTS = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_")
_NAME = re.compile("--|-[a-zA-Z]")
# Numbers of which 0 or less makes no sense.
_POSITIVE = frozenset(
    ("batch_size", "inference_batch_size", "max_epochs", "val_interval", "samples_per_epoch", "patch_size", "crop_size")
    + ("size", "largest_size", "diameter", "stride", "pixel_mm", "learning_rate")
)
# Overrides that take a path, besides those that end in _dir and _path; and those that take several.
_PATHS = frozenset(("bundle_root", "finetune_from", "also_train", "lists", "modality_table", "mosaic_table"))
_SEVERAL_PATHS = frozenset(("dataset_dir", "also_train"))
# What may change between a run and its resumption, because the weights it ends with do not depend on it.
_NO_MATTER = frozenset(
    # Where files are written, and weights which only an evaluation reads.
    ("ckpt_dir", "output_dir", "ckpt_path")
    # Where images and tables lie: the fingerprint of the split tells what is in them.
    + ("dataset_dir", "also_train", "lists", "modality_table", "mosaic_table")
    # On what and how fast it is computed; amp differs by rounding, and its default does between machines.
    + ("device", "target_device", "amp", "memory_format", "num_workers", "inference_batch_size")
    # How often a training is looked at; one that stops by it has it in its signature.
    + ("val_interval",)
    # What an evaluation leaves.
    + ("save_probabilities", "coco")
)
# Bundles see this package as scripts.common, other programs by its own name.
_OWN, _IN_BUNDLES = __name__.rpartition(".engine.")[0], "scripts.common"


def check_overrides(arguments: Sequence[str] | None = None) -> None:
    """Refuse overrides which no config file knows, sizes and counts that are not positive, paths read as numbers.

    From then on an :class:`InputError` that ends the run prints its own line, without MONAI's traceback around it.

    Args:
        arguments: the command line, by default this process's. Nothing happens unless it is ``monai.bundle run``.

    Raises:
        InputError: see :func:`check_names`; or a path such as 2024_01_15.
    """
    options = _options(arguments)
    if options is None:
        return
    sys.excepthook = _say_what_is_wrong
    files, given_ids = _files_and_ids(options)
    if not files:
        return
    check_names(files, given_ids)
    for name, value in options.items():
        _check_path(name, value)


def settings_given(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """The overrides of the command line that change what a training results in, for its signature.

    Left out are those that cannot change it (where files lie, the device, how often to validate, ...: see
    ``_NO_MATTER``) and those that give what the config files have anyway.

    Args:
        arguments: see :func:`check_overrides`; any other command line gives nothing.

    Returns:
        Values by id, both in one spelling: ``train#crops#size``, 16 for ``16.0``; sorted by id.
    """
    files, given_ids = _files_and_ids(_options(arguments) or {})
    if not files:
        return {}
    parser = ConfigParser()
    parser.read_config(files)
    config = parser.get()
    found = {}
    for name, value in given_ids.items():
        parts = name.replace("::", "#").split("#")
        # MONAI passes over an override that is None.
        if _read(value) is None or not _NO_MATTER.isdisjoint((parts[0], parts[-1])):
            continue
        if _spelt(value) != _spelt(_value_at(config, parts)):
            found["#".join(parts)] = _spelt(value)
    return dict(sorted(found.items()))


def check_names(files: Sequence[str | Path] | str | Path, overrides: Mapping[str, Any]) -> None:
    """Refuse overrides which none of these config files knows, and sizes and counts that are not positive.

    Args:
        files: config files, merged as ``monai.bundle run`` does it.
        overrides: values by id (``a#b#0`` or ``a::b::0``).

    Raises:
        InputError: names the override and the nearest ids.
    """
    parser = ConfigParser()
    parser.read_config(files)
    config = parser.get()
    for name, value in overrides.items():
        component = _place(config, name)
        if component is False:
            hint = _did_you_mean(name.replace("::", "#"), sorted(_ids(config)))
            raise InputError(f"--{name}", "an override that no config file knows", f"one of the config's ids{hint}")
        if isinstance(component, dict):
            _check_argument(name.replace("::", "#"), component)
        if name in _POSITIVE:
            _check_positive(name, value, config[name])


def _check_path(name: str, value: Any) -> None:
    """A folder named by a date or a number is one to the command line: 2024_01_15 is read as 20240115."""
    own = re.split("#|::", name)[-1]
    if not (own.endswith(("_dir", "_path")) or own in _PATHS):
        return
    read = _read(value)
    several = own in _SEVERAL_PATHS and isinstance(read, list | tuple)
    for item in read if several else [read]:
        if item is None or isinstance(item, str):
            continue
        where = f"{value}, in which {item}" if several else f"{value}, which"
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise InputError(f"--{name}", f"{where} is read as a {type(item).__name__}", "a path")
        example = item if several else value
        raise InputError(
            f"--{name}", f"{where} is read as the number {item}", f"a path that is no number, such as ./{example}"
        )


def _check_argument(name: str, component: Mapping[str, Any]) -> None:
    """The argument that an override adds is one that the component takes, as far as one can tell."""
    own, _, argument = name.rpartition("#")
    takes = _arguments(component["_target_"])
    if takes is None or argument in (*takes, *_OF_COMPONENTS):
        return
    names = [f"{own}#{taken}" for taken in takes]
    target = component["_target_"].rpartition(".")[2]
    raise InputError(
        f"--{name}", f"an argument that {target} does not take", f"one of its own{_did_you_mean(name, names, own)}"
    )


def _arguments(target: Any) -> list[str] | None:
    """Names of the arguments of a component; None where it takes any, or where nobody can tell."""
    if not isinstance(target, str):
        return None
    if target.startswith(f"{_IN_BUNDLES}."):
        target = _OWN + target.removeprefix(_IN_BUNDLES)
    module = None if "." in target else ComponentLocator().get_component_module_name(target)
    module = module[0] if isinstance(module, list) else module
    try:
        found = locate(f"{module}.{target}" if module else target)
        parameters = inspect.signature(found).parameters.values()  # type: ignore[arg-type]
    except (ErrorDuringImport, TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters]


def _check_positive(name: str, value: Any, default: Any) -> None:
    """Only where the config has a number: null or an expression has a meaning of its own."""
    if isinstance(default, bool) or not isinstance(default, int | float) or str(value)[:1] in ("$", "@", "%"):
        return
    try:
        number = ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        number = value
    wrong = isinstance(number, str | bool) or (isinstance(number, int | float) and not number > 0)
    if wrong:
        raise InputError(f"--{name}", str(value), f"a number above 0, such as {default}")


def _did_you_mean(name: str, ids: Sequence[str], own: str = "") -> str:
    """The nearest ids, compared as a whole or by their last part; of a component's arguments all, if none is near."""
    last = {taken.rpartition("#")[2]: taken for taken in reversed(ids)}
    near = difflib.get_close_matches(name, ids, n=3, cutoff=0.45)
    near += [last[part] for part in difflib.get_close_matches(name.rpartition("#")[2], last, n=2, cutoff=0.6)]
    nearest = list(dict.fromkeys(near))[:3] or (list(ids) if own else [])
    return f"; did you mean {' or '.join(nearest)}" if nearest else ""


def _say_what_is_wrong(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Exception hook: a user's mistake in one line, everything else as ever."""
    cause = input_error(error)
    if cause is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {cause}", file=sys.stderr)


def _file_list(text: str) -> list[str]:
    """``a.json`` or ``['a.json','b.json']``, as it stands on the command line."""
    return [part.strip(" '\"") for part in text.strip(" [](),").split(",")]


def _options(arguments: Sequence[str] | None) -> dict[str, Any] | None:
    """All that the command line and its file of arguments give; None where it is not ``monai.bundle run``."""
    given = list(sys.argv if arguments is None else arguments)
    if not (len(given) > 1 and Path(given[0]).parent.name == "bundle" and given[1] == "run"):
        return None
    options: dict[str, Any] = dict(_parse(given[2:]))
    if options.get("args_file"):
        options = {**ConfigParser.load_config_file(options["args_file"]), **options}
    return options


def _files_and_ids(options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The config files, if any, and the overrides without MONAI's own options."""
    files = options.get("config_file")
    allowed = _OPTIONS | _ALWAYS | (_TRACKING if options.get("tracking") else set())
    ids = {name: value for name, value in options.items() if name not in allowed}
    return _file_list(files) if isinstance(files, str) else files, ids


def _read(value: Any) -> Any:
    """What Fire, MONAI's parser, makes of a value on the command line."""
    return DefaultParseValue(value) if isinstance(value, str) else value


def _spelt(value: Any) -> str:
    """One text for values that mean the same: ``16`` and ``16.0``, ``(1, 2)`` and ``[1.0,2.0]``."""
    plain = _plain(_read(value))
    return plain if isinstance(plain, str) else json.dumps(plain, sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _value_at(config: Any, parts: Sequence[str]) -> Any:
    """What the config has under an id; None where the id is new to it."""
    node, depth = _walk(config, parts)
    return node if depth == len(parts) else None


def _walk(node: Any, parts: Sequence[str]) -> tuple[Any, int]:
    """The deepest place of the config on the way of an id, and how many parts of the id lead there."""
    for depth, part in enumerate(parts):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return node, depth
    return node, len(parts)


def _parse(arguments: list[str]) -> dict[str, str]:
    """``--name value`` and ``--name=value`` pairs. As in Fire, MONAI's parser, one hyphen does, inner ones are ``_``, and
    a name without value is True."""
    options: dict[str, str] = {}
    for position, argument in enumerate(arguments):
        if not _NAME.match(argument):
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        following = arguments[position + 1] if position + 1 < len(arguments) else "--"
        options[name.replace("-", "_")] = value if equals else "True" if _NAME.match(following) else following
    return options


def _place(config: Any, name: str) -> bool | dict[str, Any]:
    """Whether the id (``a#b#0`` or ``a::b::0``) exists; the component of which the last part is a new argument."""
    parts = name.replace("::", "#").split("#")
    node, depth = _walk(config, parts)
    new = depth == len(parts) - 1 and isinstance(node, dict) and "_target_" in node
    return depth == len(parts) or (node if new else False)


def _ids(config: dict, prefix: str = "", depth: int = 3) -> set[str]:
    found: set[str] = set()
    for key, value in config.items():
        found.add(prefix + key)
        if isinstance(value, dict) and depth > 1:
            found |= _ids(value, f"{prefix}{key}#", depth - 1)
    return found
