"""A service process: services under one supervisor, from start to exit code.

It stops on SIGTERM and SIGINT within its grace period. It also ends when one of its threads ends
(exit code 1) or when a handler exceeds its deadline (exit code 70). The operating system's service
manager or the container engine must restart it.
"""

import gc
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shared.errors import ShopError
from shared.messaging.connect import broker_at
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Broker
from shared.runtime.logs import Log, process_log
from shared.runtime.metrics import Metrics
from shared.runtime.runner import Listener, ServiceRunner
from shared.runtime.service import AnyService, require_consent
from shared.runtime.service_settings import service_settings_of
from shared.runtime.settings import Settings, settings_for
from shared.runtime.watchdog import Overrun
from shared.storage import failures
from shared.storage.database import Database

if TYPE_CHECKING:
    from shared.runtime.health import HealthServer

CHECK_SECONDS = 0.2
EXIT_FAILED = 1
EXIT_HUNG = 70
"""EX_SOFTWARE of sysexits.h."""

Signals = queue.SimpleQueue[int]
"""Signals that ask the process to stop. A signal handler interrupts the thread that waits for it,
and would wait for itself at the lock of a threading.Event; SimpleQueue.put is reentrant:
https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put"""


class ServiceGroup:
    """Services that run in one process; those on the embedded broker share one connection to it.

    Args:
        services: the services to run.
        listeners: called with the result of each delivery.
        gateway: by a service's name, its gateway instead of the one of its settings.
        from_history: begin a catch-up for each service, whatever its settings are.

    Raises:
        InvalidInput: a setting has a wrong value.
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
        self.metrics = Metrics()
        self._from_history = from_history
        self._gateways = gateway or {}
        self._brokers: dict[str, Broker] = {}
        self._listeners = listeners
        self.runners = [self._runner(each) for each in services]

    def _runner(self, service: AnyService) -> ServiceRunner:
        name = service.name
        settings, numbers = settings_for(name), service_settings_of(service)
        database = Database(settings.database_url_of(name), app=name)
        return ServiceRunner(
            service=service,
            settings=settings,
            broker=self._broker(settings.broker_url_of(name), name),
            database=database,
            log=self.log,
            metrics=self.metrics,
            # A SQLite file has one writer at a time.
            concurrency=numbers.concurrency if service.gateway and not database.is_sqlite else 1,
            gateway=self._gateway(service, settings),
            from_history=self._from_history or numbers.from_history,
            listeners=self._listeners,
        )

    def _gateway(self, service: AnyService, settings: Settings) -> Any:  # noqa: ANN401 - of the service's own class
        if service.name in self._gateways or service.gateway is None:
            return self._gateways.get(service.name)
        return service.gateway.from_settings(settings)

    def _broker(self, url: str, app: str) -> Broker:
        if url not in self._brokers:
            self._brokers[url] = broker_at(url, app=app)
        return self._brokers[url]

    def start(self) -> None:
        """Start all services."""
        for runner in self.runners:
            runner.start()

    def stop(self, grace: float) -> bool:
        """Stop all services.

        Args:
            grace: seconds to wait for them.

        Returns:
            Whether all have ended.
        """
        until = time.monotonic() + grace
        for runner in self.runners:
            runner.stop()
        ended = all(runner.join(until) for runner in self.runners)
        for broker in self._brokers.values():
            broker.close()
        if ended:
            for runner in self.runners:
                runner.close()
        return ended

    def health(self) -> list[str]:
        """The problems of the process itself."""
        return [problem for runner in self.runners for problem in runner.health()]

    def readiness(self) -> list[str]:
        """The problems that keep the services from reacting."""
        return [problem for runner in self.runners for problem in runner.readiness()]


def run(
    services: Sequence[AnyService],
    settings: Settings,
    *,
    everyone: Callable[[], Sequence[AnyService]],
    from_history: bool = False,
) -> int:
    """Run services until a signal, or until one of them fails.

    Embedded brokers and databases are set up first; servers are set up by `shop setup`.

    Args:
        everyone: returns all services, because an embedded broker also keeps messages for services
            that are not running; only called if something is embedded, to save memory.
        from_history: begin a catch-up for each, with the consent of the person who runs them; a
            setting alone is not consent for a service that publishes or has a gateway.

    Returns:
        The exit code; if a service did not stop within the grace period, the process ends instead.

    Raises:
        ShopError: a setting is wrong, or a port is in use.
    """
    log = process_log(settings)
    for service in services:
        if service_settings_of(service).from_history and not from_history:
            require_consent(service)
    is_new = not settings.broker_url and settings.home_is_empty
    if settings.has_files:
        from shared.runtime.setup import set_up_embedded  # noqa: PLC0415 - not needed with servers

        set_up_embedded(everyone(), settings, starting=[each.name for each in services])
    group = ServiceGroup(services, log, from_history=from_history)
    stopping: Signals = queue.SimpleQueue()
    with _on_signals(stopping), fewer_collections():
        server = _serve(group, settings)
        if is_new:
            log.info("made a new shop", folder=str(settings.home.absolute()))
        group.start()
        for runner in group.runners:
            log.info("started", service=runner.name)
        code = _supervise(group, stopping)
        has_ended = group.stop(settings.grace)
        if server is not None:
            server.close()
    if not has_ended:
        log.error("did not stop within the grace period", seconds=settings.grace)
    log.info("stopped")
    if not has_ended:
        os._exit(code or EXIT_FAILED)  # the interpreter would wait for the executors' threads
    return code


def _serve(group: ServiceGroup, settings: Settings) -> "HealthServer | None":
    if settings.http_port is None:
        return None
    from shared.runtime.health import HealthServer  # noqa: PLC0415 - most processes serve nothing

    return HealthServer(
        settings.http_host,
        settings.http_port,
        health=group.health,
        readiness=group.readiness,
        registry=group.metrics.registry,
    )


def _supervise(group: ServiceGroup, stopping: Signals) -> int:
    """Watch the threads until a signal; returns the exit code."""
    while not _asked_to_stop(stopping):
        for runner in group.runners:
            if runner.failed is not None:
                _log_failure(group.log, runner.name, runner.failed)
                return EXIT_FAILED
            overrun = runner.watchdog.overrun(runner.deadline)
            if overrun is not None:
                _end_hung(group.log, runner, overrun)
    return 0


def _asked_to_stop(stopping: Signals) -> bool:
    try:
        stopping.get(timeout=CHECK_SECONDS)
    except queue.Empty:
        return False
    return True


def _log_failure(log: Log, service: str, error: BaseException) -> None:
    if isinstance(error, ShopError):
        log.error("cannot continue", service=service, reason=str(error))
    else:
        name, message, stack = failures.describe(error)
        log.error("unexpected error", service=service, error=name, reason=message, stack=stack)


def _end_hung(log: Log, runner: ServiceRunner, overrun: Overrun) -> None:
    """End the process, because a thread that hangs cannot be ended alone."""
    log.error(
        "handler exceeded its deadline, process ends",
        service=runner.name,
        event_id=Identity.of(overrun.delivery).id if overrun.delivery else None,
        seconds=runner.deadline,
    )
    runner.abandon(overrun)
    os._exit(EXIT_HUNG)


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Exclude all loaded objects from garbage collection, and collect less often.

    With Python's threshold of 700 new objects, each event caused a collection, which took a
    fifteenth of a service's time.
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
    """Put SIGTERM and SIGINT into the queue; a signal handler must not do more than that."""
    before = {
        number: signal.signal(number, lambda caught, _: stopping.put(caught))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
