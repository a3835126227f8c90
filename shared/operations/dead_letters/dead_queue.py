"""Reads a service's dead queue, together with the service's records of failed attempts.

Reading changes nothing: letters that are not settled are requeued uncounted at the end. Memory is
bounded: only a summary of each letter is kept, and its body is passed on.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from shared.errors import (
    BrokerUnavailable,
    ConflictingEvent,
    ForgedEvent,
    InvalidInput,
    OperationFailed,
    PermanentFailure,
)
from shared.messaging.connect import broker_at
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Consumer, Delivery, Outcome
from shared.messaging.topology import dead_queue
from shared.operations.console import database_of
from shared.operations.dead_letters.letter import DeadLetter
from shared.runtime.hints import command
from shared.runtime.service import AnyService
from shared.runtime.settings import OPERATOR, settings_for
from shared.storage import failures, inbox
from shared.storage.database import Database

TAKE_TIMEOUT = 60.0
"""Seconds without a delivery after which another consumer must hold the missing letters.

RabbitMQ encodes the headers of a dead letter again, which takes time with the square of their
nesting: 13 seconds for the 26,000 arrays in one another that fit into a frame of the default size.
The number of the queue's consumers does not tell: it includes cancelled ones of this process, as
long as their letters are not settled.
"""

_BATCH_SIZE = 50
"""Letters in memory with their bodies, if they fit into the budget of `take`."""

_MAX_PREFETCH = 60_000
"""Unsettled letters of one consumer; AMQP's prefetch has 16 bits."""


class DeadQueue:
    """A service's dead queue and the database that records why its letters died."""

    def __init__(self, service: AnyService, broker: Broker, database: Database) -> None:
        self.service = service
        self.broker = broker
        self.database = database
        self._consumers: list[Consumer] = []

    @classmethod
    @contextmanager
    def opened(cls, service: AnyService) -> Iterator["DeadQueue"]:
        """Open it with this process's settings; on exit all unsettled letters are requeued.

        Raises:
            OperationFailed: the service's credentials or its database cannot be used here.
        """
        broker = broker_at(settings_for(service.name).broker_url_of(service.name), app="shop dead")
        try:
            with database_of(service) as database:
                yield cls(service, broker, database)
        finally:
            broker.close()

    def letters(self) -> Iterator[tuple[DeadLetter, bytes]]:
        """Read every letter that is in the queue now, with its body.

        The letters are held, so that they can be settled, until this is called again.

        Raises:
            BrokerUnavailable: the broker cannot be reached, or has no such queue.
            OperationFailed: another consumer holds letters, so not all can be read.
        """
        queue = dead_queue(self.service.name)
        while self._consumers:
            self._consumers.pop().close()  # requeues the letters of an earlier call
        depth = self.broker.depth(queue)
        if depth.consumers:
            raise self._held_elsewhere()
        remaining = depth.ready
        while remaining:
            held = min(remaining, _MAX_PREFETCH)
            consumer = self.broker.consumer(queue, prefetch=held, slow_start=False)
            self._consumers.append(consumer)
            remaining -= held
            while held:
                held -= yield from self._batch(consumer, min(_BATCH_SIZE, held))

    def _batch(
        self, consumer: Consumer, most: int
    ) -> Generator[tuple[DeadLetter, bytes], None, int]:
        """Read some letters; returns their number, and keeps none of their bodies."""
        taken = consumer.take(most, wait=TAKE_TIMEOUT)
        if not taken:
            raise self._held_elsewhere()
        bodies = [delivery.body for delivery in taken]
        yield from zip(self._summaries(consumer, taken), bodies, strict=True)
        return len(taken)

    def _held_elsewhere(self) -> OperationFailed:
        return OperationFailed(
            f"another process is reading the dead letters of {self.service.name} and holds them "
            "meanwhile; try again"
        )

    def _summaries(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> list[DeadLetter]:
        claimed = [Identity.of(delivery) for delivery in deliveries]
        disowned = [
            identity.by_content(delivery)
            for identity, delivery in zip(claimed, deliveries, strict=True)
        ]
        event_ids = [each.envelope.id for each in claimed if each.envelope]
        with self.database.read() as connection:
            ids = [each.id for each in (*claimed, *disowned)]
            causes = failures.final_failures(connection, ids)
            known = inbox.contents(connection, event_ids)
            outcomes = inbox.outcomes(connection, map(str, event_ids))
        flaws = [
            self._false_claim(identity, delivery, known)
            for identity, delivery in zip(claimed, deliveries, strict=True)
        ]
        identities = [
            replace(content, flaw=flaw) if flaw or content.id in causes else identity
            for identity, content, flaw in zip(claimed, disowned, flaws, strict=True)
        ]
        return [
            DeadLetter.of(
                delivery,
                consumer,
                identity=identity,
                outcome=outcomes.get(identity.id) if identity.envelope else None,
                causes=causes.get(identity.id, {}),
            )
            for identity, delivery in zip(identities, deliveries, strict=True)
        ]

    def _false_claim(
        self, identity: Identity, delivery: Delivery, known: Mapping[UUID, tuple[str, str]]
    ) -> PermanentFailure | None:
        """Why a letter is not the event whose id it holds, as far as this needs no record of it."""
        envelope = identity.envelope
        if envelope is None:
            return None
        copy = envelope.source, inbox.digest_of(delivery.body)
        if known.get(envelope.id, copy) != copy:
            return ConflictingEvent()
        publisher, service = envelope.source.removeprefix("/"), self.service.name
        has_own_user = self.broker.user == service
        if has_own_user and delivery.user not in {"", publisher, service, OPERATOR}:
            return ForgedEvent()
        return None

    def find(self, letter_id: str) -> tuple[list[DeadLetter], bytes]:
        """Return all copies of one letter, and the body of the last; see `select`."""
        letters: list[DeadLetter] = []
        body = b""
        for letter, body in self.select(letter_id=letter_id):  # noqa: B007 - the last is returned
            letters.append(letter)
        return letters, body

    def select(
        self, *, letter_id: str | None = None, error: str | None = None
    ) -> Iterator[tuple[DeadLetter, bytes]]:
        """Read the letters with that id, with that error, or all.

        Args:
            letter_id: an id, or the end of it; None for any.
            error: as `DeadLetter.error` names it; None for any.

        Raises:
            InvalidInput: at the end, if no letter was selected, or letters with several ids.
            BrokerUnavailable, OperationFailed: see `letters`.
        """
        selected_ids: set[str] = set()
        errors: set[str] = set()
        for letter, body in self.letters():
            errors.add(letter.error)
            if letter_id is not None and not letter.has_id(letter_id):
                continue
            if error in (None, letter.error):
                selected_ids.add(letter.id)
                yield letter, body
        if letter_id is not None and len(selected_ids) > 1:
            raise InvalidInput(
                f"{len(selected_ids)} dead letters of {self.service.name} end in {letter_id!r}"
            )
        if not selected_ids and (letter_id, error) != (None, None):
            raise self._none_selected(letter_id, errors)

    def _none_selected(self, letter_id: str | None, errors: set[str]) -> InvalidInput:
        service = self.service.name
        if not errors:
            return InvalidInput(f"{service} has no dead letters")
        if letter_id is not None:
            return InvalidInput(
                f"{service} has no dead letter {letter_id!r}; see: "
                f"{command('dead', 'list', service)}"
            )
        return InvalidInput(
            f"{service} has no dead letter with that error; there are {', '.join(sorted(errors))}"
        )

    def settle(self, letters: Iterable[DeadLetter]) -> None:
        """Remove letters from the queue.

        Raises:
            BrokerUnavailable: the connection that held them was lost, so they are still there.
        """
        by_consumer: dict[Consumer, list[Delivery]] = {}
        for letter in letters:
            by_consumer.setdefault(letter.consumer, []).append(letter.delivery)
        for consumer, deliveries in by_consumer.items():
            consumer.settle([(delivery, Outcome.DONE) for delivery in deliveries])
            if not consumer.is_consuming:
                raise BrokerUnavailable(
                    "the connection to the broker was lost; nothing was undone, but some letters "
                    f"of {self.service.name} are in its dead queue again: run the command again"
                )
