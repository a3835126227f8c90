"""Chooses the version of an event that a reader gets, and converts between versions.

All versions of an event have the same topic. A subscription to a version gets every event that can
be converted to that version; one to a base class gets the newest version. Converters are `upcast`
and `downcast` of the contracts that `previous` links.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import TypeVar

from shared.events.domain_event import DomainEvent, Kind, concrete_types, wire_type

E = TypeVar("E", bound=DomainEvent)


def readings(subscribed: Iterable[Kind]) -> dict[str, Kind]:
    """The class that a reader gets for each type on the wire.

    Versions that cannot be converted to a subscribed contract or base class are missing.
    """
    kinds = tuple(subscribed)
    targets = {wire_type(written): _target(written, kinds) for written in concrete_types()}
    return {type_: target for type_, target in targets.items() if target is not None}


def written_as(type_: str, wanted: Kind) -> Kind:
    """The contract of a type on the wire, to validate an event before `convert`."""
    if wire_type(wanted) == type_:
        return wanted
    return next(each for each in concrete_types() if wire_type(each) == type_)


def contract_of(type_: str, wanted: Kind | None = None) -> Kind | None:
    """The contract of a type on the wire; None for an unknown type.

    Args:
        wanted: the class that the reader gets, if any; most often the contract itself.
    """
    if wanted is not None:
        return written_as(type_, wanted)
    return next((each for each in concrete_types() if wire_type(each) == type_), None)


def convert(event: DomainEvent, wanted: Kind) -> DomainEvent:
    """Convert an event to another version, step by step; an event of that version is unchanged.

    Raises:
        ValueError: the version cannot express this event.
    """
    if isinstance(event, wanted):
        return event
    if wanted.version > event.version and wanted.previous is not None:
        return wanted.upcast(convert(event, wanted.previous))
    return convert(event.downcast(), wanted)


def rewritten(event: DomainEvent, version: type[E], **data: object) -> E:
    """Build an event of another version with the same fields, except `data`; for converters."""
    return version.model_validate({**dict(event), **data})


def _target(written: Kind, subscribed: tuple[Kind, ...]) -> Kind | None:
    contracts = tuple(each for each in subscribed if each.topic)
    if issubclass(written, contracts):
        return written
    bases = tuple(each for each in subscribed if not each.topic)
    below_bases = [each for each in concrete_types() if issubclass(each, bases)]
    candidates = _reachable(written, contracts) or _reachable(written, below_bases)
    return max(candidates, key=attrgetter("version"), default=None)


def _reachable(written: Kind, contracts: Iterable[Kind]) -> list[Kind]:
    return [
        each for each in contracts if each.topic == written.topic and _is_convertible(written, each)
    ]


def _is_convertible(written: Kind, wanted: Kind) -> bool:
    if issubclass(written, wanted):
        return True
    if wanted.version > written.version:
        return wanted.previous is not None and _is_convertible(written, wanted.previous)
    has_downcast = written.downcast is not DomainEvent.downcast
    return (
        written.previous is not None and has_downcast and _is_convertible(written.previous, wanted)
    )
