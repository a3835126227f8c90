"""A role and a database for each service on one PostgreSQL server, made by `shop setup`."""

import psycopg
from psycopg import sql
from sqlalchemy import URL

from shared.errors import InvalidInput, OperationFailed
from shared.storage.database import address_in

ROLE_SETTINGS = {
    # A query, a lock or an open transaction that outlasts every deadline (60 s unless set) is a
    # fault: end it, so that nobody waits for it. A mail is handed over inside its transaction.
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "150s",
}


def grant(admin_url: str, service_url: str) -> None:
    """Make the role and the database that a service's URL names; again changes nothing.

    The role owns its database and may connect neither to another's nor to the server's own.

    Args:
        admin_url: a superuser's, on any database of that server.
        service_url: with the role's name and password, and the database's name.

    Raises:
        InvalidInput: one of them is no PostgreSQL URL, or lacks the role or the database.
        OperationFailed: the server cannot be reached, or refuses.
    """
    admin = _address(admin_url, "SHOP_DATABASE_ADMIN_URL")
    service = _address(service_url, "SHOP_DATABASE_URL")
    role, database = service.username, service.database
    if not role or not database or not isinstance(service.password, str):
        raise InvalidInput("SHOP_DATABASE_URL should name a role, its password and a database")
    try:
        with psycopg.connect(
            admin.render_as_string(hide_password=False), autocommit=True, connect_timeout=10
        ) as connection:
            _make_role(connection, role, service.password)
            _make_database(connection, database, role)
            _close_what_is_open_to_all(connection)
    except psycopg.Error as error:
        reason = error.diag.message_primary or "the server cannot be reached"
        raise OperationFailed(f"database {database} cannot be set up: {reason}") from None


def _make_role(connection: psycopg.Connection, role: str, password: str) -> None:
    name = sql.Identifier(role)
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if known else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, name, sql.Literal(password))
    )
    for setting, value in ROLE_SETTINGS.items():
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                name, sql.Identifier(setting), sql.Literal(value)
            )
        )


def _make_database(connection: psycopg.Connection, database: str, role: str) -> None:
    name = sql.Identifier(database)
    query = "SELECT 1 FROM pg_database WHERE datname = %s"
    if not connection.execute(query, [database]).fetchone():
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(role))
        )
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def _close_what_is_open_to_all(connection: psycopg.Connection) -> None:
    """Keep roles out of the server's own databases, which let everybody in by default."""
    query = """
        SELECT datname FROM pg_database
        WHERE datname IN ('postgres', 'template1')
            AND has_database_privilege('public', oid, 'CONNECT')
    """
    for (name,) in connection.execute(query).fetchall():
        connection.execute(
            sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
        )


def _address(url: str, variable: str) -> URL:
    address = address_in(url, variable)
    if not address.drivername.startswith("postgresql"):
        raise InvalidInput(f"{variable} should begin with postgresql://")
    return address.set(drivername="postgresql")
