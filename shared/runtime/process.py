"""A process: services at work under one supervisor, from the first line to the exit code.

It stops on SIGTERM and SIGINT within its grace. It ends by itself when a thread dies (exit code 1)
or when a handler exceeds its deadline (exit code 70), to be restarted by whoever started it.
"""

import gc
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from shared.errors import ShopError
from shared.messaging.connect import broker_at
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Broker
from shared.runtime import health
from shared.runtime.logs import Log, standard_log
from shared.runtime.metrics import Metrics
from shared.runtime.runner import Listener, RunnerParts, ServiceRunner
from shared.runtime.service import AnyService, require_consent
from shared.runtime.service_settings import queue_of, service_settings_of
from shared.runtime.settings import Settings, settings_for
from shared.storage import failures
from shared.storage.database import Database

LOOK_EVERY = 0.2
EXIT_HUNG = 70
"""EX_SOFTWARE of sysexits.h."""

Signals = queue.SimpleQueue[int]
"""What asked to stop. A signal handler interrupts the very thread that waits, and would wait for
itself at the lock of a threading.Event; SimpleQueue.put is made for that:
https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put"""


class ServiceGroup:
    """Services at work together in one process, sharing one broker when embedded.

    Args:
        services: what is to run.
        listeners: told of each reaction.
        gateway: what a service is to act on instead of what its settings say, by its name.
        from_history: bring each what happened before it was there, whatever its settings say.
    """

    def __init__(
        self,
        services: Sequence[AnyService],
        log: Log,
        *,
        listeners: Sequence[Listener] = (),
        gateway: Mapping[str, Any] | None = None,
        from_history: bool = False,
    ) -> None:
        self.log = log
        self._from_history = from_history
        self._gateway = dict(gateway or {})
        self.metrics = Metrics()
        self._brokers: dict[str, Broker] = {}
        self._listeners = list(listeners)
        self.running = [self._running(each) for each in services]

    def _running(self, service: AnyService) -> ServiceRunner:
        settings, tuning = settings_for(service.name), service_settings_of(service)
        database = Database(settings.database_url_of(service.name), app=service.name)
        parts = RunnerParts(
            service=service,
            settings=settings,
            queue=queue_of(service),
            batch_size=1 if service.gateway else tuning.batch_size,
            # RabbitMQ takes back what is held for too long; a file has the patience.
            held=2 * tuning.concurrency if settings.is_embedded else 0,
            # Those who write one file take turns, so side by side they would only wait.
            concurrency=tuning.concurrency if service.gateway and not database.is_sqlite else 1,
            from_history=self._from_history or tuning.from_history,
            broker=self._broker(settings, service.name),
            database=database,
            log=self.log,
            metrics=self.metrics,
            gateway=self._gateway_of(service, settings),
            listeners=self._listeners,
        )
        return ServiceRunner(parts)

    def _gateway_of(self, service: AnyService, settings: Settings) -> Any:  # noqa: ANN401 - its own
        if service.name in self._gateway or service.gateway is None:
            return self._gateway.get(service.name)
        return service.gateway.from_settings(settings)

    def _broker(self, settings: Settings, service: str) -> Broker:
        url = settings.broker_url_of(service)
        if url not in self._brokers:
            self._brokers[url] = broker_at(url, app=service)
        return self._brokers[url]

    def start(self) -> None:
        """Begin, all of them."""
        for each in self.running:
            each.start()

    def stop(self, grace: float) -> bool:
        """Stop, all of them; answers whether they did within that many seconds."""
        until = time.monotonic() + grace
        for each in self.running:
            each.stop()
        ended = True
        for each in self.running:
            ended = each.join(until) and ended
        for broker in self._brokers.values():
            broker.close()
        if ended:
            for each in self.running:
                each.close()
        return ended

    def health(self) -> list[str]:
        """What is wrong with the process itself."""
        return [problem for each in self.running for problem in each.health()]

    def readiness(self) -> list[str]:
        """What keeps it from doing its work."""
        return [problem for each in self.running for problem in each.readiness()]


def run(
    services: Sequence[AnyService],
    settings: Settings,
    *,
    everyone: Callable[[], Sequence[AnyService]],
    from_history: bool = False,
) -> int:
    """Run services until a signal, or until one cannot go on.

    What is embedded is set up first; what is not, by `shop setup`.

    Args:
        everyone: all services there are, so that an embedded broker keeps for each what it
            subscribed to, whether it runs or not; asked only for what is embedded, since each
            service takes memory.
        from_history: bring them what happened before they were there, and it is meant: a setting
            alone is refused for a service that does more than keep what it hears.

    Returns:
        The exit code.

    Raises:
        ShopError: a setting is wrong, or a port is in use.
    """
    log = standard_log(settings)
    for service in services:
        if service_settings_of(service).from_history and not from_history:
            require_consent(service)
    if settings.has_files:
        from shared.runtime.setup import set_up_embedded  # noqa: PLC0415 - on servers unused

        set_up_embedded(everyone(), settings)
    group = ServiceGroup(services, log, from_history=from_history)
    stopping: Signals = queue.SimpleQueue()
    with _on_signals(stopping), fewer_collections():
        server = None
        if settings.http_port is not None:
            server = health.serve(
                settings.http_host,
                settings.http_port,
                health=group.health,
                readiness=group.readiness,
                registry=group.metrics.registry,
            )
        group.start()
        for each in group.running:
            log.info("started", service=each.name)
        code = _supervise(group, stopping)
        if not group.stop(settings.grace):
            log.error("did not finish within its grace", seconds=settings.grace)
            code = code or 1
        if server is not None:
            server.shutdown()
            server.server_close()
    log.info("stopped")
    return code


def _supervise(group: ServiceGroup, stopping: Signals) -> int:
    """Watch the threads until a signal; answers the exit code."""
    while not _asked_to_stop(stopping):
        for each in group.running:
            if each.failed is not None:
                _say_why(group.log, each)
                return 1
            step = each.watch.longest
            if step is not None and time.monotonic() - step.since > each.deadline:
                _end_hung(group.log, each)
    return 0


def _asked_to_stop(stopping: Signals) -> bool:
    try:
        stopping.get(timeout=LOOK_EVERY)
    except queue.Empty:
        return False
    return True


def _say_why(log: Log, running: ServiceRunner) -> None:
    error = running.failed
    if isinstance(error, ShopError):
        log.error("cannot go on", service=running.name, reason=str(error))
    elif error is not None:
        name, message, stack = failures.described(error)
        log.error("broke down", service=running.name, error=name, reason=message, stack=stack)


def _end_hung(log: Log, running: ServiceRunner) -> None:
    """End the process: a handler that hangs cannot be ended alone in Python."""
    step = running.watch.longest
    delivery = step.delivery if step else None
    log.error(
        "handler exceeded its deadline; the process ends to be restarted",
        service=running.name,
        event_id=Identity.of(delivery).id if delivery else None,
        seconds=running.deadline,
    )
    running.abandon()
    os._exit(EXIT_HUNG)


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Leave what has been loaded out of the collector's rounds, and let it make them rarely.

    Python made one for 700 new objects, so for each event: a fifteenth of a service's time.
    Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def _on_signals(stopping: Signals) -> Iterator[None]:
    """Pass on SIGTERM and SIGINT; a signal handler may do no more than that."""
    before = {
        number: signal.signal(number, lambda caught, _: stopping.put(caught))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
