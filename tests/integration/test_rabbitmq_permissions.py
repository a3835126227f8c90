from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from shared.errors import BrokerRefused, BrokerUnavailable, HistoryNotGranted
from shared.messaging.ports.consumer import Outcome
from shared.messaging.rabbitmq import RabbitBroker, grant, user_limits
from shared.messaging.rabbitmq.errors import is_refusal
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Queue, Topology
from tests.containers import Vhost
from tests.contract.brokers import order_placed, receive, settle_all
from tests.support.waiting import eventually

ORDERS = Queue(
    name="orders",
    topics=frozenset({"order.shipped"}),
    publishes=frozenset({"order.placed", "order.cancelled"}),
)
EMAIL = Queue(name="email", topics=frozenset({"order.placed"}))
TOPOLOGY = Topology(queues=(ORDERS, EMAIL))
PASSWORDS = {name: f"secret/of:{name}@%" for name in ("orders", "email", "operator")}


class Users:
    """Connects as the users that `grant` created."""

    def __init__(self, vhost: Vhost, opened: ExitStack) -> None:
        self.vhost = vhost
        self._opened = opened

    def grant(self, *, history_readers: Sequence[str] = ()) -> None:
        grant(
            self.vhost.admin_url,
            TOPOLOGY,
            PASSWORDS,
            operator="operator",
            history_readers=history_readers,
            vhost=self.vhost.name,
        )

    def url(self, name: str) -> str:
        return self.vhost.as_user(name, PASSWORDS[name])

    def broker(self, name: str) -> RabbitBroker:
        broker = RabbitBroker(self.url(name), app=name)
        self._opened.callback(broker.close)
        return broker

    def channel(self, name: str) -> BlockingChannel:
        connection = pika.BlockingConnection(pika.URLParameters(self.url(name)))
        self._opened.callback(_close, connection)
        return connection.channel()


@pytest.fixture
def users(rabbitmq_vhost: Vhost) -> Iterator[Users]:
    admin = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    assert admin.set_up(TOPOLOGY) == []
    with ExitStack() as opened:
        users = Users(rabbitmq_vhost, opened)
        for _ in range(2):  # again changes nothing
            users.grant()
        yield users
    management = Management(rabbitmq_vhost.admin_url)
    for name in PASSWORDS:
        management.delete("users", name)


def test_a_forged_event_in_a_batch_is_rejected_alone(users: Users) -> None:
    batch = [order_placed() for _ in range(20)]
    batch[7] = order_placed("order.shipped")  # which shipping alone may publish

    reasons = users.broker("orders").publisher().publish(batch)

    assert reasons.pop(7) is not None
    assert reasons == [None] * 19
    consumer = users.broker("email").consumer("email", prefetch=10)
    bodies: set[bytes] = set()
    while len(bodies) < 19:
        taken = receive(consumer)
        settle_all(consumer, taken, Outcome.DONE)
        bodies.update(delivery.body for delivery in taken)
    assert bodies == {message.body for message in batch if message.topic == "order.placed"}


def test_a_service_without_events_of_its_own_may_publish_nothing(users: Users) -> None:
    [reason] = users.broker("email").publisher().publish([order_placed()])

    assert reason is not None
    assert "ACCESS_REFUSED" in reason


def test_a_service_may_replay_to_itself_only(users: Users) -> None:
    publisher = users.broker("email").publisher()

    own, foreign = publisher.publish(
        [order_placed(only_to="email"), order_placed(only_to="orders")]
    )

    assert own is None
    assert foreign is not None
    assert "ACCESS_REFUSED" in foreign


def test_a_service_cannot_publish_to_the_default_exchange(users: Users) -> None:
    channel = users.channel("orders")
    channel.confirm_delivery()

    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        channel.basic_publish("", "email", b"forged")


@pytest.mark.parametrize("queue", ["orders", "orders.dead"])
def test_a_service_cannot_read_another_services_queue(users: Users, queue: str) -> None:
    consumer = users.broker("email").consumer(queue, prefetch=1)

    with pytest.raises(BrokerRefused, match=f"queue '{queue}' in vhost .* refused"):
        consumer.take(1, wait=15)


def test_a_service_binds_its_queue_to_its_own_subscriptions_only(users: Users) -> None:
    users.broker("email").bind(EMAIL)

    with pytest.raises(BrokerRefused, match="refused"):
        users.broker("email").bind(Queue(name="email", topics=frozenset({"stock.reserved"})))


def test_a_service_cannot_configure_anything(users: Users) -> None:
    skipped = users.broker("email").set_up(Topology(queues=(EMAIL,)))

    assert any("the queue email was not declared" in sentence for sentence in skipped)
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        users.channel("email").queue_declare("new", durable=True)
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        users.channel("email").queue_delete("email")


def test_dead_lettering_needs_no_permission_of_the_service(users: Users) -> None:
    users.broker("orders").publisher().publish([message := order_placed()])
    broker = users.broker("email")
    consumer = broker.consumer("email", prefetch=1)

    settle_all(consumer, receive(consumer), Outcome.DEAD)

    assert receive(broker.consumer("email.dead", prefetch=1))[0].body == message.body


def test_the_operator_reads_the_history_and_nothing_else(users: Users) -> None:
    users.broker("orders").publisher().publish([message := order_placed()])

    channel = users.channel("operator")
    channel.basic_qos(prefetch_count=10)
    history = channel.consume("history", arguments={"x-stream-offset": "first"})
    _, _, body = next(history)
    channel.cancel()

    assert body == message.body
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        users.channel("operator").basic_get("email")


@pytest.mark.parametrize("user", ["operator", "email"])
def test_the_operator_and_a_service_to_which_it_is_granted_read_the_history_to_its_end(
    users: Users, user: str
) -> None:
    users.grant(history_readers=["email"])
    users.broker("orders").publisher().publish([message := order_placed()])
    history = users.broker(user).history()

    records = list(history.read(end=history.end()))

    assert [record.body for record in records] == [message.body]


@pytest.mark.parametrize("method", ["first", "end", "read"])
def test_a_service_does_not_read_the_history_once_its_grant_has_ended(
    users: Users, method: str
) -> None:
    users.grant(history_readers=["email"])
    users.broker("email").history().end()
    users.grant()
    history = users.broker("email").history()

    with pytest.raises(HistoryNotGranted) as raised:
        list(history.read(end=1)) if method == "read" else getattr(history, method)()

    assert str(raised.value) == (
        "the broker's user 'email' may not read the history, only the operator may"
    )


def test_a_service_opens_no_more_connections_than_its_limit(users: Users) -> None:
    opened = [users.channel("email") for _ in range(user_limits.MAX_CONNECTIONS)]

    with pytest.raises(BrokerUnavailable, match="the user 'email' no more connections") as raised:
        users.broker("email").depth("email")

    assert not isinstance(raised.value, BrokerRefused), "it may connect later"
    assert users.broker("orders").depth("orders").ready == 0
    opened[0].connection.close()
    eventually(lambda: _can_connect(users, "email"))


def test_a_service_opens_no_more_channels_than_its_limit(users: Users) -> None:
    connection = users.channel("email").connection
    for _ in range(user_limits.MAX_CHANNELS - 1):
        connection.channel()

    with pytest.raises(ConnectionClosedByBroker, match="maximum allowed user limit") as raised:
        connection.channel()

    assert not is_refusal(raised.value)
    assert users.broker("orders").depth("orders").ready == 0


def test_a_missing_or_different_limit_is_a_difference(users: Users) -> None:
    management = Management(users.vhost.admin_url)
    admin = RabbitBroker(users.vhost.amqp_url, admin_url=users.vhost.admin_url)
    with_users = replace(TOPOLOGY, has_users=True)
    assert admin.check(with_users) == []

    management.delete("user-limits", "email", "max-connections")
    management.put("user-limits", "orders", "max-channels", content={"value": 7})

    assert admin.check(with_users) == [
        "the broker's user orders has the limit 7 of max-channels, it should be 256",
        "the broker's user email has no limit of max-connections, it should be 64",
    ]
    assert admin.check(TOPOLOGY) == [], "services that share a user have no limits"
    users.grant()
    assert admin.check(with_users) == []


def test_the_operator_sees_whether_the_limits_are_set(users: Users) -> None:
    server = users.vhost.admin_url.rpartition("@")[2]
    user = users.url("operator").partition("://")[2].rpartition("@")[0]
    operator = RabbitBroker(users.url("operator"), admin_url=f"http://{user}@{server}")

    assert operator.check(replace(TOPOLOGY, has_users=True)) == []
    assert operator.shortages() == []


def _close(connection: pika.BlockingConnection) -> None:
    if connection.is_open:
        connection.close()


def _can_connect(users: Users, name: str) -> bool:
    try:
        users.broker(name).probe()
    except BrokerUnavailable:
        return False
    return True


def test_the_operator_sees_the_queues_and_writes_nothing(users: Users) -> None:
    server = users.vhost.admin_url.rpartition("@")[2]
    user = users.url("operator").partition("://")[2].rpartition("@")[0]
    queues = Management(f"http://{user}@{server}").get("queues", users.vhost.name)

    [reason] = users.broker("operator").publisher().publish([order_placed()])

    assert {"email", "email.dead", "orders"} <= {queue["name"] for queue in queues}
    assert reason is not None
    assert "ACCESS_REFUSED" in reason
