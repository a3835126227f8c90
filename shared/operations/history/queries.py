"""Parses options and opens the broker and the history for the commands `shop events …`.

Import it when a command runs, so that `shop --help` does not load the broker's libraries.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from shared.errors import BrokerUnavailable, InvalidInput, OperationFailed
from shared.events import concrete_types, wire_type
from shared.history.reading import EventFilter, EventReader, LatestEvents, UnreadableRecord
from shared.history.retention import truncated_history
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import dead_queue
from shared.operations.console import counted, print_notice
from shared.operations.home import require_home
from shared.operations.validating import require_order_id
from shared.runtime.hints import command
from shared.runtime.service import AnyService
from shared.runtime.settings import OPERATOR, settings_for

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse_filter(
    *, since: str | None = None, of_type: str | None = None, order: str | None = None
) -> EventFilter:
    """Parse the options `--since`, `--type` and `--order`.

    Raises:
        InvalidInput: one of them is not valid.
    """
    if order is not None:
        require_order_id(order)
    return EventFilter(
        types=parse_type(of_type) if of_type is not None else frozenset(),
        order_id=order,
        since=parse_since(since) if since is not None else None,
    )


def parse_type(text: str) -> frozenset[str]:
    """Return the types on the wire: every version of `order.placed`, or `order.placed.v1` alone.

    Raises:
        InvalidInput: there is no such type.
    """
    topics = {wire_type(contract): contract.topic for contract in concrete_types()}
    types = frozenset(type_ for type_, topic in topics.items() if text in (type_, topic))
    if not types:
        known = ", ".join(sorted(set(topics.values())))
        raise InvalidInput(f"there is no type of event {text!r}; there are {known}")
    return types


def parse_since(text: str, *, now: datetime | None = None) -> datetime:
    """Parse `2d`, `3h`, `30m`, `45s` (before now), `2026-11-20` or `2026-11-20T14:30`.

    A time without an offset is in UTC, as every time that is shown.

    Raises:
        InvalidInput: the text is not in one of these forms, or the calendar has no such time.
    """
    now = now or datetime.now(UTC)
    ago = re.fullmatch(r"([0-9]{1,6})([dhms])", text)
    try:
        date = now if ago else datetime.fromisoformat(text)
    except ValueError:
        forms = "2d, 3h, 30m, 2026-11-20 or 2026-11-20T14:30"
        raise InvalidInput(f"--since: {text!r} is not a time; write it like {forms}") from None
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"--since: {text!r} is outside the range of the calendar") from None


@contextmanager
def open_broker(owner: str, *, create: bool = True) -> Iterator[Broker]:
    """Connect to the broker with the credentials of a service or of the operator.

    Args:
        create: False to leave a missing file of the embedded broker missing.

    Raises:
        BrokerUnavailable: the embedded broker's file is missing and `create` is False.
    """
    settings = settings_for(owner)
    path = settings.broker_file_of(owner)
    if path and not create and not path.exists():
        raise BrokerUnavailable(f"the embedded broker's file {path} is not there")
    broker = broker_at(settings.broker_url_of(owner), app="shop events")
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def open_history(*, create: bool = True) -> Iterator[HistoryReader]:
    """Open the history as the operator: it holds every customer's events, so no service reads it.

    Args:
        create: as in `open_broker`.

    Raises:
        OperationFailed: this process cannot act as the operator, as in a service's container; or
            there is no embedded shop.
    """
    try:
        settings = settings_for(OPERATOR)
    except OperationFailed as error:
        raise OperationFailed(
            f"the history can be read by the operator only ({command('events')} …): {error}"
        ) from error
    if create:
        require_home(settings, settings.broker_url)
    with open_broker(OPERATOR, create=create) as broker:
        yield broker.history()


def has_messages(service: AnyService) -> bool:
    """Whether a service's queue or its dead queue holds a message that is ready for delivery.

    Raises:
        OperationFailed: the broker cannot be asked.
    """
    queues = service.name, dead_queue(service.name)
    with open_broker(service.name, create=False) as broker:
        return any(broker.depth(queue).ready for queue in queues)


def warn_if_truncated(history: HistoryReader, since: datetime | None) -> None:
    """Print since when the history is kept, if it lacks events after `since`."""
    truncated = truncated_history(history)
    if truncated is not None and truncated.affects(since):
        print_notice(f"{truncated.sentence} (SHOP_HISTORY_DAYS, SHOP_HISTORY_MAX_BYTES)")


def warn_unreadable(record: UnreadableRecord) -> None:
    """Print which record is not an event, and why."""
    print_notice(record.sentence)


def report_unreadable(reader: EventReader | LatestEvents) -> None:
    """Print how many unreadable records a reader skipped, if any."""
    if reader.unreadable:
        print_notice(f"skipped {counted(reader.unreadable, 'unreadable message')}")
