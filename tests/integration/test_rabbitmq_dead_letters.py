"""Dead letters on RabbitMQ: as the service's own user, many of them, and large ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

import pika
import pytest

from shared.errors import BrokerUnavailable
from shared.messaging import budget
from shared.messaging.codec import encode
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.publisher import Message
from shared.messaging.rabbitmq import RabbitBroker, buffer, grant
from shared.messaging.rabbitmq.consumer import RabbitConsumer
from shared.messaging.topology import Topology
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.listing import group_letters
from shared.operations.dead_letters.retry import RetryResult, retry
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.containers import Vhost
from tests.contract.brokers import order_placed, receive, settle_all
from tests.support.counting import ThingHappened, counting
from tests.support.waiting import eventually

SERVICE = counting()
PASSWORD = "hush/hush@%"  # noqa: S105 - nobody's


@pytest.fixture
def dead(rabbitmq_vhost: Vhost, tmp_path: Path) -> Iterator[DeadQueue]:
    """The dead queue, with the permissions of the service's own user."""
    admin = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    topology = Topology(queues=(SERVICE.queue(),))
    assert admin.set_up(topology) == []
    admin.close()
    grant(rabbitmq_vhost.admin_url, topology, {SERVICE.name: PASSWORD}, vhost=rabbitmq_vhost.name)
    broker = RabbitBroker(rabbitmq_vhost.as_user(SERVICE.name, PASSWORD))
    database = Database(f"sqlite:///{tmp_path / 'counting.db'}")
    migrate(database, SERVICE.migrations)
    yield DeadQueue(SERVICE, broker, database)
    broker.close()
    database.close()


def bury(dead: DeadQueue, messages: Sequence[Message], *, count: int | None = None) -> None:
    """Publish these and settle as dead as many deliveries of the queue; by default these."""
    count = count or len(messages)
    dead.broker.publisher().publish(messages)
    dying = dead.broker.consumer(SERVICE.name, prefetch=count, slow_start=False)
    settle_all(dying, receive(dying, count), Outcome.DEAD)
    eventually(lambda: ready(dead, "counting.dead") == count, within=60)
    dying.close()


def ready(dead: DeadQueue, queue: str) -> int:
    return dead.broker.depth(queue).ready


def letters(count: int, *, body_bytes: int = 0) -> list[Message]:
    events = [ThingHappened(name=f"thing-{n}", secret="x" * body_bytes) for n in range(count)]
    return [
        Message(
            event_id=str(event.event_id),
            topic=event.topic,
            type=event.type,
            body=encode(event, source="elsewhere"),
            source="elsewhere",
            only_to=SERVICE.name,
        )
        for event in events
    ]


def test_a_service_may_list_and_retry_ten_thousand_of_its_dead_letters(dead: DeadQueue) -> None:
    messages = letters(10_000)
    bury(dead, messages)

    [group] = group_letters(dead)
    done = retry(dead)

    assert group.count == 10_000
    assert done == RetryResult(retried=10_000)
    eventually(lambda: ready(dead, "counting") == 10_000)
    consumer = dead.broker.consumer("counting", prefetch=10_000, slow_start=False)
    again = receive(consumer, 10_000)
    assert [delivery.event_id for delivery in again] == [letter.event_id for letter in messages]
    assert {delivery.replays for delivery in again} == {1}
    assert ready(dead, "counting.dead") == 0


def test_more_than_the_buffer_holds_stays_at_the_broker(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MAX_WAITING_BYTES", 1_000_000)
    bury(dead, letters(40, body_bytes=100_000))

    listing = RabbitBroker.consumer(dead.broker, "counting.dead", prefetch=40, slow_start=False)  # type: ignore[arg-type]
    first = receive(listing)
    eventually(lambda: listing._buffer._bytes > 1_000_000)
    assert listing._buffer._bytes < 1_300_000
    rest = receive(listing, 39)

    assert len({delivery.event_id for delivery in [*first, *rest]}) == 40
    listing.close()
    eventually(lambda: ready(dead, "counting.dead") == 40)


def lose_the_connection(dead: DeadQueue) -> None:
    """Close the connection on which the dead letters were delivered."""
    [consumer] = dead._consumers
    assert isinstance(consumer, RabbitConsumer)
    consumer.submit(partial(consumer.disconnect, ConnectionResetError()))
    eventually(lambda: not consumer.is_consuming)


def test_a_listing_whose_connection_is_lost_fails_and_counts_nothing_twice(dead: DeadQueue) -> None:
    bury(dead, letters(120))
    listing = dead.letters()
    list(islice(listing, 60))

    lose_the_connection(dead)

    with pytest.raises(BrokerUnavailable, match="was lost; try again"):
        list(listing)
    assert [each.count for each in group_letters(dead)] == [120]


def test_a_retry_whose_connection_is_lost_fails_and_loses_nothing(dead: DeadQueue) -> None:
    messages = letters(150)
    bury(dead, messages)

    with pytest.raises(BrokerUnavailable, match="run the command again"):
        retry(dead, progress=lambda _done, _all: lose_the_connection(dead))
    done = retry(dead)

    assert done == RetryResult(retried=50)  # once more; the inbox will know them
    eventually(lambda: ready(dead, "counting") == 200)
    again = receive(dead.broker.consumer("counting", prefetch=200, slow_start=False), 200)
    assert {delivery.event_id for delivery in again} == {letter.event_id for letter in messages}
    assert ready(dead, "counting.dead") == 0


def test_closing_does_not_wait_for_room(dead: DeadQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_WAITING_BYTES", 100_000)
    monkeypatch.setattr(buffer, "_MAX_BLOCK", 3600)
    bury(dead, letters(20, body_bytes=100_000))
    listing = RabbitBroker.consumer(dead.broker, "counting.dead", prefetch=20, slow_start=False)  # type: ignore[arg-type]
    receive(listing)

    listing.close()

    assert listing._thread is not None
    assert not listing._thread.is_alive()
    eventually(lambda: ready(dead, "counting.dead") == 20)


@contextmanager
def channel(vhost: Vhost) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        yield connection.channel()


def test_a_letter_with_an_undecodable_header_is_listed(
    dead: DeadQueue, rabbitmq_vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    [neighbour] = letters(1)
    far_future = pika.BasicProperties(headers={"at": datetime.now(UTC)})  # type: ignore[no-untyped-call]
    with channel(rabbitmq_vhost) as open_channel, monkeypatch.context() as patch:
        patch.setattr("calendar.timegm", lambda _: 2**62)
        open_channel.basic_publish("replays", "counting", b"{}", far_future)
    bury(dead, [neighbour], count=2)

    groups = {each.example: each.error for each in group_letters(dead)}

    assert groups.pop(neighbour.event_id) == "rejected"
    assert list(groups.values()) == ["MalformedEvent"]
    assert retry(dead) == RetryResult(retried=1, not_retryable=1)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"headers": {"shop-replays": "many", "x-death": 3}}, id="wrong-types"),
        pytest.param({"headers": {"shop-replays": -(2**62)}}, id="absurd-counts"),
        pytest.param({"headers": {"x-last-death-reason": ["a"] * 500}}, id="a-list"),
        pytest.param({"headers": {"x" * 200: "y" * 60_000}}, id="absurd-sizes"),
        pytest.param({"message_id": "x" * 255, "type": "\x1b[31m"}, id="not-printable"),
        pytest.param({"priority": 255, "timestamp": 2**63 - 1}, id="end-of-time"),
    ],
)
def test_letters_with_forged_properties_are_listed_and_retried(
    dead: DeadQueue, rabbitmq_vhost: Vhost, properties: dict[str, object]
) -> None:
    with channel(rabbitmq_vhost) as open_channel:
        open_channel.basic_publish(
            "replays",
            "counting",
            order_placed().body,
            pika.BasicProperties(**properties),  # type: ignore[no-untyped-call]
        )
    dying = dead.broker.consumer(SERVICE.name, prefetch=1)
    settle_all(dying, receive(dying), Outcome.DEAD)
    eventually(lambda: ready(dead, "counting.dead") == 1)
    dying.close()

    [group] = group_letters(dead)
    done = retry(dead, letter_id=group.example)

    assert group.error == "MalformedEvent"
    assert group.example.isprintable()
    assert group.event_type == "(unreadable)"
    assert done.retried == 1
    eventually(lambda: ready(dead, "counting") == 1)
