"""Roles on PostgreSQL: a service can connect to its own database only."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from shared.errors import InvalidInput, OperationFailed
from shared.storage.roles import ROLE_SETTINGS, grant, remove


class Services:
    """The URLs of two services and of the server's administrator."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self.orders = self.url(f"orders_{uuid4().hex[:8]}")
        self.email = self.url(f"email_{uuid4().hex[:8]}")

    def url(self, name: str, *, credential: str = "p/a@s:s%w'rd", database: str = "") -> str:
        return (
            make_url(self.admin_url)
            .set(
                drivername="postgresql",
                username=name,
                password=credential,
                database=database or name,
            )
            .render_as_string(hide_password=False)
        )

    @property
    def names(self) -> list[str]:
        return [str(make_url(each).database) for each in (self.orders, self.email)]


@pytest.fixture
def services(postgres_server: str) -> Iterator[Services]:
    services = Services(postgres_server)
    yield services
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for name in map(sql.Identifier, services.names):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))


def test_a_service_can_create_and_use_its_own_tables(services: Services) -> None:
    grant(services.admin_url, services.orders)

    with psycopg.connect(services.orders) as connection:
        connection.execute("CREATE TABLE things (name text)")
        connection.execute("INSERT INTO things VALUES ('one')")
        rows = connection.execute("SELECT name FROM things").fetchall()

    assert rows == [("one",)]


def test_granting_again_keeps_the_data_and_sets_the_password(services: Services) -> None:
    grant(services.admin_url, services.orders)
    with psycopg.connect(services.orders) as connection:
        connection.execute("CREATE TABLE things (name text)")
    changed = services.url(services.names[0], credential="another")

    grant(services.admin_url, changed)

    with psycopg.connect(changed) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(services.orders)


@pytest.mark.parametrize("database", ["another service's", "postgres", "template1"])
def test_a_service_cannot_connect_to_another_database(services: Services, database: str) -> None:
    grant(services.admin_url, services.orders)
    grant(services.admin_url, services.email)
    orders, email = services.names
    other = services.url(orders, database=email if database == "another service's" else database)

    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(other)


@pytest.mark.parametrize("statement", ["CREATE DATABASE more", "CREATE ROLE more"])
def test_a_service_cannot_create_databases_and_roles(services: Services, statement: str) -> None:
    grant(services.admin_url, services.orders)

    with (
        psycopg.connect(services.orders, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_statements_locks_and_idle_transactions_have_timeouts(services: Services) -> None:
    grant(services.admin_url, services.orders)

    with psycopg.connect(services.orders) as connection:
        timeouts = {
            name: connection.execute(
                "SELECT current_setting(%s)::interval = %s::interval", [name, value]
            ).fetchone()
            for name, value in ROLE_SETTINGS.items()
            if name.endswith("_timeout")
        }

    assert timeouts == {
        "statement_timeout": (True,),
        "lock_timeout": (True,),
        "idle_in_transaction_session_timeout": (True,),
    }


def test_a_role_has_a_limit_of_connections_and_of_temporary_files(services: Services) -> None:
    grant(services.admin_url, services.orders, connections=7)

    with psycopg.connect(services.orders) as connection:
        limits = connection.execute(
            "SELECT rolconnlimit, current_setting('temp_file_limit') FROM pg_roles "
            "WHERE rolname = current_user"
        ).fetchone()

    assert limits == (7, "256MB")


@pytest.mark.parametrize(
    ("admin", "service", "names"),
    [
        pytest.param("not a url", "postgresql://a:b@h/a", "ADMIN_URL", id="no URL"),
        pytest.param("mysql://a@h/a", "postgresql://a:b@h/a", "postgresql://", id="other kind"),
        pytest.param("postgresql://a@h/a", "postgresql://a@h/a", "password", id="no password"),
        pytest.param("postgresql://a@h/a", "postgresql://a:b@h", "database", id="no database"),
    ],
)
def test_an_unusable_url_is_rejected(admin: str, service: str, names: str) -> None:
    with pytest.raises(InvalidInput, match=names):
        grant(admin, service)


def test_a_servers_refusal_is_reported_without_the_password(services: Services) -> None:
    wrong = services.url("postgres", credential="wrong-one")

    with pytest.raises(OperationFailed, match="cannot be set up") as failed:
        grant(wrong, services.orders)

    assert "wrong-one" not in str(failed.value)
    assert str(conninfo_to_dict(services.orders)["password"]) not in str(failed.value)


def test_a_server_that_is_away_is_reported(services: Services) -> None:
    away = make_url(services.admin_url).set(port=1).render_as_string(hide_password=False)

    with pytest.raises(OperationFailed, match="cannot be reached"):
        grant(away, services.orders)


def test_a_removed_service_keeps_its_data_and_cannot_log_in_until_it_is_set_up_again(
    services: Services,
) -> None:
    grant(services.admin_url, services.orders)
    with psycopg.connect(services.orders) as connection:
        connection.execute("CREATE TABLE things (name text)")

    for _ in range(2):  # again changes nothing
        remove(services.admin_url, services.orders, drop_data=False)

    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(services.orders)
    grant(services.admin_url, services.orders)
    with psycopg.connect(services.orders) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (0,)


def test_nothing_is_left_of_a_service_whose_data_is_dropped(services: Services) -> None:
    grant(services.admin_url, services.orders)

    for _ in range(2):  # again changes nothing
        remove(services.admin_url, services.orders, drop_data=True)

    with psycopg.connect(services.admin_url) as connection:
        name = services.names[0]
        count = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = %s)"
        count += " + (SELECT count(*) FROM pg_database WHERE datname = %s)"
        assert connection.execute(count, [name, name]).fetchone() == (0,)
