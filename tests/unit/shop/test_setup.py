"""`shop setup` when messages wait to which their service no longer subscribes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.topology import Queue, Topology
from shared.runtime.settings import settings_for
from shared.runtime.setup import set_up_embedded
from shop import registry
from tests.support.commanding import Shop
from tests.support.embedded_shop import publish, set_up_all
from tests.support.order_events import reserved

LOYALTY_BEFORE = Queue(name="loyalty", topics=frozenset({"stock.reserved"}))
"""What loyalty subscribed to in a release before this one, beside other topics."""

WAITING = {"service": "loyalty", "topic": "stock.reserved", "messages": 2}


@pytest.fixture
def broker(shop: Shop, tmp_path: Path) -> Iterator[EmbeddedBroker]:
    del shop
    set_up_all()
    broker = EmbeddedBroker(tmp_path / "broker.db")
    broker.bind(LOYALTY_BEFORE)
    yield broker
    broker.close()


def has_ended(broker: EmbeddedBroker) -> bool:
    """Whether loyalty is bound to nothing but its present subscriptions."""
    topology = Topology(queues=(registry.service("loyalty").queue(),))
    return not broker.ended_subscriptions(topology)


def test_set_up_says_what_waits_and_changes_nothing_of_it(
    broker: EmbeddedBroker, shop: Shop
) -> None:
    publish(broker, reserved("ORD-1"), reserved("ORD-2"))

    as_json, as_text = shop("setup", "--json"), shop("setup")

    assert (as_json.code, as_text.code) == (1, 1)
    assert as_json.json["unsubscribed"] == [WAITING | {"dropped": False}]
    assert any("topology" in each for each in as_json.json["steps"])
    assert as_text.err == (
        "shop: loyalty no longer subscribes to stock.reserved, but its queue holds 2 of its "
        "messages: let the version before handle them, or drop them, which the history keeps, "
        "with shop setup --drop-unsubscribed\n"
    )
    assert not has_ended(broker)
    assert broker.depth("loyalty").ready == 2


def test_set_up_drops_what_waits_when_it_is_told_to(broker: EmbeddedBroker, shop: Shop) -> None:
    publish(broker, reserved("ORD-1"), reserved("ORD-2"))

    dropped = shop("setup", "--drop-unsubscribed", "--json")

    assert dropped.code == 0
    assert dropped.json["unsubscribed"] == [WAITING | {"dropped": True}]
    assert has_ended(broker)
    assert broker.depth("loyalty").ready == 0
    assert shop("setup", "--json").json["unsubscribed"] == []


def test_a_service_does_not_start_while_such_messages_wait(
    broker: EmbeddedBroker, shop: Shop
) -> None:
    publish(broker, reserved("ORD-1"), reserved("ORD-2"))

    result = shop("run", "loyalty")

    assert result.code == 1
    assert "loyalty no longer subscribes to stock.reserved" in result.err
    set_up_embedded(registry.all_services(), settings_for(), starting=["email"])
    assert not has_ended(broker)
    assert broker.depth("loyalty").ready == 2


def test_a_subscription_of_another_release_stays_while_its_processes_run(
    broker: EmbeddedBroker,
) -> None:
    consumer = broker.consumer("loyalty", prefetch=1)
    consumer.take(1, wait=0)

    set_up_embedded(registry.all_services(), settings_for(), starting=["loyalty"])
    stays = not has_ended(broker)
    consumer.close()
    set_up_embedded(registry.all_services(), settings_for(), starting=["loyalty"])

    assert stays
    assert has_ended(broker)
