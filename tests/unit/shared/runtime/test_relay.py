import io
import json
from collections.abc import Iterator, Sequence
from threading import Event, Thread

import pytest
from sqlalchemy import Connection, select

from shared.errors import BrokerUnavailable, CommitOutcomeUnknown
from shared.messaging.codec import encode
from shared.messaging.ports.publisher import Message
from shared.runtime.logs import log_to
from shared.runtime.relay import WINDOW, Relay, send_some
from shared.runtime.settings import Settings
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.tables import outbox as outbox_table
from tests.support.counting import ThingHappened
from tests.support.waiting import eventually


class FakePublisher:
    """A publisher that can be away, and rejects events named "rejected"."""

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
        self.sent += [name for name in names if name != "rejected"]
        return ["too large" if name == "rejected" else None for name in names]

    def close(self) -> None:
        self.closed = True


class RunningRelay:
    """A relay in a thread, with its log and the counts that it reports."""

    def __init__(self, database: Database) -> None:
        self.publisher = FakePublisher()
        self.log_output = io.StringIO()
        self.counts: list[tuple[int, int]] = []
        self.relay = Relay(
            database,
            self.publisher,
            source="counting",
            log=log_to(self.log_output, Settings()),
            on_sent=lambda sent, rejected: self.counts.append((sent, rejected)),
        )
        self.thread = Thread(target=self.relay.run)

    def events(self) -> list[str]:
        lines = self.log_output.getvalue().splitlines()
        return [json.loads(line)["event"] for line in lines]

    def stop(self) -> None:
        self.relay.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def running(database: Database) -> Iterator[RunningRelay]:
    running = RunningRelay(database)
    yield running
    if running.thread.is_alive():
        running.stop()
    running.relay.close()


def write(database: Database, *names: str) -> None:
    events = [ThingHappened(name=name) for name in names]
    with database.begin() as connection:
        outbox.write(
            connection,
            [outbox.Outgoing(each, encode(each, source="counting")) for each in events],
        )


def depth(database: Database) -> int:
    with database.read() as connection:
        return outbox.backlog(connection).depth


def test_committed_events_are_sent_in_their_order(
    database: Database, running: RunningRelay
) -> None:
    write(database, "a", "b")
    running.thread.start()
    eventually(lambda: depth(database) == 0)
    write(database, "c")

    eventually(lambda: running.publisher.sent == ["a", "b", "c"])
    running.stop()

    assert sum(sent for sent, _ in running.counts) == 3
    assert running.publisher.closed


def test_a_backlog_is_sent_without_waiting_for_the_next_poll(
    database: Database, running: RunningRelay
) -> None:
    write(database, *map(str, range(2 * WINDOW + 1)))

    running.thread.start()

    eventually(lambda: depth(database) == 0)
    assert running.publisher.sent == [str(number) for number in range(2 * WINDOW + 1)]


def test_while_the_broker_is_away_the_relay_retries_and_logs_it(
    database: Database, running: RunningRelay
) -> None:
    write(database, "a")
    running.publisher.failures = 3

    running.thread.start()

    eventually(lambda: running.publisher.sent == ["a"])
    eventually(lambda: depth(database) == 0)
    assert running.events() == ["retrying"] * 3


def test_a_rejected_event_is_marked_and_the_others_are_sent(
    database: Database, running: RunningRelay
) -> None:
    write(database, "a", "rejected", "b")

    running.thread.start()

    eventually(lambda: running.publisher.sent == ["a", "b"])
    eventually(lambda: running.counts == [(2, 1)])
    assert running.events() == ["event rejected by the broker"]
    with database.read() as connection:
        refused = connection.execute(select(outbox_table.c.rejected)).scalars().all()
    assert [each for each in refused if each] == ["too large"]


def test_the_relay_stops_while_it_waits_for_the_broker(
    database: Database, running: RunningRelay
) -> None:
    write(database, "a")
    running.publisher.failures = 1_000_000
    running.thread.start()
    assert running.publisher.tried.wait(20)

    running.stop()

    assert running.publisher.closed
    assert depth(database) == 1


def test_the_relay_stops_while_there_is_nothing_to_send(running: RunningRelay) -> None:
    running.thread.start()

    running.stop()

    assert running.events() == []


def test_a_failed_window_is_not_marked_as_sent(database: Database) -> None:
    write(database, "a")
    publisher = FakePublisher()
    publisher.failures = 1

    with pytest.raises(BrokerUnavailable):
        send_some(database, publisher, source="counting")

    assert depth(database) == 1


def test_nothing_is_published_if_the_outbox_is_empty(database: Database) -> None:
    publisher = FakePublisher()
    publisher.failures = 1

    assert send_some(database, publisher, source="counting").rows == []


def test_a_window_is_sent_again_if_the_database_is_lost_in_the_commit(
    database: Database, running: RunningRelay, monkeypatch: pytest.MonkeyPatch
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

    running.thread.start()

    eventually(lambda: depth(database) == 0)
    assert running.publisher.sent == ["a", "a"], "at least once"
    assert running.events() == ["retrying"]


def test_a_failure_in_a_backlog_is_retried_until_all_is_sent(
    database: Database, running: RunningRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, *map(str, range(2 * WINDOW + 1)))
    publish = running.publisher.publish

    def fail_after_the_first_window(messages: Sequence[Message]) -> list[str | None]:
        if running.publisher.sent:
            monkeypatch.setattr(running.publisher, "publish", publish)
            raise BrokerUnavailable
        return publish(messages)

    monkeypatch.setattr(running.publisher, "publish", fail_after_the_first_window)

    running.thread.start()

    eventually(lambda: depth(database) == 0)
    assert set(running.publisher.sent) == {str(number) for number in range(2 * WINDOW + 1)}
    assert running.events() == ["retrying"]
