import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest
from sqlalchemy import Connection, select

from shared.errors import BrokerUnavailable, CommitOutcomeUnknown
from shared.messaging.codec import encode
from shared.messaging.ports.publisher import Message
from shared.runtime.logs import log_to
from shared.runtime.relay import WINDOW, Relay, send_some
from shared.runtime.settings import Settings
from shared.storage import inbox, outbox
from shared.storage.database import Database
from shared.storage.tables import inbox as inbox_table
from shared.storage.tables import outbox as outbox_table
from tests.support.counting import ThingHappened
from tests.support.waiting import eventually


class Post:
    """A publisher that can be away, and refuses what is named so."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failures = 0
        self.tried = Event()
        self.closed = False

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        if self.failures:
            self.failures -= 1
            self.tried.set()
            raise BrokerUnavailable
        names = [json.loads(each.body)["data"]["name"] for each in messages]
        self.sent += [name for name in names if name != "refused"]
        return ["never" if name == "refused" else None for name in names]

    def close(self) -> None:
        self.closed = True


class Relaying:
    """A relay in a thread, what it logs and what it tells."""

    def __init__(self, database: Database) -> None:
        self.post = Post()
        self.logged = io.StringIO()
        self.told: list[tuple[int, int]] = []
        self.relay = Relay(
            database,
            self.post,
            source="counting",
            log=log_to(self.logged, Settings()),
            outbox_keep=timedelta(days=7),
            failures_keep=timedelta(days=30),
            inbox_keep=timedelta(days=40),
            on_sent=lambda sent, refused: self.told.append((sent, refused)),
        )
        self.thread = Thread(target=self.relay.run)

    def events(self) -> list[str]:
        lines = self.logged.getvalue().splitlines()
        return [json.loads(line)["event"] for line in lines]

    def stop(self) -> None:
        self.relay.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def relaying(database: Database) -> Iterator[Relaying]:
    relaying = Relaying(database)
    yield relaying
    if relaying.thread.is_alive():
        relaying.stop()
    relaying.relay.close()


def write(database: Database, *names: str) -> None:
    events = [ThingHappened(name=name) for name in names]
    with database.begin() as connection:
        outbox.write(
            connection,
            [outbox.Outgoing(each, encode(each, source="counting")) for each in events],
        )


def waiting(database: Database) -> int:
    with database.read() as connection:
        return outbox.backlog(connection).depth


def test_what_is_committed_is_sent_in_its_order(database: Database, relaying: Relaying) -> None:
    write(database, "a", "b")
    relaying.thread.start()
    eventually(lambda: waiting(database) == 0)
    write(database, "c")

    eventually(lambda: relaying.post.sent == ["a", "b", "c"])
    relaying.stop()

    assert sum(sent for sent, _ in relaying.told) == 3
    assert relaying.post.closed


def test_more_than_a_window_is_sent_without_waiting(database: Database, relaying: Relaying) -> None:
    write(database, *map(str, range(2 * WINDOW + 1)))

    relaying.thread.start()

    eventually(lambda: waiting(database) == 0)
    assert relaying.post.sent == [str(number) for number in range(2 * WINDOW + 1)]


def test_while_the_broker_is_away_nothing_is_lost_and_it_is_said(
    database: Database, relaying: Relaying
) -> None:
    write(database, "a")
    relaying.post.failures = 3

    relaying.thread.start()

    eventually(lambda: relaying.post.sent == ["a"])
    eventually(lambda: waiting(database) == 0)
    assert relaying.events() == ["relay waits"] * 3


def test_what_the_broker_never_takes_is_set_aside_and_the_others_go_on(
    database: Database, relaying: Relaying
) -> None:
    write(database, "a", "refused", "b")

    relaying.thread.start()

    eventually(lambda: relaying.post.sent == ["a", "b"])
    eventually(lambda: relaying.told == [(2, 1)])
    assert relaying.events() == ["event set aside: the broker refuses it"]
    with database.read() as connection:
        refused = connection.execute(select(outbox_table.c.rejected)).scalars().all()
    assert [each for each in refused if each] == ["never"]


def test_it_stops_at_once_while_it_waits_for_the_broker(
    database: Database, relaying: Relaying
) -> None:
    write(database, "a")
    relaying.post.failures = 1_000_000
    relaying.thread.start()
    assert relaying.post.tried.wait(20)

    relaying.stop()

    assert relaying.post.closed
    assert waiting(database) == 1


def test_it_stops_while_there_is_nothing_to_send(relaying: Relaying) -> None:
    relaying.thread.start()

    relaying.stop()

    assert relaying.events() == []


def test_a_failure_marks_nothing_sent(database: Database) -> None:
    write(database, "a")
    post = Post()
    post.failures = 1

    with pytest.raises(BrokerUnavailable):
        send_some(database, post, source="counting")

    assert waiting(database) == 1


def test_with_nothing_to_send_the_broker_is_left_alone(database: Database) -> None:
    post = Post()
    post.failures = 1

    assert send_some(database, post, source="counting").rows == []


def test_the_inbox_forgets_only_what_would_be_refused_as_too_old(
    database: Database, relaying: Relaying
) -> None:
    now = datetime.now(UTC)
    ages = (timedelta(days=42), timedelta(days=40, hours=12), timedelta(days=1))
    with database.begin() as connection:
        events = [ThingHappened(name="a", occurred_at=now - age) for age in ages]
        inbox.enter(connection, events)

    relaying.thread.start()

    def left() -> set[object]:
        with database.read() as connection:
            return set(connection.execute(select(inbox_table.c.event_id)).scalars())

    eventually(lambda: left() == {each.event_id for each in events[1:]})


def test_a_database_that_goes_away_in_the_commit_is_tried_again(
    database: Database, relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, "a")
    marked: list[int] = []
    mark = outbox._mark

    def lose_the_first(connection: Connection, claimed: outbox.Claim) -> None:
        marked.append(len(claimed.sent))
        if len(marked) == 1:
            raise CommitOutcomeUnknown
        mark(connection, claimed)

    monkeypatch.setattr(outbox, "_mark", lose_the_first)

    relaying.thread.start()

    eventually(lambda: waiting(database) == 0)
    assert relaying.post.sent == ["a", "a"], "at least once"
    assert relaying.events() == ["relay waits"]
