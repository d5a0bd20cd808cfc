"""Names that can be those of files, everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNSAFE = re.compile(r"[^\w.+\-() ]+")


def safe_name(name: str) -> str:
    """A name that is one file name everywhere.

    >>> safe_name("ward 3/bed:2")
    'ward 3_bed_2'
    """
    return _UNSAFE.sub("_", name).strip(". ") or "stack"


def unique_names(names: Iterable[str]) -> list[str]:
    """Safe names that differ in more than case, which file systems may not tell.

    >>> unique_names(["a", "b", "A"])
    ['a', 'b', 'A_2']
    """
    taken: dict[str, str] = {}
    for name in map(safe_name, names):
        unique, count = name, 1
        while unique.lower() in taken:
            count += 1
            unique = f"{name}_{count}"
        taken[unique.lower()] = unique
    return list(taken.values())
