"""Which version of an event a reader gets, and how one becomes another.

Versions of an event travel through the same topic, side by side. A reader gets the version that it
subscribed to; through a base class, the newest there is. A contract's `previous`, `upcast` and
`downcast` lead from one to the next.
"""

from collections.abc import Iterable
from typing import TypeVar

from shared.events.domain_event import DomainEvent, Kind, concrete_types, wire_type

E = TypeVar("E", bound=DomainEvent)


def readings(subscribed: Iterable[Kind]) -> dict[str, Kind]:
    """What these subscriptions can read: the class that they get, by the type on the wire.

    A version that no converter leads from is not among them.
    """
    kinds = tuple(subscribed)
    wanted = {wire_type(each): _wanted(each, kinds) for each in concrete_types()}
    return {type_: kind for type_, kind in wanted.items() if kind is not None}


def written_as(type_: str, wanted: Kind) -> Kind:
    """The contract that a type on the wire was written by, where a reader wants that version."""
    if wire_type(wanted) == type_:
        return wanted
    return next(each for each in concrete_types() if wire_type(each) == type_)


def convert(event: DomainEvent, wanted: Kind) -> DomainEvent:
    """The same fact as the version that is wanted; one that it is already stays as it is.

    Raises:
        ValueError: a converter has no words for it.
    """
    if isinstance(event, wanted):
        return event
    if wanted.version > event.version and wanted.previous is not None:
        return wanted.upcast(convert(event, wanted.previous))
    return convert(event.downcast(), wanted)


def rewritten(event: DomainEvent, version: type[E], **data: object) -> E:
    """The same fact in another version, for converters: the same envelope and the fields that stay.

    Args:
        data: the fields that are different there.
    """
    return version.model_validate({**dict(event), **data})


def _wanted(written: Kind, kinds: tuple[Kind, ...]) -> Kind | None:
    named = tuple(each for each in kinds if each.topic)
    if issubclass(written, named):
        return written
    bases = tuple(each for each in kinds if not each.topic)
    below = [each for each in concrete_types() if issubclass(each, bases)]
    found = _versions(written, named) or _versions(written, below)
    return max(found, key=_version, default=None)


def _versions(written: Kind, kinds: Iterable[Kind]) -> list[Kind]:
    """Those that an event of this class is or can be converted to."""
    return [each for each in kinds if each.topic == written.topic and _leads_to(written, each)]


def _version(kind: Kind) -> int:
    return kind.version


def _leads_to(written: Kind, wanted: Kind) -> bool:
    if issubclass(written, wanted):
        return True
    if wanted.version > written.version:
        return wanted.previous is not None and _leads_to(written, wanted.previous)
    has_downcast = written.downcast is not DomainEvent.downcast
    return written.previous is not None and has_downcast and _leads_to(written.previous, wanted)
