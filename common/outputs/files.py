"""Whole files or none: results are written beside the target and renamed when they are complete."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ..errors import InputError

_noted: ContextVar[set[Path] | None] = ContextVar("noted", default=None)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Temporary path to write to; renamed to ``path`` on success, removed on failure.

    The temporary file lies in the same folder (renaming is atomic within one file system only) and has the same
    ending (writers choose their format by it). Missing folders are made. An existing file stays as it is until the new
    one is complete.

    Args:
        path: the file to be.

    Raises:
        InputError: the folder cannot be made or written to, or ``path`` is a folder.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with atomic(target) as temporary:
    ...     _ = temporary.write_text("1 2 3")
    ...     target.exists()
    False
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('1 2 3', 1)
    """
    target = Path(path)
    temporary = target.parent / f".{target.stem[:80]}.{uuid.uuid4().hex[:12]}.partial{target.suffix}"
    if target.is_dir():
        raise InputError(target, "a folder", "a file name to write to")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise InputError(
            target.parent, f"a folder that cannot be written ({error.strerror})", "a writable one"
        ) from error
    try:
        yield temporary
        temporary.replace(target)
        if (noted := _noted.get()) is not None:
            noted.add(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def noting(files: set[Path]) -> Iterator[None]:
    """What :func:`atomic` completes meanwhile, in this thread, is added to ``files``.

    >>> import tempfile
    >>> written: set[Path] = set()
    >>> with noting(written):
    ...     write_text(Path(tempfile.mkdtemp()) / "a.txt", "1")
    >>> [path.name for path in written]
    ['a.txt']
    """
    token = _noted.set(files)
    try:
        yield
    finally:
        _noted.reset(token)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text with unix line ends, whole or not at all (:func:`atomic`)."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))
