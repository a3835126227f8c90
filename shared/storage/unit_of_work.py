"""A store to read and write through, and a way to say what happened, in one transaction."""

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
    """A service's own tables, within one transaction; thrown away with it.

    Attributes:
        connection: where the transaction is.
    """

    def __init__(self, connection: Connection, database: Database) -> None:
        self.connection = connection
        self._database = database

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Before a batch is handled: lock in key order, and read, what it will touch."""

    def flush(self) -> None:
        """After a batch was handled: write at once what was kept back."""

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT on either database."""
        return self._database.insert(table)


S = TypeVar("S", bound=Store)
O = TypeVar("O", default=None)  # noqa: E741 - the usual letter for a gateway


class UnitOfWork(Generic[S, O]):
    """What a handler works with.

    Attributes:
        store: the service's own tables.
        gateway: what the service acts on outside its database, such as a mail server.
        attempt: 1 for the first; more when it was retried.
        is_last_attempt: if it fails now, the event is dead.
        published: what has been said so far.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a handler may need
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
        """Say that something happened; it is sent if, and after, this unit of work commits.

        Args:
            correlation_id: the conversation it belongs to; that of the causing event by default.

        Returns:
            The event as it will be sent, with its correlation and causation.

        Raises:
            EventTooLarge: above 1 MiB.
            UndeclaredEvent: the service did not declare that it publishes such events.
        """
        if not isinstance(event, self._publishes):
            raise UndeclaredEvent(
                f"{self._service} does not declare that it publishes {event.type}"
            )
        cause = self._cause
        conversation = (cause.correlation_id or cause.event_id) if cause else event.event_id
        told = event.model_copy(
            update={
                "correlation_id": event.correlation_id or correlation_id or conversation,
                "causation_id": event.causation_id or (cause.event_id if cause else None),
            }
        )
        self.published.append(Outgoing(told, encode(told, source=self._service)))
        return told

    def note(self, note: str) -> None:
        """Say in a few words what was done, for who watches the log; no personal data."""
        self.notes.append(note)
