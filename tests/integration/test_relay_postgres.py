"""The relay on PostgreSQL, where it sends two windows at a time."""

import io
import json
import threading
from collections.abc import Iterator, Sequence

import pytest

from shared.messaging.codec import encode
from shared.messaging.ports.publisher import Message
from shared.runtime import relay
from shared.runtime.logs import log_to
from shared.runtime.relay import Relay
from shared.runtime.settings import Settings
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.support.counting import ThingHappened, counting
from tests.support.waiting import eventually

EVENTS, WINDOW = 95, 10


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    migrate(database, counting().migrations)
    yield database
    database.close()


class SlowPublisher:
    """After the first window, it waits until it has got two windows at a time."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._active = self._max_active = 0
        self._changed = threading.Condition()

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        with self._changed:
            self._active += 1
            self._max_active = max(self._max_active, self._active)
            self._changed.notify_all()
            if self.sent:
                assert self._changed.wait_for(
                    lambda: self._max_active == relay.CONCURRENT_WINDOWS, timeout=20
                )
            self.sent += [json.loads(each.body)["data"]["name"] for each in messages]
            self._active -= 1
        return [None] * len(messages)

    def close(self) -> None:
        """There is nothing to close."""


def test_two_windows_are_sent_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = SlowPublisher()
    monkeypatch.setattr(relay, "WINDOW", WINDOW)
    names = [f"{number:02}" for number in range(EVENTS)]
    with database.begin() as connection:
        events = [ThingHappened(name=name) for name in names]
        outbox.write(
            connection, [outbox.Outgoing(each, encode(each, source="c")) for each in events]
        )
    log = io.StringIO()
    relay_under_test = Relay(
        database,
        publisher,
        source="counting",
        log=log_to(log, Settings()),
    )
    thread = threading.Thread(target=relay_under_test.run)

    thread.start()
    try:
        eventually(lambda: len(publisher.sent) >= EVENTS)
    finally:
        relay_under_test.stop()
        thread.join(20)
        relay_under_test.close()

    assert sorted(publisher.sent) == names
    assert publisher.sent[:WINDOW] == names[:WINDOW]
    assert log.getvalue() == ""
    with database.read() as connection:
        assert outbox.backlog(connection).depth == 0
