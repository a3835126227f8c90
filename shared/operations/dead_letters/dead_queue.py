"""The dead letters of a service, as its dead queue and its database tell of them.

Looking changes nothing: nothing is settled, and what was delivered is handed back uncounted when
one is done. Memory stays bounded: of a letter only a summary is kept, its body passes by.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from shared.errors import BrokerUnavailable, InvalidInput, OperationFailed
from shared.messaging.connect import broker_at
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Consumer, Delivery, Outcome
from shared.messaging.topology import dead_queue
from shared.operations.console import database_of
from shared.operations.dead_letters.letter import Held, Letter
from shared.runtime.service import AnyService
from shared.runtime.settings import settings_for
from shared.storage import failures, inbox
from shared.storage.database import Database

SILENCE = 2.0
"""Seconds without a delivery after which no more are expected."""

_TAKE = 50
"""Letters in hand at once; each may have 1 MiB."""

_HOLD = 60_000
"""Letters that one consumer holds; AMQP's prefetch has 16 bits."""


class DeadQueue:
    """A service's dead queue, and the database that tells what its letters died of."""

    def __init__(self, service: AnyService, broker: Broker, database: Database) -> None:
        self.service = service
        self.broker = broker
        self.database = database
        self._consumers: list[Consumer] = []

    @classmethod
    @contextmanager
    def opened(cls, service: AnyService) -> Iterator["DeadQueue"]:
        """As the settings of this process say; all letters are handed back in the end.

        Raises:
            OperationFailed: this process may not see that service, or its database is away.
        """
        broker = broker_at(settings_for(service.name).broker_url_of(service.name), app="shop dead")
        try:
            with database_of(service) as database:
                yield cls(service, broker, database)
        finally:
            broker.close()

    def letters(self) -> Iterator[tuple[Letter, bytes]]:
        """All that were there when one began to look, each with its body; held until the next look.

        Raises:
            BrokerUnavailable: the broker is away, or was never set up.
            OperationFailed: somebody else holds letters now, so not all can be seen.
        """
        name = dead_queue(self.service.name)
        self._hand_back()
        depth = self.broker.depth(name)
        if depth.consumers:
            raise self._held_elsewhere()
        left = depth.ready
        while left > 0:
            wanted = min(left, _HOLD)
            consumer = self.broker.consumer(name, prefetch=wanted, slow_start=False)
            self._consumers.append(consumer)
            while wanted:
                taken = consumer.take(min(_TAKE, wanted), wait=SILENCE)
                if not taken:
                    raise self._held_elsewhere()
                wanted, left = wanted - len(taken), left - len(taken)
                bodies = [each.body for each in taken]
                yield from zip(self._summaries(consumer, taken), bodies, strict=True)

    def _held_elsewhere(self) -> OperationFailed:
        return OperationFailed(
            f"somebody else looks at the dead letters of {self.service.name} now, and holds them "
            "meanwhile; try again"
        )

    def named(self, name: str) -> tuple[list[Letter], bytes]:
        """The letter that somebody means, in all its copies, and its body.

        Raises:
            InvalidInput: there is none, or several are meant.
        """
        found: list[Letter] = []
        body = b""
        for letter, its_body in self.chosen(name=name):
            found.append(letter)
            body = its_body
        return found, body

    def chosen(
        self, *, name: str | None = None, error: str | None = None
    ) -> Iterator[tuple[Letter, bytes]]:
        """Those that have that id, or died of that; all, if neither is asked for.

        Raises:
            InvalidInput: after the last, if none was, or if an id's end means several.
        """
        met: set[str] = set()
        errors: set[str] = set()
        for letter, body in self.letters():
            errors.add(letter.error)
            is_named = name is None or letter.is_named(name)
            if is_named and error in (None, letter.error):
                met.add(letter.id)
                yield letter, body
        if name is not None and len(met) > 1:
            raise InvalidInput(f"{len(met)} dead letters of {self.service.name} end in {name!r}")
        if not met and (name, error) != (None, None):
            raise InvalidInput(self._not_there(name, errors))

    def _not_there(self, name: str | None, errors: set[str]) -> str:
        service = self.service.name
        if not errors:
            return f"{service} has no dead letters"
        if name is not None:
            return f"{service} has no dead letter {name!r}; see: shop dead list {service}"
        return f"no dead letter of {service} died of that; there are {', '.join(sorted(errors))}"

    def settle(self, letters: Iterable[Letter]) -> None:
        """Take these out of the queue.

        Raises:
            BrokerUnavailable: they are there again, since the connection that held them is lost.
        """
        by_consumer: dict[Consumer, list[Delivery]] = {}
        for each in letters:
            by_consumer.setdefault(each.held.consumer, []).append(each.held.delivery)
        for consumer, deliveries in by_consumer.items():
            consumer.settle([(each, Outcome.DONE) for each in deliveries])
            if not consumer.is_consuming:
                raise BrokerUnavailable(
                    "the connection to the broker was lost; what was done is kept, but letters of "
                    f"{self.service.name} lie in its dead queue again: do it again"
                )

    def _hand_back(self) -> None:
        while self._consumers:
            self._consumers.pop().close()

    def _summaries(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> list[Letter]:
        known = [Identity.of(each) for each in deliveries]
        with self.database.read() as connection:
            outcomes = inbox.outcomes(connection, [each.id for each in known if each.envelope])
            causes = failures.final_failures(connection, [each.id for each in known])
        return [
            Letter.of(
                identity,
                Held(consumer, delivery),
                outcome=outcomes.get(identity.id) if identity.envelope else None,
                causes=causes.get(identity.id, {}),
            )
            for identity, delivery in zip(known, deliveries, strict=True)
        ]
