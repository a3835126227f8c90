"""The whole system on a site of its own: servers, gates, processes, customers, a mail server."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg

from services.inventory.service import inventory
from shared.errors import BrokerUnavailable
from shared.messaging.connect import broker_at
from shared.messaging.ports.publisher import Message, Publisher
from shared.messaging.rabbitmq.errors import PIKA_ERRORS
from shared.messaging.rabbitmq.management import Management
from shared.storage.database import DATABASE_ERRORS, Database
from shop import registry
from tests.chaos import holdings, laws, servers
from tests.chaos.crew import Crew, Member
from tests.chaos.evidence import Evidence, Held, World, gathered
from tests.chaos.gates import Gate, Gates
from tests.chaos.mailbox import Mailbox
from tests.chaos.servers import PASSWORD, Server
from tests.support.waiting import eventually

SHOP = Path(sys.executable).with_name("shop")
RESTOCKED = {"product-1": 1_000_000, "product-2": 1_000_000, "product-3": 1_000}
QUIET_SECONDS = 90.0
"""Without anything handled, until the laws must hold: a lost connection waits for up to 30 s."""

LIMITED = "loyalty"
"""Where a message may die of its attempts; elsewhere the limit is beyond any fault's length."""

ORDINARY = {"RETRY_DELAY": "0.2", "RETRY_MAX_DELAY": "2", "MAX_RETRIES": "500", "DEADLINE": "30"}
TUNED = {LIMITED: ORDINARY | {"MAX_RETRIES": "6", "RETRY_MAX_DELAY": "1", "DEADLINE": "4"}}

CREW = (
    ("orders", False),
    ("inventory-1", True),
    ("inventory-2", True),
    ("email", True),
    ("shipping", False),
    ("analytics", False),
    ("loyalty", True),
)
"""Names, and whether some of their handlers fail; without, it is the console script itself."""


@dataclass(slots=True, kw_only=True)
class Site:
    """What faults work on and look at.

    Attributes:
        ways: gates by process, to the broker and to the database.
        strangers: topic by id of what was published by nobody's outbox.
        letters: service by id of what was sent to one service alone.
    """

    home: Path
    seed: int
    broker: Server
    postgres: Server
    mailbox: Mailbox
    gates: Gates = field(default_factory=Gates)
    ways: dict[str, dict[str, Gate]] = field(default_factory=dict)
    strangers: dict[str, str] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)
    crew: Crew = field(default_factory=lambda: Crew([]))
    databases: dict[str, Database] = field(default_factory=dict)

    @property
    def management(self) -> Management:
        return Management(servers.admin_url(self.broker))

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a program that stands beside the gates."""
        tuning = {
            f"SHOP_{name.upper()}_{what}": value
            for name in registry.names()
            for what, value in TUNED.get(name, ORDINARY).items()
        }
        theirs = {key: value for key, value in os.environ.items() if not key.startswith("SHOP_")}
        return (
            theirs
            | tuning
            | {
                "SHOP_HOME": str(self.home),
                "SHOP_BROKER_URL": servers.amqp_url(self.broker.ports[5672]),
                "SHOP_BROKER_ADMIN_URL": servers.admin_url(self.broker),
                "SHOP_DATABASE_URL": _database_url(self.postgres.ports[5432]),
                "SHOP_DATABASE_ADMIN_URL": servers.database_url(self.postgres),
                "SHOP_SMTP_URL": f"smtp://127.0.0.1:{self.mailbox.port}",
                "SHOP_GRACE": "20",
                "CHAOS_SEED": str(self.seed),
            }
        )

    def shop(self, *arguments: str) -> str:
        """What the program says to an operator."""
        done = subprocess.run(
            [SHOP, *arguments],
            env=self.settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def admin(self, query: str, *parameters: object, database: str = "postgres") -> list[Any]:
        """LockedRows, as the administrator of the database server sees them."""
        url = servers.database_url(self.postgres, database)
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            found = connection.execute(query.encode(), parameters or None)
            return found.fetchall() if found.description else []

    def publisher(self) -> Publisher:
        return broker_at(self.settings["SHOP_BROKER_URL"], app="chaos").publisher()

    def publish(self, *messages: Message) -> None:
        """Publish in the name of nobody, past the outboxes."""
        publisher = self.publisher()
        try:
            assert publisher.publish(messages) == [None] * len(messages)
        finally:
            publisher.close()

    # What is under way.

    def transactions(self, *who: str) -> list[str]:
        """Who has a transaction open in which something was written."""
        rows = self.admin(
            "SELECT application_name FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
        )
        return [name for (name,) in rows if not who or name in who]

    def is_reacting(self, member: Member) -> bool:
        """Whether it has a transaction open in which it entered something into its inbox."""
        return bool(
            self.admin(
                """SELECT 1 FROM pg_locks JOIN pg_class ON pg_class.oid = relation
                JOIN pg_stat_activity USING (pid) WHERE relname = 'inbox'
                AND mode = 'RowExclusiveLock' AND application_name = %s""",
                member.name,
                database=member.service,
            )
        )

    def unacknowledged(self, *queues: str) -> int:
        """How many messages services hold, fresh to half a second."""
        wanted = queues or registry.names()
        return sum(
            each.get("messages_unacknowledged", 0)
            for each in self._totals()
            if each["name"] in wanted
        )

    def _totals(self) -> list[dict[str, Any]]:
        """The queues' own figures; those that the management API samples are 5 s old."""
        query = "/api/queues?disable_stats=true&enable_queue_totals=true"
        connection = HTTPConnection("127.0.0.1", self.broker.ports[15672], timeout=5)
        login = base64.b64encode(f"chaos:{PASSWORD}".encode()).decode()
        try:
            connection.request("GET", query, headers={"Authorization": f"Basic {login}"})
            found: list[dict[str, Any]] = json.load(connection.getresponse())
        finally:
            connection.close()
        return found

    # The end.

    def world(self) -> World:
        told = self.home / "told"
        return World(
            told=frozenset(told.read_text().split()) if told.exists() else frozenset(),
            strangers=dict(self.strangers),
            letters=dict(self.letters),
            restocked=RESTOCKED,
            mails=self.mailbox.mails,
            limited=frozenset({LIMITED}),
        )

    def evidence(self) -> Evidence:
        """All that the laws look at."""
        before = gathered(self.databases, Held(), self.world())
        sent = {each.event_id for each in before.said}
        left = holdings.left_at(self.management.get("queues") or [])
        url = self.settings["SHOP_BROKER_URL"]
        held = holdings.rabbitmq(url, self.databases, expected=sent, left=left)
        shown = frozenset(self._shown_applied(held, before.inbox))
        return gathered(self.databases, replace(held, shown_applied=shown), self.world())

    def _shown_applied(
        self, held: Held, inbox: Mapping[str, Mapping[str, str]]
    ) -> Iterator[tuple[str, str]]:
        for name, letters in held.dead.items():
            for each in inbox[name].keys() & set(letters):
                if json.loads(self.shop("dead", "show", name, each, "--json")).get("applied"):
                    yield name, each

    def comes_to_rest(self) -> Evidence:
        """Wait until the laws hold; or what there is when nothing moves any more."""
        handled, until = -1, 0.0
        while True:
            found = self._if_lawful()
            if found is not None:
                return found
            # A slow machine has the time that it needs, as long as it gets on.
            before, handled = handled, self._handled()
            if handled != before:
                until = time.monotonic() + QUIET_SECONDS
            elif time.monotonic() > until:
                return self.evidence()
            threading.Event().wait(0.5)  # between two looks

    def _if_lawful(self) -> Evidence | None:
        try:
            # What is under way shows in the databases first, and looking there is cheap.
            if laws.every_fact_is_said_and_sent(gathered(self.databases, Held())):
                return None
            if holdings.left_at(self.management.get("queues") or []):
                return None
            found = self.evidence()
        except (BrokerUnavailable, *PIKA_ERRORS, *DATABASE_ERRORS):
            return None
        return None if laws.breaches(found) else found

    def _handled(self) -> int:
        """How many events all services together have in their inboxes."""
        return sum(
            self.admin("SELECT count(*) FROM inbox", database=name)[0][0] for name in self.databases
        )


@contextmanager
def site(home: Path, *, seed: int, crew: Sequence[tuple[str, bool]] = CREW) -> Iterator[Site]:
    """Everything up, and gone in the end."""
    with ExitStack() as stack:
        broker = stack.enter_context(servers.rabbitmq())
        postgres = stack.enter_context(servers.postgres())
        mailbox = Mailbox()
        mailbox.open()
        stack.callback(mailbox.close)
        here = Site(home=home, seed=seed, broker=broker, postgres=postgres, mailbox=mailbox)
        stack.callback(here.gates.close)
        here.shop("setup")
        for name in registry.names():
            url = _database_url(postgres.ports[5432]).replace("{service}", name)
            here.databases[name] = Database(url, app="chaos")
            stack.callback(here.databases[name].close)
        with inventory.unit_of_work(here.databases["inventory"]) as work:
            for sku, pieces in RESTOCKED.items():
                work.store.restock(sku, pieces)
        here.crew = Crew([_member(here, name, fails=fails) for name, fails in crew])
        here.crew.start()
        stack.callback(here.crew.stop)
        yield here


def _member(here: Site, name: str, *, fails: bool) -> Member:
    service = name.partition("-")[0]
    ways = here.ways[name] = {
        "broker": here.gates.add(("127.0.0.1", here.broker.ports[5672])),
        "database": here.gates.add(("127.0.0.1", here.postgres.ports[5432])),
    }
    environment = here.settings | {
        "SHOP_BROKER_URL": servers.amqp_url(ways["broker"].port),
        "SHOP_DATABASE_URL": _database_url(ways["database"].port),
        "SHOP_LOG_FORMAT": "json",
        "CHAOS_NAME": name,
    }
    failing = [sys.executable, "-m", "tests.chaos.failing", service]
    command = failing if fails else [str(SHOP), "run", service]
    log = here.home / f"{name}.log"
    return Member(name=name, service=service, command=command, environment=environment, log=log)


@contextmanager
def customers(here: Site, *, rate: float) -> Iterator[None]:
    """A steady stream of orders during the block."""
    told = here.home / "told"
    command = [sys.executable, "-m", "tests.chaos.customers", str(told)]
    with (
        (here.home / "customers.log").open("ab") as log,
        subprocess.Popen(
            [*command, "--rate", str(rate), "--seed", str(here.seed)],
            env=here.settings,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            eventually(told.exists, within=60)
            yield
        finally:
            process.terminate()
            code = process.wait(60)
    assert code == 0, (here.home / "customers.log").read_text()[-2000:]


def _database_url(port: int) -> str:
    return f"postgresql://{{service}}:{PASSWORD}@127.0.0.1:{port}/{{service}}"
