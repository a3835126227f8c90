"""Behaviour of the embedded broker that is not part of the port; tests/contract has the rest."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.embedded import broker as embedded_broker
from shared.messaging.embedded import file as broker_file
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import History, Queue, Retry, Topology
from tests.contract.brokers import (
    AdjustableClock,
    consumer_after_slow_start,
    order_placed,
    receive,
    send,
    settle_all,
)

INVENTORY = Queue(
    name="inventory",
    topics=frozenset({"order.placed"}),
    retry=Retry(delay=10, max_delay=25, max_retries=2),
)
ANALYTICS = Queue(name="analytics", topics=frozenset({"#"}))
TOPOLOGY = Topology(queues=(INVENTORY, ANALYTICS))


@pytest.fixture
def clock() -> AdjustableClock:
    return AdjustableClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "var" / "broker.sqlite"


@pytest.fixture
def broker(file: Path, clock: AdjustableClock) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(file, clock=clock)
    broker.set_up(TOPOLOGY)
    yield broker
    broker.close()


def test_an_event_is_in_the_history_once_however_often_it_is_published(
    broker: EmbeddedBroker, file: Path
) -> None:
    first, second = order_placed(), order_placed("stock.reserved")
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)

    send(broker, first)
    send(broker, second, first, first)

    assert _rows(file, "SELECT number, event_id, topic, type, body FROM history") == [
        (1, first.event_id, first.topic, first.type, first.body),
        (2, second.event_id, second.topic, second.type, second.body),
    ]
    assert len(receive(consumer, 3)) == 3


def test_a_message_to_one_queue_is_not_in_the_history(broker: EmbeddedBroker, file: Path) -> None:
    send(broker, order_placed(only_to="inventory"))

    assert _rows(file, "SELECT count(*) FROM history") == [(0,)]


def test_a_body_is_stored_once_for_all_queues_and_replays(
    broker: EmbeddedBroker, file: Path
) -> None:
    message = order_placed()
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)

    send(broker, message, replace(message, only_to="inventory", replays=1))

    assert _rows(file, "SELECT body FROM messages") == [(None,)] * 3
    bodies = [each.body for each in receive(consumer, 2)]
    assert bodies == [message.body] * 2


def test_a_handled_message_leaves_nothing_but_its_history(
    broker: EmbeddedBroker, file: Path
) -> None:
    send(broker, order_placed())
    for name in ("inventory", "analytics"):
        consumer = broker.consumer(name, prefetch=10)
        settle_all(consumer, receive(consumer), Outcome.DONE)
        consumer.close()

    assert _rows(file, "SELECT count(*) FROM messages") == [(0,)]
    assert _rows(file, "SELECT count(*) FROM consumers") == [(0,)]
    assert _rows(file, "SELECT count(*) FROM history") == [(1,)]
    assert list(file.with_name(f"{file.name}.holders").iterdir()) == []


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        pytest.param([Outcome.DEAD], "rejected", id="rejected"),
        pytest.param([Outcome.RETRY] * 3, "delivery_limit", id="limit"),
        pytest.param([Outcome.RETRY, Outcome.DEAD], "rejected", id="rejected-later"),
    ],
)
def test_a_dead_message_keeps_its_reason_and_attempts(
    broker: EmbeddedBroker,
    file: Path,
    clock: AdjustableClock,
    outcomes: list[Outcome],
    reason: str,
) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    for outcome in outcomes:
        settle_all(consumer, receive(consumer), outcome)
        clock.offset += 100

    looking = broker.consumer("inventory.dead", prefetch=10)
    for outcome in (Outcome.REQUEUE, Outcome.RETRY, Outcome.DEAD):
        [dead] = receive(looking)
        assert dead.attempt == len(outcomes)
        settle_all(looking, [dead], outcome)
    dead_rows = "SELECT reason, attempts FROM messages WHERE queue = 'inventory.dead'"
    assert _rows(file, dead_rows) == [(reason, len(outcomes))]


def test_a_waiting_take_notices_that_the_clock_was_changed(
    broker: EmbeddedBroker, clock: AdjustableClock
) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.RETRY)

    with ThreadPoolExecutor() as threads:
        taking = threads.submit(consumer.take, 1, wait=30)
        clock.offset += 10
        assert [each.attempt for each in taking.result(5)] == [2]


def test_take_with_a_full_prefetch_waits_without_using_the_processor(
    broker: EmbeddedBroker,
) -> None:
    send(broker, order_placed(), order_placed())
    consumer = broker.consumer("inventory", prefetch=1)
    receive(consumer)
    used = time.process_time()

    assert consumer.take(1, wait=0.3) == []

    assert time.process_time() - used < 0.15, "it used the processor while it waited"


def test_a_waiting_take_notices_a_message_of_another_process(
    broker: EmbeddedBroker, file: Path
) -> None:
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor() as threads:
        taking = threads.submit(consumer.take, 1, wait=30)
        _run(_PUBLISH, file)

        assert [each.event_id for each in taking.result(10)] == ["from-another-process"]


def test_a_living_consumer_keeps_what_it_holds_without_a_time_limit(
    broker: EmbeddedBroker, clock: AdjustableClock
) -> None:
    send(broker, order_placed())
    slow = broker.consumer("inventory", prefetch=10)
    [held] = receive(slow)
    clock.offset += 1_000_000

    assert broker.consumer("inventory", prefetch=10).take(1, wait=1.2) == []

    settle_all(slow, [held], Outcome.DONE)


def test_what_a_dead_consumer_held_counts_as_failed(
    broker: EmbeddedBroker, clock: AdjustableClock
) -> None:
    send(broker, order_placed())
    lost = broker.consumer("inventory", prefetch=10)
    stale = receive(lost)
    lost._process_lock.release()  # as the operating system does when a process ends

    other = broker.consumer("inventory", prefetch=10)
    assert other.take(1, wait=0) == []
    clock.offset += INVENTORY.retry.delay

    assert [each.attempt for each in receive(other)] == [2]
    settle_all(lost, stale, Outcome.DONE)
    other.close()
    assert [each.attempt for each in receive(broker.consumer("inventory", prefetch=1))] == [2]


def test_settling_claims_the_next_messages(broker: EmbeddedBroker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=1)
    send(broker, *[order_placed() for _ in range(3)])
    taken = receive(consumer)
    assert broker.depth("inventory").ready == 2

    settle_all(consumer, taken, Outcome.DONE)

    assert broker.depth("inventory").ready == 1


def test_done_messages_are_deleted_with_the_last_one_held(
    broker: EmbeddedBroker, file: Path
) -> None:
    consumer = broker.consumer("inventory", prefetch=2, slow_start=False)
    send(broker, order_placed(), order_placed())
    count = "SELECT count(*) FROM messages WHERE queue = 'inventory'"

    settle_all(consumer, consumer.take(1, wait=5), Outcome.DONE)
    assert _rows(file, count) == [(2,)]
    settle_all(consumer, consumer.take(1, wait=5), Outcome.DONE)

    assert _rows(file, count) == [(0,)]


@pytest.mark.parametrize("how", ["close", "isolate", "fail"])
def test_done_messages_are_deleted_at_the_latest_by(
    broker: EmbeddedBroker, file: Path, how: str
) -> None:
    consumer = broker.consumer("inventory", prefetch=3, slow_start=False)
    send(broker, *[order_placed() for _ in range(3)])
    settle_all(consumer, consumer.take(1, wait=5), Outcome.DONE)
    other = consumer.take(1, wait=5)

    match how:
        case "close":
            consumer.close()
        case "isolate":
            consumer.isolate(other[0])
        case "fail":
            settle_all(consumer, other, Outcome.RETRY)

    assert _rows(file, "SELECT count(*) FROM messages WHERE queue = 'inventory'") == [(2,)]


def test_a_requeued_message_is_not_claimed_again_at_once(broker: EmbeddedBroker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=1)
    send(broker, order_placed())

    settle_all(consumer, receive(consumer), Outcome.REQUEUE)

    assert broker.depth("inventory").ready == 1


def test_a_message_that_was_not_taken_yet_is_requeued_by_isolating_another(
    broker: EmbeddedBroker,
) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=3)
    send(broker, *[order_placed() for _ in range(3)])
    [isolated] = consumer.take(1, wait=5)

    consumer.isolate(isolated)

    assert consumer.take(1, wait=0) == []
    others = receive(broker.consumer("inventory", prefetch=3, slow_start=False), 2)
    assert isolated.event_id not in {each.event_id for each in others}


def test_settling_can_be_repeated_after_an_error(
    broker: EmbeddedBroker, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = broker.consumer("inventory", prefetch=2, slow_start=False)
    send(broker, order_placed(), order_placed(), order_placed())
    taken = receive(consumer, 2)
    monkeypatch.setattr("shared.sqlite_locking.LONGEST_WAIT", 0.0)

    with broker._file.opened() as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerUnavailable, match="locked"):
            settle_all(consumer, taken, Outcome.DONE)

    settle_all(consumer, taken, Outcome.DONE)
    assert len(consumer.take(2, wait=0)) == 1
    assert _rows(file, "SELECT count(*) FROM messages WHERE queue = 'inventory'") == [(1,)]


def test_new_retry_numbers_apply_to_messages_in_the_queue(
    broker: EmbeddedBroker, clock: AdjustableClock
) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.RETRY)
    slower = replace(INVENTORY, retry=Retry(delay=100, max_delay=500, max_retries=9))
    assert broker.check(Topology(queues=(slower,)))[0].startswith("the queue inventory has other")

    broker.set_up(Topology(queues=(slower, ANALYTICS)))

    clock.offset += 10
    settle_all(consumer, receive(consumer), Outcome.RETRY)
    clock.offset += 199
    assert consumer.take(1, wait=0) == []
    clock.offset += 1
    assert receive(consumer)[0].attempt == 3


def test_check_names_missing_and_surplus_queues_and_bindings(broker: EmbeddedBroker) -> None:
    moved = replace(INVENTORY, topics=frozenset({"order.cancelled"}))
    loyalty = Queue(name="loyalty", topics=frozenset({"order.placed"}))

    assert broker.check(TOPOLOGY) == []
    assert broker.check(Topology(queues=(moved, ANALYTICS, loyalty))) == [
        "the queue loyalty is missing",
        "the queue loyalty.dead is missing",
        "inventory is not bound to order.cancelled",
        "loyalty is not bound to order.placed",
        "inventory is still bound to order.placed",
    ]


def test_set_up_drops_old_history_but_no_message_in_a_queue(
    broker: EmbeddedBroker, file: Path, clock: AdjustableClock
) -> None:
    handled, waiting, young = order_placed("a.b"), order_placed("a.b"), order_placed("a.b")
    send(broker, waiting, handled)
    consumer = broker.consumer("analytics", prefetch=2, slow_start=False)
    first, second = receive(consumer, 2)
    consumer.settle([(first, Outcome.DEAD), (second, Outcome.DONE)])
    clock.offset += 31 * 86_400
    send(broker, young)

    broker.set_up(replace(TOPOLOGY, history=History(days=30)))

    assert _rows(file, "SELECT event_id FROM history") == [(young.event_id,)]
    assert _rows(file, "SELECT event FROM messages ORDER BY number") == [(None,), (3,)]
    assert receive(consumer)[0].body == young.body
    [letter] = receive(broker.consumer("analytics.dead", prefetch=1, slow_start=False))
    assert letter.body == waiting.body


def test_old_history_is_dropped_in_several_transactions(
    broker: EmbeddedBroker, file: Path, clock: AdjustableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker, *(order_placed("a.b") for _ in range(7)))
    clock.offset += 31 * 86_400
    send(broker, order_placed("a.b"))
    monkeypatch.setattr(embedded_broker, "_DROPPED_TOGETHER", 3)
    writing, transactions = broker_file.BrokerFile.writing, []

    def count(self: broker_file.BrokerFile, connection: sqlite3.Connection) -> Any:
        transactions.append(connection)
        return writing(self, connection)

    monkeypatch.setattr(broker_file.BrokerFile, "writing", count)
    broker.set_up(replace(TOPOLOGY, history=History(days=30)))

    assert len(transactions) == 1 + 3
    assert _rows(file, "SELECT number FROM history") == [(8,)]
    assert len(receive(broker.consumer("analytics", prefetch=8, slow_start=False), 8)) == 8


def test_a_message_with_its_own_body_keeps_it_when_history_is_dropped(
    broker: EmbeddedBroker, clock: AdjustableClock
) -> None:
    message = order_placed("a.b")
    send(broker, message, replace(message, body=b"another"))
    clock.offset += 31 * 86_400

    broker.set_up(replace(TOPOLOGY, history=History(days=30)))

    deliveries = receive(broker.consumer("analytics", prefetch=2, slow_start=False), 2)
    assert [each.body for each in deliveries] == [message.body, b"another"]


def test_history_has_no_gaps_after_the_clock_was_set_back(
    broker: EmbeddedBroker, file: Path, clock: AdjustableClock
) -> None:
    old, young, after_change = order_placed(), order_placed(), order_placed()
    send(broker, old)
    clock.offset += 31 * 86_400
    send(broker, young)
    clock.offset -= 5 * 86_400
    send(broker, after_change)
    clock.offset += 5 * 86_400

    broker.set_up(replace(TOPOLOGY, history=History(days=3)))

    retained = _rows(file, "SELECT event_id FROM history ORDER BY number")
    assert retained == [(young.event_id,), (after_change.event_id,)]


def test_seven_processes_may_start_at_once(file: Path) -> None:
    started = [_start(_SET_UP, file) for _ in range(7)]

    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in started]

    assert ended == [("", 0)] * 7
    assert EmbeddedBroker(file).check(Topology(queues=(INVENTORY,))) == []


def test_two_consuming_processes_and_a_publishing_one_lose_and_duplicate_nothing(
    broker: EmbeddedBroker, file: Path
) -> None:
    consumers = [_start(_TAKE_ALL, file) for _ in range(2)]
    sent = [order_placed() for _ in range(300)]
    for first in range(0, 300, 10):
        send(broker, *sent[first : first + 10])
    send(broker, *[order_placed(type="stop") for _ in range(2)])

    taken = "".join(process.communicate(timeout=60)[0] for process in consumers).split()

    assert sorted(taken) == sorted(each.event_id for each in sent)


@pytest.mark.parametrize("problem", ["directory", "text", "newer", "below-a-file"])
def test_a_file_that_cannot_be_used_is_reported_in_one_sentence(
    tmp_path: Path, problem: str
) -> None:
    path = tmp_path / "broker"
    match problem:
        case "directory":
            path.mkdir()
        case "text":
            path.write_text("not a database, but long enough to be read as one " * 20)
        case "newer":
            _rows(path, "PRAGMA user_version = 99")
        case _:
            path.write_text("a file")
            path /= "broker"
    broker = EmbeddedBroker(path)

    for use in (
        broker.probe,
        lambda: broker.set_up(TOPOLOGY),
        lambda: broker.check(TOPOLOGY),
        lambda: broker.bind(INVENTORY),
        lambda: broker.publisher().publish([order_placed()]),
        lambda: broker.consumer("inventory", prefetch=1).take(1, wait=0),
    ):
        with pytest.raises(BrokerUnavailable, match="the embedded broker") as refused:
            use()
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("use", ["probe", "bind"])
def test_on_a_full_disk_it_answers_no_probe_and_binds_nothing(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    connect = broker._file._connect

    def connect_full() -> sqlite3.Connection:
        connection = connect()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(broker._file, "_connect", connect_full)

    with pytest.raises(BrokerUnavailable, match="the disk is full"):
        broker.probe() if use == "probe" else broker.bind(INVENTORY)


def test_a_file_from_before_the_probe_is_upgraded_and_keeps_its_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broker.db"
    with monkeypatch.context() as patch:
        patch.setattr(broker_file, "_MIGRATIONS", broker_file._MIGRATIONS[:2])
        before = EmbeddedBroker(path)
        before.set_up(TOPOLOGY)
        publisher = before.publisher()
        publisher.publish([order_placed()])
        before.close()

    broker = EmbeddedBroker(path)

    broker.probe()
    assert broker.depth("inventory").ready == 1


def test_a_full_disk_writes_nothing_and_is_reported_in_one_sentence(broker: EmbeddedBroker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)
    publisher = broker.publisher()
    publisher.publish([order_placed()])
    assert publisher._connection is not None
    pages = publisher._connection.execute("PRAGMA page_count").fetchone()[0]
    publisher._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(BrokerUnavailable, match="full; it needs a local disk with space"):
        publisher.publish([order_placed(body=bytes(200_000)), order_placed()])

    publisher._connection.execute("PRAGMA max_page_count = 1000000")
    last = order_placed()
    assert publisher.publish([last]) == [None]
    assert [each.body for each in receive(consumer, 2)][1] == last.body
    assert consumer.take(1, wait=0) == []


def test_a_damaged_file_is_reported_by_take(broker: EmbeddedBroker, file: Path) -> None:
    send(broker, *[order_placed() for _ in range(50)])
    broker.close()
    damaged = bytearray(file.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    file.write_bytes(damaged)

    with pytest.raises(BrokerUnavailable, match="malformed"):
        EmbeddedBroker(file).consumer("inventory", prefetch=10).take(1, wait=0)


def test_a_consumer_works_after_the_thread_that_used_it_has_ended(
    broker: EmbeddedBroker,
) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor(1) as threads:
        taken: list[Delivery] = threads.submit(receive, consumer).result()

    settle_all(consumer, taken, Outcome.DONE)
    assert consumer.take(1, wait=0) == []


def test_the_history_stores_the_time_of_an_event(broker: EmbeddedBroker, file: Path) -> None:
    message: Message = order_placed(occurred_at=datetime(2026, 1, 2, tzinfo=UTC))

    send(broker, message)

    [(occurred_at, published_at)] = _rows(file, "SELECT occurred_at, published_at FROM history")
    assert occurred_at == datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    assert published_at == pytest.approx(time.time(), abs=60)


def _rows(file: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


_COMMON = """
import sys
from pathlib import Path
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.embedded import file as broker_file
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import Queue, Retry, Topology
broker = EmbeddedBroker(Path(sys.argv[1]))
"""

_PUBLISH = """
message = Message(event_id="from-another-process", topic="order.placed",
                  type="order.placed.v1", body=b"{}", source="orders")
assert broker.publisher().publish([message]) == [None]
broker.close()
"""

_SET_UP = """
queue = Queue(name="inventory", topics=frozenset({"order.placed"}),
              retry=Retry(delay=10, max_delay=25, max_retries=2))
broker.set_up(Topology(queues=(queue,)))
broker.bind(queue)
broker.consumer("inventory", prefetch=1).take(1, wait=0)
broker.close()
"""

_TAKE_ALL = """
consumer = broker.consumer("inventory", prefetch=7)
stopped = False
while not stopped:
    taken = consumer.take(7, wait=1)
    stops = [each for each in taken if each.type == "stop"]
    stopped = bool(stops)
    print(*[each.event_id for each in taken if each.type != "stop"], flush=True)
    consumer.settle([(each, Outcome.DONE) for each in taken if each not in stops[1:]])
consumer.close()
"""


def _start(program: str, file: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _COMMON + program, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(program: str, file: Path) -> None:
    _, complaints = (process := _start(program, file)).communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")


def test_a_message_from_before_topics_were_kept_is_delivered_as_a_replay_to_its_queue(
    file: Path, clock: AdjustableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(broker_file, "_MIGRATIONS", broker_file._MIGRATIONS[:1])
        EmbeddedBroker(file, clock=clock).set_up(TOPOLOGY)
    insert = "INSERT INTO messages (queue, event_id, type, body, replays, low_priority)"
    with closing(sqlite3.connect(file)) as connection, connection:
        for queue in ("inventory", "inventory.dead"):
            connection.execute(f"{insert} VALUES (?, 'old', 't', x'7b7d', 0, 0)", (queue,))

    broker = EmbeddedBroker(file, clock=clock)
    [waiting] = receive(broker.consumer("inventory", prefetch=10))
    [dead] = receive(broker.consumer("inventory.dead", prefetch=10))

    assert (waiting.topic, waiting.is_replay) == ("inventory", True)
    assert (dead.topic, dead.is_replay) == ("inventory", True)
    broker.close()
