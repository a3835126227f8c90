import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import TransientFailure
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.runtime.colours import ansi_colour
from shared.runtime.logs import log_delivery, log_to, process_log
from shared.runtime.reactor import DeliveryResult
from shared.runtime.settings import Settings
from tests.support.counting import ThingHappened

CANARY = "123 Canary Street"
ESCAPE = "\x1b["


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def delivery(attempt: int = 1, *, replays: int = 0) -> Delivery:
    return Delivery(
        queue="counting",
        body=b"",
        event_id="an id",
        type="a type",
        attempt=attempt,
        replays=replays,
        token=None,
    )


def logged(result: DeliveryResult, *, log_format: Any = "json") -> str:
    stream = io.StringIO()
    log = log_to(stream, Settings(log_format=log_format)).bind(service="counting")
    log_delivery(log, result)
    return stream.getvalue()


def result(**fields: Any) -> DeliveryResult:
    defaults: dict[str, Any] = {
        "delivery": delivery(),
        "outcome": Outcome.DONE,
        "event": ThingHappened(name="ORD-1", secret=CANARY),
    }
    return DeliveryResult(**(defaults | fields))


def failed() -> TransientFailure:
    error = TransientFailure("the server is busy")
    error.__cause__ = ValueError(CANARY)
    return error


def test_the_log_is_json_if_the_stream_is_not_a_terminal() -> None:
    stream = io.StringIO()
    log_to(stream, Settings()).info("started", service="orders")

    line = json.loads(stream.getvalue())
    assert (line["event"], line["service"], line["level"]) == ("started", "orders", "info")
    assert line["timestamp"].endswith("Z")
    assert ESCAPE not in stream.getvalue()


def test_the_log_is_coloured_columns_on_a_terminal() -> None:
    stream = Terminal()
    log_to(stream, Settings()).info("started", service="orders")

    assert ESCAPE in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_columns_have_no_colour_if_the_stream_is_not_a_terminal() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(log_format="console")).warning("retrying", service="orders", reason="x")

    assert stream.getvalue().split()[1:] == ["orders", "retrying", "reason=x"]
    assert ESCAPE not in stream.getvalue()


def test_the_log_is_json_on_a_terminal_if_the_setting_is_json() -> None:
    stream = Terminal()
    log_to(stream, Settings(log_format="json")).info("started")

    assert json.loads(stream.getvalue())["event"] == "started"


def test_lines_below_the_level_are_not_logged() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(log_level="error")).warning("retrying")

    assert stream.getvalue() == ""


def test_bound_fields_are_in_the_lines_of_the_bound_log_only() -> None:
    stream = io.StringIO()
    log = log_to(stream, Settings())
    bound = log.bind(service="orders").bind(part="relay")

    bound.info("first")
    log.info("second")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["service"], first["part"]) == ("orders", "relay")
    assert second.keys() == {"event", "level", "timestamp"}


def test_a_field_that_json_cannot_represent_is_logged_as_text() -> None:
    stream = io.StringIO()
    log_to(stream, Settings()).info("retrying", why=ValueError("away"))

    assert json.loads(stream.getvalue())["why"] == "ValueError('away')"


def test_a_line_about_a_delivery_has_its_service_event_order_and_attempt() -> None:
    line = json.loads(logged(result(notes=("counted it",), published=("thing.counted.v1",))))

    assert line.pop("event_id")
    assert line.pop("timestamp")
    assert line == {
        "event": "handled",
        "level": "info",
        "service": "counting",
        "event_type": "thing.happened.v1",
        "order_id": "ORD-1",
        "attempt": 1,
        "did": "counted it",
        "published": "thing.counted.v1",
    }


@pytest.mark.parametrize(("ahead", "mark"), [(30.5, "30 s"), (-60.0, None)])
def test_an_event_from_the_future_is_marked(ahead: float, mark: str | None) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=ahead)
    event = ThingHappened(name="ORD-1", secret=CANARY, occurred_at=moment)

    line = json.loads(logged(result(event=event)))

    assert line.get("from_future") == mark


@pytest.mark.parametrize(
    ("fields", "event", "level"),
    [
        pytest.param({"duplicate": True}, "duplicate", "info", id="duplicate"),
        pytest.param({"outcome": Outcome.REQUEUE}, "requeued", "info", id="requeued"),
        pytest.param(
            {"outcome": Outcome.RETRY, "error": failed()},
            "failed, will retry",
            "warning",
            id="failed",
        ),
        pytest.param(
            {"outcome": Outcome.RETRY, "error": failed(), "is_last_attempt": True},
            "dead",
            "error",
            id="last attempt failed",
        ),
        pytest.param(
            {"outcome": Outcome.DEAD, "error": failed()}, "dead", "error", id="not retryable"
        ),
    ],
)
def test_each_outcome_has_its_event_name_and_level(
    fields: dict[str, Any], event: str, level: str
) -> None:
    line = json.loads(logged(result(**fields)))

    assert (line["event"], line["level"]) == (event, level)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_contains_fields_of_an_event_or_the_message_of_an_error(log_format: str) -> None:
    unforeseen = KeyError(CANARY)
    for error in (failed(), unforeseen):
        line = logged(result(outcome=Outcome.RETRY, error=error), log_format=log_format)

        assert type(error).__name__ in line
        assert "Canary" not in line


def test_own_errors_are_logged_with_their_message_and_others_with_their_origin() -> None:
    ours = json.loads(logged(result(outcome=Outcome.RETRY, error=failed())))
    nowhere = json.loads(logged(result(outcome=Outcome.RETRY, error=KeyError(CANARY))))
    try:
        dict[str, int]()[CANARY]
    except KeyError as error:
        raised = json.loads(logged(result(outcome=Outcome.RETRY, error=error)))

    assert ours["reason"] == "the server is busy"
    assert nowhere["reason"] == "at an unknown place"
    assert raised["reason"].startswith("at tests/unit/shared/runtime/test_logs.py:")


def test_a_message_that_is_not_an_event_is_logged_by_its_message_id() -> None:
    strange = replace(delivery(), body=b"no event", event_id="note-1", type="Jane Doe")
    failing = result(delivery=strange, event=None, outcome=Outcome.DEAD, error=failed())
    line = json.loads(logged(failing))

    assert (line["event_id"], line["event_type"]) == ("note-1", "(unreadable)")
    assert line["order_id"] is None


def test_columns_show_a_later_attempt_and_the_number_of_replays() -> None:
    line = logged(result(delivery=delivery(3, replays=2)), log_format="console")

    assert "attempt 3" in line
    assert "replays=2" in line


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Restores the standard library's logging after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for each in handlers:  # basicConfig would close those of the test's own
        root.removeHandler(each)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("restored_logging")
def test_warnings_and_errors_of_libraries_are_logged_in_the_same_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    process_log(Settings(log_format="json"))
    library = logging.getLogger("some.library")

    library.info("not logged")
    library.warning("the %s is slow", "socket")
    library.error("it is gone")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["level"], each["event"], each["logger"]) for each in lines] == [
        ("warning", "the socket is slow", "some.library"),
        ("error", "it is gone", "some.library"),
    ]


@pytest.mark.usefixtures("restored_logging")
def test_the_exception_of_a_librarys_line_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    process_log(Settings(log_format="json"))

    logging.getLogger("some.library").error("failed", exc_info=ValueError(CANARY), stack_info=True)

    line = json.loads(capsys.readouterr().out)
    assert line.keys() == {"event", "level", "logger", "timestamp"}


@pytest.mark.usefixtures("restored_logging")
def test_lines_of_libraries_below_the_level_are_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    process_log(Settings(log_level="error"))

    logging.getLogger("some.library").warning("slow")

    assert capsys.readouterr().out == ""


def test_columns_have_a_fixed_order_and_two_spaces_between() -> None:
    line = logged(
        result(notes=("counted it",), published=("thing.counted.v1",), delivery=delivery(2)),
        log_format="console",
    )

    assert line[12:] == (
        "Z  counting    handled     thing.happened.v1    ORD-1         counted it"
        "  → thing.counted.v1  attempt 2\n"
    )


def test_each_service_has_a_colour_of_its_own() -> None:
    stream = Terminal()
    log = log_to(stream, Settings())

    for service in ("orders", "email", "orders"):
        log.info("started", service=service)

    first, second, third = stream.getvalue().splitlines()
    assert ansi_colour("orders") + "orders" in first
    assert ansi_colour("email") + "email" in second
    assert third[20:] == first[20:]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_stack_of_a_failure_is_logged_at_the_level_debug_only(log_format: Any) -> None:
    def lines(log_level: Any) -> str:
        stream = io.StringIO()
        settings = Settings(log_format=log_format, log_level=log_level)
        try:
            dict[str, int]()[CANARY]
        except KeyError as error:
            failure = result(outcome=Outcome.RETRY, error=error)
        log_delivery(log_to(stream, settings), failure)
        return stream.getvalue()

    assert "dict[str, int]()[CANARY]" in lines("debug")
    assert "dict[str, int]" not in lines("info")
    assert CANARY not in lines("debug")
