"""Switches and numbers on the command line: MONAI hands ``--tta true`` on as the text "true", and no one checks numbers."""

from __future__ import annotations

import math
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


def as_number(value: Any, name: str, low: float = 0.0, above: bool = False, whole: bool = False) -> float:
    """A finite number from a lower bound on.

    Args:
        value: what stands in the configuration or came from the command line.
        name: of the option, as the message says it.
        low: lower bound.
        above: the bound itself is not allowed.
        whole: integers only.

    Raises:
        InputError: anything else.

    >>> as_number("0.5", "pixel_size_um", above=True)
    0.5
    """
    expected = f"a {'whole ' if whole else ''}number {'above' if above else 'from'} {low:g}{'' if above else ' on'}"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    fits = math.isfinite(number) and number >= low and not (above and number == low)
    if not fits or (whole and number != int(number)):
        raise InputError(f"--{name}", repr(value), expected)
    return number
