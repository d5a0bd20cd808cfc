"""Other programs, run to their end with a log, and the words after ``--`` that are handed on to them."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError

_LAST_LINES = 15


def run_logged(command: Sequence[str], log: Path) -> int:
    """Run a command to its end, both streams added to a log; its exit status. It does not outlive this process's wish.

    Args:
        command: program and arguments.
        log: appended to; its folder is made where it is missing.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def parse_overrides(words: Sequence[str]) -> dict[str, str]:
    """``--name value`` and ``--name=value`` by name, hyphens inside a name as underscores.

    Raises:
        InputError: a word that is neither.
    """
    overrides: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or len(name) < 3 or not (equals or rest):
            raise InputError("overrides", name, "pairs of --name value after the --")
        overrides[name[2:].replace("-", "_")] = value if equals else rest.pop(0)
    return overrides


def failure(what: str, status: int, log: Path) -> str:
    """What ended with which status, and the last lines of its log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{what} {how}; the last lines of {log}:\n" + "\n".join(f"  {line}" for line in lines)
