"""Whether a changed contract still keeps what was promised to those who know it as it was.

Both directions count. What is sent from now on must fit the schema as it was, or a consumer that
was written for it refuses the event. What was sent before must fit the schema as it is now, or
history can no longer be read. So a field that is there may neither lose nor gain values; a new one
may come if it is optional, since everybody ignores what they do not know.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from shared.events.schemas import Schema

LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_ANNOTATIONS = {"$schema", "title", "description", "default", "examples"}
_COMPARED = {"type", "anyOf", "enum", "const", "properties", "required", "items"}
_COMPARED |= {"patternProperties", "additionalProperties", *LOWER_LIMITS, *UPPER_LIMITS}

OF_CONSUMERS = "consumers of this version could not read what is sent from now on"
OF_HISTORY = "what was sent before could no longer be read"


@dataclass(frozen=True, slots=True)
class Break:
    """A change that breaks somebody.

    Attributes:
        field: such as `data.items`.
        change: what became of it, a verb and its object.
        harm: whom it breaks.
    """

    field: str
    change: str
    harm: str


def breaks(kept: Schema, now: Schema, field: str = "") -> Iterator[Break]:
    """Every change from the one schema to the other that is not safe."""
    was, is_ = _by_type(kept), _by_type(now)
    gone, come = was.keys() - is_.keys(), is_.keys() - was.keys()
    if gone and come:
        change = f"changes its type from {_list(was)} to {_list(is_)}"
        yield Break(field, change, OF_CONSUMERS)
    elif gone:
        yield Break(field, f"may no longer be {_list(gone)}", OF_HISTORY)
    elif come:
        yield Break(field, f"may now also be {_list(come)}", OF_CONSUMERS)
    for each in was.keys() & is_.keys():
        yield from _of_one_type(was[each], is_[each], field)


def _of_one_type(kept: Schema, now: Schema, field: str) -> Iterator[Break]:
    yield from _values(kept, now, field)
    for limit in LOWER_LIMITS:
        yield from _limit(kept, now, limit, field, sign=1)
    for limit in UPPER_LIMITS:
        yield from _limit(kept, now, limit, field, sign=-1)
    for keyword in sorted((kept.keys() | now.keys()) - _ANNOTATIONS - _COMPARED):
        if kept.get(keyword) != now.get(keyword):
            change = f"changes its {keyword.removeprefix('x-')}"
            yield Break(field, f"{change}{_from_to(kept, now, keyword)}", OF_CONSUMERS)
    yield from _fields(kept, now, field)
    yield from _contents(kept, now, field)


def _values(kept: Schema, now: Schema, field: str) -> Iterator[Break]:
    was, is_ = _allowed(kept), _allowed(now)
    if was == is_:
        return
    if is_ is not None and (was is None or was - is_):
        gone = "" if was is None else f": no longer {_list(was - is_)}"
        yield Break(field, f"allows fewer values{gone}", OF_HISTORY)
    if was is not None and (is_ is None or is_ - was):
        come = "" if is_ is None else f": now also {_list(is_ - was)}"
        yield Break(field, f"allows more values{come}", OF_CONSUMERS)


def _limit(kept: Schema, now: Schema, limit: str, field: str, *, sign: int) -> Iterator[Break]:
    was, is_ = kept.get(limit), now.get(limit)
    if was == is_:
        return
    is_tighter = was is None or (is_ is not None and (is_ - was) * sign > 0)
    verb, harm = ("tightens", OF_HISTORY) if is_tighter else ("loosens", OF_CONSUMERS)
    yield Break(field, f"{verb} its {limit}{_from_to(kept, now, limit)}", harm)


def _fields(kept: Schema, now: Schema, field: str) -> Iterator[Break]:
    was, is_ = kept.get("properties", {}), now.get("properties", {})
    had_to, has_to = set(kept.get("required", ())), set(now.get("required", ()))
    for name in (each for each in was if each not in is_):
        yield Break(_below(field, name), "is removed", OF_CONSUMERS)
    for name in sorted(has_to - had_to):
        yield Break(_below(field, name), "is newly required", OF_HISTORY)
    for name in sorted((had_to - has_to) & is_.keys()):
        yield Break(_below(field, name), "is no longer required", OF_CONSUMERS)
    for name in (each for each in was if each in is_):
        yield from breaks(was[name], is_[name], _below(field, name))


def _contents(kept: Schema, now: Schema, field: str) -> Iterator[Break]:
    """Of lists and of mappings."""
    was, is_ = kept.get("patternProperties", {}), now.get("patternProperties", {})
    if was.keys() != is_.keys():
        yield Break(field, "changes which names it may hold", OF_CONSUMERS)
    pairs = [(was[name], is_[name]) for name in was if name in is_]
    for keyword in ("items", "additionalProperties"):
        old, new = kept.get(keyword, True), now.get(keyword, True)
        if isinstance(old, dict) and isinstance(new, dict):
            pairs.append((old, new))
        elif old != new:
            yield Break(field, f"changes its {keyword}", OF_CONSUMERS)
    yield from chain.from_iterable(breaks(old, new, f"{field}.*") for old, new in pairs)


def _by_type(schema: Schema) -> dict[str, Schema]:
    """What it may be, by its type; `int | None` may be two things."""
    options = schema.get("anyOf", [schema])
    return {str(each.get("type", "one of some values")): each for each in options}


def _allowed(schema: Schema) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None


def _below(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _from_to(kept: Schema, now: Schema, keyword: str) -> str:
    was, is_ = (schema.get(keyword, "none") for schema in (kept, now))
    return f" from {was} to {is_}"


def _list(values: Any) -> str:  # noqa: ANN401 - names of types, or values
    return " or ".join(sorted(str(each) for each in values))
