"""Python of this bundle; sees the shared package as ``scripts.common``.

An exported bundle has a copy of it at ``scripts/common``. In the repository the shared package lies three folders up.
"""

from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[3]
if not (Path(__file__).parent / "common").is_dir() and (_REPOSITORY / "common" / "__init__.py").is_file():
    __path__.append(str(_REPOSITORY))
