"""How a service reacts: what was delivered becomes effects, in one transaction, exactly once.

Inbox, effects and outgoing events commit together, and only then is a delivery settled; a copy
finds its id in the inbox. A batch that fails is rolled back and taken one by one, so a bad message
costs its neighbours nothing. This module is the one place where errors are caught broadly: here
the outcome of each delivery is decided.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from shared.errors import (
    DependencyUnavailable,
    NotSubscribed,
    OlderThanTheInbox,
    PermanentFailure,
    ShopError,
    UnsupportedVersion,
)
from shared.events import DomainEvent, UnknownEvent, topic_of
from shared.messaging.codec import decode
from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Delivery, Outcome, Settlement
from shared.messaging.topology import Retry
from shared.runtime import poison
from shared.runtime.hands import Hands
from shared.runtime.service import AnyService, Handler
from shared.runtime.watchdog import Watchdog
from shared.storage import failures, inbox, outbox
from shared.storage.database import DATABASE_ERRORS, Database, is_environmental
from shared.storage.unit_of_work import UnitOfWork


class Accepted(NamedTuple):
    """A delivery that is an event for this service."""

    delivery: Delivery
    event: DomainEvent
    handlers: list[Handler]


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What was done with one delivery, for logs and metrics.

    Attributes:
        event: None where the message is no event.
        duplicate: it had been handled before, so nothing was done.
        published: types of the events that it led to.
        notes: what the handler said that it did.
        error: why it failed.
    """

    delivery: Delivery
    outcome: Outcome
    event: DomainEvent | None = None
    duplicate: bool = False
    published: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: BaseException | None = None

    @property
    def settlement(self) -> Settlement:
        """As the broker takes it."""
        return self.delivery, self.outcome


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What was done with all that was taken.

    Attributes:
        seconds: that it took.
        environment: why the service cannot go on for now; None as a rule.
    """

    reacted: list[DeliveryResult]
    seconds: float
    environment: DependencyUnavailable | None = None


@dataclass(slots=True, kw_only=True)
class Reactor:
    """Reacts to deliveries on behalf of one service.

    Attributes:
        retry: the queue's, to know which attempt is the last.
        gateway: what the service acts on outside its database.
        hands: threads that each handle an event in a transaction of its own; None for batches.
        inbox_horizon: how far back the inbox remembers; None for as far as there is.
    """

    service: AnyService
    database: Database
    retry: Retry
    gateway: Any = None
    hands: Hands | None = None
    inbox_horizon: timedelta | None = None
    watch: Watchdog = field(default_factory=Watchdog)

    def react(self, deliveries: Sequence[Delivery]) -> BatchResult:
        """Handle what was delivered; an outcome for each, whatever happens."""
        began = time.monotonic()
        reacted: list[DeliveryResult] = []
        environment = None
        try:
            self.watch.step()
            self._react(deliveries, reacted)
        except DependencyUnavailable as error:
            environment = error
            decided = {id(each.delivery) for each in reacted}
            reacted += [
                DeliveryResult(each, Outcome.REQUEUE)
                for each in deliveries
                if id(each) not in decided
            ]
        finally:
            self.watch.idle()
        return BatchResult(reacted, time.monotonic() - began, environment)

    def possible_poison(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that may end the process, each to be handled while nothing else is held.

        Raises:
            DependencyUnavailable: the database is away.
        """
        try:
            return poison.possible_poison(self.database, deliveries)
        except DATABASE_ERRORS as error:
            raise DependencyUnavailable("what was held before could not be looked up") from error

    def react_alone(self, suspect: Delivery) -> BatchResult:
        """Handle one that may end the process, after what came of it so far is on record."""
        try:
            poison.put_on_record(self.database, suspect, most=self.retry.max_retries + 1)
        except DATABASE_ERRORS as error:
            away = DependencyUnavailable("what was held before could not be put on record")
            away.__cause__ = error
            return BatchResult([DeliveryResult(suspect, Outcome.REQUEUE)], 0.0, away)
        return self.react([suspect])

    def _react(self, deliveries: Sequence[Delivery], reacted: list[DeliveryResult]) -> None:
        accepted = []
        for delivery in deliveries:
            try:
                accepted.append(self._accept(delivery))
            except Exception as error:  # noqa: BLE001 - here the outcome of the delivery is decided
                reacted.append(self._failed(delivery, None, error))
        if self.hands is not None:
            self.hands.do([partial(self._in_turn, lane, reacted) for lane in _lanes(accepted)])
            return
        if len(accepted) > 1:
            try:
                reacted += self._apply(accepted)
            except Exception as error:  # noqa: BLE001 - whatever it was, each is now tried alone
                self._unless_environment_failed(error)
            else:
                return
        self._in_turn(accepted, reacted)

    def _in_turn(self, accepted: Sequence[Accepted], reacted: list[DeliveryResult]) -> None:
        try:
            for each in accepted:
                reacted.append(self._alone(each))  # noqa: PERF401 - kept if a later one raises
        finally:
            self.watch.idle()

    def _alone(self, each: Accepted) -> DeliveryResult:
        try:
            (done,) = self._apply([each])
        except Exception as error:  # noqa: BLE001 - here the outcome of the delivery is decided
            self._unless_environment_failed(error)
            return self._failed(each.delivery, each.event, error)
        return done

    def _accept(self, delivery: Delivery) -> Accepted:
        event = decode(delivery.body, self.service.contracts)
        handlers = self.service.handlers(event)
        if not handlers:
            raise _not_for(self.service, event)
        horizon = self.inbox_horizon
        if horizon is not None and event.occurred_at < datetime.now(UTC) - horizon:
            raise OlderThanTheInbox(f"{event.type} {event.event_id} occurred before what is kept")
        return Accepted(delivery, event, handlers)

    def _apply(self, accepted: list[Accepted]) -> list[DeliveryResult]:
        reacted = []
        with self.database.begin() as connection:
            new = inbox.enter(connection, {each.event for each in accepted})
            store = self.service.store(connection, self.database)
            store.prepare([each.event for each in accepted if each.event.event_id in new])
            outgoing: list[outbox.Outgoing] = []
            for each in accepted:
                if each.event.event_id in new:
                    new.discard(each.event.event_id)
                    work = self._handle(each, store)
                    outgoing += work.published
                    reacted.append(_done(each, work))
                else:
                    reacted.append(
                        DeliveryResult(each.delivery, Outcome.DONE, each.event, duplicate=True)
                    )
            self.watch.step()
            store.flush()
            outbox.write(connection, outgoing)
        return reacted

    def _handle(self, accepted: Accepted, store: Any) -> UnitOfWork[Any, Any]:  # noqa: ANN401 - the service's own
        delivery = accepted.delivery
        work = UnitOfWork(
            store,
            service=self.service.name,
            publishes=self.service.publishes,
            gateway=self.gateway,
            cause=accepted.event,
            attempt=delivery.attempt,
            is_last_attempt=delivery.attempt > self.retry.max_retries,
        )
        self.watch.step(delivery)
        for handler in accepted.handlers:
            handler(accepted.event, work)
        return work

    def _unless_environment_failed(self, error: Exception) -> None:
        """Tell a message's failure from one of what the service stands on.

        Raises:
            DependencyUnavailable: the probe failed too, so it is not the message's.
        """
        if not is_environmental(error):
            return
        self.watch.step()
        self.probe()

    def probe(self) -> None:
        """Ask the database, and what is gateway, for a sign of life.

        Raises:
            DependencyUnavailable: one gave none.
        """
        self.database.probe()
        if self.gateway is not None:
            self.gateway.probe()

    def _failed(
        self, delivery: Delivery, event: DomainEvent | None, error: Exception
    ) -> DeliveryResult:
        permanent = isinstance(error, PermanentFailure)
        outcome = Outcome.DEAD if permanent else Outcome.RETRY
        self.record(delivery, failures.described(error), dies=permanent)
        return DeliveryResult(delivery, outcome, event, error=error)

    def record(self, delivery: Delivery, failed: failures.Described, *, dies: bool = False) -> None:
        """Keep a failed attempt.

        Args:
            dies: whichever attempt it was; the last that the queue allows dies in any case.

        Raises:
            DependencyUnavailable: it could not be kept.
        """
        identity = Identity.of(delivery)
        is_end = dies or delivery.attempt > self.retry.max_retries
        failure = failures.Failure(
            event_id=identity.id,
            event_type=identity.event_type,
            subject=identity.subject,
            attempt=delivery.attempt,
            replays=delivery.replays,
            outcome=failures.DEAD if is_end else failures.RETRIED,
            error=failed.error,
            message=failed.message,
            traceback=failed.stack,
        )
        try:
            with self.database.begin() as connection:
                failures.record(connection, failure)
        except DATABASE_ERRORS as trouble:
            # Without its record the attempt must not count: as if the database were away.
            raise DependencyUnavailable("a failed attempt could not be recorded") from trouble


def _lanes(accepted: Sequence[Accepted]) -> list[list[Accepted]]:
    """What may be handled side by side; what is about one order stays in its order."""
    lanes: dict[str, list[Accepted]] = {}
    for each in accepted:
        lanes.setdefault(each.event.subject or str(each.event.event_id), []).append(each)
    return list(lanes.values())


def _done(accepted: Accepted, work: UnitOfWork[Any, Any]) -> DeliveryResult:
    return DeliveryResult(
        accepted.delivery,
        Outcome.DONE,
        accepted.event,
        published=tuple(each.event.type for each in work.published),
        notes=tuple(work.notes),
    )


def _not_for(service: AnyService, event: DomainEvent) -> ShopError:
    topics = {contract.topic for contract in service.contracts.values()}
    if isinstance(event, UnknownEvent) and topic_of(event.type) in topics:
        return UnsupportedVersion(f"{service.name} cannot read {event.type}")
    return NotSubscribed(f"{service.name} did not subscribe to {event.type}")
