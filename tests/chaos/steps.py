"""Counts the calls to broker and database, and kills the process at one of them.

Each wrapper adds named steps before and after the calls of the object that it wraps.
`inventory reacts: commit` is the step before inventory's commit.
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


class StepCounter:
    """Once armed, counts and records steps, and kills the process at the fatal one.

    Args:
        record: where each step's name is written before the step.
    """

    def __init__(self, record: TextIO) -> None:
        self.actor = ""
        self._record = record
        self._fatal: int | str | None = None
        self._count = 0

    def arm(self, fatal: int | str) -> None:
        """Start counting.

        Args:
            fatal: the number of the fatal step, or a name: the first step with it.
        """
        self._fatal = fatal

    def __call__(self, call: str) -> None:
        if self._fatal is None:
            return
        name = f"{self.actor}: {call}"
        self._count += 1
        self._record.write(f"{name}\n")
        self._record.flush()
        if self._fatal in (name, self._count):
            os.kill(os.getpid(), signal.SIGKILL)


class CountedDatabase(Database):
    """A database whose transactions are steps."""

    def __init__(self, url: str, steps: StepCounter) -> None:
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

    def __init__(self, publisher: Publisher, steps: StepCounter) -> None:
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
    """A consumer whose calls are steps; `has_taken` says whether the last `take` returned anything.

    Args:
        moment: seconds that `take` waits at most, since all services share one thread.
        on_take: called with each `take`.
    """

    def __init__(
        self, consumer: Consumer, steps: StepCounter, moment: float, on_take: Callable[[], None]
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
        """Keep the consumer open for the next round; the process ends it."""


class CountedBroker:
    """A broker whose publishers and consumers are counted; one consumer for each queue.

    Args:
        moment: seconds that `take` waits at most.
        on_take: called with the queue at each `take`.
    """

    def __init__(
        self, broker: Broker, steps: StepCounter, moment: float, on_take: Callable[[str], None]
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
        """Everything else is the wrapped broker's."""
        return getattr(self._broker, name)
