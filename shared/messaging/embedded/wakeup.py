"""Wakes the consumers in this process that wait for messages of a queue."""

from collections.abc import Collection
from threading import Condition


class QueueWakeups:
    """A condition for each queue, shared by all publishers and consumers of a broker object.

    Only consumers of a queue that has changed wake up: a poll that finds nothing takes the
    interpreter lock from threads that have work.
    """

    def __init__(self) -> None:
        self._conditions: dict[str, Condition] = {}

    def condition_for(self, queue: str) -> Condition:
        """The condition on which the consumers of a queue wait."""
        return self._conditions.setdefault(queue, Condition())

    def notify(self, queues: Collection[str]) -> None:
        """Wake all consumers of these queues."""
        for queue in queues:
            condition = self.condition_for(queue)
            with condition:
                condition.notify_all()
