"""Test support for services: record published events, make example events, run services.

with recording() as published:
    place_order(...)
assert published[0].order_id == "ORD-123"
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

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

OnErrors = Literal["raise", "collect"]
"""What a stage does with the error of a handler: raise it, or only return it in the results."""


@contextmanager
def recording() -> Iterator[list[Any]]:
    """Record the events that are committed within the block, in any thread, as they will be sent.

    What was rolled back is not recorded.
    """
    events: list[Any] = []
    with outbox.listening(lambda outgoing: events.extend(each.event for each in outgoing)):
        yield events


def example(contract: type[E], **changed: object) -> E:
    """A new event with the fields of its contract's first published example, except `changed`.

    Raises:
        IndexError: the contract has no published example.
        ValidationError: a changed field violates the contract.
    """
    data = list(published.examples(wire_type(contract)).values())[0]["data"]  # noqa: RUF015 - IndexError, not StopIteration
    return contract.model_validate(data | changed)


def publisher_of(event: DomainEvent) -> str:
    """The name of a service that may publish an event; `elsewhere` for an unknown type."""
    return min(event.publishers, default="elsewhere")


class Clock:
    """A clock that changes only when `now`, in seconds since the epoch, is set."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:  # noqa: D102 - as `time.time`
        return self.now


class Stage:
    """Runs services on the embedded broker and SQLite, in the calling thread.

    Args:
        folder: an empty folder for the files.
        gateway: the gateways of services, by the service's name.

    Attributes:
        clock: the broker's clock; set it forward to make delayed messages ready.
        databases: by the service's name.
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
        self._gateways = dict(gateway or {})

    @contextmanager
    def store(self, service: str) -> Iterator[Any]:
        """A service's store, for reading."""
        database = self.databases[service]
        with database.read() as connection:
            yield self.services[service].store(connection, database)

    def publish(self, *events: DomainEvent, source: str | None = None) -> None:
        """Publish events directly to the broker.

        Args:
            source: the name of the publishing service; by default one that may publish the event.
        """
        self._publisher.publish(
            [message_of(event, source=source or publisher_of(event)) for event in events]
        )

    def play(self, *, turns: int = 100, errors: OnErrors = "raise") -> list[DeliveryResult]:
        """Send and handle events until no message is ready; delayed messages stay in the queue.

        Args:
            turns: how often each service may relay and react.
            errors: "raise" to raise the first error of a handler; "collect" to continue.

        Returns:
            The results of all deliveries, in order.

        Raises:
            AssertionError: messages are still ready after these turns.
            DependencyUnavailable: a database or a gateway is away; the messages are in the queue.
            Exception: a handler's own error, with its stack, after its delivery was settled.
        """
        results: list[DeliveryResult] = []
        for _ in range(turns):
            handled, sent = len(results), 0
            for name in self.services:
                sent += len(send_some(self.databases[name], self._publisher, source=name).rows)
                results += self.react(name, errors=errors)
            if len(results) == handled and not sent:
                return results
        raise AssertionError(f"messages are still ready after {turns} turns")

    def react(self, name: str, *, errors: OnErrors = "raise") -> list[DeliveryResult]:
        """Let one service handle a batch of ready messages; returns the result of each.

        Args and Raises: as `play`.
        """
        service = self.services[name]
        reactor = Reactor(
            service=service,
            database=self.databases[name],
            retry=service.retry,
            gateway=self._gateways.get(name),
        )
        consumer = self.broker.consumer(name, prefetch=service.batch_size, slow_start=False)
        try:
            batch = reactor.react(consumer.take(service.batch_size, wait=0))
            consumer.settle([each.settlement for each in batch.results])
        finally:
            consumer.close()
        if batch.unavailable is not None:
            raise batch.unavailable
        if errors == "raise":
            _raise_first_error(name, batch.results)
        return batch.results

    def close(self) -> None:
        """Close all files."""
        self._publisher.close()
        self.broker.close()
        for database in self.databases.values():
            database.close()


def _raise_first_error(service: str, results: Sequence[DeliveryResult]) -> None:
    failed = [each for each in results if each.error is not None]
    if not failed:
        return
    error, delivery = failed[0].error, failed[0].delivery
    assert error is not None  # noqa: S101 - selected above
    others = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
    error.add_note(
        f"{service} failed to handle {delivery.type} at attempt {delivery.attempt}{others}. "
        'A test that expects a failure says errors="collect" and reads the results.'
    )
    raise error
