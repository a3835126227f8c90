"""Holds contracts to what was promised: `make contracts`.

With `--accept` it keeps the schema of a new version, and of one that was changed safely, and new
examples. It never accepts a change that would break somebody, nor one of a published example.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from shared.errors import PermanentFailure, UnreadableContractFile
from shared.events import published, wire_type
from shared.events.compatibility import breaking_changes
from shared.events.domain_event import Kind
from shared.events.schemas import Schema, event_schema, published_contracts
from shared.events.versions import readings
from shared.messaging.codec import decode

ACCEPT = "if it is meant, run make contracts ARGS=--accept"
_NEW = f"is new: {ACCEPT}"


def main() -> None:
    """Check all contracts; exit code 1 and a sentence for each that breaks a promise."""
    parser = argparse.ArgumentParser(prog="make contracts", description=__doc__)
    parser.add_argument("--accept", action="store_true", help="keep what was changed safely")
    contracts = published_contracts()
    is_accepting = parser.parse_args().accept
    try:
        for type_ in accept(contracts) if is_accepting else ():
            sys.stdout.write(f"{type_}: kept as it is now\n")
        found = list(problems(contracts))
    except UnreadableContractFile as error:
        found = [str(error)]
    sys.stderr.writelines(f"{each}\n" for each in found)
    sys.exit(1 if found else 0)


def problems(contracts: Sequence[Kind], folder: Path = published.HERE) -> Iterator[str]:
    """What is wrong, each in a sentence that names the event and the field.

    Args:
        contracts: every version that there is.
        folder: with the kept schemas and examples.
    """
    schemas = published.schemas(folder)
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


def accept(contracts: Sequence[Kind], folder: Path = published.HERE) -> Iterator[str]:
    """Keep the schemas of new versions and of those that were changed safely, and new examples.

    Yields:
        Their types on the wire.
    """
    schemas = published.schemas(folder)
    new = [name for name, said in _told_of_examples(contracts, folder) if said == _NEW]
    published.publish_examples(new, folder)
    for contract in contracts:
        type_, now = wire_type(contract), event_schema(contract)
        before = schemas.get(type_)
        is_kept = before is None or (before != now and not [*_broken(contract, before, now)])
        if is_kept:
            published.write_schema(type_, now, folder)
        if is_kept or any(name.startswith(f"{type_}/") for name in new):
            yield type_


def _broken(contract: Kind, before: Schema, now: Schema) -> Iterator[str]:
    type_, newer = wire_type(contract), f"{contract.topic}.v{contract.version + 1}"
    for each in breaking_changes(before, now):
        yield f"{type_}: {each.field} {each.change}, and {each.harm}: this takes {newer}"


def _examples(contracts: Sequence[Kind], folder: Path) -> Iterator[str]:
    for type_ in {wire_type(each) for each in contracts} - set(
        published.types_with_examples(folder)
    ):
        yield f"{type_} has no example: write one, {folder.name}/examples/{type_}/NAME.json"
    for place, said in _told_of_examples(contracts, folder):
        type_, _, name = place.partition("/")
        yield f"{type_}: the example {name} {said}"


def _told_of_examples(contracts: Sequence[Kind], folder: Path) -> Iterator[tuple[str, str]]:
    """Type and name of each example that something is to be said of, and what."""
    before, now = published.published_fingerprints(folder), published.fingerprints(folder)
    for gone in before.keys() - now.keys():
        yield gone, "is gone, and somebody may rely on it"
    as_written = {wire_type(each): each for each in contracts}
    newest = {each.topic: each for each in sorted(contracts, key=attrgetter("version"))}
    as_newest = readings(newest.values())
    for type_ in published.types_with_examples(folder):
        for name, example in published.examples(type_, folder).items():
            place = f"{type_}/{name}"
            wrong = _wrong_with(example, type_, as_written, as_newest)
            if wrong:
                yield place, wrong
            elif place not in before:
                yield place, _NEW
            elif before[place] != now[place]:
                yield place, "has changed since it was published: write another beside it"


def _wrong_with(example: Schema, type_: str, *readers: Mapping[str, Kind]) -> str | None:
    if example.get("type") != type_:
        return "is of another type"
    try:
        for each in readers:
            decode(json.dumps(example).encode(), each)
    except PermanentFailure as error:
        return f"can no longer be read: {error}"
    return None


if __name__ == "__main__":
    main()
