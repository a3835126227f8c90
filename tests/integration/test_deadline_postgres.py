"""A hung handler on PostgreSQL, where its open transaction does not block the record."""

import threading
from pathlib import Path

from sqlalchemy import select

from shared.messaging.ports.consumer import SLOW_START_AFTER
from shared.storage.tables import failures
from tests.support.counting import ThingHappened, Work, count
from tests.support.running_service import RunningService
from tests.support.waiting import eventually


def test_a_hung_handler_is_recorded_with_its_stack(postgres_url: str, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang(event: ThingHappened, work: Work) -> None:
        if event.name == "hangs":
            begun.set()
            go_on.wait(30)
        count(event, work)

    service = RunningService(tmp_path, hang, database_url=postgres_url)
    service.runner.start()
    service.send(*(ThingHappened(name="proof") for _ in range(SLOW_START_AFTER)))
    eventually(lambda: service.counts() == {"proof": SLOW_START_AFTER})
    hanging = ThingHappened(name="hangs")
    service.send(hanging, ThingHappened(name="neighbour"))
    assert begun.wait(20)

    service.stop_and_abandon()

    with service.database.read() as connection:
        [record] = connection.execute(select(failures)).mappings()
    go_on.set()
    service.close()
    assert (record["event_id"], record["error"]) == (str(hanging.event_id), "DeadlineExceeded")
    assert (record["attempt"], record["outcome"]) == (1, "retried")
    assert "in hang" in record["traceback"]
