"""The orders of the benchmarks: the same in every run, some of them delivered twice."""

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
STOCK = 10_000_000
"""The stock of each product, more than is ordered."""

DUPLICATE_EVERY = 100
"""One order in so many is delivered twice, to detect effects that are applied twice."""


def sku(number: int) -> str:
    """The SKU of a product."""
    return f"sku-{number:04}"


@dataclass(frozen=True)
class Orders:
    """Orders of two products each.

    Attributes:
        number: how many orders.
        products: how many different products they contain.
        seed: seed of the random contents.
    """

    number: int
    products: int = PRODUCTS
    seed: int = 1

    @cached_property
    def events(self) -> Sequence[OrderPlaced]:
        """The OrderPlaced event of each order."""
        draw = random.Random(self.seed)  # noqa: S311 - the same in every run
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
        """The encoded events."""
        return [encode(each, source="orders") for each in self.events]

    def deliveries(self) -> Iterator[int]:
        """Yield the number of each order to deliver; some are repeated immediately."""
        for number in range(self.number):
            yield number
            if number % DUPLICATE_EVERY == 0:
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
        """The expected reservations by product after these events were handled once each."""
        expected: Counter[str] = Counter()
        for event in self.events:
            if event.event_id in handled:
                expected.update(event.items)
        return expected


def _uuid(draw: random.Random, number: int) -> UUID:
    """A UUIDv7 of one order per millisecond, so that indexes grow as in production."""
    value = (1_700_000_000_000 + number) << 80 | draw.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
