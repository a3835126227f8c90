"""The declaration of a service: its name, its store, its subscriptions and its events.

The service's queue, broker permissions and catalog entry are derived from it. It has no connection.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, Self

from typing_extensions import TypeVar

from shared.errors import InvalidInput
from shared.events import DomainEvent, topics_of, versions
from shared.messaging.codec import Contracts
from shared.messaging.topology import Queue, Retry
from shared.runtime.hints import command
from shared.runtime.settings import Settings
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.unit_of_work import Store, UnitOfWork


class Gateway(Protocol):
    """The class through which a service acts outside its database. Thread-safe."""

    @property
    def place(self) -> str:
        """Names what it uses, without a password; `shop doctor` compares it with the process's."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Create a gateway, which connects on first use."""

    def probe(self) -> None:
        """Raise DependencyUnavailable if it cannot be used now."""

    def close(self) -> None:
        """Close all connections."""


S = TypeVar("S", bound=Store)
O = TypeVar("O", default=None)  # noqa: E741 - the usual letter for a gateway
E = TypeVar("E", bound=DomainEvent)

Handler = Callable[[Any, UnitOfWork[Any, Any]], None]


class Service(Generic[S, O]):
    """The declaration of a service.

    Args:
        name: the name of the service, its queue, its database and its folder.
        store: the class that reads and writes its tables.
        publishes: the events that it may publish; its units of work refuse others.
        gateway: the class of its gateway, through which effects happen at least once, not exactly
            once. The batch size is then 1.
        retry: the delays between attempts, and their number.
        batch_size: deliveries in one transaction, at most.
        concurrency: deliveries that a service with a gateway handles at the same time, each in a
            transaction of its own.
        deadline: seconds that a handler may take before its process ends.
        migrations: folder of the migrations of its tables; by default `migrations` beside the
            module of the store.
    """

    def __init__(  # noqa: PLR0913 - a declaration is read field by field
        self,
        name: str,
        *,
        store: type[S],
        publishes: Sequence[type[DomainEvent]] = (),
        gateway: type[O] | None = None,
        retry: Retry | None = None,
        batch_size: int = 200,
        concurrency: int = 4,
        deadline: float = 60.0,
        migrations: Path | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.publishes = tuple(publishes)
        self.gateway = gateway
        self.retry = retry or Retry()
        self.batch_size = 1 if gateway else batch_size
        self.concurrency = concurrency if gateway else 1
        self.deadline = deadline
        self.migrations = migrations or Path(inspect.getfile(store)).parent / "migrations"
        self.subscriptions: list[tuple[type[DomainEvent], Handler]] = []

    def on(self, event_type: type[E], handler: Callable[[E, UnitOfWork[S, O]], None]) -> None:
        """Subscribe to a contract, a base class of several, or `DomainEvent` for all events.

        Args:
            handler: called with the event and a unit of work, which an exception rolls back.
        """
        self.subscriptions.append((event_type, handler))

    def handlers(self, event: DomainEvent) -> list[Handler]:
        """The handlers of an event, in the order of their subscription."""
        return [handler for kind, handler in self.subscriptions if isinstance(event, kind)]

    @contextmanager
    def unit_of_work(self, database: Database) -> Iterator[UnitOfWork[S]]:
        """A unit of work for a command: one transaction, after which the relay is notified.

        Raises:
            CommitOutcomeUnknown: the connection was lost in the commit.
        """
        with database.begin() as connection:
            store = self.store(connection, database)
            work = UnitOfWork(store, service=self.name, publishes=self.publishes, gateway=None)
            yield work
            store.flush()
            outbox.write(connection, work.published, notifies_relay=True)
        outbox.committed(work.published)

    @property
    def topics(self) -> frozenset[str]:
        """The routing keys of its subscriptions."""
        return frozenset().union(*(topics_of(kind) for kind, _ in self.subscriptions))

    @cached_property
    def contracts(self) -> Contracts:
        """The contracts that it reads, by type on the wire; other versions are converted."""
        return versions.readings(kind for kind, _ in self.subscriptions)

    def queue(self, *, retry: Retry | None = None, deadline: float | None = None) -> Queue:
        """Its queue, with the declared retry policy and deadline if they are not given."""
        return Queue(
            name=self.name,
            topics=self.topics,
            publishes=frozenset(each.topic for each in self.publishes),
            retry=retry or self.retry,
            deadline=deadline or self.deadline,
        )


AnyService = Service[Any, Any]


def replay_side_effects(service: AnyService) -> str | None:
    """A phrase for what handling events does outside the service's tables; None if nothing."""
    effects = []
    if service.publishes:
        topics = ", ".join(sorted(each.topic for each in service.publishes))
        effects.append(f"publishes {topics}")
    if service.gateway is not None:
        effects.append("acts outside its database")
    return " and ".join(effects) or None


def require_consent(service: AnyService) -> None:
    """Raise InvalidInput if a catch-up of a service would do more than write its tables."""
    effects = replay_side_effects(service)
    if effects is not None:
        raise InvalidInput(
            f"{service.name} {effects}: with the history it would do so for every old event that "
            f"it has not handled, as if each happened now; to confirm: "
            f"{command('run', service.name, from_history='', yes='')}"
        )
