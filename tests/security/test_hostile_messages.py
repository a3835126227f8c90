"""The hostile corpus through both brokers to the real services.

Each message is dead with a reason, or handled where it is valid; the services go on; people can
look at the dead letters, retry and discard them; and nothing personal is kept.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from shared.errors import (
    MalformedEvent,
    NotSubscribed,
    PermanentFailure,
    UnsupportedVersion,
    error_named,
)
from shared.messaging.codec import message_of
from shared.messaging.connect import broker_at
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.consumer import Outcome
from shared.operations.dead_letters.listing import letter_details
from shared.runtime.settings import settings_for
from shop import registry
from tests.containers import MAX_MESSAGE_BYTES
from tests.security.hostile_messages import CANARY, Fate, HostileMessage
from tests.security.hostile_shop import (
    CORPUS,
    Observed,
    broker_settings,
    connection_warnings,
    dead_letters,
    digest,
    expected,
    hostile_home,
    running,
)
from tests.security.publishing import RawPublisher, publish_embedded
from tests.support.commanding import Shop
from tests.support.order_events import placed
from tests.support.waiting import eventually

FINAL = PermanentFailure, NotSubscribed, UnsupportedVersion
"""The errors of messages that no process of these services can handle."""


@pytest.fixture(
    scope="module", params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)]
)
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The settings of a shop on each broker, which is set up."""
    home = tmp_path_factory.mktemp(request.param)
    with broker_settings(request, request.param) as broker, hostile_home(home, broker):
        yield home


@pytest.fixture(scope="module")
def observed(home: Path) -> Observed:
    """The whole corpus has been published while the services ran, and a good order after it."""
    observed = Observed()
    settings = settings_for("orders")
    with connection_warnings(observed.warnings), running(observed) as group:
        eventually(lambda: not group.readiness(), within=20)
        if settings.is_embedded:
            refused = publish_embedded(EmbeddedBroker(home / "broker.db"), CORPUS)
            observed.refused = dict.fromkeys(refused, "the embedded broker")
        else:
            publisher = RawPublisher(settings.broker_url)
            observed.refused = publisher.publish(CORPUS)
            publisher.close()
        eventually(lambda: not observed.missing(), within=120)
        good = message_of(placed("ORD-good"), source="orders")
        broker = broker_at(settings.broker_url_of("orders"))
        assert broker.publisher().publish([good]) == [None]
        for service in ("inventory", "email", "shipping", "loyalty", "analytics"):
            eventually(partial(observed.handled, service, good.body), within=20)
        assert group.readiness() == []
        broker.close()
    return observed


def test_every_message_is_dead_with_a_reason_or_handled_where_it_is_valid(
    observed: Observed,
) -> None:
    wrong = []
    for service, message in expected(observed.refused):
        result = observed.result(service, message)
        assert result is not None
        died = result.is_dead and isinstance(result.error, FINAL) and str(result.error)
        is_right = {
            Fate.DEAD: died,
            Fate.HANDLED: result.outcome is Outcome.DONE,
            Fate.EITHER: died or result.outcome is Outcome.DONE,
        }[message.fate]
        if not is_right:
            wrong.append((service, message.name, result.outcome, result.error))

    assert wrong == []


def test_undecodable_properties_are_the_reason(observed: Observed) -> None:
    undecodable = [
        (service, message)
        for service, message in expected(observed.refused)
        if message.fate is Fate.DEAD and message.properties is not None
    ]

    for service, message in undecodable:
        result = observed.result(service, message)
        assert result is not None
        assert isinstance(result.error, MalformedEvent)
        assert str(result.error) == "its properties cannot be decoded"
    assert undecodable or settings_for().is_embedded


def test_most_messages_are_not_refused_by_the_broker(observed: Observed) -> None:
    sent = len(CORPUS) - len(observed.refused)

    assert sent >= 300


def test_a_body_above_the_brokers_limit_reaches_no_service(observed: Observed) -> None:
    larger = {each.name for each in CORPUS if len(each.body) > MAX_MESSAGE_BYTES}

    assert larger
    assert larger <= observed.refused.keys()


@pytest.fixture
def shop(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    """The command line, after the corpus."""
    assert observed.refused
    return Shop(monkeypatch, capsys)


def died(observed: Observed, service: str) -> list[HostileMessage]:
    return [
        message
        for name, message in expected(observed.refused)
        if name == service and (result := observed.result(name, message)) and result.is_dead
    ]


@pytest.mark.parametrize("service", ["email", "analytics"])
def test_the_dead_letters_are_listed(observed: Observed, shop: Shop, service: str) -> None:
    dead = died(observed, service)

    listed = shop("dead", "list", service, "--json")

    assert listed.code == 0
    counts: Counter[str] = Counter()
    for group in listed.json:
        counts[group["error"]] += group["count"]
    about_the_message = ("MalformedEvent", "EventTooLarge", "ForgedEvent")
    assert sum(counts[each] for each in about_the_message) >= len(dead) - 5
    assert all(error == "expired" or error_named(error) for error in counts)
    assert listed.out.isprintable() or "\x1b" not in listed.out


def test_each_dead_letter_is_shown_with_its_reason(observed: Observed) -> None:
    with dead_letters("shipping") as queue:
        ids = [letter.id for letter, _ in queue.letters()]
        unusual = [each for each in dict.fromkeys(ids) if not each.startswith("sha256:")]
        for letter_id in [*unusual[:3], *ids[:3], *ids[-3:]]:
            details = letter_details(queue, letter_id)

            assert details["error"]
            assert details["attempts"] or details["broker_reason"]
            assert json.dumps(details, default=str)
    assert len(ids) >= len(died(observed, "shipping"))


def test_a_dead_letter_is_discarded_by_its_digest(observed: Observed, shop: Shop) -> None:
    [message] = [each for each in died(observed, "loyalty") if each.name == "a pickle"]
    letter_id = f"sha256:{digest(message.body)[:12]}"

    discarded = shop("dead", "discard", "loyalty", letter_id, "--reason", "hostile", "--json")

    assert discarded.code == 0
    assert discarded.json["id"] == letter_id
    shown = shop("dead", "show", "loyalty", letter_id, "--json")
    assert shown.json["reason"] == "hostile"


def test_retrying_all_leaves_what_can_never_succeed(observed: Observed, shop: Shop) -> None:
    dead = [each for each in died(observed, "inventory") if each.fate is Fate.DEAD]

    retried = shop("dead", "retry", "inventory", "--all", "--json")

    assert retried.code == 0
    assert retried.json["left"] >= len(dead)
    assert retried.json["refused"] == {}


def test_the_history_is_read_past_hostile_messages(shop: Shop) -> None:
    everything = shop("events", "history", "--json")
    latest = shop("events", "history", "--limit", "3")
    timeline = shop("events", "timeline", "ORD-good", "--json")

    assert (everything.code, latest.code, timeline.code) == (0, 0, 0)
    orders = [json.loads(line).get("subject") for line in everything.out.splitlines()]
    assert "ORD-good" in orders
    assert len(latest.out.splitlines()) == 3
    assert len(timeline.json["events"]) >= 2


def test_nothing_personal_is_logged_recorded_or_listed(
    observed: Observed, shop: Shop, home: Path
) -> None:
    listings = [
        shop(*command)
        for command in (
            ("dead", "list", "--json"),
            ("dead", "list", "--discarded"),
            ("events", "history"),
        )
    ]

    assert [result.code for result in listings] == [0, 0, 0]
    written = {"log": observed.log.getvalue()}
    for number, result in enumerate(listings):
        written[f"listing {number}"] = result.out + result.err
    for name in registry.names():
        written[name] = records_of(home / f"{name}.db")
    assert [place for place, text in written.items() if CANARY in text] == []
    assert all(len(text) > 100 for place, text in written.items() if place != "listing 1")


def records_of(database: Path) -> str:
    """The runtime's tables that hold something about each message."""
    rows: list[object] = []
    with closing(sqlite3.connect(database)) as connection:
        for table in ("inbox", "failures", "discards"):
            rows += connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - ours
    return repr(rows)


def test_no_connection_was_lost(observed: Observed) -> None:
    assert observed.warnings == []
