"""The checks of the MONAI model zoo, each as one line: ok, failed or skipped, with the reason."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SCHEMA = "meta_schema_20240725.json"
EXAMPLES = f"""\
examples:
  python scripts/check_bundle.py bundles/*
      every bundle of the collection
  python scripts/check_bundle.py exported/microscopy_nuclei_instance_segmentation --schema {SCHEMA}
      an exported copy, with the zoo's schema of metadata.json, which is the address under "schema" there

The exit status is 1 if a check failed. A skipped check is no failure.
"""

REQUIRED_FILES = ("LICENSE", "configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/README.md")
LARGEST_FILE = 25 * 1000**2
HEADINGS = (
    "Authors",
    "Tags",
    "Model Description",
    "Data",
    "Preprocessing",
    "Performance",
    "Additional Usage Steps",
    "System Configuration",
    "Limitations",
    "Citation",
    "References",
)
_PIN = re.compile(r"\d+(\.\w+)*([+-]\w+)?")
# Placeholders that the zoo itself uses.
_ALLOWED_ROOTS = ("/path/to/", "/workspace/")
_PERSONAL = re.compile(r"/(home|Users|root|mnt|media)/|[A-Za-z]:\\\\|^~")


class Failed(Exception):
    """A check that failed, in words."""


class Skipped(Exception):
    """A check that could not be made, in words."""


@dataclass(frozen=True)
class Context:
    """What a check looks at.

    Attributes:
        bundle: absolute path of the bundle.
        schema: the zoo's schema of metadata.json, where it is.
    """

    bundle: Path
    schema: Path | None

    def config(self, name: str) -> dict[str, Any]:
        """A config file as plain JSON."""
        path = self.bundle / "configs" / name
        if not path.is_file():
            raise Failed(f"configs/{name} is missing")
        try:
            return json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise Failed(f"configs/{name} is no JSON: {error}") from error


def check_files(context: Context) -> str:
    """What the zoo needs is there, and no file is too large."""
    missing = [name for name in REQUIRED_FILES if not (context.bundle / name).is_file()]
    if missing:
        raise Failed(f"missing: {', '.join(missing)}")
    files = [entry for entry in context.bundle.rglob("*") if entry.is_file()]
    large = [str(f.relative_to(context.bundle)) for f in files if f.stat().st_size > LARGEST_FILE]
    if large and not any((context.bundle / f"large_files{s}").is_file() for s in (".yml", ".yaml", ".json")):
        raise Failed(f"more than 25 MB: {', '.join(large)}")
    return f"{', '.join(REQUIRED_FILES)}"


def check_version(context: Context) -> str:
    """The version is a key of the changelog."""
    metadata = context.config("metadata.json")
    version, log = metadata.get("version"), metadata.get("changelog", {})
    if version not in log:
        raise Failed(f"version {version} is not in the changelog ({', '.join(log) or 'empty'})")
    return f"{version} is in the changelog"


def check_pins(context: Context) -> str:
    """Required packages are exact versions that pip can be given after ``==``."""
    required = context.config("metadata.json").get("required_packages_version", {})
    wrong = [f"{name} {version}" for name, version in required.items() if not _PIN.fullmatch(str(version))]
    if wrong:
        raise Failed(f"no exact version: {', '.join(wrong)}")
    return f"{len(required)} packages"


def check_schema(context: Context) -> str:
    """metadata.json against the zoo's schema."""
    metadata = context.config("metadata.json")
    if context.schema is None:
        raise Skipped(f"no schema: give --schema FILE or set MEDBUNDLES_SCHEMA ({metadata.get('schema')})")
    try:
        import jsonschema
    except ImportError as error:
        raise Skipped("jsonschema is not installed") from error
    found = list(jsonschema.Draft201909Validator(json.loads(context.schema.read_text())).iter_errors(metadata))
    if found:
        raise Failed("; ".join(f"{error.json_path}: {error.message}" for error in found[:3]))
    return context.schema.name


def check_paths(context: Context) -> str:
    """Configs name no folder of somebody's computer and import nothing of the bundle by itself."""
    names = sorted(path.name for path in (context.bundle / "configs").glob("*.json"))
    for name in names:
        for place, text in _strings(context.config(name)):
            absolute = text.startswith("/") and not text.startswith(_ALLOWED_ROOTS)
            if absolute or _PERSONAL.search(text):
                raise Failed(f"configs/{name} {place}: {text!r} is a path of one computer")
            if text.startswith("$import scripts"):
                raise Failed(f"configs/{name} {place}: {text!r} fails from another folder; use _target_")
    return f"{len(names)} configs"


def _strings(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield place, node
    elif isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _strings(value, f"{place}#{key}" if place else str(key))


def check_train_properties(context: Context) -> str:
    """Ids of train.json are where MONAI's tools look for them."""
    return _check_properties(context, "train.json", "train")


def check_inference_properties(context: Context) -> str:
    """Ids of inference.json are where MONAI's tools look for them."""
    return _check_properties(context, "inference.json", "infer")


def _check_properties(context: Context, name: str, kind: str) -> str:
    context.config(name)
    from monai.bundle import ConfigWorkflow

    class Ids(ConfigWorkflow):
        """MONAI's own check on ids alone: it would build every property, and with it read the data set."""

        def _get_property(self, name: str, property: dict) -> Any:
            if property["id"] in self.parser:
                return self.parser[property["id"]]
            raise AttributeError(name)  # a required property counts as missing, an optional one as absent

    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            workflow = Ids(str(context.bundle / "configs" / name), workflow_type=kind, logging_file=False)
            workflow.parser.parse(True)  # brings references to one form, builds nothing
            wrong = workflow.check_properties() or []
        finally:
            logging.disable(logging.NOTSET)
    if wrong:
        raise Failed(f"{name}: missing or under another id: {', '.join(wrong)}")
    assert workflow.properties is not None
    return f"{name}: {len(workflow.properties)} properties"


def check_network(context: Context) -> str:
    """The network takes and gives what metadata.json says."""
    with tempfile.TemporaryDirectory() as folder:
        _bundle_command(context, Path(folder), "verify_net_in_out", "--device", "cpu", "--n", "2")
    return "shapes and types as in metadata.json"


def check_torchscript(context: Context) -> str:
    """Network and weights become TorchScript, which torch can load."""
    if not (context.bundle / "models" / "model.pt").is_file():
        raise Failed("models/model.pt is missing")
    import torch

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script, weights = Path(folder, "model.ts"), context.bundle / "models" / "model.pt"
        _bundle_command(context, Path(folder), "ckpt_export", "--filepath", str(script), "--ckpt_file", str(weights))
        torch.jit.load(script)
        size = script.stat().st_size
        own = context.bundle / "models" / "model.ts"
        if own.is_file():
            torch.jit.load(own)
    return f"exported and loaded, {size / 1e6:.1f} MB"


def _bundle_command(context: Context, folder: Path, command: str, *arguments: str) -> None:
    """A command of ``monai.bundle`` on the network of inference.json, from another folder."""
    configs = context.bundle / "configs"
    finished = subprocess.run(
        [sys.executable, "-m", "monai.bundle", command, "--net_id", "network_def"]
        + ["--meta_file", str(configs / "metadata.json"), "--config_file", str(configs / "inference.json")]
        + ["--bundle_root", str(context.bundle), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(context.bundle)},
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or finished.stdout.strip().splitlines() or ["no message"]
        raise Failed(f"{command}: {lines[-1]}")


def check_readme(context: Context) -> str:
    """The model card has the zoo's headings."""
    path = context.bundle / "docs" / "README.md"
    if not path.is_file():
        raise Failed("docs/README.md is missing")
    lines = re.findall(r"^#+ *(.+?) *$", path.read_text(), re.MULTILINE)
    found = [line.replace("*", "").strip().lower() for line in lines]
    missing = [heading for heading in HEADINGS if not any(line.startswith(heading.lower()) for line in found)]
    if missing:
        raise Failed(f"headings missing in docs/README.md: {', '.join(missing)}")
    return f"{len(HEADINGS)} headings"


CHECKS: dict[str, Callable[[Context], str]] = {
    "files": check_files,
    "version": check_version,
    "pins": check_pins,
    "schema": check_schema,
    "paths": check_paths,
    "train properties": check_train_properties,
    "inference properties": check_inference_properties,
    "network": check_network,
    "torchscript": check_torchscript,
    "model card": check_readme,
}


def run_checks(context: Context, names: Sequence[str] = tuple(CHECKS)) -> int:
    """Print a line per check; the number of those that failed."""
    failures = 0
    for name in names:
        try:
            state, reason = "ok", CHECKS[name](context)
        except Failed as error:
            state, reason, failures = "failed", str(error), failures + 1
        except Skipped as error:
            state, reason = "skipped", str(error)
        print(f"  {state:8}{name:22}{reason}", flush=True)
    return failures


def find_schema(given: Path | None) -> Path | None:
    """The schema that is given, else ``MEDBUNDLES_SCHEMA``, else the one beside the repository, if there is one."""
    named = given or os.environ.get("MEDBUNDLES_SCHEMA")
    if named:
        return Path(named)
    beside = REPOSITORY.parent / "shared" / SCHEMA
    return beside if beside.is_file() else None


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="folder of a bundle")
    parser.add_argument("--schema", type=Path, metavar="FILE", help="JSON schema of metadata.json")
    parser.add_argument("--only", choices=CHECKS, action="append", help="make this check only; can be given twice")
    options = parser.parse_args()
    schema = find_schema(options.schema)
    if schema is not None and not schema.is_file():
        parser.error(f"{schema}: no such file; expected the JSON schema of metadata.json")
    failures = 0
    for bundle in options.bundles:
        if not bundle.is_dir():
            parser.error(f"{bundle}: no such folder; expected the folder of a bundle")
        print(bundle.resolve().name)
        failures += run_checks(Context(bundle.resolve(), schema), options.only or tuple(CHECKS))
    print(f"{failures} failed" if failures else "all passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
