"""What is kept beside the contracts: the schema of each version, and every example ever given.

Both are files, so that a change of a contract shows as a change of what others rely on.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shared.events.schemas import Schema

HERE = Path(__file__).parent


class Unreadable(ValueError):
    """A kept file is no JSON object."""


def schemas(folder: Path = HERE) -> dict[str, Schema]:
    """The kept schemas, by the type on the wire."""
    return {path.stem: _read(path) for path in sorted((folder / "schemas").glob("*.json"))}


def keep_schema(type_: str, schema: Mapping[str, Any], folder: Path = HERE) -> None:
    """Keep a schema, in place of the one before."""
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    (folder / "schemas").mkdir(exist_ok=True)
    (folder / "schemas" / f"{type_}.json").write_text(f"{text}\n", encoding="utf-8")


def examples(type_: str, folder: Path = HERE) -> dict[str, dict[str, Any]]:
    """CloudEvents of a type, by what is special about each."""
    found = sorted((folder / "examples" / type_).glob("*.json"))
    return {path.stem: _read(path) for path in found}


def types_with_examples(folder: Path = HERE) -> list[str]:
    """The types on the wire that there are examples of."""
    return sorted({path.parent.name for path in (folder / "examples").glob("*/*.json")})


def fingerprints(folder: Path = HERE) -> dict[str, str]:
    """What each example is now, by type and name, such as `order.placed.v1/two-products`."""
    found = sorted((folder / "examples").glob("*/*.json"))
    return {
        f"{path.parent.name}/{path.stem}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def published(folder: Path = HERE) -> dict[str, str]:
    """What each example was when it was published; none may change or go."""
    path = _published(folder)
    return _read(path) if path.exists() else {}


def publish(names: Iterable[str], folder: Path = HERE) -> None:
    """Keep what these examples are now; what others were stays."""
    now = fingerprints(folder)
    kept = {name: now[name] for name in names} | published(folder)
    text = json.dumps(dict(sorted(kept.items())), indent=2)
    _published(folder).write_text(f"{text}\n", encoding="utf-8")


def _published(folder: Path) -> Path:
    return folder / "examples" / "published.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unreadable(f"{path.parent.name}/{path.name} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{path.parent.name}/{path.name} is JSON, but no object")
    return found
