"""The contracts: immutable domain events, named in the past tense. Needs nothing but pydantic."""

from shared.events.domain_event import (
    ENVELOPE,
    DomainEvent,
    UnknownEvent,
    concrete_types,
    topic_of,
    topics_of,
    uuid7,
    wire_type,
)
from shared.events.inventory import StockRanShort, StockReserved
from shared.events.orders import OrderCancelled, OrderEvent, OrderPlaced, PaymentReceived
from shared.events.shipping import OrderShipped

__all__ = [
    "ENVELOPE",
    "DomainEvent",
    "OrderCancelled",
    "OrderEvent",
    "OrderPlaced",
    "OrderShipped",
    "PaymentReceived",
    "StockRanShort",
    "StockReserved",
    "UnknownEvent",
    "concrete_types",
    "topic_of",
    "topics_of",
    "uuid7",
    "wire_type",
]
