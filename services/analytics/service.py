"""The declaration of the analytics service."""

from services.analytics.handlers import count_event
from services.analytics.store import AnalyticsStore
from shared.events import DomainEvent
from shared.runtime.service import Service

analytics = Service("analytics", store=AnalyticsStore)
analytics.on(DomainEvent, count_event)
