"""What a service is: its name, its store, what it reacts to and what it publishes.

The declaration is the one source of the service's queue, its permissions and its place in the
catalog; it holds no connection, and making it does nothing.
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
from shared.runtime.settings import Settings
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.unit_of_work import Store, UnitOfWork


class Gateway(Protocol):
    """What a service acts on outside its database."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As the settings say; it connects when it is used, by several threads at a time."""

    def probe(self) -> None:
        """Ask for a sign of life.

        Raises:
            DependencyUnavailable: there is none.
        """

    def close(self) -> None:
        """Let go of it."""


S = TypeVar("S", bound=Store)
O = TypeVar("O", default=None)  # noqa: E741 - the usual letter for a gateway
E = TypeVar("E", bound=DomainEvent)

Handler = Callable[[Any, UnitOfWork[Any, Any]], None]


class Service(Generic[S, O]):
    """The declaration of a service.

    Args:
        name: of its queue, its database and its folder.
        store: the class of its own tables.
        publishes: the events that it may publish; publishing another is refused.
        gateway: what it acts on outside its database, which happens at least once rather
            than exactly once; its batch size is then 1.
        retry: how long a failed message waits, and how often it is tried.
        batch_size: how many deliveries one transaction takes at most.
        concurrency: how many deliveries are handled at a time where it acts gateway, each in
            a transaction of its own.
        deadline: seconds that a handler may take before its process is ended.
        migrations: folder of its tables' migrations; beside the store's module by default.
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
        """React to a type of event, and to all below it.

        Args:
            event_type: a contract, a base class of several, or `DomainEvent` for all.
            handler: takes the event and a unit of work; raising rolls the unit of work back.
        """
        self.subscriptions.append((event_type, handler))

    def handlers(self, event: DomainEvent) -> list[Handler]:
        """The handlers that an event goes to, in the order of their subscription."""
        return [handler for kind, handler in self.subscriptions if isinstance(event, kind)]

    @contextmanager
    def unit_of_work(self, database: Database) -> Iterator[UnitOfWork[S]]:
        """A unit of work for a command: one transaction, which a relay elsewhere is told of.

        Raises:
            CommitOutcomeUnknown: the connection was lost in the commit.
        """
        with database.begin() as connection:
            store = self.store(connection, database)
            work = UnitOfWork(store, service=self.name, publishes=self.publishes, gateway=None)
            yield work
            store.flush()
            outbox.write(connection, work.published, calls=True)

    @property
    def topics(self) -> frozenset[str]:
        """The routing keys that it subscribes to."""
        return frozenset().union(*(topics_of(kind) for kind, _ in self.subscriptions))

    @cached_property
    def contracts(self) -> Contracts:
        """What it can read, by the type on the wire; another version becomes the one it knows."""
        return versions.readings(kind for kind, _ in self.subscriptions)

    def queue(self, *, retry: Retry | None = None, deadline: float | None = None) -> Queue:
        """Its queue; numbers that a setting changed go before the declared ones."""
        return Queue(
            name=self.name,
            topics=self.topics,
            publishes=frozenset(each.topic for each in self.publishes),
            retry=retry or self.retry,
            deadline=deadline or self.deadline,
        )


AnyService = Service[Any, Any]


def replay_side_effects(service: AnyService) -> str | None:
    """What a service would do again, if it were brought events that it had forgotten; or None."""
    does = []
    if service.publishes:
        topics = ", ".join(sorted(each.topic for each in service.publishes))
        does.append(f"publishes {topics}")
    if service.gateway is not None:
        does.append("acts outside its database")
    return " and ".join(does) or None


def require_consent(service: AnyService) -> None:
    """Refuse to bring the whole history to a service that does more than keep what it hears.

    Raises:
        InvalidInput: the sentence says what it would do.
    """
    does = replay_side_effects(service)
    if does is not None:
        raise InvalidInput(
            f"{service.name} {does}: from the history it would do so for every old event that it "
            f"has not handled, as if each happened now; if that is meant: "
            f"shop run {service.name} --from-history --yes"
        )
