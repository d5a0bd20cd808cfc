"""Switches on the command line: MONAI hands ``--tta true`` on as the text "true"."""

from __future__ import annotations

from typing import Any

from .errors import InputError

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def as_flag(value: Any, name: str = "switch") -> bool:
    """A switch as a bool: True, 1, "true", "yes", "on" or their opposites, in any case.

    Raises:
        InputError: anything else.
    """
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise InputError(f"--{name}", repr(value), "true or false")
    return _WORDS[word]
