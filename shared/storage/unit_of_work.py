"""The unit of work that a handler gets: one transaction with a store and the published events."""

from collections.abc import Sequence
from typing import Generic
from uuid import UUID

from sqlalchemy import Connection, Table
from typing_extensions import TypeVar

from shared.errors import UndeclaredEvent
from shared.events import DomainEvent
from shared.messaging.codec import encode
from shared.storage.bulk import Insert
from shared.storage.database import Database
from shared.storage.outbox import Outgoing


class Store:
    """A service's own tables, within the transaction of `connection`."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self.connection = connection
        self._database = database

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock, in key order, and read the rows that a batch will change, before it is handled."""

    def flush(self) -> None:
        """Write what the handlers of a batch have changed, after all of them have run."""

    def insert(self, table: Table) -> Insert:
        """An INSERT that supports ON CONFLICT on both databases."""
        return self._database.insert(table)


S = TypeVar("S", bound=Store)
O = TypeVar("O", default=None)  # noqa: E741 - the usual letter for a gateway


class UnitOfWork(Generic[S, O]):
    """One transaction of a service, and the events that are published in it.

    Attributes:
        store: the service's own tables.
        gateway: what the service acts on outside its database, such as a mail server.
        attempt: 1 for the first attempt to handle the event.
        is_last_attempt: if this attempt fails, the event is dead.
        published: the events published so far.
        notes: what was done, in a few words each, for the log.
    """

    def __init__(  # noqa: PLR0913 - each is something that a handler may need
        self,
        store: S,
        *,
        service: str,
        publishes: Sequence[type[DomainEvent]],
        gateway: O,
        cause: DomainEvent | None = None,
        attempt: int = 1,
        is_last_attempt: bool = False,
    ) -> None:
        self.store = store
        self.gateway = gateway
        self.attempt = attempt
        self.is_last_attempt = is_last_attempt
        self.published: list[Outgoing] = []
        self.notes: list[str] = []
        self._service = service
        self._publishes = tuple(publishes)
        self._cause = cause

    def publish(self, event: DomainEvent, *, correlation_id: UUID | None = None) -> DomainEvent:
        """Publish an event; it is sent after this unit of work has committed.

        Args:
            correlation_id: the conversation that the event belongs to; by default that of the
                event that is being handled.

        Returns:
            The event as it will be sent, with its correlation and causation ids.

        Raises:
            OutgoingEventTooLarge: readers would refuse it for its size, such as above 1 MiB.
            UndeclaredEvent: the service does not declare that it publishes such events.
        """
        if not isinstance(event, self._publishes):
            raise UndeclaredEvent(
                f"{self._service} does not declare that it publishes {event.type}"
            )
        cause = self._cause
        conversation = (cause.correlation_id or cause.event_id) if cause else event.event_id
        complete = event.model_copy(
            update={
                "correlation_id": event.correlation_id or correlation_id or conversation,
                "causation_id": event.causation_id or (cause.event_id if cause else None),
            }
        )
        self.published.append(Outgoing(complete, encode(complete, source=self._service)))
        return complete

    def note(self, note: str) -> None:
        """Add a few words to the log entry of this event; they must hold no personal data."""
        self.notes.append(note)
