"""What wakes the consumers of a queue that wait in this process."""

from collections.abc import Collection
from threading import Condition


class Wakeup:
    """Rung for queues by whoever has put something into them.

    One for all consumers of a process, and only those of the queues named wake: each that looks in
    vain takes the interpreter from those who have work.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Condition] = {}

    def of(self, queue: str) -> Condition:
        """What the consumers of a queue wait for."""
        return self._waiting.setdefault(queue, Condition())

    def notify(self, queues: Collection[str]) -> None:
        """Wake the consumers of these queues."""
        for queue in queues:
            waiting = self.of(queue)
            with waiting:
                waiting.notify_all()
