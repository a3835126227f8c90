"""Creates a role and a database for each service on a PostgreSQL server, for `shop setup`.

Guarantees: a role that takes all of its connections leaves the others theirs, and set-up its own
(`room_for`); it can connect to its own database only; no statement contains a password.

What PostgreSQL cannot forbid is in docs/security.md: a role can raise its own memory and timeouts.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import URL

from shared.errors import InvalidInput, OperationFailed
from shared.storage.database import parse_url
from shared.storage.postgresql_failures import failure_of

CONNECTIONS = 20
"""Connections of a role, unless SHOP_DATABASE_CONNECTIONS says otherwise.

A process uses 4 under load (the worker, 2 windows of the relay, the listener); at most 11, with 4
handlers at the same time, a catch-up, and 3 requests for /readyz or /metrics. So 20 are enough for
five processes, or one of the largest that replaces another, or fewer with commands beside them.
"""

_SET_UP_CONNECTIONS = 2

ROLE_SETTINGS = {
    # A statement, a wait for a lock or an idle transaction that takes longer than this is a fault,
    # and ending it frees the locks. A transaction is idle while its handler sends a mail, so its
    # timeout is above the handlers' deadline (60 s unless set).
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "150s",
    # Temporary files of one session. Unlike the above, only a superuser can change it.
    "temp_file_limit": "256MB",
}


def grant(admin_url: str, service_url: str, *, connections: int = CONNECTIONS) -> None:
    """Create the role and the database of a service's URL, or update an existing role.

    The role owns its database. It can connect neither to other services' databases nor to the
    server's own.

    Args:
        admin_url: of a superuser, with any database of the server.
        service_url: of the role, with its password and the database.
        connections: how many the role may have at a time.

    Raises:
        InvalidInput: a URL is not PostgreSQL's, or lacks the role, the password or the database.
        OperationFailed: the server cannot be reached, or refuses.
    """
    admin = _postgresql_url(admin_url, "SHOP_DATABASE_ADMIN_URL")
    service = _postgresql_url(service_url, "SHOP_DATABASE_URL")
    role, database = service.username, service.database
    if not role or not database or not isinstance(service.password, str):
        raise InvalidInput("SHOP_DATABASE_URL should name a role, its password and a database")
    with _administering(admin, f"database {database} cannot be set up") as connection:
        _create_role(connection, role, service.password, connections)
        _create_database(connection, database, role)
        _revoke_public_connect(connection)
        _leave_room(connection, role, connections)


def remove(admin_url: str, service_url: str, *, drop_data: bool) -> None:
    """Take a former service's right to log in, or drop its database and its role.

    Raises:
        InvalidInput: a URL is not PostgreSQL's, or lacks the role or the database.
        OperationFailed: the server cannot be reached, or refuses, as while others are connected.
    """
    admin = _postgresql_url(admin_url, "SHOP_DATABASE_ADMIN_URL")
    service = _postgresql_url(service_url, "SHOP_DATABASE_URL")
    role, database = service.username, service.database
    if not role or not database:
        raise InvalidInput("SHOP_DATABASE_URL should name a role and a database")
    with _administering(admin, f"database {database} cannot be removed") as connection:
        if drop_data:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database))
            )
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
        elif connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))


def room_for(admin_url: str, roles: int, *, connections: int = CONNECTIONS) -> str:
    """Whether a server has connections for all roles at the same time, in a sentence.

    PostgreSQL reserves some connections for superusers, so set-up works in any case.

    Args:
        roles: the number of services.
        connections: how many each may have.

    Raises:
        InvalidInput: the URL is not PostgreSQL's.
        OperationFailed: the server cannot be reached, or refuses.
    """
    admin = _postgresql_url(admin_url, "SHOP_DATABASE_ADMIN_URL")
    query = """
        SELECT current_setting('max_connections')::int,
            current_setting('superuser_reserved_connections')::int
                + coalesce(current_setting('reserved_connections', true), '0')::int
    """
    with _administering(admin, "the database server cannot be set up") as connection:
        [(most, reserved)] = connection.execute(query).fetchall()
    needed = roles * connections
    if needed > most - reserved:
        return (
            f"database connections: {roles} roles with {connections} each do not fit: one service "
            f"can take those of another. Set max_connections = {needed + reserved} (now {most}), "
            f"or SHOP_DATABASE_CONNECTIONS = {(most - reserved) // roles}"
        )
    return (
        f"database connections: {roles} roles with {connections} each; "
        f"{most - reserved - needed} are left"
    )


@contextmanager
def _administering(admin: URL, failure: str) -> Iterator[psycopg.Connection]:
    try:
        with psycopg.connect(
            admin.render_as_string(hide_password=False), autocommit=True, connect_timeout=10
        ) as connection:
            yield connection
    except psycopg.Error as error:
        found = failure_of(admin, error)
        problem = found.problem if found else "cannot be reached"
        reason = error.diag.message_primary or f"the server {problem}"
        raise OperationFailed(f"{failure}: {reason}") from None


def _create_role(
    connection: psycopg.Connection, role: str, password: str, connections: int
) -> None:
    name = sql.Identifier(role)
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    # The verifier is computed here, so that the password is in no statement and in no log of them.
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    )
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN CONNECTION LIMIT {} PASSWORD {}").format(
            sql.SQL("ALTER" if exists else "CREATE"),
            name,
            sql.Literal(connections),
            sql.Literal(verifier.decode()),
        )
    )
    for setting, value in ROLE_SETTINGS.items():
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                name, sql.Identifier(setting), sql.Literal(value)
            )
        )


def _leave_room(connection: psycopg.Connection, role: str, connections: int) -> None:
    """End the newest sessions of a role that has taken all of its connections.

    Migrations run as the role: a superuser who executed them could execute its functions too.
    """
    query = """
        SELECT pg_terminate_backend(pid, 5000) FROM (
            SELECT pid FROM pg_stat_activity WHERE usename = %s ORDER BY backend_start OFFSET %s
        ) AS newest
    """
    connection.execute(query, [role, connections - _SET_UP_CONNECTIONS])


def _create_database(connection: psycopg.Connection, database: str, role: str) -> None:
    name = sql.Identifier(database)
    query = "SELECT 1 FROM pg_database WHERE datname = %s"
    if not connection.execute(query, [database]).fetchone():
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(role))
        )
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def _revoke_public_connect(connection: psycopg.Connection) -> None:
    """Close the server's own databases, to which every role can connect by default."""
    query = """
        SELECT datname FROM pg_database
        WHERE datname IN ('postgres', 'template1')
            AND has_database_privilege('public', oid, 'CONNECT')
    """
    for (name,) in connection.execute(query).fetchall():
        connection.execute(
            sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
        )


def _postgresql_url(url: str, variable: str) -> URL:
    parsed = parse_url(url, variable)
    if not parsed.drivername.startswith("postgresql"):
        raise InvalidInput(f"{variable} should begin with postgresql://")
    return parsed.set(drivername="postgresql")
