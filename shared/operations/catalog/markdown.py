"""The catalog as a page for people: `docs/events.md`, made by `make docs`."""

import json
from collections.abc import Iterable, Iterator, Sequence

from shared.operations.catalog.catalog import Entry, Field

_HEAD = """\
# Events

What may happen in the shop, who says so, and who reacts. Made by `make docs` from the contracts and
the services' declarations; `shop events catalog` says the same, also as JSON Schema and AsyncAPI.
How a contract is changed: [contracts.md](contracts.md)."""


def page(entries: Sequence[Entry]) -> str:
    """The page, in Markdown."""
    overview = _table(
        ("event", "published by", "who subscribes"),
        (
            (f"[`{each.type}`](#{_anchor(each)})", *map(_list, (each.publishers, each.reactions)))
            for each in entries
        ),
    )
    return "\n\n".join([_HEAD, overview, *(_section(each) for each in entries)]) + "\n"


def _section(entry: Entry) -> str:
    return "\n\n".join(_parts(entry))


def _parts(entry: Entry) -> Iterator[str]:
    yield f"## {entry.type}"
    yield f"{entry.says} Routing key `{entry.topic}`; published by {_list(entry.publishers)}."
    yield _table(("field", "kind", "limits", "what it is"), map(_row, entry.fields))
    if entry.reactions:
        yield "\n".join(
            f"- **{service}**: {' '.join(notes)}" for service, notes in entry.reactions.items()
        )
    for name, example in entry.examples.items():
        yield f"On the wire, {name.replace('-', ' ')}:"
        yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```"


def _row(field: Field) -> tuple[str, ...]:
    name = f"`{field.name}`" if field.is_required else f"`{field.name}` (optional)"
    limits = " ".join(filter(None, (field.limits, field.unit)))
    return name, field.kind, limits, field.says


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headings = tuple(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def _anchor(entry: Entry) -> str:
    """As forges make it of a heading: letters, digits, hyphens and underscores stay."""
    return entry.type.replace(".", "")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "nobody here"
