"""Each way in which PostgreSQL refuses a service is named, with what to do about it."""

from collections.abc import Iterator
from contextlib import closing
from secrets import token_hex

import psycopg
import pytest

from shared.errors import DependencyUnavailable, OperationFailed
from shared.operations.console import database_of
from shared.runtime.settings import settings_override
from shared.storage.database import Database
from shop import registry
from tests.support.postgres_containers import PostgresServer, postgres_container

CREDENTIAL = "canary-of-a-service"
RELOAD = "kill -HUP 1"


class Role:
    """A role with its database, both named anew, and the statements that change them."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.name = f"r{token_hex(4)}"
        self.run(f"CREATE ROLE {self.name} LOGIN PASSWORD '{CREDENTIAL}'")
        self.run(f"CREATE DATABASE {self.name} OWNER {self.name}")

    def run(self, statement: str) -> None:
        with psycopg.connect(self.server.admin_url, autocommit=True) as connection:
            connection.execute(statement.replace("ROLE_NAME", self.name).encode())

    def url(self, **changed: str) -> str:
        parts = {"user": self.name, "credential": CREDENTIAL, "database": self.name} | changed
        return self.server.url(**parts)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_container([]) as server:
        yield server


def problem_of(url: str) -> str:
    """What a service logs, after the name of the database; no part of the password is in it."""
    with closing(Database(url)) as database, pytest.raises(DependencyUnavailable) as failed:
        database.ping()
    sentence = str(failed.value)
    assert CREDENTIAL not in sentence
    return sentence.removeprefix(f"the database {database.place} ")


CASES: dict[str, tuple[str, dict[str, str], str]] = {
    "a wrong password": (
        "",
        {"credential": "wrong"},
        "refuses the user 'ROLE_NAME' or its password; correct SHOP_DATABASE_URL, or run",
    ),
    "a role that is not there": (
        "",
        {"user": "nobody"},
        "refuses the user 'nobody' or its password; correct SHOP_DATABASE_URL, or run shop setup",
    ),
    "a database that is not there": (
        "",
        {"database": "nowhere"},
        "does not exist; run shop setup",
    ),
    "another service's database": (
        "REVOKE ALL ON DATABASE postgres FROM PUBLIC",
        {"database": "postgres"},
        "does not let the user 'ROLE_NAME' connect; run shop setup",
    ),
    "a role that may not log in": (
        "ALTER ROLE ROLE_NAME NOLOGIN",
        {},
        "does not let the user 'ROLE_NAME' log in; run shop setup",
    ),
    "too many connections of the role": (
        "ALTER ROLE ROLE_NAME CONNECTION LIMIT 0",
        {},
        "cannot be used: the database server has no connection left for this service; end ",
    ),
    "too many connections to the database": (
        "ALTER DATABASE ROLE_NAME CONNECTION LIMIT 0",
        {},
        "cannot be used: the database server has no connection left for this service; end ",
    ),
    "a closed database": (
        "ALTER DATABASE ROLE_NAME ALLOW_CONNECTIONS false",
        {},
        "accepts no connections; ALTER DATABASE",
    ),
    "TLS that the server does not have": (
        "",
        {"database": "ROLE_NAME?sslmode=require"},
        "does not answer with TLS",
    ),
}


@pytest.mark.parametrize(("statement", "changed", "expected"), CASES.values(), ids=CASES)
@pytest.mark.docker
def test_a_refusal_is_named(
    server: PostgresServer, statement: str, changed: dict[str, str], expected: str
) -> None:
    role = Role(server)
    if statement:
        role.run(statement)
    url = role.url(
        **{name: value.replace("ROLE_NAME", role.name) for name, value in changed.items()}
    )

    assert problem_of(url).startswith(expected.replace("ROLE_NAME", role.name))


@pytest.mark.docker
@pytest.mark.parametrize(
    "line", ["hostssl all all all scram-sha-256", "host all postgres all trust"]
)
def test_a_refusal_by_the_servers_rules_is_named(server: PostgresServer, line: str) -> None:
    role = Role(server)
    rules = "$PGDATA/pg_hba.conf"
    server.run(f"cp {rules} /tmp/rules && echo '{line}' > {rules} && {RELOAD}")
    try:
        problem = problem_of(role.url())
    finally:
        server.run(f"cat /tmp/rules > {rules} && {RELOAD}")

    assert problem == (
        f"allows the user {role.name!r} no connection without TLS; add sslmode=verify-full to "
        "SHOP_DATABASE_URL, or allow it in the server's pg_hba.conf"
    )


@pytest.mark.docker
def test_a_table_that_is_missing_is_named(server: PostgresServer) -> None:
    with (
        closing(Database(Role(server).url())) as database,
        pytest.raises(DependencyUnavailable) as failed,
    ):
        database.probe()

    assert str(failed.value).endswith("lacks a table; run shop setup")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            "postgresql://u:hush@127.0.0.1:1/x",
            "cannot be reached, the connection is refused; start it, or correct SHOP_DATABASE_URL",
            id="a closed port",
        ),
        pytest.param(
            "postgresql://u:hush@nowhere.invalid/x",
            "cannot be reached, its host name is not known; correct SHOP_DATABASE_URL",
            id="an unknown host",
        ),
        pytest.param(
            "postgresql://u:hush@/x?host=/nowhere",
            "has no socket there; start it, or correct SHOP_DATABASE_URL",
            id="a missing socket",
        ),
    ],
)
def test_a_server_that_cannot_be_reached_is_named(url: str, expected: str) -> None:
    assert problem_of(url) == expected


def test_a_command_says_the_same() -> None:
    with (
        settings_override(database_url="postgresql://u:hush@127.0.0.1:1/{service}"),
        pytest.raises(OperationFailed) as failed,
        database_of(registry.service("orders")),
    ):
        pass

    assert "127.0.0.1/orders cannot be reached, the connection is refused; start" in str(
        failed.value
    )
