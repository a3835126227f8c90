import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import TransientFailure
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.runtime.logs import log_reaction, log_to, standard_log
from shared.runtime.reactor import DeliveryResult
from shared.runtime.settings import Settings
from tests.support.counting import ThingHappened

CANARY = "123 Canary Street"
ESCAPE = "\x1b["


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

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


def said(reacted: DeliveryResult, *, dies: bool = False, log_format: Any = "json") -> str:
    stream = io.StringIO()
    log = log_to(stream, Settings(log_format=log_format)).bind(service="counting")
    log_reaction(log, reacted, dies=dies)
    return stream.getvalue()


def reacted(**parts: Any) -> DeliveryResult:
    usual: dict[str, Any] = {
        "delivery": delivery(),
        "outcome": Outcome.DONE,
        "event": ThingHappened(name="ORD-1", secret=CANARY),
    }
    return DeliveryResult(**(usual | parts))


def failed() -> TransientFailure:
    error = TransientFailure("the server is busy")
    error.__cause__ = ValueError(CANARY)
    return error


def test_it_is_json_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    log_to(stream, Settings()).info("started", service="orders")

    line = json.loads(stream.getvalue())
    assert (line["event"], line["service"], line["level"]) == ("started", "orders", "info")
    assert line["timestamp"].endswith("Z")
    assert ESCAPE not in stream.getvalue()


def test_it_is_coloured_columns_on_a_terminal() -> None:
    stream = Terminal()
    log_to(stream, Settings()).info("started", service="orders")

    assert ESCAPE in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_columns_that_were_asked_for_have_no_colour_without_a_terminal() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(log_format="console")).warning("waiting", service="orders", reason="x")

    assert stream.getvalue().split()[1:] == ["orders", "waiting", "reason=x"]
    assert ESCAPE not in stream.getvalue()


def test_json_that_was_asked_for_is_json_on_a_terminal_too() -> None:
    stream = Terminal()
    log_to(stream, Settings(log_format="json")).info("started")

    assert json.loads(stream.getvalue())["event"] == "started"


def test_what_is_below_the_level_is_not_said() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(log_level="error")).warning("waiting")

    assert stream.getvalue() == ""


def test_what_is_bound_is_in_the_lines_of_that_log_alone() -> None:
    stream = io.StringIO()
    log = log_to(stream, Settings())
    bound = log.bind(service="orders").bind(part="relay")

    bound.info("first")
    log.info("second")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["service"], first["part"]) == ("orders", "relay")
    assert second.keys() == {"event", "level", "timestamp"}


def test_a_field_that_json_has_no_word_for_is_said_all_the_same() -> None:
    stream = io.StringIO()
    log_to(stream, Settings()).info("waiting", why=ValueError("away"))

    assert json.loads(stream.getvalue())["why"] == "ValueError('away')"


def test_the_log_loads_no_rich_and_leaves_it_to_others() -> None:
    check = "import sys, shared.runtime.logs; print('rich' in sys.modules); import rich.table"
    said = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)

    assert said.stdout == "False\n"


def test_a_reaction_says_who_what_which_and_the_attempt() -> None:
    line = json.loads(said(reacted(notes=("counted it",), published=("thing.counted.v1",))))

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


@pytest.mark.parametrize(
    ("parts", "dies", "event", "level"),
    [
        pytest.param({"duplicate": True}, False, "duplicate", "info", id="a copy"),
        pytest.param({"outcome": Outcome.REQUEUE}, False, "handed back", "info", id="handed"),
        pytest.param(
            {"outcome": Outcome.RETRY, "error": failed()},
            False,
            "failed, will retry",
            "warning",
            id="failed",
        ),
        pytest.param(
            {"outcome": Outcome.RETRY, "error": failed()}, True, "dead", "error", id="the last"
        ),
        pytest.param(
            {"outcome": Outcome.DEAD, "error": failed()}, False, "dead", "error", id="hopeless"
        ),
    ],
)
def test_each_outcome_has_its_words(
    parts: dict[str, Any], *, dies: bool, event: str, level: str
) -> None:
    line = json.loads(said(reacted(**parts), dies=dies))

    assert (line["event"], line["level"]) == (event, level)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_holds_what_an_event_or_an_error_holds(log_format: str) -> None:
    unforeseen = KeyError(CANARY)
    for error in (failed(), unforeseen):
        line = said(reacted(outcome=Outcome.RETRY, error=error), log_format=log_format)

        assert type(error).__name__ in line
        assert "Canary" not in line


def test_our_own_errors_give_their_reason_and_others_their_place() -> None:
    ours = json.loads(said(reacted(outcome=Outcome.RETRY, error=failed())))
    nowhere = json.loads(said(reacted(outcome=Outcome.RETRY, error=KeyError(CANARY))))
    try:
        dict[str, int]()[CANARY]
    except KeyError as error:
        raised = json.loads(said(reacted(outcome=Outcome.RETRY, error=error)))

    assert ours["reason"] == "the server is busy"
    assert nowhere["reason"] == "at an unknown place"
    assert raised["reason"].startswith("at test_logs.py:")


def test_what_is_no_event_is_told_by_what_can_be_said_of_it() -> None:
    strange = replace(delivery(), body=b"no event", event_id="note-1", type="Jane Doe")
    failing = reacted(delivery=strange, event=None, outcome=Outcome.DEAD, error=failed())
    line = json.loads(said(failing))

    assert (line["event_id"], line["event_type"]) == ("note-1", "(unreadable)")
    assert line["order_id"] is None


def test_a_person_reads_of_a_later_attempt_and_of_replays() -> None:
    line = said(reacted(delivery=delivery(3, replays=2)), log_format="console")

    assert "attempt 3" in line
    assert "replays=2" in line


@pytest.fixture
def libraries() -> Iterator[None]:
    """The standard library's logging, as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for each in handlers:  # basicConfig would close those of the test's own
        root.removeHandler(each)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("libraries")
def test_what_a_library_warns_of_is_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    standard_log(Settings(log_format="json"))
    library = logging.getLogger("some.library")

    library.info("nobody needs to know")
    library.warning("the %s is slow", "socket")
    library.error("it is gone")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["level"], each["event"], each["logger"]) for each in lines] == [
        ("warning", "the socket is slow", "some.library"),
        ("error", "it is gone", "some.library"),
    ]
