"""A service that runs in the test's own process, on an embedded broker."""

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
from shared.runtime.runner import ServiceRunner
from shared.runtime.settings import Settings
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.support.counting import CountStore, ThingHappened, count, counting


class RunningService:
    """A counting service on an embedded broker, with its log and its metrics."""

    def __init__(
        self, folder: Path, handler: Any = count, gateway: Any = None, *, database_url: str = ""
    ) -> None:
        retry = Retry(delay=0.01, max_delay=0.05, max_retries=2)
        service = counting(handler, retry=retry, batch_size=10)
        self.broker = EmbeddedBroker(folder / "broker.db")
        self.broker.set_up(Topology(queues=(service.queue(),)))
        self.database = Database(database_url or f"sqlite:///{folder / 'counting.db'}")
        migrate(self.database, service.migrations)
        self.log_output = io.StringIO()
        self.metrics = Metrics()
        settings = Settings(home=folder)
        self.runner = ServiceRunner(
            service=service,
            settings=settings,
            broker=self.broker,
            database=self.database,
            log=log_to(self.log_output, settings),
            metrics=self.metrics,
            gateway=gateway,
        )

    def send(self, *events: ThingHappened, body: bytes | None = None) -> None:
        """Publish events, or messages with this body instead of the events' own."""
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

    def counts(self) -> dict[str, int]:
        """How often each thing was counted."""
        with self.database.read() as connection:
            return CountStore(connection, self.database).counted()

    def log_lines(self, *events: str) -> list[dict[str, Any]]:
        """The lines of the log, or those with these event names."""
        lines = [json.loads(line) for line in self.log_output.getvalue().splitlines()]
        return [line for line in lines if not events or line["event"] in events]

    def dead_letters(self) -> int:
        """The number of messages in the dead queue."""
        consumer = self.broker.consumer(dead_queue("counting"), prefetch=100, slow_start=False)
        deliveries = consumer.take(100, wait=0)
        consumer.close()  # requeues them
        return len(deliveries)

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a metric; None if it has none."""
        return self.metrics.registry.get_sample_value(name, {"service": "counting"} | labels)

    def stop_and_abandon(self) -> None:
        """Do what the supervisor does when a handler exceeds its deadline, except to exit."""
        overrun = self.runner.watchdog.overrun(0)
        assert overrun is not None
        self.runner.stop()
        self.runner.abandon(overrun)

    def close(self) -> None:
        """Stop the service and close its files."""
        self.runner.stop()
        assert self.runner.join(time.monotonic() + 20)
        self.runner.close()
        self.broker.close()
