"""Misspelt overrides: MONAI adds an unknown id to the config and goes on, as if nothing had been asked."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle import ConfigParser

from ..errors import InputError, input_error

_OPTIONS = {"config_file", "meta_file", "logging_file", "run_id", "init_id", "final_id", "args_file", "tracking"}
# What the contract of the bundles allows without the config naming it, and MONAI's own.
_ALWAYS = {"bundle_root", "workflow_type", "workflow_name"}
# MONAI's own with ``tracking``, for MLflow.
_TRACKING = {"tracking_uri", "experiment_name", "run_name", "is_not_rank0", "save_execute_config"}


def check_overrides(arguments: Sequence[str] | None = None) -> None:
    """Refuse command line overrides which no config file knows.

    From then on an :class:`InputError` that ends the run prints its own line, without MONAI's traceback around it.

    Args:
        arguments: the command line, by default this process's. Nothing happens unless it is ``monai.bundle run``.

    Raises:
        InputError: names the override and the nearest ids.
    """
    given = list(sys.argv if arguments is None else arguments)
    if not (len(given) > 1 and Path(given[0]).parent.name == "bundle" and given[1] == "run"):
        return
    sys.excepthook = _say_what_is_wrong
    options: dict[str, Any] = dict(_parse(given[2:]))
    if options.get("args_file"):
        options = {**ConfigParser.load_config_file(options["args_file"]), **options}
    files = options.get("config_file")
    if not files:
        return
    parser = ConfigParser()
    parser.read_config(_file_list(files) if isinstance(files, str) else files)
    config = parser.get()
    allowed = _OPTIONS | _ALWAYS | (_TRACKING if options.get("tracking") else set())
    for name in options:
        if name not in allowed and not _knows(config, name):
            nearest = difflib.get_close_matches(name.replace("::", "#"), sorted(_ids(config)), n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(nearest)}" if nearest else ""
            raise InputError(f"--{name}", "an override that no config file knows", f"one of the config's ids{hint}")


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


def _parse(arguments: list[str]) -> dict[str, str]:
    """``--name value`` and ``--name=value`` pairs. As in Fire, MONAI's parser, one hyphen does; inner ones are ``_``."""
    options: dict[str, str] = {}
    for position, argument in enumerate(arguments):
        if not re.match("--|-[a-zA-Z]", argument):
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        following = arguments[position + 1] if position + 1 < len(arguments) else ""
        options[name.replace("-", "_")] = value if equals else following
    return options


def _knows(config: Any, name: str) -> bool:
    """Whether the id (``a#b#0`` or ``a::b::0``) exists; the last part may be a new argument of a component."""
    node = config
    parts = name.replace("::", "#").split("#")
    for position, part in enumerate(parts):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return position == len(parts) - 1 and isinstance(node, dict) and "_target_" in node
    return True


def _ids(config: dict, prefix: str = "", depth: int = 3) -> set[str]:
    found: set[str] = set()
    for key, value in config.items():
        found.add(prefix + key)
        if isinstance(value, dict) and depth > 1:
            found |= _ids(value, f"{prefix}{key}#", depth - 1)
    return found
