"""What is wrong with a user's input: the one exception for it, and the list of what was left out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


class InputError(ValueError):
    """Something given by the user cannot be used: says which file, what was found and what was expected.

    Args:
        path: the file, folder or option at fault.
        found: what is there, in words.
        expected: what should be there, in words.
    """

    def __init__(self, path: str | Path, found: str, expected: str) -> None:
        self.path, self.found, self.expected = str(path), found, expected
        super().__init__(f"{path}: found {found}; expected {expected}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        # Exceptions cross process borders (loader workers) by their arguments.
        return InputError, (self.path, self.found, self.expected)


@dataclass(frozen=True)
class Problem:
    """A file that could not be used: its name and what was wrong."""

    name: str
    reason: str


def leave_out(name: str, error: InputError, problems: list[Problem] | None) -> None:
    """Note that something is left out, so that the rest goes on; without a list to note it in, raise the error."""
    if problems is None:
        raise error
    problems.append(Problem(name, str(error)))
    logger.error("left out: %s", error)


def note(found: Iterable[Problem], problems: list[Problem] | None) -> None:
    """Add what does not stop the rest to the problems, or log it where there is no list."""
    for problem in found:
        if problems is None:
            logger.warning("%s: %s", problem.name, problem.reason)
        else:
            problems.append(problem)


def listed(names: Iterable[object], most: int = 5) -> str:
    """The first names, and how many more there are.

    >>> listed("abcdefg", most=3)
    'a, b, c and 4 more'
    """
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def input_error(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` behind an exception (MONAI wraps what transforms raise), or None."""
    while error is not None:
        if isinstance(error, InputError):
            return error
        error = error.__cause__
    return None
