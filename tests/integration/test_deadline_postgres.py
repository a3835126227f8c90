"""A handler past its deadline on PostgreSQL, where its transaction does not block the record."""

import threading
from pathlib import Path

from sqlalchemy import select

from shared.messaging.ports.consumer import SLOW_START_AFTER
from shared.storage.tables import failures
from tests.support.counting import ThingHappened, Work, count
from tests.support.play import Play
from tests.support.waiting import eventually


def test_a_handler_past_its_deadline_is_recorded_with_its_stack(
    postgres_url: str, tmp_path: Path
) -> None:
    started, proceed = threading.Event(), threading.Event()

    def hang(event: ThingHappened, work: Work) -> None:
        if event.name == "hangs":
            started.set()
            proceed.wait(30)
        count(event, work)

    at = Play(tmp_path, hang, database_url=postgres_url)
    at.running.start()
    at.send(*(ThingHappened(name="proof") for _ in range(SLOW_START_AFTER)))
    eventually(lambda: at.counted() == {"proof": SLOW_START_AFTER})
    hanging = ThingHappened(name="hangs")
    at.send(hanging, ThingHappened(name="neighbour"))
    assert started.wait(20)

    at.running.stop()
    at.running.abandon()

    with at.database.read() as connection:
        [record] = connection.execute(select(failures)).mappings()
    proceed.set()
    at.end()
    assert (record["event_id"], record["error"]) == (str(hanging.event_id), "DeadlineExceeded")
    assert (record["attempt"], record["outcome"]) == (1, "retried")
    assert "in hang" in record["traceback"]
