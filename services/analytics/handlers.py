"""What the analytics service does with an event, of whatever type."""

from services.analytics.store import AnalyticsStore
from shared.events import DomainEvent
from shared.storage.unit_of_work import UnitOfWork


def count_event(event: DomainEvent, work: UnitOfWork[AnalyticsStore]) -> None:
    """Keep the event's envelope and its numbers; what it means is worked out by the report."""
    work.store.add(event)
    work.note("counted")
