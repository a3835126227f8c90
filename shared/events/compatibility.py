"""Finds the changes of a contract's schema that break its readers.

Both directions count. New events must fit the old schema, or a consumer written for it refuses
them. Old events must fit the new schema, or the history can no longer be read. So an existing field
may neither gain nor lose values. An optional field may be added: consumers ignore unknown fields.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from shared.events.schemas import Schema
from shared.events.text import ALWAYS_ENFORCED

LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_STATED_LATER = {"pattern", "not"}
_ANNOTATIONS = {"$schema", "title", "description", "default", "examples", ALWAYS_ENFORCED}
_COMPARED = {"type", "anyOf", "enum", "const", "properties", "required", "items"}
_COMPARED |= {"patternProperties", "additionalProperties", *LOWER_LIMITS, *UPPER_LIMITS}

BREAKS_CONSUMERS = "consumers of this version could not read new events"
BREAKS_HISTORY = "old events could no longer be read"


@dataclass(frozen=True, slots=True)
class BreakingChange:
    """A change that makes new or old events unreadable.

    Attributes:
        field: its path, such as `data.items`.
        change: what happened to the field, a verb and its object.
        harm: `BREAKS_CONSUMERS` or `BREAKS_HISTORY`.
    """

    field: str
    change: str
    harm: str


def breaking_changes(old: Schema, new: Schema, field: str = "") -> Iterator[BreakingChange]:
    """Iterate over the breaking changes between schemas of an event or one of its fields."""
    old_types, new_types = _by_type(old), _by_type(new)
    removed, added = old_types.keys() - new_types.keys(), new_types.keys() - old_types.keys()
    if removed and added:
        change = f"changes its type from {_list(old_types)} to {_list(new_types)}"
        yield BreakingChange(field, change, BREAKS_CONSUMERS)
    elif removed:
        yield BreakingChange(field, f"may no longer be {_list(removed)}", BREAKS_HISTORY)
    elif added:
        yield BreakingChange(field, f"may now also be {_list(added)}", BREAKS_CONSUMERS)
    for name in old_types.keys() & new_types.keys():
        yield from _of_one_type(old_types[name], new_types[name], field)


def _of_one_type(old: Schema, new: Schema, field: str) -> Iterator[BreakingChange]:
    yield from _values(old, new, field)
    for limit in (*LOWER_LIMITS, *UPPER_LIMITS):
        yield from _limit(old, new, limit, field)
    for keyword in sorted((old.keys() | new.keys()) - _ANNOTATIONS - _COMPARED):
        if old.get(keyword) != new.get(keyword) and not _was_enforced(old, new, keyword):
            change = f"changes its {keyword.removeprefix('x-')}{_from_to(old, new, keyword)}"
            yield BreakingChange(field, change, BREAKS_CONSUMERS)
    yield from _properties(old, new, field)
    yield from _elements(old, new, field)


def _was_enforced(old: Schema, new: Schema, keyword: str) -> bool:
    """Whether a rule is only new in the schema: no event that was ever sent violates it."""
    return keyword in _STATED_LATER and keyword not in old and bool(new.get(ALWAYS_ENFORCED))


def _values(old: Schema, new: Schema, field: str) -> Iterator[BreakingChange]:
    before, after = _allowed(old), _allowed(new)
    if before == after:
        return
    if after is not None and (before is None or before - after):
        removed = "" if before is None else f": no longer {_list(before - after)}"
        yield BreakingChange(field, f"allows fewer values{removed}", BREAKS_HISTORY)
    if before is not None and (after is None or after - before):
        added = "" if after is None else f": now also {_list(after - before)}"
        yield BreakingChange(field, f"allows more values{added}", BREAKS_CONSUMERS)


def _limit(old: Schema, new: Schema, limit: str, field: str) -> Iterator[BreakingChange]:
    before, after = old.get(limit), new.get(limit)
    if before == after:
        return
    sign = 1 if limit in LOWER_LIMITS else -1
    is_tighter = before is None or (after is not None and (after - before) * sign > 0)
    verb, harm = ("tightens", BREAKS_HISTORY) if is_tighter else ("loosens", BREAKS_CONSUMERS)
    yield BreakingChange(field, f"{verb} its {limit}{_from_to(old, new, limit)}", harm)


def _properties(old: Schema, new: Schema, field: str) -> Iterator[BreakingChange]:
    before, after = old.get("properties", {}), new.get("properties", {})
    required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
    prefix = f"{field}." if field else ""
    for name in before:
        if name not in after:
            yield BreakingChange(f"{prefix}{name}", "is removed", BREAKS_CONSUMERS)
    for name in sorted(required_after - required_before):
        yield BreakingChange(f"{prefix}{name}", "is newly required", BREAKS_HISTORY)
    for name in sorted((required_before - required_after) & after.keys()):
        yield BreakingChange(f"{prefix}{name}", "is no longer required", BREAKS_CONSUMERS)
    for name in before:
        if name in after:
            yield from breaking_changes(before[name], after[name], f"{prefix}{name}")


def _elements(old: Schema, new: Schema, field: str) -> Iterator[BreakingChange]:
    """Compare the elements of arrays and the values of mappings."""
    before, after = old.get("patternProperties", {}), new.get("patternProperties", {})
    if before.keys() != after.keys():
        yield BreakingChange(field, "changes which names it may hold", BREAKS_CONSUMERS)
    pairs = [(before[pattern], after[pattern]) for pattern in before if pattern in after]
    for keyword in ("items", "additionalProperties"):
        old_part, new_part = old.get(keyword, True), new.get(keyword, True)
        if isinstance(old_part, dict) and isinstance(new_part, dict):
            pairs.append((old_part, new_part))
        elif old_part != new_part:
            yield BreakingChange(field, f"changes its {keyword}", BREAKS_CONSUMERS)
    yield from chain.from_iterable(breaking_changes(*pair, f"{field}.*") for pair in pairs)


def _by_type(schema: Schema) -> dict[str, Schema]:
    """The alternatives of a schema by their type; `int | None` has two."""
    alternatives = schema.get("anyOf", [schema])
    return {str(each.get("type", "one of some values")): each for each in alternatives}


def _allowed(schema: Schema) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None


def _from_to(old: Schema, new: Schema, keyword: str) -> str:
    return f" from {old.get(keyword, 'none')} to {new.get(keyword, 'none')}"


def _list(values: Iterable[object]) -> str:
    return " or ".join(sorted(map(str, values)))
