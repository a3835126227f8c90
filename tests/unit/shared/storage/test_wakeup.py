import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread

import pytest

from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.sqlite import GLANCE_EVERY
from shared.storage.wakeup import Wakeup
from tests.support.counting import ThingHappened, counts

LONG = 30.0
"""Seconds; whoever waits as long was not woken."""

EVENT = ThingHappened(name="a")


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def rang(
    wakeup: Wakeup, *, within: float = LONG, done: Callable[[], object] = lambda: None
) -> bool:
    """Whether it rang in that time, with something done meanwhile in another thread."""
    began = time.monotonic()
    doing = Thread(target=done)
    doing.start()
    wakeup.wait(within)
    doing.join()
    return time.monotonic() - began < within


def commit(database: Database) -> None:
    with database.begin() as connection:
        outbox.write(connection, [outbox.Outgoing(EVENT, b"{}")])


def test_it_wakes_who_waits(wakeup: Wakeup) -> None:
    assert rang(wakeup, done=wakeup.notify)


def test_it_wakes_who_waits_next(wakeup: Wakeup) -> None:
    wakeup.notify()

    assert rang(wakeup)


def test_many_rings_are_one(wakeup: Wakeup) -> None:
    for _ in range(10_000):
        wakeup.notify()

    assert rang(wakeup)
    assert not rang(wakeup, within=0.01)


def test_it_does_not_ring_by_itself(wakeup: Wakeup) -> None:
    assert not rang(wakeup, within=0.01)


def test_the_commit_of_another_connection_rings_it_once(wakeup: Wakeup, database: Database) -> None:
    wakeup.listen(database)
    wakeup.wait(GLANCE_EVERY)  # the first look tells it where the file stands

    assert rang(wakeup, done=lambda: commit(database))

    assert not rang(wakeup, within=3 * GLANCE_EVERY)


def test_a_commit_while_nobody_waits_is_heard_afterwards(
    wakeup: Wakeup, database: Database
) -> None:
    wakeup.listen(database)
    wakeup.wait(GLANCE_EVERY)
    commit(database)

    assert rang(wakeup)


def test_a_commit_that_leaves_nothing_to_send_does_not_ring(
    wakeup: Wakeup, database: Database
) -> None:
    wakeup.listen(database)
    wakeup.wait(GLANCE_EVERY)
    with database.begin() as connection:
        connection.execute(counts.insert(), [{"name": "a", "times": 1}])

    assert not rang(wakeup, within=3 * GLANCE_EVERY)


def test_what_is_rolled_back_does_not_ring(wakeup: Wakeup, database: Database) -> None:
    wakeup.listen(database)
    wakeup.wait(GLANCE_EVERY)
    with suppress(ZeroDivisionError), database.begin() as connection:
        outbox.write(connection, [outbox.Outgoing(EVENT, b"{}")])
        raise ZeroDivisionError

    assert not rang(wakeup, within=3 * GLANCE_EVERY)


def test_listening_again_changes_nothing(wakeup: Wakeup, database: Database) -> None:
    for _ in range(3):
        wakeup.listen(database)
    wakeup.wait(GLANCE_EVERY)

    assert not rang(wakeup, within=3 * GLANCE_EVERY)
