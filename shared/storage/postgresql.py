"""A PostgreSQL server: connections that are tested when there is doubt, errors without values."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import URL, Engine, ExceptionContext, PoolProxiedConnection, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from shared.errors import DependencyUnavailable

CONNECT_SECONDS = 5
POSTGRESQL = {
    "connect_timeout": CONNECT_SECONDS,
    # A server that is frozen or cut off answers nothing: give up, so that the worker lives.
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    # Who writes finds rows by key. A statement that is planned while its table is small, and kept,
    # would read all of it, and ever more as it grows, until the server analyzes the table.
    # Source: https://www.postgresql.org/docs/18/sql-prepare.html#SQL-PREPARE-NOTES
    "options": "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off",
}
PLANNED_AS_EVER = "; ".join(
    f"SET LOCAL {setting} = on"
    for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
)
"""For who only looks, perhaps at all there is."""

TRUSTED_SECONDS = 1.0
"""A connection used so recently is not asked for a sign of life, unless something came on it."""


class NotifyListener:
    """Hears NOTIFY on a channel, on a connection of its own."""

    every = float("inf")

    def __init__(self, address: URL, channel: str) -> None:
        url = address.set(drivername="postgresql").render_as_string(hide_password=False)
        with _translate_errors():
            calling = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS)
            try:
                calling.execute(f"LISTEN {channel}".encode())
            except psycopg.Error:
                calling.close()
                raise
        self._listening = calling
        self.source: int | None = calling.fileno()

    def poll(self) -> bool:
        """Whether there was one since."""
        with _translate_errors():
            return bool(list(self._listening.notifies(timeout=0)))

    def close(self) -> None:
        """Hang up."""
        self._listening.close()


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        reason = error.diag.message_primary or "the server cannot be reached"
        raise DependencyUnavailable(f"the database cannot be listened to: {reason}") from error


def engine_at(address: URL, app: str) -> Engine:
    """An engine for a server."""
    connect_args: dict[str, Any] = POSTGRESQL | {"application_name": app}
    if asked := address.query.get("options"):
        # What the URL says comes last, so it wins.
        connect_args["options"] += " " + (asked if isinstance(asked, str) else " ".join(asked))
    engine = create_engine(address, hide_parameters=True, connect_args=connect_args)
    event.listen(engine, "handle_error", _without_values)
    event.listen(engine, "checkin", _remember)

    # As SQLAlchemy's own `pool_pre_ping`, which asks each time: a round trip a transaction.
    @event.listens_for(engine, "checkout")
    def _test(raw: DBAPIConnection, entry: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        if _is_doubtful(cast("psycopg.Connection[Any]", raw), entry):
            try:
                engine.dialect.do_ping(raw)
            except psycopg.Error as error:
                raise InvalidatePoolError from error  # those that are as old go with it

    return engine


def _remember(_raw: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    entry.info["used_at"] = time.monotonic()


def _is_doubtful(driver: "psycopg.Connection[Any]", entry: ConnectionPoolEntry) -> bool:
    """Whether a connection was left alone for long, or the server has said or ended something."""
    now = time.monotonic()
    if driver.closed or now - entry.info.get("used_at", now) > TRUSTED_SECONDS:
        return True
    readable, _, _ = select.select([driver], [], [], 0)
    return bool(readable)


def _without_values(context: ExceptionContext) -> None:
    """Take out of an error what PostgreSQL quotes of a row: DETAIL, and wrong values.

    `hide_parameters` hides what was sent, not what the server sends back: a violated constraint
    comes with "Failing row contains (…)".
    Source: https://www.postgresql.org/docs/18/protocol-error-fields.html
    """
    error = context.original_exception
    if not isinstance(error, psycopg.Error) or error.sqlstate is None:
        return
    # Class 22, "data exception", quotes the value in its first line too.
    told = "a wrong value" if error.sqlstate.startswith("22") else error.diag.message_primary
    error.args = (f"{error.sqlstate} {told}",)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {error}",)
