"""The commands `shop dead …` on the embedded broker."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.email.errors import MailRefused
from services.email.mailer import Mailer
from services.email.mails import Mail
from shared.events import OrderPlaced, uuid7
from shared.messaging.codec import encode, message_of
from shared.messaging.ports.publisher import Message
from shared.runtime.settings import Settings
from shared.testing import Stage
from shop import registry
from tests.support.commanding import Shop
from tests.support.order_events import cancelled, placed


class RefusingMailer(Mailer):
    """A mailer whose server rejects every mail, until `refuses` is cleared."""

    refuses = True

    def send(self, mail: Mail) -> None:
        if self.refuses:
            raise MailRefused("the mail server answered 550")
        super().send(mail)


@pytest.fixture
def mailer(tmp_path: Path) -> RefusingMailer:
    return RefusingMailer.from_settings(Settings(home=tmp_path))


@pytest.fixture
def stage(tmp_path: Path, mailer: RefusingMailer) -> Iterator[Stage]:
    stage = Stage(tmp_path, registry.all_services(), gateway={"email": mailer})
    yield stage
    stage.close()


def send_malformed(stage: Stage, body: bytes = b"{", event_id: str = "") -> None:
    """Send email a message that is not an event."""
    message = Message(
        event_id=event_id,
        topic="order.placed",
        type="order.placed.v1",
        body=body,
        source="unknown",
        only_to="email",
    )
    assert stage.broker.publisher().publish([message]) == [None]


def handle_all(stage: Stage) -> None:
    """Let email handle every ready message, one at a time."""
    while stage.react("email", errors="collect"):
        pass


def test_without_dead_letters_the_list_is_empty_even_before_set_up(shop: Shop) -> None:
    assert shop("dead", "list", "--json") == (0, "[]\n", "")
    assert shop("dead", "list").out == "No dead letters.\n"


def test_the_doctor_creates_no_file_before_set_up(shop: Shop, tmp_path: Path) -> None:
    before = list(tmp_path.iterdir())

    result = shop("doctor")

    assert result.code == 1
    assert "run shop setup" in result.out
    assert list(tmp_path.iterdir()) == before
    assert shop("dead", "list", "--json") == (0, "[]\n", "")


def test_a_service_that_cannot_be_read_hides_no_other(
    shop: Shop, stage: Stage, tmp_path: Path
) -> None:
    stage.publish(placed())
    handle_all(stage)
    for path in tmp_path.glob("loyalty.db*"):
        path.unlink()
    (tmp_path / "loyalty.db").write_text("not a database, and long enough to be recognised as such")

    result = shop("dead", "list", "--json")

    assert result.code == 1
    assert [each["service"] for each in result.json] == ["email"]
    assert "loyalty is not in this list: " in result.err


def test_letters_are_grouped_in_a_table_and_as_json(shop: Shop, stage: Stage) -> None:
    event = placed()
    stage.publish(event, placed("ORD-2"))
    handle_all(stage)

    [row] = shop("dead", "list", "--json").json

    assert {name: row[name] for name in ("service", "event_type", "error", "count")} == {
        "service": "email",
        "event_type": "order.placed.v1",
        "error": "MailRefused",
        "count": 2,
    }
    assert row["example"] == str(event.event_id)
    assert row["first"].endswith("Z")
    assert row["first"] <= row["last"]
    table = shop("dead", "list").out
    assert "MailRefused" in table
    assert shop("dead", "list", "inventory", "--json").json == []


def test_the_table_fits_a_terminal_of_100_columns(
    shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = cancelled()
    stage.publish(event)
    for _ in range(40):
        handle_all(stage)
        stage.clock.now += 1000
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("shared.operations.dead_letters.commands.is_terminal", lambda: True)

    table = shop("dead", "list").out

    assert "CustomerUnknown" in table
    assert str(event.event_id)[-8:] in table
    assert max(map(len, table.splitlines())) <= 100
    heading, _, _row, note = [line for line in table.splitlines() if line.strip()]
    assert heading.split() == ["Service", "Event", "Error", "Count", "Last", "Example"]
    assert note.startswith("Not shown at 100 columns: First;")


def test_each_letter_is_listed_with_its_id_order_attempts_and_time(
    shop: Shop, stage: Stage
) -> None:
    events = [placed(f"ORD-{number}") for number in range(10)]
    stage.publish(*events)
    send_malformed(stage)
    handle_all(stage)
    shop("dead", "retry", "email", str(events[0].event_id))
    handle_all(stage)

    rows = shop("dead", "list", "--each", "--json").json

    mails = [row for row in rows if row["error"] == "MailRefused"]
    assert {(row["id"], row["subject"]) for row in mails} == {
        (str(event.event_id), event.order_id) for event in events
    }
    assert (mails[0]["subject"], mails[0]["attempts"], mails[0]["replays"]) == ("ORD-0", 2, 1)
    assert {row["attempts"] for row in rows[1:]} == {1}
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    assert [row["id"].startswith("sha256:") for row in rows if row not in mails] == [True]
    table = shop("dead", "list", "email", "--each").out
    assert all(str(event.event_id) in table for event in events)
    assert shop("dead", "list", "--each", "--discarded").code == 2


def test_json_names_every_letter_of_a_group(shop: Shop, stage: Stage) -> None:
    events = [placed(f"ORD-{number}") for number in range(10)]
    stage.publish(*events)
    handle_all(stage)

    [row] = shop("dead", "list", "--json").json

    assert sorted(row["ids"]) == sorted(str(event.event_id) for event in events)


def test_a_letter_is_shown_with_its_attempts(shop: Shop, stage: Stage) -> None:
    event = placed()
    stage.publish(event)
    handle_all(stage)

    result = shop("dead", "show", "email", str(event.event_id))

    assert "the mail server answered 550" in result.out
    assert '"order_id": "ORD-1"' in result.out
    assert "personal data" in result.err
    assert "handlers.py" not in result.out
    assert "handlers.py" in shop("dead", "show", "email", str(event.event_id), "--trace").out
    details = shop("dead", "show", "email", str(event.event_id)[-8:], "--json").json
    assert details["id"] == str(event.event_id)
    assert "traceback" not in details["attempts"][0]


def test_mails_to_an_unknown_customer_succeed_when_retried_in_the_order_of_events(
    shop: Shop, stage: Stage, mailer: RefusingMailer
) -> None:
    first = placed()
    later = cancelled().model_copy(update={"occurred_at": datetime.now(UTC) + timedelta(seconds=1)})
    stage.publish(later, first)
    for _ in range(40):  # past email's limit
        handle_all(stage)
        stage.clock.now += 1000
    errors = {each["error"] for each in shop("dead", "list", "--json").json}
    assert errors == {"MailRefused", "CustomerUnknown"}
    mailer.refuses = False

    result = shop("dead", "retry", "email", "--all")
    handle_all(stage)

    assert result.code == 0
    assert "retried 2" in result.out
    assert [mail["kind"] for mail in shop("email", "sent", "--json").json] == [
        "cancellation",
        "confirmation",
    ]
    assert shop("dead", "list", "--json").json == []


def test_a_dry_run_changes_nothing(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())
    send_malformed(stage)
    handle_all(stage)

    result = shop("dead", "retry", "email", "--all", "--dry-run", "--json")

    assert result.json == {
        "retried": 1,
        "duplicates": 0,
        "left": 1,
        "refused": {},
        "dry_run": True,
    }
    assert sum(each["count"] for each in shop("dead", "list", "--json").json) == 2


def test_a_malformed_message_is_left_by_all_and_discarded_by_id(shop: Shop, stage: Stage) -> None:
    send_malformed(stage)
    handle_all(stage)
    [row] = shop("dead", "list", "--json").json
    assert row["example"].startswith("sha256:")

    result = shop("dead", "retry", "email", "--all")
    assert "left 1 " in result.out
    assert "shop dead discard email" in result.out

    discarded = shop("dead", "discard", "email", row["example"], "--reason", "sent by a test")
    assert discarded.code == 0
    assert shop("dead", "list", "--json").json == []
    details = shop("dead", "show", "email", row["example"], "--json").json
    assert details["reason"] == "sent by a test"
    assert "@" in details["discarded_by"]


def test_discarded_letters_are_listed_even_without_the_broker(
    shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_malformed(stage, event_id="note-1")
    handle_all(stage)
    shop("dead", "discard", "email", "note-1", "--reason", "sent by a test")
    monkeypatch.setenv("SHOP_BROKER_URL", "amqp://guest:guest@127.0.0.1:1/")

    [row] = shop("dead", "list", "--discarded", "--json").json

    assert (row["service"], row["id"], row["reason"]) == ("email", "note-1", "sent by a test")
    assert "sent by a test" in shop("dead", "list", "email", "--discarded").out
    assert shop("dead", "list", "orders", "--discarded").out == "Nothing was discarded.\n"


def test_a_malformed_message_can_be_retried_by_id_and_dies_again(shop: Shop, stage: Stage) -> None:
    send_malformed(stage, event_id="note-1")
    handle_all(stage)

    assert "retried 1" in shop("dead", "retry", "email", "note-1").out
    handle_all(stage)

    assert shop("dead", "show", "email", "note-1", "--json").json["replays"] == 1


def test_an_event_above_the_size_limit_is_shown_and_stays(shop: Shop, stage: Stage) -> None:
    # No publisher accepts such a message, so it is written to the broker's file.
    send_malformed(stage, event_id="huge-1")
    handle_all(stage)
    with stage.broker._file.opened() as connection:
        connection.execute("UPDATE messages SET body = ?", (b" " * (1024 * 1024 + 1),))

    assert shop("dead", "list", "--json").json[0]["error"] == "EventTooLarge"
    result = shop("dead", "retry", "email", "huge-1")

    assert result.code == 1
    assert "1 MiB" in result.err
    assert shop("dead", "show", "email", "huge-1", "--json").json["body_bytes"] == 1048577


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["list", "nobody"], "no service 'nobody'", id="list"),
        pytest.param(["show", "nobody", "x"], "no service 'nobody'", id="show"),
        pytest.param(["show", "email", "x"], "no dead letter 'x'", id="unknown-event"),
        pytest.param(["retry", "email", "x"], "no dead letter 'x'", id="retry-unknown"),
        pytest.param(["retry", "email"], "one of EVENT_ID, --error and --all", id="nothing"),
        pytest.param(["retry", "email", "x", "--all"], "give one of", id="two"),
        pytest.param(["retry", "email", "--error", "X"], "there are MailRefused", id="error"),
        pytest.param(["retry", "email", "--error", ""], "there are MailRefused", id="no-error"),
        pytest.param(["retry", "email", ""], "no dead letter ''", id="no-id"),
        pytest.param(["discard", "email", "x", "--reason", "r"], "no dead letter", id="discard"),
        pytest.param(["discard", "email", "x", "--reason", " "], "--reason should", id="reason"),
        pytest.param(
            ["discard", "email", "x", "--reason", "a\u202eb"], "without U+202E", id="steering"
        ),
        pytest.param(["retry", "inventory", "x"], "inventory has no dead letters", id="none"),
    ],
)
def test_invalid_input_is_reported_in_one_sentence(
    shop: Shop, stage: Stage, arguments: list[str], sentence: str
) -> None:
    stage.publish(placed())
    handle_all(stage)

    result = shop("dead", *arguments)

    assert (result.code, result.out) == (2, "")
    assert sentence in result.err
    assert result.err.count("\n") == 1


def test_without_the_broker_a_retry_changes_nothing(
    shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.publish(placed())
    handle_all(stage)
    with monkeypatch.context() as patched:
        patched.setenv("SHOP_BROKER_URL", "amqp://guest:guest@127.0.0.1:1/")

        result = shop("dead", "retry", "email", "--all")

    assert (result.code, result.out) == (1, "")
    assert "refused" in result.err
    assert "Traceback" not in result.err
    assert shop("dead", "list", "--json").json[0]["count"] == 1


def test_services_that_are_not_visible_are_named(
    shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage.publish(placed())
    handle_all(stage)
    (tmp_path / "keys" / "email").mkdir(parents=True)
    monkeypatch.setenv("SHOP_KEYS", str(tmp_path / "keys"))

    result = shop("dead", "list", "--json")

    assert [each["service"] for each in json.loads(result.out)] == ["email"]
    assert "not visible from here: orders, " in result.err
    assert "email" not in result.err
    assert shop("dead", "list", "orders").code == 1


def test_an_ambiguous_end_of_an_id_is_refused(shop: Shop, stage: Stage) -> None:
    ids = [str(uuid7())[:-12] + "abcdefabcdef" for _ in range(2)]
    for each in ids:
        send_malformed(stage, event_id=each)
    handle_all(stage)

    result = shop("dead", "show", "email", "abcdefabcdef")

    assert result.code == 2
    assert "2 dead letters of email end in 'abcdefabcdef'" in result.err
    assert shop("dead", "show", "email", ids[0]).code == 0


def publish_conflict(stage: Stage, event: OrderPlaced) -> None:
    """Publish an event with the same id and another mail address."""
    stage.publish(event.model_copy(update={"customer_email": "thief@example.com"}))


def test_a_conflicting_letter_is_listed_and_discarded_beside_the_event_that_was_handled(
    shop: Shop, stage: Stage, mailer: RefusingMailer
) -> None:
    mailer.refuses = False
    event = placed()
    stage.publish(event)
    publish_conflict(stage, event)
    handle_all(stage)

    [row] = shop("dead", "list", "--json").json

    assert (row["error"], row["count"]) == ("ConflictingEvent", 1)
    assert row["example"].startswith("sha256:")
    assert "left 1 whose error would occur again" in shop("dead", "retry", "email", "--all").out
    assert shop("dead", "discard", "email", row["example"], "--reason", "forged").code == 0
    assert shop("dead", "list", "--json").json == []
    stage.publish(event)
    [again] = stage.react("email")
    assert again.duplicate


def test_discarding_a_forged_letter_does_not_discard_the_event_whose_id_it_holds(
    shop: Shop, stage: Stage, mailer: RefusingMailer
) -> None:
    mailer.refuses = False
    event = placed()
    forged = replace(message_of(event, source="orders"), topic="order.shipped")
    assert stage.broker.publisher().publish([forged]) == [None]
    handle_all(stage)
    [row] = shop("dead", "list", "--json").json
    assert row["error"] == "ForgedEvent"

    shop("dead", "discard", "email", row["example"], "--reason", "forged")
    stage.publish(event)
    handle_all(stage)

    assert [mail["kind"] for mail in shop("email", "sent", "--json").json] == ["confirmation"]


def test_a_letter_shows_no_free_text_of_its_envelope(shop: Shop, stage: Stage) -> None:
    event = placed()
    envelope = json.loads(encode(event, source="orders"))
    text = "jane.canary@example.com"
    body = json.dumps(envelope | {"subject": text, "source": text, "type": "order.lost.v1"})
    send_malformed(stage, body.encode(), event_id=text)
    send_malformed(stage, json.dumps({"id": text, "subject": text}).encode(), event_id=text)
    handle_all(stage)

    for row in shop("dead", "list", "--json").json:
        shown = shop("dead", "show", "email", row["example"], "--json").json
        shown.pop("body_begins", None)  # what a person asks to see, with a notice
        assert "canary" not in str(shown)
        assert "canary" not in str(row)
    assert "canary" not in shop("dead", "list").out
