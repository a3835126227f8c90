"""For people who test against the shop: what was published, and a stage to play services on.

with recording() as published:
    place_order(...)
assert published[0].order_id == "ORD-123"
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from shared.events import DomainEvent, published, wire_type
from shared.messaging.codec import message_of
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.topology import Topology
from shared.runtime.reactor import DeliveryResult, Reactor
from shared.runtime.relay import send_some
from shared.runtime.service import AnyService
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.migrating import migrate

E = TypeVar("E", bound=DomainEvent)


@contextmanager
def recording() -> Iterator[list[Any]]:
    """The events that units of work in the block say, in their order, as they will be sent."""
    published: list[Any] = []
    write = outbox.write

    def write_and_record(
        connection: Any,  # noqa: ANN401 - passed on
        outgoing: Sequence[outbox.Outgoing],
        **how: bool,
    ) -> None:
        write(connection, outgoing, **how)
        published.extend(each.event for each in outgoing)

    with mock.patch.object(outbox, "write", write_and_record):
        yield published


def example(contract: type[E], **changed: object) -> E:
    """A new event like the first example that is kept of its contract.

    Args:
        changed: fields that are different.

    Raises:
        IndexError: none is kept.
    """
    first = [*published.examples(wire_type(contract)).values()][0]  # noqa: RUF015 - no StopIteration
    return contract.model_validate(first["data"] | changed)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


class Stage:
    """Services on the embedded broker and SQLite, without threads: everything happens when told.

    Args:
        folder: an empty one, for the files.
        services: who plays.
        gateway: what services act on gateway their database, by the service's name.
    """

    def __init__(
        self,
        folder: Path,
        services: Sequence[AnyService],
        *,
        gateway: Mapping[str, Any] | None = None,
    ) -> None:
        self.clock = Clock()
        self.services = {each.name: each for each in services}
        self.topology = Topology(queues=tuple(each.queue() for each in services))
        self.broker = EmbeddedBroker(folder / "broker.db", clock=self.clock)
        self.broker.set_up(self.topology)
        self.databases = {name: Database(f"sqlite:///{folder / name}.db") for name in self.services}
        for name, service in self.services.items():
            migrate(self.databases[name], service.migrations)
        self._publisher = self.broker.publisher()
        self._gateway = dict(gateway or {})

    @contextmanager
    def store(self, service: str) -> Iterator[Any]:
        """A service's store, to look into."""
        database = self.databases[service]
        with database.read() as connection:
            yield self.services[service].store(connection, database)

    def publish(self, *events: DomainEvent, source: str = "elsewhere") -> None:
        """Send events as any publisher would."""
        self._publisher.publish([message_of(event, source=source) for event in events])

    def play(self, *, turns: int = 100) -> list[DeliveryResult]:
        """Relay and react until nothing is ready; what is delayed stays delayed.

        Returns:
            What was done with each delivery, in order.

        Raises:
            AssertionError: it does not come to rest.
        """
        reacted: list[DeliveryResult] = []
        for _ in range(turns):
            before, sent = len(reacted), 0
            for name in self.services:
                sent += len(send_some(self.databases[name], self._publisher, source=name).rows)
                reacted += self.react(name)
            if len(reacted) == before and not sent:
                return reacted
        raise AssertionError(f"not at rest after {turns} turns")

    def react(self, name: str) -> list[DeliveryResult]:
        """Let one service take what is ready for it."""
        service = self.services[name]
        reactor = Reactor(
            service=service,
            database=self.databases[name],
            retry=service.retry,
            gateway=self._gateway.get(name),
        )
        consumer = self.broker.consumer(name, prefetch=service.batch_size, slow_start=False)
        try:
            reaction = reactor.react(consumer.take(service.batch_size, wait=0))
            consumer.settle([each.settlement for each in reaction.reacted])
        finally:
            consumer.close()
        return reaction.reacted

    def close(self) -> None:
        """Let go of all files."""
        self._publisher.close()
        self.broker.close()
        for database in self.databases.values():
            database.close()
