"""The packages of `common` stand on one another: none imports from one that is above it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from running import REPOSITORY

# From the ground up; what stands in the package itself is below all.
LAYERS = [
    *("errors", "flags", "names"),
    *("images", "tissue", "outputs", "datasets", "report", "metrics"),
    *("engine", "nuclei", "patches", "inferers", "cine", "brightfield"),
    *("figures", "crossval"),
]


def imported(path: Path) -> set[str]:
    """Packages or modules right under `common` that a module imports from."""
    own = path.relative_to(REPOSITORY).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = (*own[: len(own) - node.level], *(node.module or "").split("."))
            found |= {module[1]} if len(module) > 1 and module[1] else {alias.name for alias in node.names}
    return found


def test_imports_go_down_only() -> None:
    upward = []
    for path in sorted((REPOSITORY / "common").rglob("*.py")):
        own = path.relative_to(REPOSITORY / "common").with_suffix("").parts[0]
        if own == "__init__":
            continue
        height = LAYERS.index(own)
        upward += [f"{path}: {name}" for name in imported(path) if name in LAYERS and LAYERS.index(name) > height]
    assert not upward


def test_every_package_has_its_layer_and_its_line_in_the_readme() -> None:
    packages = {path.parent.name for path in (REPOSITORY / "common").glob("*/__init__.py")}
    table = re.findall(r"^\| (`[^|]*) \|", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    in_readme = [name for cell in table for name in re.findall(r"`([a-z]+)`", cell)]
    assert packages <= set(LAYERS)
    assert [name for name in LAYERS if name in packages] == [name for name in in_readme if name in packages]


def test_the_shared_package_is_imported_relatively() -> None:
    """An exported bundle has it at another dotted path."""
    absolute = re.compile(r"^\s*(from|import) common\b", re.MULTILINE)
    assert not [path for path in (REPOSITORY / "common").rglob("*.py") if absolute.search(path.read_text())]
