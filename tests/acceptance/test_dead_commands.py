"""What a person who looks after dead letters may meet, on both brokers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from tests.contract.places import receive, replaced, settle_all
from tests.support.commanding import Said, Shop
from tests.support.order_events import placed
from tests.support.tape import message
from tests.support.waiting import eventually

NOBODY = "amqp://guest:guest@127.0.0.1:1/"
TOO_LARGE_BYTES = 1024**2 + 1


@dataclass(frozen=True)
class Cemetery:
    """Email's dead letters, and the program that looks after them."""

    broker: Broker
    url: str
    shop: Shop

    def bury(self, *letters: Message) -> None:
        """Let email refuse these."""
        to_email = [replaced(each, only_to="email") for each in letters]
        assert self.broker.publisher().publish(to_email) == [None] * len(letters)
        self.let_die(len(letters))

    def let_die(self, count: int) -> None:
        dead = self.dead
        dying = self.broker.consumer("email", prefetch=count, slow_start=False)
        settle_all(dying, receive(dying, count), Outcome.DEAD)
        eventually(lambda: self.dead == dead + count)
        dying.close()

    @property
    def dead(self) -> int:
        return self.broker.depth("email.dead").ready

    @property
    def count(self) -> int:
        """As the program lists them."""
        return sum(each["count"] for each in self.listed())

    def listed(self) -> Any:
        return self.shop("dead", "list", "email", "--json").json


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def cemetery(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cemetery]:
    url, admin_url = f"embedded:{tmp_path / 'broker.db'}", None
    if request.param == "rabbitmq":
        url, admin_url, _ = request.getfixturevalue("rabbitmq_vhost")
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    monkeypatch.setenv("SHOP_BROKER_URL", url)
    broker = broker_at(url, admin_url=admin_url)
    assert broker.set_up(topology(registry.all_services(), settings_for())) == []
    yield Cemetery(broker, url, Shop(monkeypatch, capsys))
    broker.close()


def one_sentence(said: Said, *, code: int) -> str:
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith("shop: ")
    assert said.err.count("\n") == 1
    return said.err


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
def test_what_is_not_known_is_told_in_a_sentence(
    cemetery: Cemetery, arguments: str, sentence: str
) -> None:
    cemetery.bury(message(placed()))

    said = cemetery.shop("dead", *arguments.split())

    assert sentence in one_sentence(said, code=2)
    assert cemetery.count == 1


def test_a_retry_while_the_broker_is_away_changes_nothing(
    cemetery: Cemetery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cemetery.bury(message(placed()))
    is_embedded = cemetery.url.startswith("embedded:")
    with monkeypatch.context() as away:
        away.setenv("SHOP_BROKER_URL", f"embedded:{tmp_path}" if is_embedded else NOBODY)

        said = cemetery.shop("dead", "retry", "email", "--all")

    told = "cannot use its file" if is_embedded else "cannot be reached"
    assert told in one_sentence(said, code=1)
    assert cemetery.count == 1


@pytest.mark.parametrize(
    "arguments", ["list", "list email --json", "show email {id}", "retry email --all"]
)
def test_while_somebody_else_looks_it_says_so_and_nothing_else(
    cemetery: Cemetery, arguments: str
) -> None:
    letter = message(placed())
    cemetery.bury(letter)
    somebody = cemetery.broker.consumer("email.dead", prefetch=10, slow_start=False)
    receive(somebody)

    said = cemetery.shop("dead", *arguments.format(id=letter.event_id).split())
    doctor = cemetery.shop("doctor")
    somebody.close()

    assert said.code == 1
    assert "somebody else looks at the dead letters of email now" in said.err
    assert doctor.code == 1
    assert "somebody looks at them now" in doctor.out
    assert cemetery.count == 1


def test_a_queue_without_a_consumer_is_an_ill_on_a_server_also_when_it_is_empty(
    cemetery: Cemetery,
) -> None:
    """Its events may wait for another attempt, which RabbitMQ does not tell."""
    ill = {
        each["what"]: each["says"]
        for each in cemetery.shop("doctor", "--json").json
        if not each["ok"]
    }

    is_embedded = cemetery.url.startswith("embedded:")
    sentence = "nobody takes its events, 0 wait; start it: shop run email"
    assert ill.get("queue of email") == (None if is_embedded else sentence)


def too_large(cemetery: Cemetery) -> None:
    """What no publisher of ours sends, by the back door."""
    body = b" " * TOO_LARGE_BYTES
    if isinstance(cemetery.broker, EmbeddedBroker):
        cemetery.bury(garbage())
        with cemetery.broker._file.opened() as connection:
            connection.execute("UPDATE messages SET body = ?", (body,))
        return
    with pika.BlockingConnection(pika.URLParameters(cemetery.url)) as connection:
        connection.channel().basic_publish("replays", "email", body)
    cemetery.let_die(1)


def garbage(body: bytes = b"not even JSON", **differing: Any) -> Message:
    fields = {"event_id": "bad-1", "topic": "order.placed", "type": "order.placed.v1"}
    return Message(**fields | {"body": body, "source": "somebody", "only_to": "email"} | differing)


@pytest.mark.parametrize(
    ("bury", "error"),
    [
        pytest.param(too_large, "EventTooLarge", id="1-MiB-and-a-byte"),
        pytest.param(lambda at: at.bury(garbage()), "MalformedEvent", id="no-JSON"),
        pytest.param(lambda at: at.bury(garbage(b" " * 1024**2)), "MalformedEvent", id="1-MiB"),
        pytest.param(
            lambda at: at.bury(garbage("\x1b[31m\x9b2J\u202e".encode())),
            "MalformedEvent",
            id="escapes",
        ),
        pytest.param(
            lambda at: at.bury(garbage(event_id="\x1b[31m", type="\0\n", replays=2**31 - 1)),
            "MalformedEvent",
            id="lies",
        ),
    ],
)
def test_what_is_no_event_is_listed_shown_left_and_discarded(
    cemetery: Cemetery, bury: Callable[[Cemetery], None], error: str
) -> None:
    bury(cemetery)
    [row] = cemetery.listed()
    named = ("email", row["example"])

    shown = cemetery.shop("dead", "show", *named)
    shown_as_json = cemetery.shop("dead", "show", *named, "--json")
    left = cemetery.shop("dead", "retry", "email", "--all", "--json")
    table = cemetery.shop("dead", "list")

    assert (row["error"], row["count"]) == (error, 1)
    assert (shown.code, left.json["left"]) == (0, 1)
    assert error in table.out
    assert "\x1b" not in shown.out + table.out + shown_as_json.out
    assert cemetery.shop("dead", "discard", *named, "--reason", "noise").code == 0
    assert cemetery.listed() == []
    assert cemetery.shop("dead", "list", "--discarded", "--json").json[0]["id"] == row["example"]
