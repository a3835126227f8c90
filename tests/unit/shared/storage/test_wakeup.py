import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread

import pytest

from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.sqlite import POLL_INTERVAL
from shared.storage.wakeup import Wakeup
from tests.support.counting import ThingHappened, counts

LONG = 30.0
"""Seconds; a thread that waited this long was not woken."""

EVENT = ThingHappened(name="a")


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def is_woken(
    wakeup: Wakeup, *, within: float = LONG, by: Callable[[], object] = lambda: None
) -> bool:
    """Whether a wait ended within this time, while another thread called `by`."""
    began = time.monotonic()
    thread = Thread(target=by)
    thread.start()
    wakeup.wait(within)
    thread.join()
    return time.monotonic() - began < within


def commit(database: Database) -> None:
    with database.begin() as connection:
        outbox.write(connection, [outbox.Outgoing(EVENT, b"{}")])


def test_a_notification_ends_a_wait(wakeup: Wakeup) -> None:
    assert is_woken(wakeup, by=wakeup.notify)


def test_a_notification_ends_the_next_wait(wakeup: Wakeup) -> None:
    wakeup.notify()

    assert is_woken(wakeup)


def test_many_notifications_end_one_wait(wakeup: Wakeup) -> None:
    for _ in range(10_000):
        wakeup.notify()

    assert is_woken(wakeup)
    assert not is_woken(wakeup, within=0.01)


def test_no_notification_ends_no_wait(wakeup: Wakeup) -> None:
    assert not is_woken(wakeup, within=0.01)


def test_a_commit_of_another_connection_ends_one_wait(wakeup: Wakeup, database: Database) -> None:
    wakeup.listen(database)
    wakeup.wait(POLL_INTERVAL)  # reads the file's data version

    assert is_woken(wakeup, by=lambda: commit(database))

    assert not is_woken(wakeup, within=3 * POLL_INTERVAL)


def test_a_commit_while_no_thread_waits_ends_the_next_wait(
    wakeup: Wakeup, database: Database
) -> None:
    wakeup.listen(database)
    wakeup.wait(POLL_INTERVAL)
    commit(database)

    assert is_woken(wakeup)


def test_a_commit_that_leaves_nothing_pending_ends_no_wait(
    wakeup: Wakeup, database: Database
) -> None:
    wakeup.listen(database)
    wakeup.wait(POLL_INTERVAL)
    with database.begin() as connection:
        connection.execute(counts.insert(), [{"name": "a", "times": 1}])

    assert not is_woken(wakeup, within=3 * POLL_INTERVAL)


def test_a_rolled_back_event_ends_no_wait(wakeup: Wakeup, database: Database) -> None:
    wakeup.listen(database)
    wakeup.wait(POLL_INTERVAL)
    with suppress(ZeroDivisionError), database.begin() as connection:
        outbox.write(connection, [outbox.Outgoing(EVENT, b"{}")])
        raise ZeroDivisionError

    assert not is_woken(wakeup, within=3 * POLL_INTERVAL)


def test_listening_again_has_no_effect(wakeup: Wakeup, database: Database) -> None:
    for _ in range(3):
        wakeup.listen(database)
    wakeup.wait(POLL_INTERVAL)

    assert not is_woken(wakeup, within=3 * POLL_INTERVAL)
