"""Why PostgreSQL cannot be used, in words that follow the database's name, and what to do.

The messages were collected by provoking them (tests/integration/test_postgresql_failures.py).
Before the login the driver gives no code, only libpq's and the server's messages, in English if the
server's `lc_messages` is. No word is taken from a message, since it may contain a value.
"""

from typing import NamedTuple

from sqlalchemy import URL

from shared.exhaustion import exhausted_resource
from shared.storage import postgresql_tls

_URL = "correct SHOP_DATABASE_URL"
_SET_UP = "run shop setup"
_WAIT = "wait until it is up"


class DatabaseFailure(NamedTuple):
    """What is wrong with a database, and what to do; `remedy` may be empty."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


_FAILURES = {
    "password authentication failed": DatabaseFailure(
        "refuses the user {user!r} or its password", f"{_URL}, or {_SET_UP}"
    ),
    "no password supplied": DatabaseFailure("asks for a password", _URL),
    "permission denied for database": DatabaseFailure(
        "does not let the user {user!r} connect", _SET_UP
    ),
    "is not permitted to log in": DatabaseFailure("does not let the user {user!r} log in", _SET_UP),
    "no encryption": DatabaseFailure(
        "allows the user {user!r} no connection without TLS",
        "add sslmode=verify-full to SHOP_DATABASE_URL, or allow it in the server's pg_hba.conf",
    ),
    "no pg_hba.conf entry": DatabaseFailure(
        "refuses the user {user!r} from this machine", "allow it in the server's pg_hba.conf"
    ),
    "the database system is starting up": DatabaseFailure("is starting", _WAIT),
    "the database system is shutting down": DatabaseFailure("is shutting down", _WAIT),
    "the database system is in recovery mode": DatabaseFailure("is recovering", _WAIT),
    "not currently accepting connections": DatabaseFailure(
        "accepts no connections", "ALTER DATABASE … ALLOW_CONNECTIONS true"
    ),
    "onnection refused": DatabaseFailure(
        "cannot be reached, the connection is refused", f"start it, or {_URL}"
    ),
    "resolve host": DatabaseFailure("cannot be reached, its host name is not known", _URL),
    "Name or service not known": DatabaseFailure(
        "cannot be reached, its host name is not known", _URL
    ),
    "timeout expired": DatabaseFailure(
        "does not answer", "see whether it runs and the network lets it be reached"
    ),
    "No such file or directory": DatabaseFailure("has no socket there", f"start it, or {_URL}"),
}
"""By a part of the message; the first that it has is used."""

_CODES = {
    "42P01": DatabaseFailure("lacks a table", _SET_UP),
    "42703": DatabaseFailure("lacks a column", _SET_UP),
    "42501": DatabaseFailure("does not let the user {user!r} use a table", _SET_UP),
    "25006": DatabaseFailure("can only be read", "use the server that is written to"),
}
"""By PostgreSQL's code: https://www.postgresql.org/docs/18/errcodes-appendix.html"""

_CONNECTIONS = (
    "end sessions that are not used, or raise SHOP_DATABASE_CONNECTIONS or the server's "
    "max_connections"
)


def failure_of(address: URL, error: BaseException) -> DatabaseFailure | None:
    """What an error of the driver, or SQLAlchemy's around it, means; None if it is not known."""
    cause = getattr(error, "orig", None) or error
    text, code = str(cause), getattr(cause, "sqlstate", None)
    if resource := exhausted_resource(error):
        is_about_connections = "connection" in resource
        return DatabaseFailure(f"cannot be used: {resource}", _CONNECTIONS * is_about_connections)
    if problem := postgresql_tls.failure_of(address, cause):
        return DatabaseFailure(problem, "")
    if _is_missing(text):
        return DatabaseFailure("does not exist", _SET_UP)
    found = _CODES.get(code or "") or next(
        (failure for part, failure in _FAILURES.items() if not code and part in text), None
    )
    return found and found._replace(problem=found.problem.format(user=address.username or ""))


def _is_missing(text: str) -> bool:
    """Whether the server says so of the database, and not of a table or a role."""
    _, _, rest = text.partition('database "')
    return '" does not exist' in rest
