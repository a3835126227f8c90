"""The handler of the analytics service, for events of every type."""

from services.analytics.store import AnalyticsStore
from shared.events import DomainEvent
from shared.storage.unit_of_work import UnitOfWork


def count_event(event: DomainEvent, work: UnitOfWork[AnalyticsStore]) -> None:
    """Store the event's envelope and figures; the report computes its numbers from them."""
    work.store.add(event)
    work.note("counted")
