"""What others send: each case of tests/data/cloudevents.json has the same verdict on every broker.

The services decide, behind the broker. The embedded broker has no headers, so a message in binary
mode gets there as the RabbitMQ adapter passes it on.
"""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pika
import pytest

from services.analytics.service import analytics
from services.inventory.service import inventory
from shared.errors import MalformedEvent
from shared.history.copying import copy
from shared.history.reading import EventFilter, EventReader
from shared.messaging.binary_mode import structured_body
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import EVENTS, Retry
from shared.runtime.reactor import DeliveryResult, Reactor
from shared.runtime.service import AnyService
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.contract.brokers import BrokerUnderTest, receive, send

STRUCTURED = "application/cloudevents+json"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A message, and what becomes of it.

    Attributes:
        topic: the routing key.
        headers: of binary mode; an object with `timestamp` is AMQP's type of time.
        verdict: `handled` or `dead`.
        reason: a part of the sentence that says why it is dead.
        reads: some fields of the event, as they are written again.
        data: of an event without a contract, as it is written again.
        conversation: the event's correlation id.
    """

    name: str
    topic: str
    verdict: str
    body: str = ""
    body_base64: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = STRUCTURED
    reason: str = ""
    reads: Mapping[str, Any] = field(default_factory=dict)
    data: Any = ...
    conversation: str = ""

    @property
    def content(self) -> bytes:
        return b64decode(self.body_base64) or self.body.encode()

    @property
    def table(self) -> dict[str | bytes, object]:
        return {
            name: datetime.fromisoformat(value["timestamp"]) if isinstance(value, dict) else value
            for name, value in self.headers.items()
        }

    @property
    def structured(self) -> bytes:
        return structured_body(self.table, self.content_type, self.content)


CASES = [Case(**each) for each in json.loads((Path("tests/data") / "cloudevents.json").read_text())]


def publish(target: BrokerUnderTest, broker: Broker) -> None:
    if target.clock is not None:  # the embedded broker
        messages = [
            Message(event_id=case.name, topic=case.topic, type="", body=case.structured, source="")
            for case in CASES
        ]
        send(broker, *messages)
        return
    with closing(pika.BlockingConnection(pika.URLParameters(target.url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for case in CASES:
            properties = pika.BasicProperties(  # type: ignore[no-untyped-call]
                content_type=case.content_type or None, headers=case.table, delivery_mode=2
            )
            channel.basic_publish(EVENTS, case.topic, case.content, properties)


@pytest.fixture
def published(target: BrokerUnderTest, broker: Broker) -> Broker:
    """The broker after all cases were published."""
    publish(target, broker)
    return broker


def reacting(service: AnyService, folder: Path) -> Iterator[Reactor]:
    with closing(Database(f"sqlite:///{folder / f'{service.name}.db'}")) as database:
        migrate(database, service.migrations)
        yield Reactor(service=service, database=database, retry=Retry())


@pytest.fixture
def analyst(tmp_path: Path) -> Iterator[Reactor]:
    """A service that is subscribed to every event."""
    yield from reacting(analytics, tmp_path)


@pytest.fixture
def stockkeeper(tmp_path: Path) -> Iterator[Reactor]:
    """A service that is subscribed to contracts."""
    yield from reacting(inventory, tmp_path)


def react(reactor: Reactor, broker: Broker, cases: list[Case]) -> dict[str, DeliveryResult]:
    """The result of each case, by its name."""
    names = {case.structured: case.name for case in cases}
    consumer = broker.consumer(reactor.service.name, prefetch=len(cases), slow_start=False)
    results = reactor.react(receive(consumer, len(cases))).results
    consumer.settle([each.settlement for each in results])
    consumer.close()
    return {names[each.delivery.body]: each for each in results}


def differences(cases: list[Case], results: Mapping[str, DeliveryResult]) -> list[object]:
    return [
        (case.name, results[case.name].outcome, str(results[case.name].error))
        for case in cases
        if not is_as_expected(case, results[case.name])
    ]


def is_as_expected(case: Case, result: DeliveryResult) -> bool:
    if case.verdict == "dead":
        assert case.reason
        is_malformed = isinstance(result.error, MalformedEvent)
        return result.outcome is Outcome.DEAD and is_malformed and case.reason in str(result.error)
    if result.outcome is not Outcome.DONE or result.event is None:
        return False
    written = result.event.model_dump(mode="json")
    return (
        case.reads.items() <= written.items()
        and (case.data is ... or written["data"] == case.data)
        and case.conversation in {"", written["correlation_id"]}
    )


def test_each_case_has_its_verdict_where_every_event_is_taken(
    published: Broker, analyst: Reactor
) -> None:
    results = react(analyst, published, CASES)

    assert differences(CASES, results) == []


def test_each_case_has_its_verdict_where_contracts_are_taken(
    published: Broker, stockkeeper: Reactor
) -> None:
    placed = [case for case in CASES if case.topic == "order.placed"]

    results = react(stockkeeper, published, placed)

    assert differences(placed, results) == []


def test_the_history_has_the_same_events_and_a_replay_of_them_is_a_copy(
    published: Broker, analyst: Reactor
) -> None:
    handled = [case for case in CASES if case.verdict == "handled"]
    react(analyst, published, CASES)
    history = published.history()

    events = list(EventReader(history, EventFilter(), end=history.end()))
    with closing(published.publisher()) as publisher:
        copied = sum(each.size for each in copy(events, publisher, to="analytics"))
    results = react(analyst, published, handled)

    assert copied == len(handled)
    assert [each.record.body for each in events] == [case.structured for case in handled]
    assert {(each.outcome, each.duplicate) for each in results.values()} == {(Outcome.DONE, True)}
