"""A simulated carrier.

Guarantee: handing over the same order twice returns the same parcel. A real carrier's API gives the
same guarantee if the order id is its idempotency key.
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
