"""Records every statement that this process sends to its databases, and asks for their plans.

A plan is refused if it reads all rows of a table that grows: PostgreSQL is asked with many rows
and its statistics, SQLite without any, as it has none in production.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from psycopg import sql
from sqlalchemy import Engine, event

from shared.messaging.embedded.file import BrokerFile

NOT_GROWING = frozenset(
    {
        "products",  # the price list, the stock
        "history_place",
        "probe",
        "retried_events",  # what fails now
        "service_state",
        "runtime_version",
        "service_version",
        "sqlite_master",
        "sqlite_sequence",
        "queues",
        "bindings",
        "consumers",
        "messages",  # what waits at the embedded broker
        "discards",  # each a person's decision
    }
)
"""Tables that may be read as a whole."""

WORK_LISTS = frozenset({"outbox_waiting", "outbox_rejected", "failures_dead"})
"""Partial indexes with few rows, whatever the size of their tables: what still needs work."""

_STATEMENT = re.compile(r"(WITH|SELECT|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b|(?<=\?), \?|x'[0-9a-f]*'", re.IGNORECASE)


class Statements:
    """The recorded statements, each once whatever its values are, with the values of the first.

    Attributes:
        of_postgresql: query and parameters, by database and query.
        of_sqlite: statements with their values, by file and shape.
    """

    def __init__(self) -> None:
        self.of_postgresql: dict[tuple[str, str], Any] = {}
        self.of_sqlite: dict[tuple[str, str], str] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the statements of connections that are opened within the block."""
        connect = BrokerFile._connect

        def connect_and_trace(file: BrokerFile) -> sqlite3.Connection:
            connection = connect(file)
            self._trace(connection, str(file.path))
            return connection

        event.listen(Engine, "connect", self._listen)
        try:
            with mock.patch.object(BrokerFile, "_connect", connect_and_trace):
                yield
        finally:
            event.remove(Engine, "connect", self._listen)

    def _listen(self, connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
            self._trace(connection, path)
        else:
            connection.cursor_factory = self._cursor_factory()

    def _trace(self, connection: sqlite3.Connection, path: str) -> None:
        def record(statement: str) -> None:
            if _STATEMENT.match(statement.lstrip()):
                shape = _LITERAL.sub("?", statement)
                self.of_sqlite.setdefault((path, shape), statement)

        connection.set_trace_callback(record)

    def _cursor_factory(self) -> type[psycopg.Cursor[Any]]:
        recorded = self.of_postgresql

        class RecordingCursor(psycopg.Cursor[Any]):
            def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
                self._record(query, params)
                return super().execute(query, params, **options)

            def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
                rows = list(params_seq)
                self._record(query, rows[0])
                super().executemany(query, rows, **options)

            def _record(self, query: Any, params: Any) -> None:
                if isinstance(query, str) and _STATEMENT.match(query.lstrip()):
                    recorded.setdefault((self.connection.info.dbname, query), params)

        return RecordingCursor

    def sqlite_scans(self) -> list[str]:
        """The statements whose plans SQLite would read a whole growing table for."""
        return [
            f"{Path(path).name}: {line}: {statement}"
            for (path, _), statement in self.of_sqlite.items()
            for line in _sqlite_scans(path, statement)
        ]

    def postgresql_scans(self, server: str) -> list[str]:
        """The same for PostgreSQL; `server` is the URL without a database."""
        scans = []
        for (database, query), parameters in self.of_postgresql.items():
            with psycopg.connect(f"{server}/{database}") as connection:
                explain = f"EXPLAIN (FORMAT JSON) {query}"
                ((plans,),) = connection.execute(explain.encode(), parameters).fetchall()
                scans += [
                    f"{database}: {each}: {query}"
                    for plan in plans
                    for each in _postgresql_scans(plan["Plan"])
                ]
        return scans


def _sqlite_scans(path: str, statement: str) -> Iterator[str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        partial = {
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
            )
        }
    sorted_parents = {row[1] for row in rows if "TEMP B-TREE FOR ORDER BY" in row[3]}
    for _, parent, _, detail in rows:
        scan = re.match(r"SCAN (?:TABLE )?(\w+)(?:.* USING (?:COVERING )?INDEX (\w+))?", detail)
        if scan is None or scan[1] in NOT_GROWING:
            continue
        # A page of an index in its order: without a condition, or with that of the index.
        is_page = (
            scan[2] is not None
            and "LIMIT" in statement
            and parent not in sorted_parents
            and (scan[2] in partial or "WHERE" not in statement)
        )
        is_of_subquery = scan[1] not in tables and not _is_alias(scan[1], statement)
        if scan[2] not in WORK_LISTS and not is_page and not is_of_subquery:
            yield detail


def _is_alias(name: str, statement: str) -> bool:
    """Whether a table of the statement has this other name; a subquery ends with a bracket."""
    return re.search(rf"\w AS {name}\b", statement) is not None


def _postgresql_scans(plan: dict[str, Any], *, is_limited: bool = False) -> Iterator[str]:
    kind, table = plan["Node Type"], plan.get("Relation Name")
    index = plan.get("Index Name")
    has_condition = "Index Cond" in plan or "Recheck Cond" in plan
    is_page = index is not None and is_limited and "Filter" not in plan
    if (
        kind.endswith("Scan")
        and table is not None
        and table not in NOT_GROWING
        and not table.startswith("pg_")  # how many tables there are
        and not has_condition
        and index not in WORK_LISTS
        and not is_page
    ):
        yield f"{kind} of {table} {index or ''} {plan.get('Filter', '')}"
    for each in plan.get("Plans", ()):
        limits = kind == "Limit" or (is_limited and kind in _PASSING)
        yield from _postgresql_scans(each, is_limited=limits)


_PASSING = frozenset({"LockRows", "Nested Loop", "Subquery Scan", "Incremental Sort"})
"""Nodes that read no more of their input than their parent needs."""


def databases(server: str, names: Sequence[str]) -> None:
    """Create databases."""
    with psycopg.connect(server, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def drop(server: str, names: Sequence[str]) -> None:
    """Drop databases."""
    with psycopg.connect(server, autocommit=True) as connection:
        for name in names:
            statement = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(statement)


def fill(server: str, database: str, rows: int) -> None:
    """Insert many rows into every table that grows, as after years, and gather statistics."""
    with psycopg.connect(f"{server}/{database}", autocommit=True) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in found.fetchall():
            if table in _FILLS:
                connection.execute(_FILLS[table].encode(), {"rows": rows})
        connection.execute("VACUUM ANALYZE")


_PAST = "now() - interval '3 years' + number * interval '1 minute'"
_NUMBERS = "FROM generate_series(1, %(rows)s) AS number"
_FILLS = {
    "inbox": f"""
        INSERT INTO inbox (event_id, event_type, subject, outcome, occurred_at, handled_at)
        SELECT gen_random_uuid(), 'order.placed.v1', 'OLD-' || number / 5, 'handled', {_PAST}, now()
        {_NUMBERS}""",
    "outbox": f"""
        INSERT INTO outbox (event_id, topic, event_type, subject, occurred_at, body, sent_at)
        SELECT gen_random_uuid(), 'order.placed', 'order.placed.v1', 'OLD-' || number / 5, {_PAST},
            repeat('x', 300), {_PAST} {_NUMBERS}""",
    "failures": f"""
        INSERT INTO failures (event_id, event_type, attempt, replays, outcome, error, message,
            traceback, failed_at)
        SELECT gen_random_uuid()::text, 'order.placed.v1', 1, 0,
            CASE WHEN number %% 1000 = 0 THEN 'dead' ELSE 'retried' END,
            'Error' || number %% 20, 'message', repeat('x', 300), {_PAST} {_NUMBERS}""",
    "orders": f"""
        INSERT INTO orders (order_id, customer_email, shipping_address, total_amount, currency,
            correlation_id, placed_at, reserved_at, paid_at, shipped_at, cancelled_at)
        SELECT 'OLD-' || number, 'a@b.example', 'a', 1, 'EUR', gen_random_uuid(), {_PAST}, now(),
            now(), CASE WHEN number %% 10 > 0 THEN now() END,
            CASE WHEN number %% 10 = 0 THEN now() END {_NUMBERS}""",
    "order_lines": """
        INSERT INTO order_lines SELECT order_id, 'product-1', 1, 1 FROM orders
        WHERE order_id LIKE 'OLD-%%'""",
    "reservations": f"""
        INSERT INTO reservations SELECT 'OLD-' || number, 'reserved', '{{}}' {_NUMBERS}""",
    "customers": f"INSERT INTO customers SELECT 'OLD-' || number, 'a@b.example', 'EUR' {_NUMBERS}",
    "sent_mails": f"""
        INSERT INTO sent_mails SELECT number || '@b.example', 'OLD-' || number / 3, 'placed',
            'a@b.example', 'subject', {_PAST} {_NUMBERS}""",
    "shipments": f"""
        INSERT INTO shipments (order_id, opened_at, voided_at, shipped_at)
        SELECT 'OLD-' || number, {_PAST}, CASE WHEN number %% 10 = 0 THEN now() END,
            CASE WHEN number %% 10 > 0 THEN now() END {_NUMBERS}""",
    "awards": f"""
        INSERT INTO awards SELECT 'OLD-' || number, 'a' || number / 5 || '@b.example', 1, {_PAST},
            NULL {_NUMBERS}""",
    "facts": f"""
        INSERT INTO facts (event_id, type, subject, occurred_at, day)
        SELECT gen_random_uuid(), 'order.placed.v1', 'OLD-' || number / 5, {_PAST}, now()
        {_NUMBERS}""",
    "units": f"INSERT INTO units SELECT gen_random_uuid(), 'product-1', 1 {_NUMBERS}",
}
