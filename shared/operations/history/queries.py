"""What the commands `shop events …` ask of a history, and say of it.

Not imported before a command runs: `shop --help` needs none of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer
from pydantic import TypeAdapter, ValidationError

from shared.errors import BrokerUnavailable, InvalidInput, OperationFailed
from shared.events.fields import OrderId
from shared.history.reading import (
    EventFilter,
    EventReader,
    LatestEvents,
    Unreadable,
    moment,
    types_named,
)
from shared.history.retention import truncated_history
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import dead_queue
from shared.runtime.service import AnyService
from shared.runtime.settings import OPERATOR, settings_for


def wanted(
    *, since: str | None = None, of_type: str | None = None, order: str | None = None
) -> EventFilter:
    """What a person wants, in the words of the options.

    Raises:
        InvalidInput: one of them cannot be meant.
    """
    if order is not None:
        require_order_id(order)
    return EventFilter(
        types=types_named(of_type) if of_type is not None else frozenset(),
        order=order,
        since=moment(since) if since is not None else None,
    )


def require_order_id(text: str) -> None:
    """Refuse what is no order's id."""
    try:
        TypeAdapter(OrderId).validate_python(text)
    except ValidationError:
        raise InvalidInput("an order's id should be 1 to 64 letters, digits or dashes") from None


@contextmanager
def broker_of(owner: str, *, make: bool = True) -> Iterator[Broker]:
    """The broker, as a service or the operator.

    Args:
        make: false for who only looks, and where no embedded one is would see an empty one.

    Raises:
        BrokerUnavailable: there is no embedded one, and it is not to be made.
    """
    settings = settings_for(owner)
    path = settings.broker_file_of(owner)
    if path and not make and not path.exists():
        raise BrokerUnavailable(f"the embedded broker's file {path} is not there")
    broker = broker_at(settings.broker_url_of(owner), app="shop events")
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def history_for(services: Sequence[AnyService], *, make: bool = True) -> Iterator[HistoryReader]:
    """The history, as whoever may read it here."""
    with broker_of(_reader(services), make=make) as broker:
        yield broker.history()


def holds_anything(service: AnyService) -> bool:
    """Whether a service's queue or its dead queue holds a message that could be delivered.

    Raises:
        OperationFailed: the broker cannot be asked.
    """
    queues = service.name, dead_queue(service.name)
    with broker_of(service.name, make=False) as broker:
        return any(broker.depth(each).ready for each in queues)


def _reader(services: Sequence[AnyService]) -> str:
    """Who reads the history: the operator, or the service whose container this is."""
    refusal: OperationFailed | None = None
    for owner in (OPERATOR, *(each.name for each in services)):
        try:
            settings_for(owner)
        except OperationFailed as error:
            refusal = refusal or error
        else:
            return owner
    raise refusal or OperationFailed("there is nobody here who may read the history")


def reading(
    history: HistoryReader, wanted: EventFilter, *, start: int | None = None, end: int | None = None
) -> EventReader:
    """What is wanted of a history, what is no event being named."""
    return EventReader(history, wanted, start=start, end=end, tell=complain)


def say_what_is_not_kept(history: HistoryReader, wanted: EventFilter) -> None:
    """Say since when there is a history, if more was asked for."""
    left = truncated_history(history)
    if left is not None and left.affects(wanted.since):
        say(f"{left.sentence} (SHOP_HISTORY_DAYS, SHOP_HISTORY_MAX_BYTES)")


def say_what_is_lost(history: HistoryReader, service: AnyService) -> None:
    """Say since when there is a history, to whoever makes a service's state anew from it."""
    left = truncated_history(history)
    if left is not None:
        say(f"{left.sentence}, and {service.name} will no longer know of it")


def say_unreadable(reading: EventReader | LatestEvents) -> None:
    """Say how many messages were no events, if some were."""
    if reading.unreadable:
        say(skipped(reading.unreadable))


def skipped(number: int) -> str:
    """So many messages, in words."""
    return f"{number:,} unreadable {'message was' if number == 1 else 'messages were'} skipped"


def complain(message: Unreadable) -> None:
    """Name a message that is no event."""
    say(f"unreadable, skipped: {message.which}: {message.reason}")


def say(sentence: str) -> None:
    """Say something that is no answer, on standard error."""
    typer.echo(f"shop: {sentence}", err=True)
