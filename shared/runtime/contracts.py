"""Holds contracts to what was promised: `make contracts`.

With `--accept` it keeps the schema of a new version, and of one that was changed safely. It never
accepts a change that would break somebody.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from shared.errors import PermanentFailure
from shared.events import kept, wire_type
from shared.events.compatibility import breaks
from shared.events.domain_event import Kind
from shared.events.schemas import Schema, event_schema, published_contracts
from shared.events.versions import readings
from shared.messaging.cloudevents import decode

ACCEPT = "if it is meant, run make contracts ARGS=--accept"


def main() -> None:
    """Check all contracts; exit code 1 and a sentence for each that breaks a promise."""
    parser = argparse.ArgumentParser(prog="make contracts", description=__doc__)
    parser.add_argument("--accept", action="store_true", help="keep what was changed safely")
    contracts = published_contracts()
    if parser.parse_args().accept:
        for type_ in accept(contracts):
            sys.stdout.write(f"{type_}: kept as it is now\n")
    found = list(problems(contracts))
    sys.stderr.writelines(f"{each}\n" for each in found)
    sys.exit(1 if found else 0)


def problems(contracts: Sequence[Kind], folder: Path = kept.HERE) -> Iterator[str]:
    """What is wrong, each in a sentence that names the event and the field.

    Args:
        contracts: every version that there is.
        folder: with the kept schemas and examples.
    """
    schemas = kept.schemas(folder)
    for contract in contracts:
        type_, now = wire_type(contract), event_schema(contract)
        if type_ not in schemas:
            yield f"{type_} is new: {ACCEPT}"
            continue
        broken = [*_broken(contract, schemas[type_], now)]
        yield from broken
        if not broken and schemas[type_] != now:
            yield f"{type_} has changed safely: {ACCEPT}"
    for type_ in schemas.keys() - {wire_type(each) for each in contracts}:
        yield f"{type_} is gone, and history holds such events: keep its contract beside the newer"
    yield from _examples(contracts, folder)


def accept(contracts: Sequence[Kind], folder: Path = kept.HERE) -> Iterator[str]:
    """Keep the schemas of new versions, and of those that were changed safely.

    Yields:
        Their types on the wire.
    """
    schemas = kept.schemas(folder)
    for contract in contracts:
        type_, now = wire_type(contract), event_schema(contract)
        before = schemas.get(type_)
        if before is None or (before != now and not [*_broken(contract, before, now)]):
            kept.keep_schema(type_, now, folder)
            yield type_


def _broken(contract: Kind, before: Schema, now: Schema) -> Iterator[str]:
    type_, newer = wire_type(contract), f"{contract.topic}.v{contract.version + 1}"
    for each in breaks(before, now):
        yield f"{type_}: {each.field} {each.change}, and {each.harm}: this takes {newer}"


def _examples(contracts: Sequence[Kind], folder: Path) -> Iterator[str]:
    as_written = {wire_type(each): each for each in contracts}
    newest = {each.topic: each for each in sorted(contracts, key=attrgetter("version"))}
    as_newest = readings(newest.values())
    for type_ in as_written.keys() - set(kept.types_with_examples(folder)):
        yield f"{type_} has no example: write one, {folder.name}/examples/{type_}/NAME.json"
    for type_ in kept.types_with_examples(folder):
        for name, example in kept.examples(type_, folder).items():
            if example.get("type") != type_:
                yield f"{type_}: the example {name} is of another type"
                continue
            try:
                decode(json.dumps(example).encode(), as_written)
                decode(json.dumps(example).encode(), as_newest)
            except PermanentFailure as error:
                yield f"{type_}: the example {name} can no longer be read: {error}"


if __name__ == "__main__":
    main()
