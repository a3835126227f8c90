"""The messages of one `publish` call, and the broker's answers so far."""

import threading
from collections import deque
from collections.abc import Sequence

from shared.errors import BrokerUnavailable
from shared.messaging.ports.publisher import Message


class Batch:
    """Messages that are being published; changed by the connection's thread until `finished`.

    Attributes:
        reasons: for each message None, or why the broker will never accept it.
        unsent: indices of messages to send, or to send again.
        unconfirmed: index by delivery tag, in the order of sending.
        possible_poison: how many messages at the head of `unsent` to send alone: an unknown one of
            them closed the channel.
        answered: how many messages have their final answer.
        error: why the whole batch failed.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.reasons: list[str | None] = [None] * len(messages)
        self.unsent = deque(range(len(messages)))
        self.unconfirmed: dict[int, int] = {}
        self.possible_poison = 0
        self.answered = 0
        self.error: BrokerUnavailable | None = None
        self.finished = threading.Event()

    def confirm(self, tags: Sequence[int]) -> None:
        """The broker has stored these, or has returned them before."""
        for tag in tags:
            self.unconfirmed.pop(tag)
        self._count_answers(len(tags))

    def reject(self, index: int, reason: str) -> None:
        """The broker will never accept this message."""
        self.reasons[index] = reason
        self._count_answers(1)

    def resend(self, tags: Sequence[int]) -> None:
        """The broker did not accept these now; it may later."""
        self.unsent.extend(self.unconfirmed.pop(tag) for tag in tags)

    def resend_unconfirmed(self, *, has_poison: bool) -> None:
        """The channel was closed, perhaps by one of the messages, and their outcome is unknown."""
        self.unsent.extendleft(reversed(self.unconfirmed.values()))
        if has_poison:
            self.possible_poison = max(self.possible_poison, len(self.unconfirmed))
        self.unconfirmed.clear()

    def fail(self, error: BrokerUnavailable) -> None:
        """Give up the whole batch; the caller sends it again."""
        self.error = error
        self.finished.set()

    def _count_answers(self, number: int) -> None:
        self.answered += number
        self.possible_poison = max(0, self.possible_poison - number)
        if self.answered == len(self.messages):
            self.finished.set()
