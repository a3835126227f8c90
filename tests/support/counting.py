"""The smallest service: it counts things, and publishes that it did."""

from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import Column, Integer, MetaData, Table, Text, select

from shared.events import DomainEvent
from shared.runtime.service import Service
from shared.storage.unit_of_work import Store, UnitOfWork


class ThingHappened(DomainEvent):
    """Something to count."""

    topic: ClassVar[str] = "thing.happened"
    publishers = frozenset({"elsewhere"})

    name: str
    secret: str = ""

    @property
    def subject(self) -> str:
        return self.name


class ThingCounted(DomainEvent):
    """A thing was counted."""

    topic: ClassVar[str] = "thing.counted"
    publishers = frozenset({"counting"})

    name: str


metadata = MetaData()
counts = Table(
    "counts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("times", Integer, nullable=False),
)


class CountStore(Store):
    """How often each thing happened."""

    def count(self, name: str) -> None:
        statement = self.insert(counts).values(name=name, times=1)
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"], set_={"times": counts.c.times + 1}
            )
        )

    def counted(self) -> dict[str, int]:
        return {row.name: row.times for row in self.connection.execute(select(counts))}


Work = UnitOfWork[CountStore, Any]


def count(event: ThingHappened, work: Work) -> None:
    """Count the thing, publish that it was counted, and note it."""
    work.store.count(event.name)
    work.publish(ThingCounted(name=event.name))
    work.note(f"counted {event.name}")


def counting(
    handler: Callable[[ThingHappened, Work], None] = count, **declared: Any
) -> Service[CountStore, Any]:
    """A counting service, with the test's own handler if it gives one."""
    service: Service[CountStore, Any] = Service(
        "counting", store=CountStore, publishes=(ThingCounted,), **declared
    )
    service.on(ThingHappened, handler)
    return service
