from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.messaging.ports.consumer import Delivery
from shared.messaging.topology import Retry
from shared.runtime.poison import possible_poison
from shared.runtime.reactor import Reactor
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.storage.tables import failures
from tests.support.counting import ThingHappened, counting
from tests.support.deliveries import delivery_of


@pytest.fixture
def reactor(tmp_path: Path) -> Iterator[Reactor]:
    database = Database(f"sqlite:///{tmp_path / 'counting.db'}")
    migrate(database, counting().migrations)
    yield Reactor(service=counting(), database=database, retry=Retry(max_retries=5))
    database.close()


def delivered(name: str, *, attempt: int) -> Delivery:
    return delivery_of(ThingHappened(name=name), queue="counting", attempt=attempt)


def recorded(reactor: Reactor) -> list[tuple[str, int, str]]:
    with reactor.database.read() as connection:
        query = select(failures.c.event_id, failures.c.attempt, failures.c.error)
        return [tuple(row) for row in connection.execute(query.order_by(failures.c.number))]


def test_a_first_delivery_is_not_possible_poison(reactor: Reactor) -> None:
    assert possible_poison(reactor.database, [delivered("lamp", attempt=1)]) == []


def test_a_delivery_without_a_recorded_earlier_attempt_is_possible_poison(reactor: Reactor) -> None:
    lamp = delivered("lamp", attempt=2)

    assert possible_poison(reactor.database, [delivered("chair", attempt=1), lamp]) == [lamp]


def test_a_delivery_is_possible_poison_until_it_is_handled_alone(reactor: Reactor) -> None:
    lamp, chair = (delivered(name, attempt=2) for name in ("lamp", "chair"))
    assert possible_poison(reactor.database, [lamp, chair]) == [lamp, chair]

    reactor.react_alone(lamp)

    assert possible_poison(reactor.database, [replace(lamp, attempt=3), chair]) == [chair]


def test_earlier_attempts_are_recorded_when_it_is_handled_alone(reactor: Reactor) -> None:
    lamp = delivered("lamp", attempt=3)

    reactor.react_alone(lamp)

    assert recorded(reactor) == [
        (lamp.event_id, 1, "ProcessEnded"),
        (lamp.event_id, 2, "ProcessEnded"),
    ]


def test_attempts_are_recorded_under_the_id_in_the_body_whatever_the_properties_are(
    reactor: Reactor,
) -> None:
    lamp, chair = (replace(delivered(name, attempt=2), event_id="") for name in ("lamp", "chair"))

    reactor.react_alone(lamp)

    assert possible_poison(reactor.database, [chair]) == [chair]
    assert [error for _, _, error in recorded(reactor)] == ["ProcessEnded"]
    assert recorded(reactor)[0][0] in lamp.body.decode()


def test_no_more_attempts_are_recorded_than_the_queue_allows(reactor: Reactor) -> None:
    reactor.react_alone(delivered("lamp", attempt=10**9))

    assert [attempt for _, attempt, _ in recorded(reactor)] == [1, 2, 3, 4, 5, 6]


def test_a_delivery_with_a_recorded_failure_is_not_possible_poison(reactor: Reactor) -> None:
    broken = replace(delivered("lamp", attempt=1), body=b"no event")
    reactor.react([broken])

    assert possible_poison(reactor.database, [replace(broken, attempt=2)]) == []
