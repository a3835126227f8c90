"""The real services on either broker, and what becomes of hostile messages in them."""

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from shared.messaging.ports.consumer import Outcome
from shared.messaging.topology import topics_matched
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.reactor import DeliveryResult
from shared.runtime.settings import settings_for, settings_override
from shared.runtime.setup import set_up
from shop import registry
from tests.containers import new_vhost
from tests.security.hostile_messages import HostileMessage, corpus

CORPUS = corpus()
RETRIES = {"retry_delay": 0.05, "retry_max_delay": 0.1, "max_retries": 2}


def digest(body: bytes) -> str:
    return sha256(body).hexdigest()


@dataclass
class Observed:
    """What became of each message in the services, and what they wrote."""

    log: io.StringIO = field(default_factory=io.StringIO)
    refused: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _results: dict[tuple[str, str], DeliveryResult] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listen(self, service: str, result: DeliveryResult) -> None:
        if result.outcome is not Outcome.REQUEUE and (
            result.is_dead or result.outcome is Outcome.DONE
        ):
            with self._lock:
                self._results[service, digest(result.delivery.body)] = result

    def result(self, service: str, message: HostileMessage) -> DeliveryResult | None:
        return self._results.get((service, digest(message.body)))

    def missing(self) -> list[tuple[str, str]]:
        """Service and message, without those that the broker itself may drop or refuse."""
        return [
            (service, message.name)
            for service, message in expected(self.refused)
            if self.result(service, message) is None
        ]

    def handled(self, service: str, body: bytes) -> bool:
        result = self._results.get((service, digest(body)))
        return result is not None and result.outcome is Outcome.DONE


def expected(refused: dict[str, str]) -> Iterator[tuple[str, HostileMessage]]:
    """Each service with each message that its queue must have received."""
    for service in registry.all_services():
        for message in CORPUS:
            is_sent = message.name not in refused and "expiration" not in message.name
            if is_sent and topics_matched(service.topics, message.topic):
                yield service.name, message


@contextmanager
def hostile_home(home: Path, broker: dict[str, object]) -> Iterator[None]:
    """The settings of a shop in this folder, which is set up, during the block."""
    values: dict[str, object] = {"home": home, "log_format": "json", **broker}
    for name in registry.names():
        values |= {f"{name}_{key}": value for key, value in RETRIES.items()}
    with settings_override(**values):
        for _ in set_up(registry.all_services()):
            pass
        yield


@contextmanager
def broker_settings(request: pytest.FixtureRequest, broker: str) -> Iterator[dict[str, object]]:
    """The settings of a broker of its own: `embedded`, or a virtual host of `rabbitmq`."""
    if broker == "embedded":
        yield {}
        return
    with new_vhost(request.getfixturevalue("rabbitmq_server")) as vhost:
        yield vhost.settings


@contextmanager
def running(observed: Observed) -> Iterator[ServiceGroup]:
    group = ServiceGroup(
        registry.all_services(), log_to(observed.log, settings_for()), listeners=[observed.listen]
    )
    group.start()
    yield group
    assert group.health() == []
    assert group.stop(20)


class Collecting(logging.Handler):
    """Appends each message to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


@contextmanager
def connection_warnings(warnings: list[str]) -> Iterator[None]:
    """Collect what the broker's connections report, such as that one was lost."""
    handler = Collecting(warnings)
    logger = logging.getLogger("shared.messaging")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@contextmanager
def dead_letters(service: str) -> Iterator[DeadQueue]:
    with DeadQueue.opened(registry.service(service)) as queue:
        yield queue
