"""The relay on a server, where it has two windows under way."""

import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest

from shared.messaging.cloudevents import encode
from shared.messaging.port import Message
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
    """A publisher for one thread at a time that waits until another window has been claimed."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.claims = 0
        self.claimed = threading.Condition()
        self._busy = threading.Lock()

    @contextmanager
    def claim(self, database: Database, most: int) -> Iterator[outbox.Claim]:
        with CLAIM(database, most) as claimed:
            with self.claimed:
                self.claims += 1
                self.claimed.notify_all()
            yield claimed

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        assert self._busy.acquire(blocking=False), "published by two at a time"
        if self.sent and len(self.sent) < EVENTS - 2 * WINDOW:
            with self.claimed:
                before = len(self.sent) // WINDOW
                assert self.claimed.wait_for(lambda: self.claims > before + 1, timeout=20)
        self.sent += [json.loads(each.body)["data"]["name"] for each in messages]
        self._busy.release()
        return [None] * len(messages)

    def close(self) -> None:
        """Nothing is held."""


CLAIM = outbox.claim


def test_a_window_is_claimed_while_another_is_sent(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post()
    monkeypatch.setattr(relay, "WINDOW", WINDOW)
    monkeypatch.setattr(outbox, "claim", post.claim)
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
