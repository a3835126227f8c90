"""A running system for the chaos tests without servers: all services share the broker's file."""

import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

from shared.errors import BrokerUnavailable
from shared.messaging.ports.publisher import Message
from shared.storage.database import DATABASE_ERRORS, Database
from shop import registry
from tests.chaos import broker_contents
from tests.chaos.any_environment import AnyEnvironment, unless_violated, without_settings
from tests.chaos.greed import Headers
from tests.chaos.state import SystemState, read_state
from tests.chaos.supervisor import SupervisedProcess, Supervisor

UNTIL_RETRIED = {"RETRY_DELAY": "0.1", "RETRY_MAX_DELAY": "1"}


@dataclass(slots=True, kw_only=True)
class EmbeddedEnvironment(AnyEnvironment):
    """The system in files."""

    @property
    def settings(self) -> dict[str, str]:
        tuning = {
            f"SHOP_{name.upper()}_{what}": value
            for name in registry.names()
            for what, value in UNTIL_RETRIED.items()
        }
        own = {"SHOP_HOME": str(self.home), "CHAOS_SEED": str(self.seed)}
        return without_settings(os.environ) | tuning | own

    @property
    def has_users(self) -> bool:
        return False

    def broker_url_of(self, user: str) -> str:
        del user
        return f"embedded:{self.home / 'broker.db'}"

    def dead_letter_ids(self, service: str) -> list[str]:
        return list(broker_contents.embedded(self.home / "broker.db", [service]).dead[service])

    @contextmanager
    def overused(self, service: str, flood: Sequence[tuple[Message, Headers]]) -> Iterator[str]:
        """Publish, and hold the write lock of the service's own database."""
        self.publish(*(message for message, _ in flood))
        with closing(sqlite3.connect(self.home / f"{service}.db", isolation_level=None)) as own:
            own.execute("BEGIN IMMEDIATE")
            yield "its database locked"
            own.execute("ROLLBACK")

    def mails(self) -> Sequence[str]:
        return [_message_id(each) for each in (self.home / "mail" / "new").glob("*")]

    def state(self) -> SystemState:
        broker = broker_contents.embedded(self.home / "broker.db", self.databases)
        return read_state(self.databases, broker, self.context())

    def state_if_consistent(self) -> SystemState | None:
        try:
            return unless_violated(self.state())
        except (BrokerUnavailable, sqlite3.OperationalError, *DATABASE_ERRORS):
            return None


@contextmanager
def running_embedded(home: Path, *, seed: int) -> Iterator[EmbeddedEnvironment]:
    """Start everything in these files; stop it at the end."""
    environment = EmbeddedEnvironment(home=home, seed=seed)
    environment.shop("setup")
    with ExitStack() as stack:
        for name in registry.names():
            database = Database(f"sqlite:///{home / name}.db")
            environment.databases[name] = stack.enter_context(closing(database))
        environment.restock()
        environment.supervisor = Supervisor([_process(environment, n) for n in registry.names()])
        environment.supervisor.start()
        stack.callback(environment.supervisor.stop)
        yield environment


def _process(environment: EmbeddedEnvironment, service: str) -> SupervisedProcess:
    return SupervisedProcess(
        name=service,
        service=service,
        command=[sys.executable, "-m", "tests.chaos.faulty_service", service],
        environment=environment.settings | {"CHAOS_NAME": service, "SHOP_LOG_FORMAT": "json"},
        log=environment.home / f"{service}.log",
    )


def _message_id(path: Path) -> str:
    return str(BytesHeaderParser().parsebytes(path.read_bytes())["Message-ID"])
