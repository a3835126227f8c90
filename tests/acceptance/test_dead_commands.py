"""The commands `shop dead …` in unusual situations, on both brokers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pika
import pytest

from shared.messaging.connect import broker_at
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.publisher import Message
from shared.runtime.service_settings import topology
from shared.runtime.settings import settings_for
from shop import registry
from tests.containers import ALLOW_PLAINTEXT
from tests.contract.brokers import receive, settle_all
from tests.support.commanding import CommandResult, Shop
from tests.support.order_events import placed
from tests.support.tape import message
from tests.support.waiting import eventually

UNREACHABLE_URL = "amqp://guest:guest@127.0.0.1:1/"
TOO_LARGE_BYTES = 1024**2 + 1


@dataclass(frozen=True)
class EmailDeadLetters:
    """The dead letters of email, and the program `shop`."""

    broker: Broker
    url: str
    shop: Shop

    def dead_letter(self, *letters: Message) -> None:
        """Publish messages to email and reject each."""
        to_email = [replace(each, only_to="email") for each in letters]
        assert self.broker.publisher().publish(to_email) == [None] * len(letters)
        self.reject(len(letters))

    def reject(self, count: int) -> None:
        before = self.depth
        consumer = self.broker.consumer("email", prefetch=count, slow_start=False)
        settle_all(consumer, receive(consumer, count), Outcome.DEAD)
        eventually(lambda: self.depth == before + count)
        consumer.close()

    @property
    def depth(self) -> int:
        return self.broker.depth("email.dead").ready

    @property
    def listed_count(self) -> int:
        return sum(each["count"] for each in self.listed())

    def listed(self) -> Any:
        return self.shop("dead", "list", "email", "--json").json


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def dead_letters(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[EmailDeadLetters]:
    url, admin_url = f"embedded:{tmp_path / 'broker.db'}", None
    if request.param == "rabbitmq":
        url, admin_url, _ = request.getfixturevalue("rabbitmq_vhost")
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    monkeypatch.setenv("SHOP_BROKER_URL", url)
    monkeypatch.setenv("SHOP_ALLOW_PLAINTEXT", str(ALLOW_PLAINTEXT))
    broker = broker_at(url, admin_url=admin_url)
    assert broker.set_up(topology(registry.all_services(), settings_for())) == []
    shop = Shop(monkeypatch, capsys)
    assert shop("setup").code == 0
    yield EmailDeadLetters(broker, url, shop)
    broker.close()


def one_sentence(result: CommandResult, *, code: int) -> str:
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("shop: ")
    assert result.err.count("\n") == 1
    return result.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param("list nobody", "no service 'nobody'", id="service"),
        pytest.param("retry nobody --all", "no service 'nobody'", id="service-to-retry"),
        pytest.param("show email no-such-event", "no dead letter 'no-such-event'", id="event"),
        pytest.param("retry email no-such-event", "no dead letter 'no-such-event'", id="retry"),
        pytest.param("discard email no-such-event --reason r", "no dead letter", id="discard"),
        pytest.param("retry email --error Nonsense", "there are rejected", id="error"),
        pytest.param("show loyalty no-such-event", "loyalty has no dead letters", id="none"),
    ],
)
def test_unknown_input_is_reported_in_one_sentence(
    dead_letters: EmailDeadLetters, arguments: str, sentence: str
) -> None:
    dead_letters.dead_letter(message(placed()))

    result = dead_letters.shop("dead", *arguments.split())

    assert sentence in one_sentence(result, code=2)
    assert dead_letters.listed_count == 1


def test_a_retry_without_the_broker_changes_nothing(
    dead_letters: EmailDeadLetters, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dead_letters.dead_letter(message(placed()))
    is_embedded = dead_letters.url.startswith("embedded:")
    with monkeypatch.context() as patched:
        patched.setenv(
            "SHOP_BROKER_URL", f"embedded:{tmp_path}" if is_embedded else UNREACHABLE_URL
        )

        result = dead_letters.shop("dead", "retry", "email", "--all")

    sentence = "cannot use its file" if is_embedded else "cannot be reached"
    assert sentence in one_sentence(result, code=1)
    assert dead_letters.listed_count == 1


@pytest.mark.parametrize(
    "arguments", ["list", "list email --json", "show email {id}", "retry email --all"]
)
def test_while_another_process_reads_the_dead_letters_the_commands_say_so(
    dead_letters: EmailDeadLetters, arguments: str
) -> None:
    letter = message(placed())
    dead_letters.dead_letter(letter)
    other = dead_letters.broker.consumer("email.dead", prefetch=10, slow_start=False)
    receive(other)

    result = dead_letters.shop("dead", *arguments.format(id=letter.event_id).split())
    doctor = dead_letters.shop("doctor")
    other.close()

    assert result.code == 1
    assert "another process is reading the dead letters of email" in result.err
    assert doctor.code == 1
    assert "another process is reading them" in doctor.out
    assert dead_letters.listed_count == 1


def test_on_rabbitmq_the_doctor_reports_a_queue_without_a_consumer_even_if_it_is_empty(
    dead_letters: EmailDeadLetters,
) -> None:
    """Messages may wait for a retry, and RabbitMQ does not count those as ready."""
    findings = {
        each["what"]: each["says"]
        for each in dead_letters.shop("doctor", "--json").json
        if not each["ok"]
    }

    is_embedded = dead_letters.url.startswith("embedded:")
    sentence = "0 ready and no consumer: start the service with shop run email"
    assert findings.get("queue of email") == (None if is_embedded else sentence)


def too_large(dead_letters: EmailDeadLetters) -> None:
    """Add a message that is larger than any publisher of this project sends."""
    body = b" " * TOO_LARGE_BYTES
    if isinstance(dead_letters.broker, EmbeddedBroker):
        dead_letters.dead_letter(malformed())
        with dead_letters.broker._file.opened() as connection:
            connection.execute("UPDATE messages SET body = ?", (body,))
        return
    with pika.BlockingConnection(pika.URLParameters(dead_letters.url)) as connection:
        connection.channel().basic_publish("replays", "email", body)
    dead_letters.reject(1)


def malformed(body: bytes = b"not even JSON", **changes: Any) -> Message:
    fields = {"event_id": "bad-1", "topic": "order.placed", "type": "order.placed.v1"}
    return Message(**fields | {"body": body, "source": "unknown", "only_to": "email"} | changes)


@pytest.mark.parametrize(
    ("add", "error"),
    [
        pytest.param(too_large, "EventTooLarge", id="1-MiB-and-a-byte"),
        pytest.param(lambda dead: dead.dead_letter(malformed()), "MalformedEvent", id="no-JSON"),
        pytest.param(
            lambda dead: dead.dead_letter(malformed(b" " * 1024**2)), "MalformedEvent", id="1-MiB"
        ),
        pytest.param(
            lambda dead: dead.dead_letter(malformed("\x1b[31m\x9b2J\u202e".encode())),
            "MalformedEvent",
            id="escapes",
        ),
        pytest.param(
            lambda dead: dead.dead_letter(
                malformed(event_id="\x1b[31m", type="\0\n", replays=2**31 - 1)
            ),
            "MalformedEvent",
            id="false-properties",
        ),
    ],
)
def test_a_message_that_is_not_an_event_is_listed_shown_left_by_retry_and_discarded(
    dead_letters: EmailDeadLetters, add: Callable[[EmailDeadLetters], None], error: str
) -> None:
    add(dead_letters)
    [row] = dead_letters.listed()
    letter = ("email", row["example"])

    shown = dead_letters.shop("dead", "show", *letter)
    shown_as_json = dead_letters.shop("dead", "show", *letter, "--json")
    left = dead_letters.shop("dead", "retry", "email", "--all", "--json")
    table = dead_letters.shop("dead", "list")

    assert (row["error"], row["count"]) == (error, 1)
    assert (shown.code, left.json["left"]) == (0, 1)
    assert error in table.out
    assert "\x1b" not in shown.out + table.out + shown_as_json.out
    assert dead_letters.shop("dead", "discard", *letter, "--reason", "noise").code == 0
    assert dead_letters.listed() == []
    assert (
        dead_letters.shop("dead", "list", "--discarded", "--json").json[0]["id"] == row["example"]
    )
