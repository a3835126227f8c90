"""Deliveries between the connection's thread, which puts them, and the caller, who takes them."""

import threading
from collections import deque

from shared.messaging import budget
from shared.messaging.ports.consumer import Delivery

_MAX_BLOCK = 5.0
"""Seconds without reading from the socket; longer would delay heartbeats."""


class DeliveryBuffer:
    """Deliveries that have arrived and were not taken. For any thread."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque()
        self._bytes = 0
        self._blocks = True
        self._closed = False
        self._woken = False
        self._changed = threading.Condition()

    @property
    def has_room(self) -> bool:
        """Whether the next delivery may be put; the last one may exceed the budget."""
        return self._bytes <= budget.MAX_WAITING_BYTES

    def put(self, delivery: Delivery, *, is_required: bool = False) -> bool:
        """Add a delivery, if there is room; waits for room, once until there is room again.

        Args:
            is_required: add it also if there is no room after the wait.

        Returns:
            Whether it was added.
        """
        with self._changed:
            if not self.has_room and self._blocks:
                self._blocks = self._changed.wait_for(
                    lambda: self.has_room or not self._blocks, timeout=_MAX_BLOCK
                )
            if not self.has_room and not is_required:
                return False
            self._deliveries.append(delivery)
            self._bytes += len(delivery.body)
            self._changed.notify_all()
        return True

    def take(self, most: int, *, wait: float) -> list[Delivery]:
        """At most `most` deliveries; waits for the first one or `wake`, for `wait` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._deliveries or self._woken, timeout=wait)
            self._woken = False
            taken = budget.take_from(self._deliveries, most)
            self._bytes -= sum(len(delivery.body) for delivery in taken)
            self._blocks = not self._closed and (self._blocks or self.has_room)
            self._changed.notify_all()
        return taken

    def clear(self) -> None:
        """Drop all deliveries."""
        with self._changed:
            self._deliveries.clear()
            self._bytes = 0
            self._blocks = not self._closed
            self._changed.notify_all()

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
