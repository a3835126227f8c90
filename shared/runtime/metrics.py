"""Prometheus metrics of the services in one process.

Source: names and units follow https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.messaging.ports.consumer import Outcome
from shared.runtime.reactor import BatchResult, DeliveryResult
from shared.storage import outbox
from shared.storage.database import DATABASE_ERRORS, Database

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class Metrics:
    """Counts what services do; each metric is labelled with the service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by_type = ("service", "event_type")

        def counter(name: str, documentation: str, labels: tuple[str, ...] = by_type) -> Counter:
            return Counter(f"shop_events_{name}", documentation, labels, registry=self.registry)

        self.published = counter("published", "Events confirmed by the broker.", ("service",))
        self.refused = counter("refused", "Events the broker will never take.", ("service",))
        self.handled = counter("handled", "Events whose effects were committed.")
        self.duplicate = counter("duplicate", "Events that had been handled before.")
        self.retried = counter("retried", "Failed attempts that will be repeated.")
        self.dead = counter("dead", "Events that went to the dead queue.")
        self.batch_size = Histogram(
            "shop_batch_size",
            "Deliveries taken at once.",
            ("service",),
            buckets=_SIZES,
            registry=self.registry,
        )
        self.seconds = Histogram(
            "shop_handling_seconds",
            "From taking a batch to its last outcome.",
            ("service",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.consuming = Gauge(
            "shop_consuming",
            "1 while the broker has the consumer registered.",
            ("service",),
            registry=self.registry,
        )

    def watch_outbox(self, service: str, database: Database) -> None:
        """Report depth and age of a service's outbox whenever somebody asks."""
        self.registry.register(_OutboxCollector(service, database))

    def watch_consumer(self, service: str, is_consuming: Callable[[], bool]) -> None:
        """Report whether a service's consumer is registered whenever somebody asks."""
        self.consuming.labels(service).set_function(lambda: float(is_consuming()))

    def reaction(self, service: str, reaction: BatchResult) -> None:
        """Count what was done with all that was taken."""
        self.batch_size.labels(service).observe(len(reaction.reacted))
        self.seconds.labels(service).observe(reaction.seconds)

    def reacted(self, service: str, reacted: DeliveryResult, *, dies: bool) -> None:
        """Count what was done with one delivery.

        Args:
            dies: it was the last attempt that the broker allows.
        """
        counted = self._counter(reacted, dies=dies)
        if counted is not None:
            # A type that a stranger made up must not become a time series of its own.
            known = reacted.event.type if reacted.event and reacted.event.topic else "unknown"
            counted.labels(service, known).inc()

    def _counter(self, reacted: DeliveryResult, *, dies: bool) -> Counter | None:
        if reacted.outcome is Outcome.DONE:
            return self.duplicate if reacted.duplicate else self.handled
        if reacted.outcome is Outcome.DEAD or dies:
            return self.dead
        return self.retried if reacted.outcome is Outcome.RETRY else None


class _OutboxCollector(Collector):
    def __init__(self, service: str, database: Database) -> None:
        self._service = service
        self._database = database

    def describe(self) -> Iterable[GaugeMetricFamily]:
        # Told apart by their label, so each service may register its own.
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            with self._database.read() as connection:
                found = outbox.backlog(connection)
        except DATABASE_ERRORS:
            return  # no figure is better than a wrong one; /readyz says that the database is away
        for name, documentation, value in (
            ("shop_outbox_depth", "Events committed and not sent yet.", found.depth),
            ("shop_outbox_age_seconds", "How long the oldest of them waits.", found.age),
            ("shop_outbox_refused", "Events that the broker will never take.", found.rejected),
        ):
            family = GaugeMetricFamily(name, documentation, labels=["service"])
            family.add_metric([self._service], value)
            yield family
