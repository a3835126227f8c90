"""The published files beside the contracts: a schema for each version, and examples of events.

Schemas are in `schemas/TYPE.json`, examples in `examples/TYPE/NAME.json`. They make a change of a
contract visible in a review. A file that is not a JSON object raises UnreadableContractFile.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shared.errors import UnreadableContractFile
from shared.events.schemas import Schema

HERE = Path(__file__).parent


def schemas(folder: Path = HERE) -> dict[str, Schema]:
    """Read all published schemas, by type on the wire."""
    return {path.stem: _read(path) for path in sorted((folder / "schemas").glob("*.json"))}


def write_schema(type_: str, schema: Mapping[str, Any], folder: Path = HERE) -> None:
    """Publish the schema of a type; it replaces the previous one."""
    text = json.dumps(schema, indent=2)
    (folder / "schemas").mkdir(exist_ok=True)
    (folder / "schemas" / f"{type_}.json").write_text(f"{text}\n", encoding="utf-8")


def examples(type_: str, folder: Path = HERE) -> dict[str, dict[str, Any]]:
    """Read the example CloudEvents of a type, by name."""
    paths = sorted((folder / "examples" / type_).glob("*.json"))
    return {path.stem: _read(path) for path in paths}


def types_with_examples(folder: Path = HERE) -> list[str]:
    """The types on the wire that have an example."""
    return sorted({path.parent.name for path in _example_paths(folder)})


def fingerprints(folder: Path = HERE) -> dict[str, str]:
    """SHA-256 of each example file, by type and name, such as `order.placed.v1/two-products`."""
    return {
        f"{path.parent.name}/{path.stem}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _example_paths(folder)
    }


def published_fingerprints(folder: Path = HERE) -> dict[str, str]:
    """SHA-256 of each example when it was published; a published example must not change."""
    path = _fingerprints_path(folder)
    return _read(path) if path.exists() else {}


def publish_examples(names: Iterable[str], folder: Path = HERE) -> None:
    """Record the fingerprints of new examples (type/name); those recorded before stay unchanged."""
    current = fingerprints(folder)
    recorded = {name: current[name] for name in names} | published_fingerprints(folder)
    text = json.dumps(dict(sorted(recorded.items())), indent=2)
    _fingerprints_path(folder).write_text(f"{text}\n", encoding="utf-8")


def _example_paths(folder: Path) -> list[Path]:
    return sorted((folder / "examples").glob("*/*.json"))


def _fingerprints_path(folder: Path) -> Path:
    return folder / "examples" / "published.json"


def _read(path: Path) -> dict[str, Any]:
    name = f"{path.parent.name}/{path.name}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableContractFile(f"{name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UnreadableContractFile(f"{name} is JSON, but not an object")
    return content
