"""Checks that the contracts are compatible with the published ones: `make contracts`.

With `--accept` it publishes schemas of new versions and of compatible changes, and new examples.
It never accepts a change that breaks consumers or the history, or a change of a published example.
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

ACCEPT = "if it is intended, run make contracts ARGS=--accept"
_NEW = f"is new: {ACCEPT}"


def main() -> None:
    """Check all contracts; exit with 1 and a sentence on standard error for each problem."""
    parser = argparse.ArgumentParser(prog="make contracts", description=__doc__)
    parser.add_argument("--accept", action="store_true", help="publish compatible changes")
    arguments = parser.parse_args()
    contracts = published_contracts()
    try:
        if arguments.accept:
            accepted = [*accept(contracts)]
            sys.stdout.writelines(f"{type_}: accepted\n" for type_ in accepted)
            if accepted:
                sys.stdout.write("docs/events.md is now out of date: run make docs\n")
        found = list(problems(contracts))
    except UnreadableContractFile as error:
        found = [str(error)]
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    sys.exit(1 if found else 0)


def problems(contracts: Sequence[Kind], folder: Path = published.HERE) -> Iterator[str]:
    """Yield a sentence for each problem; `folder` holds the published schemas and examples."""
    schemas = published.schemas(folder)
    types = {wire_type(contract) for contract in contracts}
    for contract in contracts:
        type_, schema = wire_type(contract), event_schema(contract)
        if type_ not in schemas:
            yield f"{type_} is new: {ACCEPT}"
            continue
        breaking = [*_breaking_changes(contract, schemas[type_], schema)]
        yield from breaking
        if not breaking and schemas[type_] != schema:
            yield f"{type_} has a compatible change: {ACCEPT}"
    for type_ in schemas.keys() - types:
        yield f"{type_} is removed, but the history has such events: keep its contract"
    for type_ in types - set(published.types_with_examples(folder)):
        yield f"{type_} has no example: write one, {folder.name}/examples/{type_}/NAME.json"
    for key, problem in _example_problems(contracts, folder):
        type_, _, name = key.partition("/")
        yield f"{type_}: the example {name} {problem}"


def accept(contracts: Sequence[Kind], folder: Path = published.HERE) -> Iterator[str]:
    """Publish the schemas of new versions and of compatible changes, and new examples.

    Yields:
        The type on the wire of each contract with something new.
    """
    schemas = published.schemas(folder)
    new = [key for key, problem in _example_problems(contracts, folder) if problem == _NEW]
    published.publish_examples(new, folder)
    for contract in contracts:
        type_, schema = wire_type(contract), event_schema(contract)
        before = schemas.get(type_)
        is_accepted = before is None or (
            before != schema and not [*_breaking_changes(contract, before, schema)]
        )
        if is_accepted:
            published.write_schema(type_, schema, folder)
        if is_accepted or any(key.startswith(f"{type_}/") for key in new):
            yield type_


def _breaking_changes(contract: Kind, before: Schema, after: Schema) -> Iterator[str]:
    type_, next_version = wire_type(contract), f"{contract.topic}.v{contract.version + 1}"
    for each in breaking_changes(before, after):
        problem = f"{type_}: {each.field} {each.change}, and {each.harm}"
        yield f"{problem}: publish {next_version} instead"


def _example_problems(contracts: Sequence[Kind], folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the key of each example with a problem, such as `order.placed.v1/two-products`."""
    before, now = published.published_fingerprints(folder), published.fingerprints(folder)
    for key in before.keys() - now.keys():
        yield key, "was published, and is removed"
    as_written = {wire_type(contract): contract for contract in contracts}
    newest = {each.topic: each for each in sorted(contracts, key=attrgetter("version"))}
    as_newest = readings(newest.values())
    for type_ in published.types_with_examples(folder):
        for name, example in published.examples(type_, folder).items():
            key = f"{type_}/{name}"
            error = _read_error(example, type_, as_written, as_newest)
            if error:
                yield key, error
            elif key not in before:
                yield key, _NEW
            elif before[key] != now[key]:
                yield key, "has changed since it was published: add another instead"


def _read_error(example: Schema, type_: str, *readers: Mapping[str, Kind]) -> str | None:
    if example.get("type") != type_:
        return "is of another type"
    try:
        for reader in readers:
            decode(json.dumps(example).encode(), reader)
    except PermanentFailure as error:
        return f"can no longer be read: {error}"
    return None


if __name__ == "__main__":
    main()
