"""How many deliveries fit into memory: budgets in bytes, not only in numbers of messages."""

from collections import deque

from shared.messaging.codec import memory_of
from shared.messaging.ports.consumer import Delivery

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Of the bodies that a consumer holds and nobody has taken yet."""

MAX_TAKEN_BYTES = 24 * 1024 * 1024
"""Of the bodies that are taken together and the events in them; see `codec.memory_of`."""


def take_from(waiting: deque[Delivery], most: int) -> list[Delivery]:
    """Remove from the left at most so many deliveries, as many as fit into `MAX_TAKEN_BYTES`.

    Returns:
        At least one, if there is one.
    """
    taken: list[Delivery] = []
    remaining = MAX_TAKEN_BYTES
    while waiting and len(taken) < most:
        remaining -= memory_of(waiting[0].body)
        if taken and remaining < 0:
            break
        taken.append(waiting.popleft())
    return taken
