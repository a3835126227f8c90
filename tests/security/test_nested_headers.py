"""Messages whose headers are nested so deep that pika fails to decode them, on RabbitMQ.

The embedded broker has no headers.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shared.messaging.codec import message_of
from shared.messaging.connect import broker_at
from shared.messaging.rabbitmq.management import Management
from shared.runtime.settings import settings_for
from shop import registry
from tests.security.hostile_messages import HostileMessage
from tests.security.hostile_shop import (
    CORPUS,
    Observed,
    broker_settings,
    connection_warnings,
    digest,
    hostile_home,
    running,
)
from tests.security.publishing import RawPublisher
from tests.support.commanding import Shop
from tests.support.order_events import placed
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

NAMES = ("headers: tables nested 700 deep", "an empty object", "headers: arrays nested 700 deep")
TABLES, OTHER, ARRAYS = (next(each for each in CORPUS if each.name == name) for name in NAMES)
SUBSCRIBERS = [each.name for each in registry.all_services() if "order.placed" in each.topics]


@pytest.fixture
def observed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Observed]:
    """All services run, and have received the nested messages, one without and a good order."""
    observed = Observed()
    with (
        broker_settings(request, "rabbitmq") as broker,
        hostile_home(tmp_path, broker),
        connection_warnings(observed.warnings),
        running(observed) as group,
    ):
        eventually(lambda: not group.readiness(), within=20)
        eventually(lambda: len(connections()) >= len(registry.names()), within=20)
        before = connections()
        publish(TABLES, OTHER, ARRAYS)
        publish_good("ORD-good", observed)
        yield observed
        publish_good("ORD-better", observed)
        assert before <= connections()
    assert observed.warnings == []


def connections() -> set[str]:
    """The addresses of the services' connections."""
    listed = Management(settings_for().broker_admin_url).get("connections") or []
    vhost = settings_for().broker_url.rpartition("/")[2].replace("%2F", "/")
    return {each["name"] for each in listed if each.get("vhost") == vhost}


def publish(*messages: HostileMessage) -> None:
    publisher = RawPublisher(settings_for().broker_url)
    assert publisher.publish(messages) == {}
    publisher.close()


def publish_good(order_id: str, observed: Observed) -> None:
    good = message_of(placed(order_id), source="orders")
    broker = broker_at(settings_for().broker_url)
    assert broker.publisher().publish([good]) == [None]
    broker.close()
    for service in SUBSCRIBERS:
        eventually(partial(observed.handled, service, good.body), within=20)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(monkeypatch, capsys)


def letter_id(message: HostileMessage) -> str:
    return f"sha256:{digest(message.body)[:12]}"


def listed(shop: Shop, service: str) -> int:
    return sum(group["count"] for group in shop("dead", "list", service, "--json").json)


def test_each_is_one_dead_letter_with_its_reason(observed: Observed, shop: Shop) -> None:
    for service in SUBSCRIBERS:
        for message in (TABLES, ARRAYS):
            result = observed.result(service, message)
            assert result is not None
            assert result.is_dead
            shown = shop("dead", "show", service, letter_id(message), "--json")
            assert shown.code == 0
            assert [each["message"] for each in shown.json["attempts"]] == [
                "its properties cannot be decoded"
            ]
        assert listed(shop, service) == 3


def test_one_is_retried_and_one_discarded_and_so_are_others(observed: Observed, shop: Shop) -> None:
    everything = shop("dead", "retry", "email", "--all", "--json")
    other = shop("dead", "retry", "email", letter_id(OTHER), "--json")
    # Its body is an event, and a retried message has headers of our own.
    retried = shop("dead", "retry", "email", letter_id(TABLES), "--json")
    discarded = shop(
        "dead", "discard", "email", letter_id(ARRAYS), "--reason", "cannot be decoded", "--json"
    )

    assert (everything.json["retried"], everything.json["left"]) == (0, 3)
    assert (other.json["retried"], retried.json["retried"]) == (1, 1)
    assert discarded.code == 0
    eventually(partial(observed.handled, "email", TABLES.body), within=20)
    eventually(lambda: listed(shop, "email") == 1, within=20)
    shown = shop("dead", "show", "email", letter_id(OTHER), "--json")
    assert len(shown.json["attempts"]) == 2
    assert shop("dead", "show", "email", letter_id(ARRAYS), "--json").json["reason"] == (
        "cannot be decoded"
    )
    assert listed(shop, "shipping") == 3
