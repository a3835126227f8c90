"""Faults of a service that is taken over: it lies to the others, or takes all that it can get."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from uuid import UUID, uuid4

from sqlalchemy import select

from shared.errors import ConflictingEvent, ForgedEvent
from shared.events import DomainEvent, topic_of
from shared.messaging.codec import LARGEST_EVENT_BYTES, encode, read
from shared.messaging.identity import digest_of
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import topics_matched
from shared.storage.inbox import HANDLED
from shared.storage.tables import inbox
from shop import registry
from tests.chaos.any_environment import AnyEnvironment
from tests.chaos.greed import Headers, deep_headers
from tests.chaos.in_flight import retry_until_done, wait_for_value
from tests.chaos.state import Lie
from tests.support.order_events import cancelled, paid, placed, reserved, shipped, short

TYPES: tuple[tuple[str, Callable[[str], DomainEvent]], ...] = (
    ("orders", placed),
    ("orders", paid),
    ("orders", cancelled),
    ("inventory", reserved),
    ("inventory", short),
    ("shipping", shipped),
)
"""Who publishes each type of event, and how to make one about an order."""

PUBLISHER = {topic_of(make("ORD-1").type): name for name, make in TYPES}
"""By topic."""

GREEDY = ("shipping", "email", "analytics", "loyalty")
"""The services that the others do not wait for, so that all others must go on."""

LARGE, UNDECODABLE, DEEP = 8, 20, 10
"""Messages of each kind with which a greedy service floods its queue."""

DEATH_SECONDS = 240.0
"""Until messages are dead, while other faults delay them."""


@dataclass(frozen=True, slots=True)
class Settled:
    """An event that every service that subscribed to it has handled."""

    event_id: str
    publisher: str
    topic: str
    subject: str
    body: bytes


def lie(environment: AnyEnvironment, random: Random) -> str:
    """Publish forged events as one service, and wait until each is dead wherever it arrives."""
    liar = random.choice([each.name for each in registry.all_services() if each.publishes])
    own, theirs = wait_for_value(lambda: _settled_events(environment, liar))
    stolen, victim = random.choice(theirs), random.choice(theirs).subject
    lies = [
        *_inventions(liar, victim, random),
        *_thefts(liar, stolen, victim, random),
        *(_conflict(liar, random.choice(each), victim) for each in (own, theirs)),
    ]
    topics = _topics(liar) if environment.has_users else list(PUBLISHER)
    told = [each for each in lies if each.topic in topics]
    refused = [each for each in lies if each.topic not in topics]
    harmless = [_copy(random.choice(own)), *_replays(liar, stolen)]
    _record(environment, told, user=liar if environment.has_users else "")
    retry_until_done(lambda: environment.publish(*told, *harmless))
    retry_until_done(lambda: _require_refused(environment, refused))
    _wait_until_dead(environment, {each.event_id: _readers(each.topic) for each in told})
    return f"{len(told)} lies of {liar} dead, {len(refused)} refused by the broker"


def _settled_events(
    environment: AnyEnvironment, liar: str
) -> tuple[list[Settled], list[Settled]] | None:
    """The liar's settled events, and those of the others; None until there are both."""
    settled = list(_settled(environment))
    own = [each for each in settled if each.publisher == liar]
    theirs = [each for each in settled if each.publisher != liar]
    return (own, theirs) if own and theirs else None


def _settled(environment: AnyEnvironment) -> Iterator[Settled]:
    handled = {name: _handled(environment, name) for name in environment.databases}
    for publisher in environment.databases:
        for row in environment.sent_by(publisher):
            if all(row.event_id in handled[reader] for reader in _readers(row.topic)):
                yield Settled(
                    str(row.event_id), publisher, row.topic, row.subject, row.body.encode()
                )


def _handled(environment: AnyEnvironment, service: str) -> set[UUID]:
    with environment.databases[service].read() as connection:
        return set(connection.scalars(select(inbox.c.event_id).where(inbox.c.outcome == HANDLED)))


def _readers(topic: str) -> list[str]:
    """The services that subscribe to a topic."""
    return [each.name for each in registry.all_services() if topics_matched(each.topics, topic)]


def _topics(service: str) -> list[str]:
    return sorted(registry.service(service).queue().publishes)


def _inventions(liar: str, victim: str, random: Random) -> Iterator[Message]:
    """Events that did not happen, each wrong in one way."""
    own = [make for publisher, make in TYPES if publisher == liar]
    others = [(publisher, make) for publisher, make in TYPES if publisher != liar]
    for publisher, make in others:  # a type that it does not declare, under a key that it does
        yield _message(liar, random.choice(_topics(liar)), encode(make(victim), source=publisher))
    for make in own:
        topic = topic_of(make(victim).type)
        for false in ("loyalty", random.choice(others)[0]):  # a false source
            yield _message(liar, topic, encode(make(victim), source=false))
        wrong = [topic_of(each(victim).type) for _, each in TYPES if each is not make]
        for key in wrong:  # a type under the topic of another
            yield _message(liar, key, encode(make(victim), source=liar))


def _thefts(liar: str, stolen: Settled, victim: str, random: Random) -> Iterator[Message]:
    """Another service's event, as it is and changed, under a key of the liar and its own."""
    for body in (stolen.body, _changed(stolen.body, victim)):
        yield _message(liar, random.choice(_topics(liar)), body)


def _conflict(liar: str, event: Settled, victim: str) -> Message:
    """An event once more under its own topic, with other content."""
    return _message(liar, event.topic, _changed(event.body, f"{victim}-2"))


def _changed(body: bytes, order_id: str) -> bytes:
    """The same event with its id, but about another order."""
    event = json.loads(body)
    return json.dumps(
        event | {"subject": order_id, "data": event["data"] | {"order_id": order_id}}
    ).encode()


def _copy(own: Settled) -> Message:
    """A genuine event once more, which has no effect."""
    return _message(own.publisher, own.topic, own.body, message_id=own.event_id)


def _replays(liar: str, stolen: Settled) -> Iterator[Message]:
    """A genuine event that the liar has handled, sent to its own queue, which has no effect."""
    if liar in _readers(stolen.topic):
        yield _message(liar, stolen.topic, stolen.body, message_id=stolen.event_id, only_to=liar)


def _message(
    user: str, topic: str, body: bytes, *, message_id: str = "", only_to: str | None = None
) -> Message:
    return Message(
        event_id=message_id or str(uuid4()),
        topic=topic,
        type=f"{topic}.v1",
        body=body,
        source=user,
        only_to=only_to,
    )


def _record(environment: AnyEnvironment, told: Sequence[Message], *, user: str) -> None:
    """Note what must become of the lies, before they are told."""
    for each in told:
        envelope = read(each.body)
        genuine = f"/{PUBLISHER[each.topic]}", each.topic
        is_plausible = (envelope.source, topic_of(envelope.type)) == genuine
        environment.lies[each.event_id] = Lie(
            topic=each.topic,
            recorded_as=digest_of(user.encode() + b"\0" + each.body),
            error=(ConflictingEvent if is_plausible else ForgedEvent).__name__,
        )


def _require_refused(environment: AnyEnvironment, refused: Sequence[Message]) -> None:
    """The broker refuses keys that the service does not declare."""
    answers = environment.answers(*refused)
    assert all(answer and "ACCESS_REFUSED" in answer for answer in answers), answers


def _wait_until_dead(environment: AnyEnvironment, readers: Mapping[str, Collection[str]]) -> None:
    """Wait until messages are dead.

    Args:
        readers: by message id, the services in which it must be.
    """
    for service in environment.databases:
        expected = {message_id for message_id, names in readers.items() if service in names}
        wait_for_value(partial(_are_dead, environment, service, expected), within=DEATH_SECONDS)


def _are_dead(environment: AnyEnvironment, service: str, expected: set[str]) -> bool:
    return not expected or expected <= set(environment.dead_letter_ids(service))


def be_greedy(environment: AnyEnvironment, random: Random) -> str:
    """Take everything that one service may take, until all others have handled something more."""
    service = random.choice(GREEDY)
    flood = list(_flood(environment, service))
    to_itself = {each.event_id: service for each, _ in flood if each.only_to}
    to_all = {each.event_id: each.topic for each, _ in flood if not each.only_to}
    environment.sent_to_one.update(to_itself)
    environment.unprocessable.update(to_all)

    def take() -> str:
        with environment.overused(service, flood) as taken:
            others = environment.databases.keys() - {service}
            before = {each: environment.handled(each) for each in others}
            wait_for_value(lambda: _all_went_on(environment, before))
        return taken

    taken = wait_for_value(take)
    _wait_until_dead(environment, {key: _readers(topic) for key, topic in to_all.items()})
    _wait_until_dead(environment, {key: [service] for key in to_itself})
    return f"{service}: {len(flood)} messages, {taken}"


def _flood(environment: AnyEnvironment, service: str) -> Iterator[tuple[Message, Headers]]:
    """Messages to its own queue, and one of each kind under each key that it may publish."""
    kinds: list[tuple[int, Callable[[], bytes], Headers]] = [
        (LARGE, lambda: b"x" * LARGEST_EVENT_BYTES, None),
        (UNDECODABLE, lambda: b"\xff\x00 not even text", None),
    ]
    if environment.has_users:  # then its messages have headers
        kinds.append((DEEP, lambda: encode(shipped("ORD-deep"), source="shipping"), deep_headers()))
    for number, body, headers in kinds:
        for _ in range(number):
            yield _message(service, service, body(), only_to=service), headers
        for topic in _topics(service):
            yield _message(service, topic, body()), headers


def _all_went_on(environment: AnyEnvironment, before: Mapping[str, int]) -> bool:
    return all(environment.handled(service) > count for service, count in before.items())
