"""An embedded shop that is set up but not running, and changes to its broker's history."""

from shared.events import DomainEvent
from shared.messaging.codec import message_of
from shared.messaging.embedded import EmbeddedBroker
from shared.runtime.setup import set_up
from shared.testing import publisher_of
from shop import registry


def set_up_all() -> None:
    """Set up the broker and the databases of all services."""
    for _ in set_up(registry.all_services()):
        pass


def publish(broker: EmbeddedBroker, *events: DomainEvent) -> None:
    """Publish events as their publishers do."""
    broker.publisher().publish([message_of(each, source=publisher_of(each)) for each in events])


def spoil(broker: EmbeddedBroker, number: int) -> None:
    """Replace the body of one record of the history by one that is not an event."""
    with broker._file.opened() as connection:
        connection.execute("UPDATE history SET body = x'7b' WHERE number = ?", (number,))


def drop(broker: EmbeddedBroker, upto: int) -> None:
    """Delete the records of the history up to a number, as retention does."""
    with broker._file.opened() as connection:
        connection.execute("DELETE FROM history WHERE number <= ?", (upto,))
