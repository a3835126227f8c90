"""The catalog as a Markdown page: `docs/events.md`, written by `make docs`."""

import json
from collections.abc import Iterable, Iterator, Sequence

from shared.operations.catalog.catalog import CatalogEntry, CatalogField

_HEAD = """\
# Events

Every event of the shop, with its publishers and subscribers. `make docs` generates this page from
the contracts and the services' declarations; `shop events catalog` prints the same, also as JSON
Schema and AsyncAPI. How to change a contract: [contracts.md](contracts.md)."""


def page(entries: Sequence[CatalogEntry]) -> str:
    """Return the page."""
    overview = _table(
        ("event", "published by", "subscribers"),
        (
            (
                # GitHub drops dots from the anchor of a heading.
                f"[`{entry.type}`](#{entry.type.replace('.', '')})",
                _list(entry.publishers),
                _list(entry.reactions),
            )
            for entry in entries
        ),
    )
    sections = ("\n\n".join(_section(entry)) for entry in entries)
    return "\n\n".join([_HEAD, overview, *sections]) + "\n"


def _section(entry: CatalogEntry) -> Iterator[str]:
    yield f"## {entry.type}"
    publishers = _list(entry.publishers)
    yield f"{entry.description} Routing key `{entry.topic}`; published by {publishers}."
    yield _table(("field", "kind", "limits", "description"), map(_row, entry.fields))
    if entry.reactions:
        yield "\n".join(
            f"- **{service}**: {' '.join(sentences)}"
            for service, sentences in entry.reactions.items()
        )
    for name, example in entry.examples.items():
        yield f"On the wire, {name.replace('-', ' ')}:"
        yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```"


def _row(field: CatalogField) -> tuple[str, ...]:
    name = f"`{field.name}`" if field.is_required else f"`{field.name}` (optional)"
    limits = " ".join(filter(None, (field.limits, field.unit)))
    return name, field.kind, limits, field.description


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "no service here"
