"""Prometheus metrics of the services in one process.

Source: https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.errors import ForgedEvent
from shared.messaging.ports.consumer import Outcome
from shared.runtime.reactor import BatchResult, DeliveryResult
from shared.storage import outbox
from shared.storage.database import DATABASE_ERRORS, Database

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class Metrics:
    """The metrics; each is labelled with the service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by_service = ("service",)
        by_type = ("service", "event_type")
        counter = partial(Counter, registry=self.registry)
        histogram = partial(Histogram, labelnames=by_service, registry=self.registry)
        gauge = partial(Gauge, labelnames=by_service, registry=self.registry)

        self.published = counter("shop_events_published", "Confirmed by the broker.", by_service)
        self.rejected = counter("shop_events_rejected", "Rejected by the broker.", by_service)
        self.handled = counter("shop_events_handled", "Effects were committed.", by_type)
        self.duplicate = counter("shop_events_duplicate", "Had been handled before.", by_type)
        self.retried = counter("shop_events_retried", "Attempts to be repeated.", by_type)
        self.dead = counter("shop_events_dead", "Went to the dead queue.", by_type)
        self.forged = counter(
            "shop_events_forged", "Not published by a service that may do so.", by_service
        )
        self.batch_size = histogram("shop_batch_size", "Deliveries in a batch.", buckets=_SIZES)
        self.seconds = histogram(
            "shop_handling_seconds", "From taking a batch to its last outcome.", buckets=_SECONDS
        )
        self.consuming = gauge("shop_consuming", "1 while the broker has the consumer registered.")
        self.waiting = gauge(
            "shop_waiting_age_seconds", "Since the oldest event that is not handled occurred."
        )

    def watch_outbox(self, service: str, database: Database) -> None:
        """Report the backlog of a service's outbox, which is read at each scrape."""
        self.registry.register(_OutboxCollector(service, database))

    def watch_consumer(self, service: str, is_consuming: Callable[[], bool]) -> None:
        """Report whether a service's consumer is registered, which is read at each scrape."""
        self.consuming.labels(service).set_function(lambda: float(is_consuming()))

    def watch_waiting(self, service: str, age: Callable[[], float]) -> None:
        """Report how far a service is behind, in seconds, which is read at each scrape."""
        self.waiting.labels(service).set_function(age)

    def count_sent(self, service: str, sent: int, rejected: int) -> None:
        """Count events that the relay sent, and events that the broker rejected."""
        self.published.labels(service).inc(sent)
        self.rejected.labels(service).inc(rejected)

    def count_batch(self, service: str, batch: BatchResult) -> None:
        """Count a batch, its size and how long it took."""
        self.batch_size.labels(service).observe(len(batch.results))
        self.seconds.labels(service).observe(batch.seconds)

    def count_delivery(self, service: str, result: DeliveryResult) -> None:
        """Count what was done with one delivery; one that is requeued is not counted."""
        if isinstance(result.error, ForgedEvent):
            self.forged.labels(service).inc()
        counter = self._counter(result)
        if counter is not None:
            # An unknown type must not create a time series of its own.
            event = result.event
            event_type = event.type if event and event.topic else "unknown"
            counter.labels(service, event_type).inc()

    def _counter(self, result: DeliveryResult) -> Counter | None:
        if result.outcome is Outcome.DONE:
            return self.duplicate if result.duplicate else self.handled
        if result.is_dead:
            return self.dead
        return self.retried if result.outcome is Outcome.RETRY else None


class _OutboxCollector(Collector):
    def __init__(self, service: str, database: Database) -> None:
        self._service = service
        self._database = database

    def describe(self) -> Iterable[GaugeMetricFamily]:
        # The registry allows a metric only once; the collectors differ in their label.
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            with self._database.read() as connection:
                backlog = outbox.backlog(connection)
        except DATABASE_ERRORS:
            return  # no value is better than a wrong one; /readyz reports the database
        for name, documentation, value in (
            ("shop_outbox_depth", "Events committed and not sent yet.", backlog.depth),
            ("shop_outbox_age_seconds", "Age of the oldest of them.", backlog.age),
            ("shop_outbox_rejected", "Events rejected by the broker.", backlog.rejected),
        ):
            family = GaugeMetricFamily(name, documentation, labels=["service"])
            family.add_metric([self._service], value)
            yield family
