"""The dead letters of a service, as its dead queue and its database tell of them.

Looking changes nothing: nothing is settled, and what was delivered is handed back uncounted when
one is done. Memory stays bounded: of a letter only a summary is kept, its body passes by.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from shared.errors import BrokerUnavailable, WrongInput
from shared.messaging.connect import broker_at
from shared.messaging.port import Broker, Consumer, Delivery, Outcome
from shared.messaging.topology import dead_queue
from shared.runtime.commands import database_of
from shared.runtime.dead_reading import Letter, Reading
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
    """A service's dead queue, and the database that tells what its letters died of.

    Attributes:
        missed: letters that are there and did not come: somebody else is looking at them.
    """

    def __init__(self, service: AnyService, broker: Broker, database: Database) -> None:
        self.service = service
        self.broker = broker
        self.database = database
        self.missed = 0
        self._consumers: list[Consumer] = []

    @classmethod
    @contextmanager
    def opened(cls, service: AnyService) -> Iterator["DeadQueue"]:
        """As the settings of this process say; all letters are handed back in the end.

        Raises:
            CouldNotBeDone: this process may not see that service, or its database is away.
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
        """
        name = dead_queue(self.service.name)
        self._hand_back()
        left = self.broker.depth(name).ready
        self.missed = 0
        while left > 0 and not self.missed:
            wanted = min(left, _HOLD)
            consumer = self.broker.consumer(name, prefetch=wanted, cautious=False)
            self._consumers.append(consumer)
            while wanted:
                taken = consumer.take(min(_TAKE, wanted), wait=SILENCE)
                if not taken:
                    self.missed = left
                    break
                wanted, left = wanted - len(taken), left - len(taken)
                bodies = [each.body for each in taken]
                yield from zip(self._summaries(consumer, taken), bodies, strict=True)

    def named(self, name: str) -> tuple[list[Letter], bytes]:
        """The letter that somebody means, in all its copies, and its body.

        Raises:
            WrongInput: there is none, or several are meant.
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
            WrongInput: after the last, if none was, or if an id's end means several.
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
            raise WrongInput(f"{len(met)} dead letters of {self.service.name} end in {name!r}")
        if not met and (name, error) != (None, None):
            raise WrongInput(self._not_there(name, errors))

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
        read = [Reading.of(each) for each in deliveries]
        with self.database.read() as connection:
            outcomes = inbox.handled(connection, [each.id for each in read if each.envelope])
            causes = failures.causes(connection, [name for each in read for name in each.names])
        return [
            each.letter(
                consumer,
                outcome=outcomes.get(each.id) if each.envelope else None,
                causes=next((causes[name] for name in each.names if name in causes), {}),
            )
            for each in read
        ]
