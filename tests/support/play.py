"""A service at work in the test's own process, on an embedded broker."""

import io
import json
import time
from pathlib import Path
from typing import Any

from shared.messaging.codec import encode
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import Retry, Topology, dead_queue
from shared.runtime.logs import log_to
from shared.runtime.metrics import Metrics
from shared.runtime.runner import RunnerParts, ServiceRunner
from shared.runtime.settings import Settings
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.support.counting import CountStore, ThingHappened, count, counting


class Play:
    """A counting service at work on an embedded broker, and what it logs."""

    def __init__(
        self, folder: Path, handler: Any = count, gateway: Any = None, *, database_url: str = ""
    ) -> None:
        service = counting(handler, retry=Retry(delay=0.01, max_delay=0.05, max_retries=2))
        self.broker = EmbeddedBroker(folder / "broker.db")
        self.broker.set_up(Topology(queues=(service.queue(),)))
        self.database = Database(database_url or f"sqlite:///{folder / 'counting.db'}")
        migrate(self.database, service.migrations)
        self.logged = io.StringIO()
        self.metrics = Metrics()
        settings = Settings(home=folder)
        self.running = ServiceRunner(
            RunnerParts(
                service=service,
                settings=settings,
                queue=service.queue(),
                batch_size=10,
                broker=self.broker,
                database=self.database,
                log=log_to(self.logged, settings),
                metrics=self.metrics,
                gateway=gateway,
            )
        )

    def send(self, *events: ThingHappened, body: bytes | None = None) -> None:
        publisher = self.broker.publisher()
        publisher.publish(
            [
                Message(
                    event_id=str(event.event_id),
                    topic=event.topic,
                    type=event.type,
                    body=body or encode(event, source="elsewhere"),
                    source="elsewhere",
                )
                for event in events
            ]
        )
        publisher.close()

    def counted(self) -> dict[str, int]:
        with self.database.read() as connection:
            return CountStore(connection, self.database).counted()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.logged.getvalue().splitlines()]

    def dead(self) -> int:
        consumer = self.broker.consumer(dead_queue("counting"), prefetch=100, slow_start=False)
        found = consumer.take(100, wait=0)
        consumer.close()  # which hands back
        return len(found)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"service": "counting"} | labels)

    def end(self) -> None:
        self.running.stop()
        assert self.running.join(time.monotonic() + 20)
        self.running.close()
        self.broker.close()
