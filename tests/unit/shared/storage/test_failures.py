from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from shared.errors import NotKnownYet
from shared.storage import failures
from shared.storage.database import Database
from shared.storage.tables import failures as table

CANARY = "123 Canary Street"


def caught(error: Exception) -> Exception:
    """The error, raised while local variables and its cause hold an address."""
    address = CANARY
    try:
        _raise(address, error)
    except Exception as raised:  # noqa: BLE001 - whatever was given
        return raised
    raise AssertionError


def _raise(address: str, error: Exception) -> None:
    raise error from ValueError(address)


def failure(event_id: str = "1") -> failures.Failure:
    name, message, stack = failures.describe(caught(NotKnownYet("ORD-1 is not known yet")))
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


def test_the_message_of_this_projects_errors_is_stored() -> None:
    name, message, _ = failures.describe(caught(NotKnownYet("ORD-1 is not known yet")))

    assert (name, message) == ("NotKnownYet", "ORD-1 is not known yet")


def test_of_other_errors_the_class_and_stack_are_stored_and_not_the_message() -> None:
    name, message, stack = failures.describe(caught(KeyError(CANARY)))

    assert name == "KeyError"
    assert message == failures.WITHHELD
    assert "in _raise" in stack
    assert CANARY not in name + message + stack


def test_the_cause_of_an_error_is_not_stored() -> None:
    description = "".join(failures.describe(caught(NotKnownYet("ORD-1 is not known yet"))))

    assert CANARY not in description


def test_an_error_that_was_never_raised_has_no_stack() -> None:
    assert failures.describe(NotKnownYet("x")) == ("NotKnownYet", "x", "")


def test_all_fields_of_an_attempt_are_stored(database: Database) -> None:
    stored = failure()

    with database.begin() as connection:
        failures.record(connection, stored)
        row = connection.execute(select(table)).mappings().one()

    assert {name: row[name] for name in failures.Failure.__slots__} == {
        name: getattr(stored, name) for name in failures.Failure.__slots__
    }
    assert abs(row["failed_at"] - datetime.now(UTC)) < timedelta(minutes=1)
