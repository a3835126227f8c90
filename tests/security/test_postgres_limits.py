"""Row 7: a service that takes what it can of PostgreSQL leaves the others theirs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
import yaml

from shared.errors import DependencyUnavailable
from shared.runtime.settings import settings_override
from shared.runtime.setup import set_up
from shared.storage.database import Database
from shared.storage.roles import CONNECTIONS, room_for
from shop import registry
from tests.support.postgres_containers import PostgresServer, postgres_container

ROOT = Path(__file__).parents[2]
SHOP = str(Path(sys.executable).with_name("shop"))
CREDENTIAL = "canary-of-a-service"

SORT_IN_MEMORY = """
    SELECT count(*) FROM (SELECT i FROM generate_series(1, 20000000) AS i GROUP BY i) AS groups
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with the options and limits of docker-compose.yml, which logs statements."""
    composition = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    postgres = composition["services"]["postgres"]
    entrypoint = [each.replace("$$", "$") for each in postgres["entrypoint"]]
    command = [*postgres["command"], "-clog_statement=all"]
    with postgres_container(
        command, entrypoint=entrypoint, mem_limit=postgres["mem_limit"]
    ) as server:
        yield server


class Shop:
    """The shop on that server and an embedded broker."""

    def __init__(self, server: PostgresServer, home: Path) -> None:
        self.server = server
        self.settings = {
            "home": str(home),
            "database_url": server.url("{service}", CREDENTIAL, "{service}"),
        }

    def set_up(self) -> list[str]:
        """Run set-up as the administrator."""
        with settings_override(database_admin_url=self.server.admin_url, **self.settings):
            return [str(each) for each in set_up(registry.all_services())]

    def place(self, order_id: str) -> "subprocess.CompletedProcess[str]":
        """Place an order with the credentials of orders."""
        customer = ("--email", "a@example.com", "--address", "1 Main Street")
        return subprocess.run(
            [SHOP, "orders", "place", "--id", order_id, *customer, "--item", "product-1=1"],
            env={f"SHOP_{name.upper()}": value for name, value in self.settings.items()},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def connect(self, service: str) -> psycopg.Connection:
        """Connect as a service does."""
        url = self.server.url(service, CREDENTIAL, service)
        return psycopg.connect(url, autocommit=True, connect_timeout=5)


@pytest.fixture
def shop(server: PostgresServer, tmp_path: Path) -> Shop:
    shop = Shop(server, tmp_path)
    shop.set_up()
    return shop


def test_a_service_that_takes_all_its_connections_leaves_the_others_theirs(shop: Shop) -> None:
    with ExitStack() as taken:
        for _ in range(CONNECTIONS):
            taken.enter_context(closing(shop.connect("loyalty")))
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            shop.connect("loyalty")
        with pytest.raises(DependencyUnavailable, match="no connection left for this service"):
            Database(shop.server.url("loyalty", CREDENTIAL, "loyalty")).probe()

        placed = shop.place("ORD-1")
        sentences = shop.set_up()

    assert placed.returncode == 0, placed.stderr
    assert any(each.endswith("/loyalty: is current") for each in sentences)


def test_all_roles_fit_into_the_composed_server(shop: Shop) -> None:
    [sentence] = [each for each in shop.set_up() if "connections" in each]

    assert re.search(r": 6 roles with 20 each; \d+ are left$", sentence)
    with ExitStack() as taken:
        for name in registry.names():
            for _ in range(CONNECTIONS):
                taken.enter_context(closing(shop.connect(name)))
        assert shop.set_up()


def test_a_server_that_is_too_small_is_reported(server: PostgresServer) -> None:
    assert room_for(server.admin_url, 6, connections=50) == (
        "database connections: 6 roles with 50 each do not fit: one service can take those of "
        "another. Set max_connections = 310 (now 200), or SHOP_DATABASE_CONNECTIONS = 31"
    )


def test_a_statement_that_takes_too_much_memory_ends_alone(shop: Shop) -> None:
    with closing(shop.connect("orders")) as orders, closing(shop.connect("loyalty")) as loyalty:
        loyalty.execute("SET work_mem = '2000GB'")
        loyalty.execute("SET hash_mem_multiplier = 1000")
        with pytest.raises(psycopg.errors.OutOfMemory):
            loyalty.execute(SORT_IN_MEMORY)

        assert loyalty.execute("SELECT 1").fetchone() == (1,)
        assert orders.execute("SELECT 1").fetchone() == (1,)
    assert "terminated by signal" not in shop.server.log()


@pytest.mark.parametrize(
    "statement",
    [
        "SET temp_file_limit = -1",
        "ALTER ROLE loyalty RESET temp_file_limit",
        "ALTER ROLE loyalty CONNECTION LIMIT 100",
        "ALTER SYSTEM SET max_connections = 1000",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'",
    ],
)
def test_a_role_cannot_lift_its_limits_or_end_the_sessions_of_others(
    shop: Shop, statement: str
) -> None:
    with closing(shop.connect("orders")) as orders, closing(shop.connect("loyalty")) as loyalty:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            loyalty.execute(statement.encode())

        assert orders.execute("SELECT 1").fetchone() == (1,)


def test_no_statement_contains_a_password(shop: Shop) -> None:
    log = shop.server.log()

    assert 'ROLE "loyalty" LOGIN' in log
    assert "SCRAM-SHA-256$" in log
    assert CREDENTIAL not in log
    with closing(shop.connect("loyalty")) as loyalty:
        assert loyalty.execute("SELECT current_user").fetchone() == ("loyalty",)
