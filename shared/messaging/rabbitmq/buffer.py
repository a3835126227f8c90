"""Deliveries between the connection's thread, which puts them, and the caller, who takes them."""

import threading
from collections import deque

from shared.messaging.ports.consumer import Delivery

_MAX_BYTES = 16 * 1024 * 1024
"""Bodies not taken yet; above it the connection stops reading, so the broker keeps the rest."""

_MAX_BLOCK = 5.0
"""Seconds without reading; longer would delay heartbeats, which is worse than using the memory."""


class DeliveryBuffer:
    """Deliveries that have arrived and were not taken. For any thread."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque()
        self._bytes = 0
        self._blocks = True
        self._closed = False
        self._woken = False
        self._changed = threading.Condition()

    def put(self, delivery: Delivery) -> None:
        """Add a delivery; blocks while the buffer is full, once until it has room again."""
        with self._changed:
            self._deliveries.append(delivery)
            self._bytes += len(delivery.body)
            self._changed.notify_all()
            has_room = self._bytes <= _MAX_BYTES
            if not has_room and self._blocks:
                has_room = self._changed.wait_for(
                    lambda: self._bytes <= _MAX_BYTES or not self._blocks, timeout=_MAX_BLOCK
                )
            self._blocks = has_room and not self._closed

    def take(self, most: int, *, wait: float) -> list[Delivery]:
        """At most `most` deliveries; waits for the first one or `wake`, for `wait` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._deliveries or self._woken, timeout=wait)
            self._woken = False
            count = min(most, len(self._deliveries))
            taken = [self._deliveries.popleft() for _ in range(count)]
            self._bytes -= sum(len(delivery.body) for delivery in taken)
            self._changed.notify_all()
        return taken

    def clear(self) -> None:
        """Drop all deliveries."""
        with self._changed:
            self._deliveries.clear()
            self._bytes = 0
            self._blocks = not self._closed

    def wake(self) -> None:
        """Make a waiting `take` return."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def unblock(self) -> None:
        """Make a waiting `put` return, as the connection's thread is needed."""
        with self._changed:
            self._blocks = False
            self._changed.notify_all()

    def close(self) -> None:
        """Make the current and all further calls of `put` return at once."""
        self._closed = True
        self.unblock()
