"""Creates a role and a database for each service on a PostgreSQL server, for `shop setup`."""

import psycopg
from psycopg import sql
from sqlalchemy import URL

from shared.errors import InvalidInput, OperationFailed
from shared.storage.database import parse_url
from shared.storage.postgresql_tls import failure_of

ROLE_SETTINGS = {
    # A statement, a wait for a lock or an idle transaction that takes longer than this is a fault,
    # and ending it frees the locks. A transaction is idle while its handler sends a mail, so its
    # timeout is above the handlers' deadline (60 s unless set).
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "150s",
}


def grant(admin_url: str, service_url: str) -> None:
    """Create the role and the database of a service's URL, or update an existing role's password.

    The role owns its database. It can connect neither to other services' databases nor to the
    server's own.

    Args:
        admin_url: of a superuser, with any database of the server.
        service_url: of the role, with its password and the database.

    Raises:
        InvalidInput: a URL is not PostgreSQL's, or lacks the role, the password or the database.
        OperationFailed: the server cannot be reached, or refuses.
    """
    admin = _postgresql_url(admin_url, "SHOP_DATABASE_ADMIN_URL")
    service = _postgresql_url(service_url, "SHOP_DATABASE_URL")
    role, database = service.username, service.database
    if not role or not database or not isinstance(service.password, str):
        raise InvalidInput("SHOP_DATABASE_URL should name a role, its password and a database")
    try:
        with psycopg.connect(
            admin.render_as_string(hide_password=False), autocommit=True, connect_timeout=10
        ) as connection:
            _create_role(connection, role, service.password)
            _create_database(connection, database, role)
            _revoke_public_connect(connection)
    except psycopg.Error as error:
        failure = failure_of(admin, error) or "cannot be reached"
        reason = error.diag.message_primary or f"the server {failure}"
        raise OperationFailed(f"database {database} cannot be set up: {reason}") from None


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    name = sql.Identifier(role)
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, name, sql.Literal(password))
    )
    for setting, value in ROLE_SETTINGS.items():
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                name, sql.Identifier(setting), sql.Literal(value)
            )
        )


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
