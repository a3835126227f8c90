"""What is kept beside the contracts: the schema of each version, and every example ever given.

Both are files, so that a change of a contract shows as a change of what others rely on.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.events.schemas import Schema

HERE = Path(__file__).parent


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
    """The types on the wire that examples were ever given of."""
    return sorted(path.name for path in (folder / "examples").iterdir() if path.is_dir())


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
