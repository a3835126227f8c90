"""A simulated carrier, which returns the same parcel for the same order.

The API of a real carrier does so if the order id is the idempotency key.
"""

from hashlib import sha256
from typing import NamedTuple

CARRIER = "Pigeon Post"


class Parcel(NamedTuple):
    """A parcel that the carrier has accepted."""

    carrier: str
    tracking_number: str


def hand_over(order_id: str) -> Parcel:
    """Hand an order to the carrier."""
    return Parcel(CARRIER, f"PP-{sha256(order_id.encode()).hexdigest()[:16].upper()}")
