from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from shared.errors import NotKnownYet
from shared.storage import failures
from shared.storage.database import Database
from shared.storage.tables import failures as table

CANARY = "123 Canary Street"


def caught(error: Exception) -> Exception:
    """The error, raised with an address in hand."""
    address = CANARY
    try:
        _refuse(address, error)
    except Exception as raised:  # noqa: BLE001 - whatever was given
        return raised
    raise AssertionError


def _refuse(address: str, error: Exception) -> None:
    raise error from ValueError(address)


def failure(event_id: str = "1") -> failures.Failure:
    name, message, stack = failures.described(caught(NotKnownYet("ORD-1 is not known yet")))
    return failures.Failure(
        event_id=event_id,
        event_type="order.placed.v1",
        subject="ORD-1",
        attempt=2,
        replays=1,
        outcome="retried",
        error=name,
        message=message,
        traceback=stack,
    )


def test_the_message_of_our_own_errors_is_kept() -> None:
    name, message, _ = failures.described(caught(NotKnownYet("ORD-1 is not known yet")))

    assert (name, message) == ("NotKnownYet", "ORD-1 is not known yet")


def test_of_other_errors_the_class_and_the_place_are_kept_and_no_word_of_theirs() -> None:
    name, message, stack = failures.described(caught(KeyError(CANARY)))

    assert name == "KeyError"
    assert message == failures.WITHHELD
    assert "in _refuse" in stack
    assert CANARY not in name + message + stack


def test_what_caused_our_own_error_is_not_told() -> None:
    described = "".join(failures.described(caught(NotKnownYet("ORD-1 is not known yet"))))

    assert CANARY not in described


def test_an_error_that_was_never_raised_has_no_stack() -> None:
    assert failures.described(NotKnownYet("x")) == ("NotKnownYet", "x", "")


def test_an_attempt_is_kept_field_by_field(database: Database) -> None:
    kept = failure()

    with database.begin() as connection:
        failures.record(connection, kept)
        row = connection.execute(select(table)).mappings().one()

    assert {name: row[name] for name in failures.Failure.__slots__} == {
        name: getattr(kept, name) for name in failures.Failure.__slots__
    }
    assert abs(row["failed_at"] - datetime.now(UTC)) < timedelta(minutes=1)


def test_only_what_failed_long_ago_is_forgotten(database: Database) -> None:
    with database.begin() as connection:
        failures.record(connection, failure("old"))
        connection.execute(table.update().values(failed_at=datetime.now(UTC) - timedelta(days=31)))
        failures.record(connection, failure("new"))

        forgotten = failures.prune(connection, before=datetime.now(UTC) - timedelta(days=30))
        left = list(connection.execute(select(table.c.event_id)).scalars())

    assert (forgotten, left) == (1, ["new"])
