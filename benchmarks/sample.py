"""The orders that benchmarks work with: the same in every run, some of them delivered twice."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from uuid import UUID

from shared.events import OrderPlaced
from shared.messaging.codec import encode
from shared.messaging.ports.publisher import Message

PRODUCTS = 1_000
PIECES = 10_000_000
"""In stock of each, so that nothing runs short."""

TWICE_EACH = 100
"""One order in so many is delivered twice, so that an effect that is not exactly once shows."""


def sku(number: int) -> str:
    """A product."""
    return f"sku-{number:04}"


@dataclass(frozen=True)
class Orders:
    """So many orders of two products each.

    Attributes:
        products: how many products they are spread over.
        seed: other orders for another seed.
    """

    number: int
    products: int = PRODUCTS
    seed: int = 1

    @cached_property
    def events(self) -> Sequence[OrderPlaced]:
        """What was placed."""
        draw = random.Random(self.seed)  # noqa: S311 - the same in every run is the point
        return [self._placed(draw, number) for number in range(self.number)]

    def _placed(self, draw: random.Random, number: int) -> OrderPlaced:
        skus = sorted(draw.sample(range(self.products), 2))
        return OrderPlaced(
            event_id=_uuid(draw, number),
            order_id=f"ORD-{self.seed}-{number}",
            customer_email="customer@example.com",
            items={sku(each): draw.randint(1, 3) for each in skus},
            shipping_address="123 Main St, Springfield",
            total_amount=Decimal("99.99"),
            currency="EUR",
        )

    @cached_property
    def bodies(self) -> Sequence[bytes]:
        """The events as they go over the wire."""
        return [encode(each, source="orders") for each in self.events]

    def deliveries(self) -> Iterator[int]:
        """Which order comes next; one in a hundred comes again at once."""
        for number in range(self.number):
            yield number
            if number % TWICE_EACH == 0:
                yield number

    def message(self, number: int, *, only_to: str | None = None) -> Message:
        """An order's event as a message."""
        event = self.events[number]
        return Message(
            event_id=str(event.event_id),
            topic=event.topic,
            type=event.type,
            body=self.bodies[number],
            source="orders",
            correlation_id=str(event.event_id),
            occurred_at=event.occurred_at,
            only_to=only_to,
        )

    def reserved_by(self, handled: set[UUID]) -> Counter[str]:
        """What must be put aside, by product, once these events have been handled once each."""
        expected: Counter[str] = Counter()
        for event in self.events:
            if event.event_id in handled:
                expected.update(event.items)
        return expected


def _uuid(draw: random.Random, number: int) -> UUID:
    """Like a UUIDv7 of an order a millisecond, so that indexes grow as they do in life."""
    value = (1_700_000_000_000 + number) << 80 | draw.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
