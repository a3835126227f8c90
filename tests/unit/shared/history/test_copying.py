"""Windows of a copy are limited in messages and in bytes."""

from collections.abc import Sequence

import pytest

from shared.history import copying
from shared.history.copying import copy
from shared.history.reading import EventFilter, EventReader
from shared.messaging.ports.publisher import Message
from tests.support.order_events import placed
from tests.support.tape import Tape


class Recorder:
    """Accepts all messages, and remembers how many came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        self.sizes.append(len(messages))
        return [None] * len(messages)

    def close(self) -> None:
        """There is nothing to close."""


@pytest.mark.parametrize(
    ("limit", "value", "sizes"),
    [("WINDOW", 4, [4, 4, 2]), ("WINDOW_BYTES", 1, [1] * 10), ("WINDOW", 100, [10])],
)
def test_a_window_holds_a_limited_number_of_messages_and_bytes(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(copying, limit, value)
    tape = Tape([placed(f"ORD-{number}") for number in range(10)])
    publisher = Recorder()

    windows = list(copy(EventReader(tape, EventFilter(), end=10), publisher, to="email"))

    assert publisher.sizes == sizes
    assert [window.size for window in windows] == sizes
    assert windows[-1].next_offset == 10
