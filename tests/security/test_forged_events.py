"""A service that is taken over publishes what it must not; no other service believes it.

The services run in this process, each with the broker user that `grant` makes for it. The attacker
has one service's password and speaks AMQP.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from shared.events import DomainEvent, uuid7
from shared.history.reading import EventFilter, EventReader, UnreadableRecord
from shared.messaging.codec import CONTENT_TYPE, encode
from shared.messaging.rabbitmq import RabbitBroker, grant
from shared.messaging.rabbitmq.management import Management
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.listing import group_letters
from shared.operations.dead_letters.retry import retry
from shared.operations.doctor import check
from shared.operations.findings import FindingState
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.service import AnyService
from shared.runtime.service_settings import topology
from shared.runtime.settings import OPERATOR, settings_for, settings_override
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.storage.pruning import FAILED_ATTEMPTS, prune
from shop import registry
from tests.acceptance.shop import CUSTOMER, RunningShop
from tests.containers import ALLOW_PLAINTEXT, Vhost
from tests.support.order_events import paid, placed, shipped, short
from tests.support.waiting import eventually

THIEF = "thief@example.com"
SERVICES = {each.name: each for each in registry.all_services()}


class Attacked:
    """All services, each with its own broker user, and what an attacker with one can do."""

    def __init__(self, vhost: Vhost, folder: Path) -> None:
        self._vhost = vhost
        self._folder = folder
        self.opened = ExitStack()
        self.shop = RunningShop(SERVICES)
        self.opened.callback(self.shop.close)

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Run these services during the block."""
        with (self._folder / "log").open("a") as log:
            group = ServiceGroup([SERVICES[each] for each in names], log_to(log, settings_for()))
            group.start()
            try:
                yield
            finally:
                assert group.stop(20)

    def publish(
        self, user: str, routing_key: str, body: bytes, *, event_id: str, **properties: Any
    ) -> None:
        """Publish as that user, with these properties instead of the publisher's own."""
        parameters = pika.URLParameters(settings_for().broker_url_of(user))
        with closing(pika.BlockingConnection(parameters)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            fields: dict[str, Any] = {
                "content_type": CONTENT_TYPE,
                "delivery_mode": 2,
                "message_id": event_id,
                "user_id": user,
            }
            fields |= properties
            channel.basic_publish(
                "events",
                routing_key,
                body,
                pika.BasicProperties(**fields),  # type: ignore[no-untyped-call]
            )

    def forge(
        self, user: str, routing_key: str, event: DomainEvent, *, source: str, **properties: Any
    ) -> None:
        """Publish an event of another type under a routing key."""
        body = encode(event, source=source)
        self.publish(user, routing_key, body, event_id=str(event.event_id), **properties)

    def has_failed(self, service: str, *errors: str) -> bool:
        """Whether these are the errors of a service's failed attempts."""
        return self.shop.failed(service) == [*errors]

    def dead(self, service: str) -> list[tuple[str, str, int]]:
        """Type, error and number of a service's dead letters."""
        with DeadQueue.opened(SERVICES[service]) as queue:
            return [(each.event_type, each.error, each.count) for each in group_letters(queue)]

    def mails(self) -> list[str]:
        """The mails, each with its addressees."""
        return [path.read_text() for path in (self._folder / "mail").rglob("*") if path.is_file()]


@pytest.fixture
def attacked(rabbitmq_vhost: Vhost, tmp_path: Path) -> Iterator[Attacked]:
    passwords = dict.fromkeys((*SERVICES, OPERATOR), "secret")
    url = rabbitmq_vhost.as_user("{service}", "secret")
    with settings_override(home=tmp_path, broker_url=url, allow_plaintext=ALLOW_PLAINTEXT):
        wanted = topology([*SERVICES.values()], settings_for())
        admin = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
        assert admin.set_up(wanted) == []
        grant(
            rabbitmq_vhost.admin_url,
            wanted,
            passwords,
            operator=OPERATOR,
            vhost=rabbitmq_vhost.name,
        )
        for service in SERVICES.values():
            _migrate(service)
        attacked = Attacked(rabbitmq_vhost, tmp_path)
        with attacked.opened:
            yield attacked
        admin.close()
    management = Management(rabbitmq_vhost.admin_url)
    for name in passwords:
        management.delete("users", name)


def _migrate(service: AnyService) -> None:
    database = Database(settings_for().database_url_of(service.name))
    with closing(database):
        migrate(database, service.migrations)


def test_the_services_believe_each_other(attacked: Attacked) -> None:
    with attacked.running(*SERVICES):
        order = attacked.shop.place("ORD-1")
        eventually(lambda: attacked.shop.handled("orders") == ["stock.reserved.v1"])
        attacked.shop.pay("ORD-1", str(order.total_amount))
        eventually(lambda: len(attacked.shop.handled("analytics")) == 4)
        eventually(lambda: len(attacked.shop.handled("email")) == 2)

    assert [attacked.shop.failed(each) for each in SERVICES] == [[]] * len(SERVICES)


def test_inventory_cannot_pay_an_order(attacked: Attacked) -> None:
    with attacked.running(*SERVICES):
        attacked.shop.place("ORD-1")
        eventually(lambda: attacked.shop.handled("orders") == ["stock.reserved.v1"])
        attacked.forge("inventory", "stock.reserved", paid("ORD-1"), source="orders")
        for service in ("shipping", "analytics", "orders"):
            eventually(partial(attacked.has_failed, service, "ForgedEvent"))

    assert attacked.dead("shipping") == [("payment.received.v1", "ForgedEvent", 1)]
    assert "order.shipped.v1" not in attacked.shop.handled("analytics")
    assert attacked.dead("analytics") == [("payment.received.v1", "ForgedEvent", 1)]


def test_shipping_cannot_send_a_mail_to_anybody_nor_cancel_an_order(attacked: Attacked) -> None:
    with attacked.running(*SERVICES):
        attacked.shop.place("ORD-1")
        eventually(lambda: attacked.shop.handled("orders") == ["stock.reserved.v1"])
        order = placed("ORD-2", customer_email=THIEF)
        attacked.forge("shipping", "order.shipped", order, source="orders")
        attacked.forge("shipping", "order.shipped", short("ORD-1"), source="email")
        attacked.forge("shipping", "order.shipped", shipped("ORD-1"), source="email")
        eventually(lambda: attacked.shop.failed("orders") == ["ForgedEvent"] * 3)
        eventually(lambda: attacked.shop.failed("email") == ["ForgedEvent"] * 3)

    assert THIEF not in str(attacked.mails())
    assert attacked.shop.handled("orders") == ["stock.reserved.v1"]


def test_a_stolen_event_is_refused_and_the_genuine_one_is_handled(attacked: Attacked) -> None:
    with attacked.running("orders"):
        attacked.shop.place("ORD-1")
        with closing(RabbitBroker(settings_for().broker_url_of(OPERATOR))) as broker:
            eventually(lambda: broker.history().end() == 1)
            record = broker.history().first()
    assert record is not None
    stolen = record.body.replace(CUSTOMER.encode(), THIEF.encode())
    attacked.publish("shipping", "order.shipped", stolen, event_id=record.event_id, priority=9)

    with attacked.running("email"):
        eventually(lambda: attacked.shop.failed("email") == ["ForgedEvent"])
        eventually(lambda: attacked.shop.handled("email") == ["order.placed.v1"])

    mails = str(attacked.mails())
    assert CUSTOMER in mails
    assert THIEF not in mails


def test_the_same_id_with_other_content_is_dead_and_not_dropped(attacked: Attacked) -> None:
    event = placed("ORD-1")
    attacked.forge("orders", "order.placed", event, source="orders")
    with attacked.running("email"):
        eventually(lambda: attacked.shop.handled("email") == ["order.placed.v1"])
        other = event.model_copy(update={"customer_email": THIEF})
        attacked.forge("orders", "order.placed", other, source="orders")
        attacked.forge("orders", "order.placed", event, source="orders")  # a copy
        eventually(lambda: attacked.shop.failed("email") == ["ConflictingEvent"])

    assert attacked.dead("email") == [("order.placed.v1", "ConflictingEvent", 1)]
    assert THIEF not in str(attacked.mails())


def test_a_forged_letter_is_known_by_its_user_when_its_record_was_pruned(
    attacked: Attacked,
) -> None:
    attacked.forge("inventory", "stock.reserved", paid("ORD-1"), source="orders")
    with attacked.running("shipping"):
        eventually(lambda: attacked.shop.failed("shipping") == ["ForgedEvent"])
    with (
        closing(Database(settings_for().database_url_of("shipping"))) as database,
        database.begin() as connection,
    ):
        prune(connection, FAILED_ATTEMPTS, before=datetime.now(UTC) + timedelta(days=1))

    assert attacked.shop.failed("shipping") == []
    assert attacked.dead("shipping") == [("payment.received.v1", "ForgedEvent", 1)]
    with DeadQueue.opened(SERVICES["shipping"]) as queue:
        assert retry(queue).not_retryable == 1


@pytest.mark.parametrize("exchange", ["events", "replays"])
def test_the_broker_refuses_the_user_of_another(attacked: Attacked, exchange: str) -> None:
    parameters = pika.URLParameters(settings_for().broker_url_of("shipping"))
    key = {"events": "order.shipped", "replays": "shipping"}[exchange]
    properties = pika.BasicProperties(user_id="orders")  # type: ignore[no-untyped-call]
    with closing(pika.BlockingConnection(parameters)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()

        with pytest.raises(ChannelClosedByBroker) as closed:
            channel.basic_publish(exchange, key, b"{}", properties)

    assert closed.value.reply_code == 406
    assert attacked.shop.failed("shipping") == []


def test_a_message_that_names_no_user_is_refused_and_may_be_sent_again_by_a_person(
    attacked: Attacked,
) -> None:
    event = placed("ORD-1")
    attacked.forge("orders", "order.placed", event, source="orders", user_id=None)

    with attacked.running("email"):
        eventually(lambda: attacked.shop.failed("email") == ["ForgedEvent"])
        with DeadQueue.opened(SERVICES["email"]) as queue:
            assert retry(queue).not_retryable == 1
            assert retry(queue, error="ForgedEvent").retried == 1
        eventually(lambda: attacked.shop.handled("email") == ["order.placed.v1"])


def test_while_older_publishers_run_a_message_without_a_user_may_be_accepted(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_REQUIRE_BROKER_USER", "false")
    attacked.forge("orders", "order.placed", placed("ORD-1"), source="orders", user_id=None)

    with attacked.running("email"):
        eventually(lambda: attacked.shop.handled("email") == ["order.placed.v1"])


def test_what_is_forged_in_the_history_is_not_copied_and_is_named(attacked: Attacked) -> None:
    event = placed("ORD-1")
    stolen = event.model_copy(update={"customer_email": THIEF})
    attacked.forge("shipping", "order.shipped", stolen, source="orders")
    attacked.forge("orders", "order.placed", event, source="orders")
    skipped: list[UnreadableRecord] = []

    with closing(RabbitBroker(settings_for().broker_url_of(OPERATOR))) as broker:
        history = broker.history()
        reader = EventReader(
            history, EventFilter(), end=history.end(), on_unreadable=skipped.append
        )
        events = [item.event for item in reader]

    assert events == [event]
    assert [each.is_forged for each in skipped] == [True]
    assert "broker user shipping" in skipped[0].sentence


def test_the_doctor_names_what_is_forged(attacked: Attacked) -> None:
    attacked.forge("inventory", "stock.reserved", paid("ORD-1"), source="orders")
    with attacked.running("shipping"):
        eventually(lambda: attacked.shop.failed("shipping") == ["ForgedEvent"])

    visible = [SERVICES["shipping"]]
    findings = list(check([*SERVICES.values()], visible, operator=None))

    says = [each.message for each in findings if "forged" in each.message]
    assert len(says) == 1
    assert "broker user inventory" in says[0]
    [publishers] = [each for each in findings if each.subject == "publishers"]
    assert publishers.message == "checked by routing key, source and broker user"


def test_the_doctor_says_when_all_services_share_a_user(
    attacked: Attacked, rabbitmq_vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    del attacked
    monkeypatch.setenv("SHOP_BROKER_URL", rabbitmq_vhost.amqp_url)

    findings = list(check([*SERVICES.values()], [SERVICES["email"]], operator=None))

    [publishers] = [each for each in findings if each.subject == "publishers"]
    assert publishers.state is FindingState.UNKNOWN
    assert publishers.message.startswith("email have no broker user of their own")


def test_a_subject_with_personal_data_reaches_no_log_and_no_record(
    attacked: Attacked, tmp_path: Path
) -> None:
    envelope = {
        "specversion": "1.0",
        "id": str(uuid7()),
        "source": "/shipping",
        "type": "order.shipped.v9",
        "subject": "jane.canary@example.com",
        "time": "2026-11-27T12:00:00Z",
        "data": {},
    }
    for changed in ({}, {"id": str(uuid7()), "source": "/jane.canary@example.com"}):
        body = json.dumps(envelope | changed).encode()
        attacked.publish("shipping", "order.shipped", body, event_id="jane.canary@example.com")
    with attacked.running("email", "analytics"):
        eventually(lambda: len(attacked.shop.failed("email")) >= 2)
        eventually(lambda: attacked.shop.handled("analytics") == ["order.shipped.v9"])
        eventually(lambda: attacked.shop.failed("analytics") == ["ForgedEvent"])

    assert "canary" not in (tmp_path / "log").read_text()
    for path in tmp_path.glob("*.db*"):
        assert b"canary" not in path.read_bytes(), path.name
