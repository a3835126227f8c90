"""The calls across the ports, counted; at one of them the process is killed.

Each wrapper is the real thing, with a step named before and after what counts. The names of the
steps say who does what: `inventory reacts: commit` is the moment before that commit.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO

from sqlalchemy import Connection

from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Consumer, Delivery, Settlement
from shared.messaging.ports.publisher import Message, Publisher
from shared.storage.database import Database


class Steps:
    """Counts, tells and kills, once it is armed.

    Args:
        told: where each step's name is written before it is taken.
    """

    def __init__(self, told: TextIO) -> None:
        self.actor = ""
        self._told = told
        self._fatal: int | str | None = None
        self._count = 0

    def arm(self, fatal: int | str) -> None:
        """Begin to count.

        Args:
            fatal: the step that is the last one, by its number, or the first of that name.
        """
        self._fatal = fatal

    def __call__(self, call: str) -> None:
        if self._fatal is None:
            return
        name = f"{self.actor}: {call}"
        self._count += 1
        self._told.write(f"{name}\n")
        self._told.flush()
        if self._fatal in (name, self._count):
            os.kill(os.getpid(), signal.SIGKILL)


class CountedDatabase(Database):
    """A database whose transactions are steps."""

    def __init__(self, url: str, steps: Steps) -> None:
        super().__init__(url)
        self._steps = steps

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        self._steps("begin")
        with super().begin() as connection:
            yield connection
            self._steps("commit")
        self._steps("committed")


class CountedPublisher:
    """A publisher whose calls are steps."""

    def __init__(self, publisher: Publisher, steps: Steps) -> None:
        self._publisher = publisher
        self._steps = steps

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        self._steps("publish")
        answers = self._publisher.publish(messages)
        self._steps("confirmed")
        return answers

    def close(self) -> None:
        self._publisher.close()


class CountedConsumer:
    """A consumer whose calls are steps; `has_taken` says whether anything came.

    Args:
        moment: seconds that `take` waits at most, since all services take turns in one thread.
        on_take: called with each `take`.
    """

    def __init__(
        self, consumer: Consumer, steps: Steps, moment: float, on_take: Callable[[], None]
    ) -> None:
        self._consumer = consumer
        self._steps = steps
        self._moment = moment
        self._on_take = on_take
        self.has_taken = False

    def take(self, most: int, *, wait: float) -> list[Delivery]:
        self._on_take()
        taken = self._consumer.take(most, wait=min(wait, self._moment))
        self.has_taken = bool(taken)
        if taken:
            self._steps("taken")
        return taken

    def settle(self, settlements: Sequence[Settlement]) -> None:
        if settlements:
            self._consumer.settle(settlements)
            self._steps("settled")

    def isolate(self, delivery: Delivery) -> None:
        self._consumer.isolate(delivery)
        self._steps("isolated")

    @property
    def is_consuming(self) -> bool:
        return self._consumer.is_consuming

    def wake(self) -> None:
        self._consumer.wake()

    def close(self) -> None:
        """Stays open from turn to turn; the process ends it."""


class CountedBroker:
    """A broker whose publishers and consumers are counted; one consumer for each queue.

    Args:
        moment: seconds that `take` waits at most.
        on_take: called with the queue at each `take`.
    """

    def __init__(
        self, broker: Broker, steps: Steps, moment: float, on_take: Callable[[str], None]
    ) -> None:
        self._broker = broker
        self._moment = moment
        self._steps = steps
        self._on_take = on_take
        self.consumers: dict[str, CountedConsumer] = {}

    def publisher(self) -> CountedPublisher:
        return CountedPublisher(self._broker.publisher(), self._steps)

    def consumer(self, queue: str, *, prefetch: int, slow_start: bool = True) -> CountedConsumer:
        if queue not in self.consumers:
            consumer = self._broker.consumer(queue, prefetch=prefetch, slow_start=slow_start)
            on_take = partial(self._on_take, queue)
            self.consumers[queue] = CountedConsumer(consumer, self._steps, self._moment, on_take)
        return self.consumers[queue]

    def __getattr__(self, name: str) -> Any:
        """All else is the broker's own."""
        return getattr(self._broker, name)
