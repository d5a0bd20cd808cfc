"""Make a self-contained copy of a bundle: its folder, with the shared package at scripts/common, without results."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.errors import InputError  # noqa: E402

EXAMPLES = """\
examples:
  python scripts/export_bundle.py bundles/microscopy_nuclei_instance_segmentation exported
      writes exported/microscopy_nuclei_instance_segmentation, which runs without this repository
  python scripts/export_bundle.py bundles/microscopy_nuclei_instance_segmentation model-zoo/models --force
      replaces what an earlier export left there
"""

LARGEST_FILE = 25 * 1000**2  # the model zoo's limit
# Results, caches and what a run was killed at: none of it belongs to the bundle.
_IGNORED = shutil.ignore_patterns(
    "__pycache__",
    "*.pyc",
    ".*",
    "*.partial*",
    "*.egg-info",
    "runs",
    "eval",
    "tests",
    "test_*",
    "mlruns",
    "*.ts",
    "*.onnx",
)


def export_bundle(bundle: Path, out_dir: Path, force: bool = False) -> Path:
    """Copy a bundle and the shared package to ``out_dir/<name of the bundle>``.

    Args:
        bundle: a folder with ``configs/metadata.json``.
        out_dir: made where it is missing.
        force: replace an earlier export; it stays until the new one is complete.

    Returns:
        The copy.

    Raises:
        InputError: no bundle, a file too large for the zoo, or a copy that exists already.
    """
    bundle = bundle.resolve()
    if not (bundle / "configs" / "metadata.json").is_file():
        raise InputError(bundle, "no configs/metadata.json", "the folder of a bundle")
    target = out_dir.resolve() / bundle.name
    if target.is_relative_to(bundle) or bundle.is_relative_to(target):
        raise InputError(out_dir, "a folder that holds the bundle or lies within it", "another folder")
    _check_target(target, force)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(bundle, partial, ignore=_IGNORED)
        if (bundle / "scripts").is_dir() and not (partial / "scripts" / "common").exists():
            shutil.copytree(REPOSITORY / "common", partial / "scripts" / "common", ignore=_IGNORED)
        _check_sizes(partial)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _check_target(target: Path, force: bool) -> None:
    if not target.exists():
        return
    if not force:
        raise InputError(target, "a copy made before", "a new folder, or --force to replace it")
    if not (target / "configs" / "metadata.json").is_file():
        raise InputError(target, "something that is no bundle", "an earlier export to replace")


def _check_sizes(folder: Path) -> None:
    for file in files_of(folder):
        if file.stat().st_size > LARGEST_FILE:
            size = f"a file of {file.stat().st_size / 1e6:.1f} MB"
            raise InputError(file.relative_to(folder), size, "at most 25 MB; name larger ones in large_files.yml")


def files_of(folder: Path) -> list[Path]:
    """All files below a folder, sorted."""
    return sorted(entry for entry in folder.rglob("*") if entry.is_file())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="where the copy goes, under the bundle's name")
    parser.add_argument("--force", action="store_true", help="replace an earlier copy")
    options = parser.parse_args()
    try:
        copy = export_bundle(options.bundle, options.out_dir, options.force)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    files = files_of(copy)
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"{copy}: {len(files)} files, {size:.1f} MB")
    print("run it with")
    print(
        f"  python -m monai.bundle run --config_file {copy}/configs/inference.json --bundle_root {copy}"
        " --dataset_dir IMAGES --output_dir RESULTS"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
