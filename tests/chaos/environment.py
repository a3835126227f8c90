"""A running system for the chaos tests: servers, proxies, processes, customers, a mail server."""

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg

from shared.errors import BrokerUnavailable
from shared.messaging.ports.publisher import Message
from shared.messaging.rabbitmq.errors import PIKA_ERRORS
from shared.messaging.rabbitmq.management import Management
from shared.runtime.settings import OPERATOR
from shared.runtime.setup import ADMIN_SECRETS
from shared.storage.database import DATABASE_ERRORS, Database
from shop import registry
from tests.chaos import broker_contents, greed, invariants, servers
from tests.chaos.any_environment import (
    LOW_LIMIT_SERVICE,
    SHOP,
    AnyEnvironment,
    unless_violated,
    without_settings,
)
from tests.chaos.greed import Headers
from tests.chaos.mail_server import RecordingMailServer
from tests.chaos.proxies import Proxies, TcpProxy
from tests.chaos.servers import PASSWORD, ServerContainer
from tests.chaos.state import BrokerContents, SystemState, read_state
from tests.chaos.supervisor import SupervisedProcess, Supervisor

DEFAULT_TUNING = {
    "RETRY_DELAY": "0.2",
    "RETRY_MAX_DELAY": "2",
    "MAX_RETRIES": "500",
    "DEADLINE": "30",
}
TUNING = {
    LOW_LIMIT_SERVICE: DEFAULT_TUNING
    | {"MAX_RETRIES": "6", "RETRY_MAX_DELAY": "1", "DEADLINE": "4"}
}

SERVICE_PROCESSES = (
    ("orders", False),
    ("inventory-1", True),
    ("inventory-2", True),
    ("email", True),
    ("shipping", False),
    ("analytics", False),
    ("loyalty", True),
)
"""Names, and whether handlers are made to fail; otherwise the console script runs."""


@dataclass(slots=True, kw_only=True)
class ChaosEnvironment(AnyEnvironment):
    """The system on RabbitMQ and PostgreSQL, each service with a user of its own there.

    Attributes:
        proxy_of: each process's proxies, to "broker" and "database".
    """

    broker: ServerContainer
    postgres: ServerContainer
    mail_server: RecordingMailServer
    proxies: Proxies = field(default_factory=Proxies)
    proxy_of: dict[str, dict[str, TcpProxy]] = field(default_factory=dict)

    @property
    def management(self) -> Management:
        return Management(servers.admin_url(self.broker))

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of a program that connects without the proxies."""
        tuning = {
            f"SHOP_{name.upper()}_{what}": value
            for name in registry.names()
            for what, value in TUNING.get(name, DEFAULT_TUNING).items()
        }
        return (
            without_settings(os.environ)
            | tuning
            | {
                "SHOP_HOME": str(self.home),
                "SHOP_KEYS": str(self.home / "keys"),
                "SHOP_BROKER_URL": servers.amqp_url(self.broker.ports[5672], "{service}"),
                "SHOP_BROKER_ADMIN_URL": servers.admin_url(self.broker),
                "SHOP_DATABASE_URL": _database_url(self.postgres.ports[5432]),
                "SHOP_DATABASE_ADMIN_URL": servers.database_url(self.postgres),
                "SHOP_SMTP_URL": f"smtp://127.0.0.1:{self.mail_server.port}",
                "SHOP_GRACE": "20",
                "CHAOS_SEED": str(self.seed),
            }
        )

    def admin(self, query: str, *parameters: object, database: str = "postgres") -> list[Any]:
        """Query the database server as its administrator."""
        url = servers.database_url(self.postgres, database)
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            found = connection.execute(query.encode(), parameters or None)
            return found.fetchall() if found.description else []

    @property
    def admin_broker_url(self) -> str:
        """The broker's URL for its administrator."""
        return servers.amqp_url(self.broker.ports[5672])

    def broker_url_of(self, user: str) -> str:
        return servers.amqp_url(self.broker.ports[5672], user)

    @property
    def has_users(self) -> bool:
        return True

    def dead_letter_ids(self, service: str) -> list[str]:
        url = self.admin_broker_url
        return list(broker_contents.rabbitmq(url, [service], expected=set(), left=[]).dead[service])

    @contextmanager
    def overused(self, service: str, flood: Sequence[tuple[Message, Headers]]) -> Iterator[str]:
        url = servers.database_url(self.postgres, service, role=service)
        with (
            greed.broker_taken(self.broker_url_of(service), service, flood) as at_broker,
            greed.role_taken(url) as at_database,
        ):
            yield (
                f"{at_broker[0]} connections with {at_broker[1]} channels at the broker, "
                f"{at_database} connections at the database"
            )

    def mails(self) -> Sequence[str]:
        return self.mail_server.mails

    def transactions(self, *who: str) -> list[str]:
        """The application names of open transactions that have written."""
        rows = self.admin(
            "SELECT application_name FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
        )
        return [name for (name,) in rows if not who or name in who]

    def is_reacting(self, process: SupervisedProcess) -> bool:
        """Whether it has an open transaction that has written to its inbox."""
        return bool(
            self.admin(
                """SELECT 1 FROM pg_locks JOIN pg_class ON pg_class.oid = relation
                JOIN pg_stat_activity USING (pid) WHERE relname = 'inbox'
                AND mode = 'RowExclusiveLock' AND application_name = %s""",
                process.name,
                database=process.service,
            )
        )

    def unacknowledged(self, *queues: str) -> int:
        """How many messages are unacknowledged in these queues, at most half a second old."""
        wanted = queues or registry.names()
        return sum(
            each.get("messages_unacknowledged", 0)
            for each in self._totals()
            if each["name"] in wanted
        )

    def _totals(self) -> list[dict[str, Any]]:
        """The queues' own counts; the management API's samples are up to 5 s old."""
        query = "/api/queues?disable_stats=true&enable_queue_totals=true"
        connection = HTTPConnection("127.0.0.1", self.broker.ports[15672], timeout=5)
        login = base64.b64encode(f"chaos:{PASSWORD}".encode()).decode()
        try:
            connection.request("GET", query, headers={"Authorization": f"Basic {login}"})
            found: list[dict[str, Any]] = json.load(connection.getresponse())
        finally:
            connection.close()
        return found

    def state(self) -> SystemState:
        before = read_state(self.databases, BrokerContents(), self.context())
        sent = {each.event_id for each in before.outbox}
        left = broker_contents.remaining_messages(self.management.get("queues") or [])
        url = self.admin_broker_url
        broker = broker_contents.rabbitmq(url, self.databases, expected=sent, left=left)
        shown = frozenset(self._shown_applied(broker, before.inbox))
        return read_state(self.databases, replace(broker, shown_applied=shown), self.context())

    def _shown_applied(
        self, broker: BrokerContents, inbox: Mapping[str, Mapping[str, str]]
    ) -> Iterator[tuple[str, str]]:
        for name, dead in broker.dead.items():
            for each in inbox[name].keys() & set(dead):
                if json.loads(self.shop("dead", "show", name, each, "--json")).get("applied"):
                    yield name, each

    def state_if_consistent(self) -> SystemState | None:
        try:
            # The databases show unfinished work, and querying them is cheap.
            if invariants.each_fact_is_published_once(read_state(self.databases, BrokerContents())):
                return None
            if broker_contents.remaining_messages(self.management.get("queues") or []):
                return None
            return unless_violated(self.state())
        except (BrokerUnavailable, *PIKA_ERRORS, *DATABASE_ERRORS):
            return None


@contextmanager
def running_environment(
    home: Path, *, seed: int, processes: Sequence[tuple[str, bool]] = SERVICE_PROCESSES
) -> Iterator[ChaosEnvironment]:
    """Start everything; stop and remove it at the end.

    Args:
        processes: the name of each, and whether some of its handlers are made to fail.
    """
    with ExitStack() as stack:
        broker = stack.enter_context(servers.rabbitmq())
        postgres = stack.enter_context(servers.postgres())
        mail_server = RecordingMailServer()
        mail_server.open()
        stack.callback(mail_server.close)
        environment = ChaosEnvironment(
            home=home, seed=seed, broker=broker, postgres=postgres, mail_server=mail_server
        )
        stack.callback(environment.proxies.close)
        _write_keys(environment)
        environment.shop("setup")
        for name in registry.names():
            url = _database_url(postgres.ports[5432]).replace("{service}", name)
            environment.databases[name] = Database(url, app="chaos")
            stack.callback(environment.databases[name].close)
        environment.restock()
        environment.supervisor = Supervisor(
            [_process(environment, name, fails=fails) for name, fails in processes]
        )
        environment.supervisor.start()
        stack.callback(environment.supervisor.stop)
        yield environment


def _write_keys(environment: ChaosEnvironment) -> None:
    """The folder of secrets, without which set-up makes no users; services have theirs in URLs."""
    for name in (*registry.names(), *ADMIN_SECRETS, OPERATOR):
        (environment.home / "keys" / name).mkdir(parents=True)
    url = environment.home / "keys" / "rabbitmq" / "shop_broker_url"
    url.write_text(environment.admin_broker_url)


def _process(environment: ChaosEnvironment, name: str, *, fails: bool) -> SupervisedProcess:
    service = name.partition("-")[0]
    proxy_of = environment.proxy_of[name] = {
        "broker": environment.proxies.add(("127.0.0.1", environment.broker.ports[5672])),
        "database": environment.proxies.add(("127.0.0.1", environment.postgres.ports[5432])),
    }
    variables = environment.settings | {
        "SHOP_BROKER_URL": servers.amqp_url(proxy_of["broker"].port, "{service}"),
        "SHOP_DATABASE_URL": _database_url(proxy_of["database"].port),
        "SHOP_LOG_FORMAT": "json",
        "CHAOS_NAME": name,
    }
    failing = [sys.executable, "-m", "tests.chaos.faulty_service", service]
    command = failing if fails else [str(SHOP), "run", service]
    log = environment.home / f"{name}.log"
    return SupervisedProcess(
        name=name, service=service, command=command, environment=variables, log=log
    )


def _database_url(port: int) -> str:
    return f"postgresql://{{service}}:{PASSWORD}@127.0.0.1:{port}/{{service}}"
