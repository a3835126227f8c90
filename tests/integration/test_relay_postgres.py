"""The relay on a server, where it has two windows under way."""

import io
import json
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta

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


class Post:
    """A publisher that waits, once the first window is sent, until it has two at a time."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._under_way = self._most = 0
        self._changed = threading.Condition()

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        with self._changed:
            self._under_way += 1
            self._most = max(self._most, self._under_way)
            self._changed.notify_all()
            if self.sent:
                assert self._changed.wait_for(
                    lambda: self._most == relay.CONCURRENT_WINDOWS, timeout=20
                )
            self.sent += [json.loads(each.body)["data"]["name"] for each in messages]
            self._under_way -= 1
        return [None] * len(messages)

    def close(self) -> None:
        """Nothing is held."""


def test_a_window_is_sent_while_another_is(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post()
    monkeypatch.setattr(relay, "WINDOW", WINDOW)
    names = [f"{number:02}" for number in range(EVENTS)]
    with database.begin() as connection:
        events = [ThingHappened(name=name) for name in names]
        outbox.write(
            connection, [outbox.Outgoing(each, encode(each, source="c")) for each in events]
        )
    logged = io.StringIO()
    sending = Relay(
        database,
        post,
        source="counting",
        log=log_to(logged, Settings()),
        outbox_keep=timedelta(days=7),
        failures_keep=timedelta(days=30),
    )
    thread = threading.Thread(target=sending.run)

    thread.start()
    try:
        eventually(lambda: len(post.sent) >= EVENTS)
    finally:
        sending.stop()
        thread.join(20)
        sending.close()

    assert sorted(post.sent) == names
    assert post.sent[:WINDOW] == names[:WINDOW]
    assert logged.getvalue() == ""
    with database.read() as connection:
        assert outbox.backlog(connection).depth == 0
