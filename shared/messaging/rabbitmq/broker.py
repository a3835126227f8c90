"""The RabbitMQ adapter of the broker port."""

import logging
import threading
from typing import TypeVar
from weakref import WeakSet

from shared.errors import BrokerUnavailable
from shared.messaging.ports.broker import Depth
from shared.messaging.rabbitmq import installation, pika_internals, removal
from shared.messaging.rabbitmq.address import parse
from shared.messaging.rabbitmq.bindings import existing_bindings
from shared.messaging.rabbitmq.connection import BrokerConnection
from shared.messaging.rabbitmq.consumer import RabbitConsumer
from shared.messaging.rabbitmq.history import RabbitHistory
from shared.messaging.rabbitmq.inspection import depth_of, inspect
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.publisher import RabbitPublisher
from shared.messaging.rabbitmq.resources import shortages
from shared.messaging.rabbitmq.session import open_session
from shared.messaging.topology import EVENTS, Queue, Topology, surplus_topics

_C = TypeVar("_C", bound=BrokerConnection)


class RabbitBroker:
    """RabbitMQ 4.3.1 or newer. For any thread.

    Args:
        url: `amqp://user:password@host:5672/vhost`.
        admin_url: `http://user:password@host:15672`, the management API; None to set up and check
            only what is possible without it.
        app: the start of the connections' names at the broker.

    Raises:
        InvalidInput: a URL is invalid.
    """

    def __init__(self, url: str, *, admin_url: str | None = None, app: str = "shop") -> None:
        # pika logs, with tracebacks, errors that this package handles and reports itself.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        pika_internals.configure()
        self._address = parse(url)
        self._session_address = self._address.with_connection_name(app)
        self._management = Management(admin_url) if admin_url else None
        self._app = app
        self._connections: WeakSet[BrokerConnection] = WeakSet()
        self._lock = threading.Lock()

    @property
    def user(self) -> str:
        """See the port."""
        return self._address.user

    def set_up(self, topology: Topology) -> list[str]:
        return installation.install(topology, self._session_address, self._management)

    def check(self, topology: Topology) -> list[str]:
        try:
            return inspect(topology, self._session_address, self._management)
        except BrokerUnavailable as error:
            return [str(error)]

    def ended_subscriptions(self, topology: Topology) -> dict[str, frozenset[str]]:
        if self._management is None:
            return {}
        existing = existing_bindings(self._management, self._address.vhost)
        declared = [each.as_declared for each in existing]
        bound = [(each.queue, each.key) for each in declared if each and each.exchange == EVENTS]
        return surplus_topics(topology, bound)

    def probe(self) -> str:
        """See the port."""
        with open_session(self._session_address) as session:
            return session.version

    def shortages(self) -> list[str]:
        """See the port; empty without the management API."""
        return list(shortages(self._management)) if self._management else []

    def clock_difference(self) -> float | None:
        """See the port; None without the management API."""
        return self._management.clock_difference() if self._management else None

    def depth(self, queue: str) -> Depth:
        return depth_of(queue, self._session_address)

    def size(self, queue: str) -> int:
        known = removal.size(self._admin(), self._address.vhost, queue)
        # The management API counts delayed messages too, but some seconds late.
        return known or (0 if known is None else self.depth(queue).ready)

    def consumers(self, queue: str) -> int:
        found = self._admin().get("queues", self._address.vhost, queue) or {}
        return int(found.get("consumers", 0))

    def remove(self, service: str, *, has_user: bool) -> None:
        removal.remove(self._admin(), self._address.vhost, service, has_user=has_user)

    def _admin(self) -> Management:
        if self._management is None:
            raise BrokerUnavailable(
                "this needs the broker's management API: set SHOP_BROKER_ADMIN_URL"
            )
        return self._management

    def bind(self, queue: Queue) -> None:
        installation.bind(queue, self._session_address)

    def publisher(self) -> RabbitPublisher:
        return self._tracked(RabbitPublisher(self._address, name=f"{self._app} publisher"))

    def consumer(self, queue: str, *, prefetch: int, slow_start: bool = True) -> RabbitConsumer:
        name = f"{self._app} consumer of {queue}"
        return self._tracked(
            RabbitConsumer(
                self._address, queue, prefetch=prefetch, slow_start=slow_start, name=name
            )
        )

    def history(self) -> RabbitHistory:
        return RabbitHistory(self._address.with_connection_name(f"{self._app} history"))

    def close(self) -> None:
        with self._lock:
            connections, self._connections = list(self._connections), WeakSet()
        for connection in connections:
            connection.close()

    def _tracked(self, connection: _C) -> _C:
        with self._lock:
            self._connections.add(connection)
        return connection
