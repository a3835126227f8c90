"""PostgreSQL: tested connections, notifications, and errors without values."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event

from shared.errors import DependencyUnavailable
from shared.exhaustion import exhausted_resource
from shared.storage.postgresql_failures import failure_of

CONNECT_SECONDS = 5
_CONNECT_ARGS = {
    "connect_timeout": CONNECT_SECONDS,
    # A server that is frozen or cut off does not answer; these end the wait for it.
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}

READ_OPTIONS = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Execution options of a connection that reads one snapshot."""


class NotifyListener:
    """Notices NOTIFY on a channel, on its own connection."""

    poll_interval = float("inf")

    def __init__(self, address: URL, channel: str) -> None:
        url = address.set(drivername="postgresql").render_as_string(hide_password=False)
        with _translate_errors(address):
            connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS)
            try:
                connection.execute(f"LISTEN {channel}".encode())
            except psycopg.Error:
                connection.close()
                raise
        self._connection = connection
        self._address = address
        self.file_descriptor: int | None = connection.fileno()

    def poll(self) -> bool:
        """Whether there was a notification since the last call."""
        with _translate_errors(self._address):
            return bool(list(self._connection.notifies(timeout=0)))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def _translate_errors(address: URL) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        failure = failure_of(address, error)
        problem = failure.problem if failure else error.diag.message_primary
        reason = exhausted_resource(error) or f"the server {problem or 'cannot be reached'}"
        raise DependencyUnavailable(f"the database sends no notifications: {reason}") from error


def engine_for(address: URL, app: str) -> Engine:
    """An engine for a server, which shows `app` as the name of the connections."""
    engine = create_engine(
        address,
        hide_parameters=True,
        # A connection that the server has closed is replaced. The test takes 0.1 ms a transaction.
        pool_pre_ping=True,
        connect_args=_CONNECT_ARGS | {"application_name": app},
    )
    # An INSERT of many rows is one statement, where psycopg would send one for each row.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    event.listen(engine, "handle_error", _remove_values)
    return engine


def _remove_values(context: ExceptionContext) -> None:
    """Remove from an error what PostgreSQL quotes of a row: DETAIL, and invalid values.

    `hide_parameters` hides the values that were sent, not those in the server's message, such as
    "Failing row contains (…)".
    Source: https://www.postgresql.org/docs/18/protocol-error-fields.html
    """
    error = context.original_exception
    if not isinstance(error, psycopg.Error) or error.sqlstate is None:
        return
    # The messages of class 22, "data exception", quote the value in their first line.
    is_data_exception = error.sqlstate.startswith("22")
    message = "an invalid value" if is_data_exception else error.diag.message_primary
    error.args = (f"{error.sqlstate} {message}",)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {error}",)
