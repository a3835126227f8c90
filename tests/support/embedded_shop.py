"""An embedded shop that is not running: made, and its history as a test needs it."""

from shared.events import DomainEvent
from shared.messaging.embedded import EmbeddedBroker
from shared.runtime.setup import set_up
from shop import registry
from tests.support.tape import message


def set_up_all() -> None:
    for _ in set_up(registry.all_services()):
        pass


def publish(broker: EmbeddedBroker, *events: DomainEvent) -> None:
    broker.publisher().publish([message(each) for each in events])


def spoil(broker: EmbeddedBroker, number: int) -> None:
    with broker._file.opened() as connection:
        connection.execute("UPDATE history SET body = x'7b' WHERE number = ?", (number,))


def drop(broker: EmbeddedBroker, upto: int) -> None:
    with broker._file.opened() as connection:
        connection.execute("DELETE FROM history WHERE number <= ?", (upto,))
