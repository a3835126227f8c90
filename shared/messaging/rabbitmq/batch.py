"""What one call of `publish` has sent, is sending, and has heard of."""

import threading
from collections import deque
from collections.abc import Sequence

from shared.errors import BrokerUnavailable
from shared.messaging.ports.publisher import Message


class Batch:
    """Messages on their way. The link's thread works on it; the caller waits for `finished`.

    Attributes:
        waiting: indices not sent, or to be sent again.
        unconfirmed: index by delivery tag, in the order of sending.
        possible_poison: how many at the head of `waiting` must be sent alone: one of them closed
            the channel, and it is not known which.
        answers: how many messages have been answered for, so that the caller sees it move.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.reasons: list[str | None] = [None] * len(messages)
        self.waiting = deque(range(len(messages)))
        self.unconfirmed: dict[int, int] = {}
        self.possible_poison = 0
        self.answers = 0
        self.error: BrokerUnavailable | None = None
        self.finished = threading.Event()

    def confirmed(self, tags: Sequence[int]) -> None:
        """The broker has them safe, or has sent them back before."""
        for tag in tags:
            self.unconfirmed.pop(tag)
        self._answered(len(tags))

    def set_aside(self, index: int, reason: str) -> None:
        """The broker will never take it."""
        self.reasons[index] = reason
        self._answered(1)

    def refused_for_now(self, tags: Sequence[int]) -> None:
        """To be sent again: the broker said no, not never."""
        self.waiting.extend(self.unconfirmed.pop(tag) for tag in tags)

    def unknown(self, *, suspicious: bool) -> None:
        """The channel is gone, and with it the outcome of all that was unconfirmed."""
        self.waiting.extendleft(reversed(self.unconfirmed.values()))
        if suspicious:
            self.possible_poison = max(self.possible_poison, len(self.unconfirmed))
        self.unconfirmed.clear()

    def fail(self, error: BrokerUnavailable) -> None:
        """Give all of it up; it is for the caller to send it again."""
        self.error = error
        self.finished.set()

    def _answered(self, number: int) -> None:
        self.answers += number
        self.possible_poison = max(0, self.possible_poison - number)
        if self.answers == len(self.messages):
            self.finished.set()
