"""The one exception for input that a user can mend."""

from __future__ import annotations

from pathlib import Path


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
